package metrics_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"

	"github.com/daprd/daprd/pkg/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
	registry := metrics.New("app", "ns")
	registry.Configure(metrics.Settings{Enabled: true})
	registry.HTTPServed("GET", "/v1.0/state/store", 200, 10, 2000, 1500*time.Microsecond)
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
	registry := metrics.New("app", "ns")
	registry.Configure(metrics.Settings{Enabled: false})
	registry.HTTPServed("GET", "/", 200, 1, 1, time.Millisecond)
	if text := scrape(t, registry, "/"); strings.Contains(text, "dapr_") {
		t.Error("a disabled registry shows families")
	}
}

func TestLabelSetsAreBounded(t *testing.T) {
	registry := metrics.New("app", "ns")
	registry.Configure(metrics.Settings{Enabled: true})
	const paths = 5000
	for i := range paths {
		registry.HTTPServed("GET", fmt.Sprintf("/p%d", i), 200, 1, 1, time.Millisecond)
	}
	text := scrape(t, registry, "/")
	if n := strings.Count(text, "dapr_http_server_request_count{"); n != 1001 {
		t.Errorf("%d label sets for %d paths, want 1000 and the one for the rest", n, paths)
	}
	if !strings.Contains(text, `dapr_http_server_request_count{app_id="app",method="_other",path="_other",status="0"} 4000`) {
		t.Error("what is past the bound is not counted under _other")
	}
}

// A label that is no UTF-8 makes the client library panic; paths come from callers.
func TestLabelsAreText(t *testing.T) {
	registry := metrics.New("app\xff", "ns\xff")
	registry.Configure(metrics.Settings{Enabled: true})
	registry.HTTPServed("GET", "/v1.0/invoke/\xff\xfe", 200, 1, 1, time.Millisecond)
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

func BenchmarkHTTPServed(b *testing.B) {
	registry := metrics.New("app", "ns")
	registry.Configure(metrics.Settings{Enabled: true})
	b.ReportAllocs()
	for b.Loop() {
		registry.HTTPServed("GET", "/v1.0/state/store", 200, 10, 2000, 1500*time.Microsecond)
	}
}
