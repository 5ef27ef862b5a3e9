package metrics_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/daprd/daprd/pkg/metrics"
)

// calls are of both sides: the API and the application.
func calls(registry *metrics.Registry, paths ...string) {
	for _, path := range paths {
		registry.HTTPServed("GET", "/"+path, "/"+path, 200, 1, 1, time.Millisecond)
		registry.HTTPCalled("GET", path, 200, 1, 1, time.Millisecond)
	}
}

// TestActorPaths: of an actor's path only the type and what is done with it are labels, however many actors and methods
// there are.
func TestActorPaths(t *testing.T) {
	registry := configured(t, metrics.Settings{Enabled: true})
	for id := range 2 * 1000 {
		for _, rest := range []string{"", "/method/m", "/method/remind/r", "/method/timer/t"} {
			registry.HTTPCalled("PUT", fmt.Sprint("actors/T/", id, rest), 200, 1, 1, time.Millisecond)
		}
	}
	registry.HTTPCalled("PUT", "actors", 200, 1, 1, time.Millisecond)
	registry.HTTPCalled("PUT", "actors/T", 200, 1, 1, time.Millisecond)
	text := scrape(t, registry, "/")
	for path, count := range map[string]string{"/actors/T/{id}/method": "6000", "/actors/T/{id}": "2000", "/actors": "1", "/actors/T": "1"} {
		if line := `dapr_http_client_completed_count{app_id="app",method="PUT",path="` + path + `",status="200"} ` + count + "\n"; !strings.Contains(text, line) {
			t.Errorf("%s is not %s", path, count)
		}
	}
	for path, want := range map[string]string{"/v1.0/actors/T/1/method/m": "/v1.0/actors/T/{id}/method", "/v1.0/actors/T/1/state": "/v1.0/actors/T/{id}/state",
		"/v1.0/actors/T/1/reminders/r": "/v1.0/actors/T/{id}/reminders"} {
		if got := metrics.ActorLabel(path); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
}

// TestHTTPLabels: what spec.metrics.http makes of verbs and paths, at both sides.
func TestHTTPLabels(t *testing.T) {
	const server, client = "dapr_http_server_request_count", "dapr_http_client_completed_count"
	orders := []string{"/orders/{orderID}"}
	for name, tc := range map[string]struct {
		settings metrics.Settings
		want     map[string]string
	}{
		"all of it": {metrics.Settings{}, map[string]string{
			`method="GET",path="/orders/1"`: "1", `method="GET",path="/orders/2"`: "1", `method="GET",path="/items"`: "1", `method="GET",path="/"`: "1"}},
		"hidden":             {metrics.Settings{HidePaths: true}, map[string]string{`method="GET",path=""`: "4"}},
		"matched":            {metrics.Settings{Paths: orders}, map[string]string{`method="GET",path="/orders/{orderID}"`: "2", `method="GET",path="/items"`: "1"}},
		"matched, else none": {metrics.Settings{Paths: orders, HidePaths: true}, map[string]string{`method="GET",path="/orders/{orderID}"`: "2", `method="GET",path=""`: "2"}},
		"no verbs":           {metrics.Settings{HideVerbs: true, HidePaths: true}, map[string]string{`method="",path=""`: "4"}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.settings.Enabled = true
			registry := configured(t, tc.settings)
			calls(registry, "orders/1", "orders/2", "items", "")
			text := scrape(t, registry, "/")
			for labels, count := range tc.want {
				for _, family := range []string{server, client} {
					if line := family + `{app_id="app",` + labels + `,status="200"} ` + count + "\n"; !strings.Contains(text, line) {
						t.Errorf("the scrape lacks %s", line)
					}
				}
			}
			if got := strings.Contains(text, "dapr_http_server_response_count"); got == tc.settings.HidePaths {
				t.Errorf("response counts: %v", got)
			}
		})
	}
}

// TestRules: rules rewrite the labels of their family, before it is bounded.
func TestRules(t *testing.T) {
	registry := configured(t, metrics.Settings{Enabled: true, Rules: []metrics.Rule{
		{Family: "dapr_http_server_request_count", Label: "path", Pattern: "orders/.+", Replacement: "orders/"},
		{Family: "dapr_http_server_request_count", Label: "path", Pattern: "^/(i)tems/.+", Replacement: "/$1"},
		{Family: "http/server/response_count", Label: "path", Pattern: ".+", Replacement: "p"},
		{Family: "dapr_http_server_request_count", Label: "unheard", Pattern: ".+", Replacement: "p"},
		{Family: "dapr_component_state_count", Label: "component", Pattern: "^s", Replacement: "t"},
	}})
	for i := range 1200 {
		path := fmt.Sprint("orders/", i)
		calls(registry, path, "items/1")
	}
	registry.State("store", "get")(true, time.Millisecond)
	text := scrape(t, registry, "/")
	for _, line := range []string{
		`dapr_http_server_request_count{app_id="app",method="GET",path="/orders/",status="200"} 1200`,
		`dapr_http_server_request_count{app_id="app",method="GET",path="/i",status="200"} 1200`,
		`dapr_http_server_response_count{app_id="app",method="GET",path="p",status="200"} 2400`,
		`dapr_component_state_count{app_id="app",component="ttore",namespace="ns",operation="get",success="true"} 1`,
		`dapr_component_state_latencies_count{app_id="app",component="store",namespace="ns",operation="get",success="true"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("the scrape lacks %s", line)
		}
	}
	for family, most := range map[string]int{"dapr_http_server_request_count": 2, "dapr_http_server_response_count": 1, "dapr_http_server_latency_count": 1101} {
		if n := strings.Count(text, family+"{"); n > most {
			t.Errorf("%d label sets of %s, want at most %d", n, family, most)
		}
	}
}

// TestRewriting: every match is replaced, as the standard library does it.
func TestRewriting(t *testing.T) {
	for _, pattern := range []string{"o", "o+", "o*", "o*$", "$", "^", "/items/.*", "/(i)tems/(.*)", "nothing", "[0-9]+", ".", ""} {
		regex := regexp.MustCompile(pattern)
		for _, replacement := range []string{"", "x", "<$0>", "$1-$2", "$$"} {
			for _, value := range []string{"", "o", "foo", "/items/7", "/items/7/", "oo12oo34", "/v1.0/invoke/cart/method/items/12"} {
				if got, want := metrics.Rewritten(regex, replacement, value), regex.ReplaceAllString(value, replacement); got != want {
					t.Errorf("%q by %q for %q: %q, want %q", value, replacement, pattern, got, want)
				}
			}
		}
	}
}

// TestRuledLabelsAreBounded: rules that do not help do not lift the bound.
func TestRuledLabelsAreBounded(t *testing.T) {
	registry := configured(t, metrics.Settings{Enabled: true, Rules: []metrics.Rule{
		{Family: "dapr_http_server_request_count", Label: "path", Pattern: "^", Replacement: "x"}}})
	for i := range 1200 {
		calls(registry, fmt.Sprint("y", i))
	}
	text := scrape(t, registry, "/")
	for _, family := range []string{"dapr_http_server_request_count", "dapr_http_server_latency_count"} {
		if n := strings.Count(text, family+"{"); n > 1101 {
			t.Errorf("%d label sets of %s", n, family)
		}
	}
	for _, line := range []string{
		`dapr_http_server_request_count{app_id="app",method="GET",path="_other",status="200"} 200`,
		`daprd_metrics_folded_total{app_id="app",family="dapr_http_server_latency"} 200`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("the scrape lacks %s", line)
		}
	}
}

func TestLatencyBuckets(t *testing.T) {
	registry := configured(t, metrics.Settings{Enabled: true, Latency: []float64{0.5, 2}})
	calls(registry, "x")
	text := scrape(t, registry, "/")
	for _, line := range []string{`status="200",le="0.5"} 0`, `status="200",le="2"} 1`} {
		if !strings.Contains(text, `dapr_http_server_latency_bucket{app_id="app",method="GET",path="/x",`+line) {
			t.Errorf("the scrape lacks %s", line)
		}
	}
	if strings.Contains(text, `le="100000"`) {
		t.Error("the default buckets are there, too")
	}
}

func TestSettingsThatCannotBeUsed(t *testing.T) {
	for name, tc := range map[string]struct {
		settings metrics.Settings
		want     string
	}{
		"buckets fall": {metrics.Settings{Latency: []float64{1, 5, 2}}, "latencyDistributionBuckets: 2 stands behind 5"},
		"regex":        {metrics.Settings{Rules: []metrics.Rule{{Family: "f", Label: "l", Pattern: "("}}}, `rules: the pattern "(" for label l of f`},
		"path":         {metrics.Settings{Paths: []string{"GET /x"}}, `http.pathMatching: "GET /x" is no path`},
		"no pattern":   {metrics.Settings{Paths: []string{"/x/{a-b}"}}, `http.pathMatching: "/x/{a-b}": `},
		"conflict":     {metrics.Settings{Paths: []string{"/{x}/b", "/a/{y}"}}, `http.pathMatching: "/a/{y}": `},
	} {
		if err := metrics.New("app", "ns").Configure(tc.settings); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %s", name, err, tc.want)
		}
	}
}

// FuzzPatterns: the patterns find what net/http finds.
func FuzzPatterns(f *testing.F) {
	patterns := []string{"/", "/orders/{id}", "/orders/new", "/orders/{id}/items/{item}", "/orders/{id}/items/last", "/files/{path...}", "/files/a/{x}/b",
		"/exact/{$}", "/tree/", "/a/{b}/c/{d}/e", "/a/{b}/c/x/f"}
	mux := http.NewServeMux()
	for _, pattern := range patterns {
		mux.Handle(pattern, http.NotFoundHandler())
	}
	for _, path := range []string{"/", "/orders/1", "/orders/new", "/orders/", "/orders", "/orders/1/items/2", "/orders/1/items/last", "/files/", "/files/a/b/c",
		"/files/a/1/b", "/exact/", "/exact/x", "/tree/", "/tree/a/b", "/a/1/c/x/e", "/a/1/c/x/f", "/a/1/c/x/g", "/nowhere"} {
		f.Add(path)
	}
	registry := configured(f, metrics.Settings{Enabled: true, Paths: patterns, HidePaths: true})
	f.Fuzz(func(t *testing.T, path string) {
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "%") {
			t.Skip() // net/http reads escapes
		}
		// net/http leads unclean paths, and those that lack the last slash, elsewhere.
		_, want := mux.Handler(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}})
		recorder := redirected{}
		handler, _ := mux.Handler(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}})
		handler.ServeHTTP(&recorder, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}})
		if recorder.status/100 == 3 {
			t.Skip()
		}
		if got := registry.Pattern(path); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	})
}

// redirected remembers the status of an answer.
type redirected struct{ status int }

func (r *redirected) Header() http.Header         { return http.Header{} }
func (r *redirected) Write(b []byte) (int, error) { return len(b), nil }
func (r *redirected) WriteHeader(status int)      { r.status = status }
