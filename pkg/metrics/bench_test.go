package metrics_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/daprd/daprd/pkg/metrics"
)

// requests are what one request of each kind costs in metrics, all of its families together.
func requests(registry *metrics.Registry) map[string]func() {
	set := registry.State("store", "get")
	published, delivered := registry.Published("ps"), registry.Delivered("ps")
	return map[string]func(){
		"HTTP state": func() {
			registry.HTTPServed("GET", "/v1.0/state/store/key", "/v1.0/state/store", 200, 10, 2000, 1500*time.Microsecond)
			set(true, time.Millisecond)
		},
		"gRPC state": func() {
			registry.GRPCServed("/dapr.proto.runtime.v1.Dapr/GetState", codes.OK, 10, 2000, 1500*time.Microsecond)
			set(true, time.Millisecond)
		},
		"HTTP publish": func() {
			registry.HTTPServed("POST", "/v1.0/publish/ps/t", "/v1.0/publish/ps/t", 204, 10, 0, 1500*time.Microsecond)
			published("t", true, time.Millisecond)
		},
		"HTTP delivery": func() {
			registry.HTTPCalled("POST", "orders", 200, 400, 20, 1500*time.Microsecond)
			delivered("t", "success", time.Millisecond)
		},
		"invocation, the caller's": func() {
			registry.HTTPServed("GET", "/v1.0/invoke/cart/method/items/7", "/v1.0/invoke/cart/method/items/7", 200, 10, 2000, 1500*time.Microsecond)
			registry.InvocationSent("cart", "unary")
			registry.InvocationAnswered("cart", "unary", 200, time.Millisecond)
		},
		"invocation, the callee's": func() {
			registry.InvocationReceived("shop")
			registry.HTTPCalled("GET", "items/7", 200, 0, 2000, 1500*time.Microsecond)
			registry.InvocationReplied("shop", 200)
		},
	}
}

func BenchmarkRequest(b *testing.B) {
	for name, request := range requests(configured(b, metrics.Settings{Enabled: true})) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				request()
			}
		})
	}
}

// paths are many, all of one pattern.
func paths() (all []string) {
	for i := range 4096 {
		all = append(all, fmt.Sprintf("/v1.0/invoke/cart/method/items/%d", i))
	}
	return all
}

// BenchmarkPaths is an HTTP request with another path each time, as the settings have it shown.
func BenchmarkPaths(b *testing.B) {
	all := paths()
	pattern := []string{"/v1.0/invoke/{app}/method/items/{id}", "/v1.0/invoke/{app}/method/carts/{id}"}
	for name, settings := range map[string]metrics.Settings{
		"folded":  {},
		"matched": {Paths: pattern},
		"hidden":  {HidePaths: true},
		"ruled":   {Rules: []metrics.Rule{{Family: "dapr_http_server_request_count", Label: "path", Pattern: "/items/.*", Replacement: "/items"}}},
	} {
		settings.Enabled = true
		registry := configured(b, settings)
		for _, path := range all {
			registry.HTTPServed("GET", path, path, 200, 1, 1, time.Millisecond)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				path := all[i%len(all)]
				i++
				registry.HTTPServed("GET", path, path, 200, 10, 2000, 1500*time.Microsecond)
			}
		})
	}
}

// TestRequestsAllocateNothing: label sets that were seen before, and those past the bound, cost no memory.
func TestRequestsAllocateNothing(t *testing.T) {
	for name, request := range requests(configured(t, metrics.Settings{Enabled: true})) {
		if n := testing.AllocsPerRun(100, request); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	all := paths()
	for name, settings := range map[string]metrics.Settings{"folded": {}, "matched": {Paths: []string{"/v1.0/invoke/{app}/method/items/{id}"}}, "hidden": {HidePaths: true}} {
		settings.Enabled = true
		registry := configured(t, settings)
		for _, path := range all[:1100] {
			registry.HTTPServed("GET", path, path, 200, 1, 1, time.Millisecond)
		}
		i := 1100
		if n := testing.AllocsPerRun(100, func() {
			registry.HTTPServed("GET", all[i], all[i], 200, 1, 1, time.Millisecond)
			i++
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
