package metrics_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"

	"github.com/daprd/daprd/pkg/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func configured(t testing.TB, settings metrics.Settings) *metrics.Registry {
	t.Helper()
	registry := metrics.New("app", "ns")
	if err := registry.Configure(settings); err != nil {
		t.Fatal(err)
	}
	return registry
}

// scrape reads the registry as Prometheus does.
func scrape(t *testing.T, registry *metrics.Registry, path string) string {
	t.Helper()
	exporter, err := metrics.Listen(t.Context(), "127.0.0.1:0", registry)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := exporter.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	response, err := http.Get("http://" + exporter.Address().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestFamilies(t *testing.T) {
	registry := configured(t, metrics.Settings{Enabled: true})
	registry.HTTPServed("GET", "/v1.0/state/store/key", "/v1.0/state/store", 200, 10, 2000, 1500*time.Microsecond)
	registry.GRPCServed("/dapr.proto.runtime.v1.Dapr/GetState", codes.NotFound, 10, 20, 300*time.Microsecond)
	registry.State("store", "get")(true, 200*time.Microsecond)
	registry.Secret("vault", "bulk_get")(false, time.Second)
	registry.ComponentLoaded("state.in-memory")
	registry.ComponentFailed("state.redis", "init", "st")

	text := scrape(t, registry, "/any/path")
	for _, line := range []string{
		`dapr_http_server_request_count{app_id="app",method="GET",path="/v1.0/state/store",status="200"} 1`,
		`dapr_http_server_response_count{app_id="app",method="GET",path="/v1.0/state/store",status="200"} 1`,
		`dapr_http_server_latency_bucket{app_id="app",method="GET",path="/v1.0/state/store",status="200",le="1"} 0`,
		`dapr_http_server_latency_bucket{app_id="app",method="GET",path="/v1.0/state/store",status="200",le="2"} 1`,
		`dapr_http_server_latency_sum{app_id="app",method="GET",path="/v1.0/state/store",status="200"} 1.5`,
		`dapr_http_server_response_bytes_bucket{app_id="app",le="1024"} 0`,
		`dapr_http_server_response_bytes_bucket{app_id="app",le="2048"} 1`,
		`dapr_grpc_io_server_completed_rpcs{app_id="app",grpc_server_method="/dapr.proto.runtime.v1.Dapr/GetState",grpc_server_status="NOT_FOUND"} 1`,
		`dapr_grpc_io_server_server_latency_sum{app_id="app",grpc_server_method="/dapr.proto.runtime.v1.Dapr/GetState",grpc_server_status="NOT_FOUND"} 0.3`,
		`dapr_component_state_count{app_id="app",component="store",namespace="ns",operation="get",success="true"} 1`,
		`dapr_component_state_latencies_sum{app_id="app",component="store",namespace="ns",operation="get",success="true"} 0.2`,
		`dapr_component_secret_count{app_id="app",component="vault",namespace="ns",operation="bulk_get",success="false"} 1`,
		`dapr_runtime_component_loaded{app_id="app"} 1`,
		`dapr_runtime_component_init_total{app_id="app",component="state.in-memory"} 1`,
		`dapr_runtime_component_init_fail_total{app_id="app",component="state.redis",componentName="st",reason="init"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("the scrape lacks %s", line)
		}
	}
}

func TestDisabledShowsNothingOfOurs(t *testing.T) {
	registry := configured(t, metrics.Settings{})
	registry.HTTPServed("GET", "/", "/", 200, 1, 1, time.Millisecond)
	if text := scrape(t, registry, "/"); strings.Contains(text, "dapr_") {
		t.Error("a disabled registry shows families")
	}
}

// TestLabelSetsAreBounded: past 1000 label sets, paths are shown as "_other", by verb and status for 100 more sets; and
// it is told how many samples were.
func TestLabelSetsAreBounded(t *testing.T) {
	registry := configured(t, metrics.Settings{Enabled: true})
	const paths, statuses = 1500, 150
	serve := func(path string, status int) { registry.HTTPServed("GET", path, path, status, 1, 1, time.Millisecond) }
	for i := range paths {
		serve(fmt.Sprintf("/p%d", i), 200)
	}
	for i := range statuses {
		serve(fmt.Sprintf("/q%d", i), 300+i)
	}
	serve("/p1", 200)
	text := scrape(t, registry, "/")
	if n := strings.Count(text, "dapr_http_server_request_count{"); n != 1101 {
		t.Errorf("%d label sets, want 1000, 100 without a path, and one for the rest", n)
	}
	for _, line := range []string{
		`dapr_http_server_request_count{app_id="app",method="GET",path="/p1",status="200"} 2`,
		`dapr_http_server_request_count{app_id="app",method="GET",path="_other",status="200"} 500`,
		`dapr_http_server_request_count{app_id="app",method="GET",path="_other",status="398"} 1`,
		`dapr_http_server_request_count{app_id="app",method="_other",path="_other",status="_other"} 51`,
		`daprd_metrics_folded_total{app_id="app",family="dapr_http_server_request_count"} 650`,
		`daprd_metrics_folded_total{app_id="app",family="dapr_http_server_latency"} 650`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("the scrape lacks %s", line)
		}
	}
}

// TestBoundHoldsForManyAtOnce: what comes at the same time is bounded and counted all the same.
func TestBoundHoldsForManyAtOnce(t *testing.T) {
	registry := configured(t, metrics.Settings{Enabled: true})
	var wait sync.WaitGroup
	for g := range 4 {
		wait.Go(func() {
			for i := range 500 {
				registry.HTTPCalled("GET", fmt.Sprint(g, "-", i), 200, 1, 1, time.Millisecond)
			}
		})
	}
	wait.Wait()
	text := scrape(t, registry, "/")
	if n := strings.Count(text, "dapr_http_client_completed_count{"); n != 1001 {
		t.Errorf("%d label sets", n)
	}
	if line := `dapr_http_client_completed_count{app_id="app",method="GET",path="_other",status="200"} 1000`; !strings.Contains(text, line) {
		t.Errorf("the scrape lacks %s", line)
	}
}

// TestLongLabels: a value of more than 256 bytes is not shown.
func TestLongLabels(t *testing.T) {
	registry := configured(t, metrics.Settings{Enabled: true})
	long := strings.Repeat("x", 257)
	registry.HTTPServed("GET", long, long, 200, 1, 1, time.Millisecond)
	registry.Published("ps")(long, true, time.Millisecond)
	registry.State(long, "get")(true, time.Millisecond)
	registry.InvocationSent(long, "unary")
	registry.ComponentFailed("state.redis", "init", long)
	text := scrape(t, registry, "/")
	if strings.Contains(text, "xxx") {
		t.Error("a long label is shown")
	}
	for _, family := range []string{"dapr_http_server_request_count", "dapr_component_pubsub_egress_count", "dapr_component_state_count",
		"dapr_runtime_service_invocation_req_sent_total", "dapr_runtime_component_init_fail_total"} {
		if line := `daprd_metrics_folded_total{app_id="app",family="` + family + `"} 1`; !strings.Contains(text, line+"\n") {
			t.Errorf("the scrape lacks %s", line)
		}
	}
}

// A label that is no UTF-8 makes the client library panic; paths come from callers.
func TestLabelsAreText(t *testing.T) {
	registry := metrics.New("app\xff", "ns\xff")
	if err := registry.Configure(metrics.Settings{Enabled: true}); err != nil {
		t.Fatal(err)
	}
	registry.HTTPServed("GET", "/", "/v1.0/invoke/\xff\xfe", 200, 1, 1, time.Millisecond)
	registry.GRPCServed("/service/\xff", codes.OK, 1, 1, time.Millisecond)
	registry.State("st\xff", "get")(true, time.Millisecond)
	registry.ComponentLoaded("state.\xff")
	registry.ComponentFailed("state.\xff", "init", "\xff")
	text := scrape(t, registry, "/")
	for _, label := range []string{`path="/v1.0/invoke/�"`, `grpc_server_method="/service/�"`, `component="st�"`} {
		if !strings.Contains(text, label) {
			t.Errorf("the scrape lacks %s", label)
		}
	}
}
