package test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// invalid is an application whose health a test decides, and the events that it got.
type invalid struct {
	*application
	ill    atomic.Bool
	events atomic.Int64
}

func newInvalid(t *testing.T) *invalid {
	a := &invalid{}
	a.application = startApplication(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/well" && a.ill.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/tick" && r.Method == http.MethodPost:
			a.events.Add(1)
		}
	})
	return a
}

func checking(c *runtime.Config) {
	c.AppHealth = &runtime.AppHealth{Path: "/well", Interval: 20 * time.Millisecond, Timeout: 20 * time.Second, Threshold: 2}
}

const ticks = `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: tick}
spec:
  type: bindings.cron
  version: v1
  metadata:
  - {name: schedule, value: "@every 10ms"}
  - {name: direction, value: input}
`

// TestAppHealth: an application is ill until it says otherwise, which does not hold up the start; while it is ill,
// calls fail over both transports and no events come.
func TestAppHealth(t *testing.T) {
	runtimetest.Isolate(t)
	app := newInvalid(t)
	app.ill.Store(true)
	s := runtimetest.Start(t, "checked", appOn(app.application), checking, runtimetest.Manifests(t, ticks))
	apis := transports(t, s)
	refused := func() {
		t.Helper()
		for _, api := range apis {
			answer := api.invoke(t.Context(), invocation{ID: "checked", Verb: "GET", Method: "anything"})
			if answer.Fault == nil || !strings.Contains(answer.Fault.Text, "app is not in a healthy state") {
				t.Errorf("%T: %+v", api, answer)
			}
		}
	}
	refused()
	if app.events.Load() > 0 {
		t.Error("an event came before the application was well")
	}
	for range 2 {
		app.ill.Store(false)
		eventually(t, "calls pass", func() bool { return plainly(t, s, "GET /v1.0/invoke/checked/method/anything") == "200 " })
		before := app.events.Load()
		eventually(t, "events come", func() bool { return app.events.Load() > before })
		app.ill.Store(true)
		eventually(t, "calls are refused", func() bool {
			return strings.HasPrefix(plainly(t, s, "GET /v1.0/invoke/checked/method/anything"), "500 ")
		})
		refused()
		still := app.events.Load()
		if plainly(t, s, "GET /v1.0/metadata"); app.events.Load() > still+1 {
			t.Errorf("%d events came to an ill application", app.events.Load()-still)
		}
	}
	for _, line := range []string{"App health probes starting", "App entered healthy status", "App entered un-healthy status: GET /well answers 503"} {
		if !s.Log.Contains(line) {
			t.Errorf("the log does not tell: %s", line)
		}
	}
}

// TestAppHealthMetadata: both transports tell how health is looked after.
func TestAppHealthMetadata(t *testing.T) {
	runtimetest.Isolate(t)
	s := runtimetest.Start(t, "described", appOn(newInvalid(t).application), func(c *runtime.Config) {
		c.AppHealth = &runtime.AppHealth{Path: "/well", Interval: 5 * time.Second, Timeout: 500 * time.Millisecond, Threshold: 3}
	})
	var body struct {
		App struct {
			Health map[string]any `json:"health"`
		} `json:"appConnectionProperties"`
	}
	answer := (&httpAPI{client: http.DefaultClient, base: s.URL("")}).call(t.Context(), "GET", "/v1.0/metadata", "", nil)
	if err := json.Unmarshal([]byte(answer.body), &body); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"healthCheckPath": "/well", "healthProbeInterval": "5s", "healthProbeTimeout": "500ms", "healthThreshold": 3.0}
	if diff := cmp.Diff(want, body.App.Health); diff != "" {
		t.Error(diff)
	}
	info, err := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String())).GetMetadata(t.Context(), &runtimev1.GetMetadataRequest{})
	if err != nil {
		t.Fatal(err)
	}
	h := info.GetAppConnectionProperties().GetHealth()
	got := map[string]any{"healthCheckPath": h.GetHealthCheckPath(), "healthProbeInterval": h.GetHealthProbeInterval(),
		"healthProbeTimeout": h.GetHealthProbeTimeout(), "healthThreshold": float64(h.GetHealthThreshold())}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	eventually(t, "the probes are counted", func() bool {
		return strings.Contains(scrape(t, s), `dapr_http_healthprobes_completed_count{app_id="described",status="200"}`)
	})
}

// TestBlockEndsWhenIll: the time after the signal in which the APIs serve is over when the application is ill. No
// events come meanwhile.
func TestBlockEndsWhenIll(t *testing.T) {
	runtimetest.Isolate(t)
	app := newInvalid(t)
	long := time.Hour
	s := runtimetest.Start(t, "blocked", appOn(app.application), checking, runtimetest.Manifests(t, ticks+"---"+memoryStore),
		func(c *runtime.Config) { c.BlockShutdown = &long })
	eventually(t, "events come", func() bool { return app.events.Load() > 0 })
	ended := make(chan error, 1)
	go func() { ended <- s.Stop() }()
	eventually(t, "the shutdown is blocked", func() bool {
		return s.Log.Contains("Blocking graceful shutdown for 1h0m0s or until app reports unhealthy...")
	})
	eventually(t, "no more events", func() bool {
		before := app.events.Load()
		time.Sleep(50 * time.Millisecond)
		return app.events.Load() == before
	})
	if got := plainly(t, s, "GET /v1.0/state/store/k"); got != "204 " {
		t.Errorf("state: %s", got)
	}
	if got := plainly(t, s, "GET /v1.0/invoke/blocked/method/anything"); got != "200 " {
		t.Errorf("invoke: %s", got)
	}
	app.ill.Store(true)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !s.Log.Contains("App reported unhealthy, entering shutdown...") {
		t.Error("the log does not tell why")
	}
}

// scrape is what the sidecar shows to Prometheus.
func scrape(t *testing.T, s *runtimetest.Sidecar) string {
	t.Helper()
	response, err := http.Get("http://" + s.MetricsAddress().String())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
