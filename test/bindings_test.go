package test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/daprd/daprd/pkg/config"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// secondly is a binding with a tick every second; more are further properties.
func secondly(more string) string {
	return fmt.Sprintf(`
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: tick}
spec:
  type: bindings.cron
  version: v1
  metadata: [{name: schedule, value: "@every 1s"}%s]
`, more)
}

// arrival is what an application saw of an event.
type arrival struct{ verb, path, contentType, time string }

// taker is an HTTP application that takes events and has them answered by reply.
func taker(arrivals chan arrival, reply http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			arrivals <- arrival{r.Method, r.URL.Path, r.Header.Get("Content-Type"), r.Header.Get("readTimeUTC")}
		}
		reply(w, r)
	}
}

func quiet(http.ResponseWriter, *http.Request) {}

// TestEventsOverHTTP: an event reaches an application, at its route, and the metrics tell of it.
func TestEventsOverHTTP(t *testing.T) {
	runtimetest.Isolate(t)
	arrivals := make(chan arrival, 100)
	app := startApplication(t, taker(arrivals, quiet))
	s := runtimetest.Start(t, "events", appOn(app), runtimetest.Manifests(t, secondly(`, {name: route, value: /jobs/tick}`)))
	got := within(t, arrivals, "an event")
	if got.verb != "POST" || got.path != "/jobs/tick" || got.contentType != "application/json" || !strings.HasSuffix(got.time, " +0000 UTC") {
		t.Errorf("%+v", got)
	}
	settle(t, func() bool {
		return strings.Contains(metricsOf(t, s), `dapr_component_input_binding_count{app_id="events",component="tick",namespace="",success="true"}`)
	}, "the metric of the event")
}

func metricsOf(t *testing.T, s *runtimetest.Sidecar) string {
	t.Helper()
	response, err := http.Get("http://" + s.MetricsAddress().String() + "/")
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

// eventApp is a gRPC application that sends what it gets on to an output.
type eventApp struct {
	runtimev1.UnimplementedAppCallbackServer
	lists  atomic.Int32
	events chan *runtimev1.BindingEventRequest
}

func (a *eventApp) ListInputBindings(context.Context, *emptypb.Empty) (*runtimev1.ListInputBindingsResponse, error) {
	a.lists.Add(1)
	return &runtimev1.ListInputBindingsResponse{Bindings: []string{"tick"}}, nil
}

func (a *eventApp) OnBindingEvent(_ context.Context, req *runtimev1.BindingEventRequest) (*runtimev1.BindingEventResponse, error) {
	a.events <- req
	return &runtimev1.BindingEventResponse{To: []string{"files"}, Data: []byte(`"sent on"`)}, nil
}

// TestEventsOverGRPC: the list is asked for once, an event comes, and its answer reaches the output that it names.
func TestEventsOverGRPC(t *testing.T) {
	runtimetest.Isolate(t)
	app := &eventApp{events: make(chan *runtimev1.BindingEventRequest, 100)}
	address := serveGRPC(t, func(s *grpc.Server) { runtimev1.RegisterAppCallbackServer(s, app) })
	dir := t.TempDir()
	const unwanted = "---\napiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: unwanted}\nspec:\n  type: bindings.cron\n  version: v1\n" +
		"  metadata: [{name: schedule, value: '@every 1s'}]\n"
	files := strings.NewReplacer("DIR", dir, "OUTSIDE", "http://127.0.0.1").Replace(bindingsManifest)
	s := runtimetest.Start(t, "events-grpc", runtimetest.App(address, config.GRPC), runtimetest.Manifests(t, secondly("")+unwanted), runtimetest.Manifests(t, files))
	event := within(t, app.events, "an event")
	if event.GetName() != "tick" || event.GetMetadata()["readTimeUTC"] == "" {
		t.Errorf("%v", event)
	}
	settle(t, func() bool {
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) == 0 || strings.HasPrefix(entries[0].Name(), ".") {
			return false
		}
		text, err := os.ReadFile(filepath.Join(dir, entries[0].Name()))
		return err == nil && string(text) == "sent on"
	}, "the file that the answer asked for")
	settle(t, func() bool { return s.Log.Contains("app has not subscribed to binding unwanted.") }, "the line about the unwanted binding")
	if app.lists.Load() != 1 {
		t.Errorf("the list was asked for %d times", app.lists.Load())
	}
}

// TestSlowAnswerToTheProbe: an application that listens and does not answer yet gets its events later (dapr#3660).
func TestSlowAnswerToTheProbe(t *testing.T) {
	runtimetest.Isolate(t)
	arrivals := make(chan arrival, 100)
	var asked atomic.Int32
	app := startApplication(t, taker(arrivals, func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions && asked.Add(1) == 1 {
			<-r.Context().Done()
		}
	}))
	s := runtimetest.Start(t, "slow-probe", appOn(app), runtimetest.Manifests(t, secondly("")),
		func(c *runtime.Config) { c.AppBindingOptionsTimeout = 50 * time.Millisecond })
	within(t, arrivals, "an event")
	if asked.Load() != 2 || strings.Count(s.Log.String(), "could not ask the app whether it takes the events of binding tick") != 1 {
		t.Errorf("%d questions", asked.Load())
	}
}

// TestApplicationDiesDuringAnEvent: the event fails, the sidecar goes on, and the next event reaches the application that
// came back.
func TestApplicationDiesDuringAnEvent(t *testing.T) {
	runtimetest.Isolate(t)
	arrivals := make(chan arrival, 100)
	var well atomic.Bool
	app := startApplication(t, taker(arrivals, func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && !well.Load() {
			<-r.Context().Done()
		}
	}))
	s := runtimetest.Start(t, "dying", appOn(app), runtimetest.Manifests(t, secondly("")))
	within(t, arrivals, "an event")
	app.die()
	settle(t, func() bool {
		return strings.Contains(s.Log.String(), "error from app consumer for binding [tick]: error invoking app: ")
	},
		"the line about the event that failed")
	for len(arrivals) > 0 {
		<-arrivals
	}
	well.Store(true)
	app.live(t)
	within(t, arrivals, "an event after the application came back")
}

// TestEventInHandAtTheEnd: the shutdown waits for it.
func TestEventInHandAtTheEnd(t *testing.T) {
	runtimetest.Isolate(t)
	arrivals, release, done := make(chan arrival, 100), make(chan struct{}), make(chan error, 1)
	var s *runtimetest.Sidecar
	app := startApplication(t, taker(arrivals, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			return
		}
		<-release
		// The APIs are there for what the application does with the event.
		response, err := http.Get(s.URL("/v1.0/metadata"))
		if err == nil {
			response.Body.Close()
		}
		if err == nil && r.Context().Err() != nil {
			err = r.Context().Err()
		}
		done <- err
	}))
	s = runtimetest.Start(t, "in-hand", appOn(app), runtimetest.Manifests(t, secondly("")))
	within(t, arrivals, "an event")
	ended := make(chan error, 1)
	go func() { ended <- s.Stop() }()
	settle(t, func() bool { return s.Log.Contains("dapr shutting down.") }, "the shutdown")
	select {
	case err := <-ended:
		t.Fatalf("the sidecar ended with %v while an event was in hand", err)
	default:
	}
	close(release)
	if err := within(t, done, "the end of the event"); err != nil {
		t.Errorf("the event was cut off: %v", err)
	}
	if err := within(t, ended, "the end of the sidecar"); err != nil {
		t.Error(err)
	}
}

// TestEventsUnderPolicies: an event that fails is brought again as the inbound policy of its component says.
func TestEventsUnderPolicies(t *testing.T) {
	runtimetest.Isolate(t)
	arrivals := make(chan arrival, 100)
	var attempts atomic.Int32
	app := startApplication(t, taker(arrivals, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && attempts.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	const policies = `---
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: mine}
spec:
  policies:
    retries: {again: {duration: 5ms, maxRetries: 5}}
  targets:
    components: {tick: {inbound: {retry: again}}}
`
	runtimetest.Start(t, "policies", appOn(app), runtimetest.Manifests(t, secondly("")+policies))
	first := within(t, arrivals, "an event")
	for range 2 {
		if again := within(t, arrivals, "the event again"); again.time != first.time {
			t.Errorf("another event came before the first was done: %+v, %+v", first, again)
		}
	}
	if next := within(t, arrivals, "the next event"); next.time == first.time {
		t.Error("an event that was done came again")
	}
}

// TestBindingTraces: the caller's trace reaches the other system, over both transports.
func TestBindingTraces(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	s, _ := newBindingsWorld(t)
	if !s.Log.Contains("failed to read from bindings: app channel not initialized ") {
		t.Error("no line about the application that is not there")
	}
	want := "GET /x " + parent + " state=1 key=value"
	web := transports(t, s)[0].(*httpAPI)
	answer := web.call(t.Context(), "PUT", "/v1.0/bindings/web", `{"operation":"get","metadata":{"path":"x"}}`,
		http.Header{"Traceparent": {parent}, "Tracestate": {"state=1"}, "Baggage": {"key=value"}})
	if answer.body != want || answer.header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s %v", answer.status, answer.body, answer.header)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", parent, "tracestate", "state=1", "baggage", "key=value")
	got, err := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String())).InvokeBinding(ctx,
		&runtimev1.InvokeBindingRequest{Name: "web", Operation: "get", Metadata: map[string]string{"path": "x", "traceparent": "the request's own"}})
	if err != nil || string(got.GetData()) != want {
		t.Errorf("%s, %v", got.GetData(), err)
	}
}

// TestLargeBindings: 100 MB pass where the limit allows, over both transports and back; and not where it does not.
func TestLargeBindings(t *testing.T) {
	const size = 100 << 20
	data := bytes.Repeat([]byte("0123456789abcde\n"), size*3/4/16)
	encoded := base64.StdEncoding.EncodeToString(data) // a text of 100 MB
	t.Run("within the limit", func(t *testing.T) {
		s, dir := newBindingsWorld(t, func(c *runtime.Config) { c.MaxBodySize = 128 << 20 })
		for _, api := range transports(t, s) {
			name := map[string]string{"fileName": api.name()}
			if made := api.invokeBinding(t.Context(), "files", "create", `"`+encoded+`"`, name); made.Fault != nil {
				t.Fatalf("%+v", made.Fault)
			}
			if stored, err := os.ReadFile(filepath.Join(dir, api.name())); err != nil || !bytes.Equal(stored, data) {
				t.Errorf("%s: %d bytes, %v", api.name(), len(stored), err)
			}
			if big, ok := api.(*grpcAPI); ok {
				answer, err := big.client.InvokeBinding(t.Context(), &runtimev1.InvokeBindingRequest{Name: "files", Operation: "get", Metadata: name},
					grpc.MaxCallRecvMsgSize(size))
				if err != nil || !bytes.Equal(answer.GetData(), data) {
					t.Errorf("grpc: %d bytes, %v", len(answer.GetData()), err)
				}
				continue
			}
			if got := api.invokeBinding(t.Context(), "files", "get", "", name); got.Value != string(data) {
				t.Errorf("http: %d bytes, %+v", len(got.Value), got.Fault)
			}
		}
	})
	t.Run("over the limit", func(t *testing.T) {
		s, dir := newBindingsWorld(t)
		for _, api := range transports(t, s) {
			got := api.invokeBinding(t.Context(), "files", "create", `"`+encoded+`"`, nil)
			if api.name() == "http" {
				want := fault{HTTP: 400, Code: "ERR_MALFORMED_REQUEST", Text: "failed deserializing HTTP body: stream too large"}
				if got.Fault == nil || *got.Fault != want {
					t.Errorf("%+v", got.Fault)
				}
				continue
			}
			if got.Fault == nil || got.Fault.GRPC != codes.ResourceExhausted || !strings.HasPrefix(got.Fault.Text, "grpc: received message larger than max (") {
				t.Errorf("%+v", got.Fault)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "large"), data[:5<<20], 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String())).InvokeBinding(t.Context(),
			&runtimev1.InvokeBindingRequest{Name: "files", Operation: "get", Metadata: map[string]string{"fileName": "large"}}, grpc.MaxCallRecvMsgSize(size))
		if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "trying to send message larger than max") {
			t.Errorf("%v", err)
		}
	})
}

// TestEventThatNeverEnds: an application that does not answer for an event takes the time of the end from nobody else: the
// log blames no calls that were none.
func TestEventThatNeverEnds(t *testing.T) {
	runtimetest.Isolate(t)
	begun := make(chan struct{}, 10)
	app := startApplication(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			begun <- struct{}{}
			<-r.Context().Done()
		}
	})
	s := runtimetest.Start(t, "hung", appOn(app), runtimetest.Manifests(t, secondly("")), func(c *runtime.Config) { c.Grace = time.Second })
	<-begun
	if err := s.Stop(); err != nil && !errors.Is(err, runtime.ErrGrace) {
		t.Error(err)
	}
	for _, untrue := range []string{"gRPC calls are still in flight", "gRPC handlers do not end", "http server: calls were still in flight"} {
		if strings.Contains(s.Log.String(), untrue) {
			t.Errorf("the log says: %s", untrue)
		}
	}
}
