package channel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/security"
)

// TestHTTPBindings: probe and event over each protocol of HTTP.
func TestHTTPBindings(t *testing.T) {
	var seen atomic.Pointer[string]
	handler := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		text := fmt.Sprintf("%s %s %s %s %s %s", r.Method, r.RequestURI, r.Header.Get("Content-Type"), r.Header.Get("Dapr-Api-Token"),
			r.Header.Get("K"), body)
		seen.Store(&text)
		switch {
		case strings.Contains(r.URL.Path, "refuses"):
			w.WriteHeader(http.StatusMethodNotAllowed)
		case strings.Contains(r.URL.Path, "created"):
			w.WriteHeader(http.StatusNoContent)
		case strings.Contains(r.URL.Path, "absent"):
			w.WriteHeader(http.StatusNotFound)
		}
		if !strings.Contains(r.URL.Path, "created") && r.Method != http.MethodOptions {
			_, _ = io.WriteString(w, "answer")
		}
	}
	for _, protocol := range []string{"http", "https", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			app := openTest(t, Settings{Protocol: protocol, Address: serveHTTP(t, protocol, handler), Token: security.NewToken("secret"), MaxConcurrency: 4})
			for route, want := range map[string]bool{"b": true, "/refuses": true, "created": true, "absent": false, "/a//b?c=1": true} {
				wants, err := app.WantsBinding(testContext(t), "name", route)
				if err != nil || wants != want {
					t.Errorf("%s: %t, %v", route, wants, err)
				}
			}
			if _, err := app.WantsBinding(testContext(t), "name", "a#b"); err == nil {
				t.Error("a route that no path can hold")
			}
			for route, want := range map[string]*BindingAnswer{"b": {Status: 200, Data: []byte("answer")}, "created": {Status: 204}, "absent": {Status: 404, Data: []byte("answer")}} {
				answer, err := app.BindingEvent(testContext(t), &BindingEvent{Name: "name", Route: route, Data: []byte("data"),
					Metadata: map[string]string{"k": "v\r\nx", "not a name": "1", "": "2", "content-type": "text/plain", "Content-Length": "7"}})
				if err != nil {
					t.Fatal(err)
				}
				if len(answer.Data) == 0 {
					answer.Data = nil
				}
				if diff := cmp.Diff(want, answer); diff != "" {
					t.Error(diff)
				}
				if got, want := *seen.Load(), "POST /"+route+" application/json secret v  x data"; got != want {
					t.Errorf("%q, want %q", got, want)
				}
			}
		})
	}
}

// boundApp is a gRPC application that takes the events of bindings.
type boundApp struct {
	runtimev1.UnimplementedAppCallbackServer
	lists  atomic.Int32
	failed atomic.Pointer[error]
	// event is the last one, with what came beside it.
	event    *runtimev1.BindingEventRequest
	metadata metadata.MD
	answer   *runtimev1.BindingEventResponse
}

func (a *boundApp) fail() error {
	if p := a.failed.Load(); p != nil {
		return *p
	}
	return nil
}

func (a *boundApp) ListInputBindings(ctx context.Context, _ *emptypb.Empty) (*runtimev1.ListInputBindingsResponse, error) {
	a.lists.Add(1)
	a.metadata, _ = metadata.FromIncomingContext(ctx)
	return &runtimev1.ListInputBindingsResponse{Bindings: []string{"a", "b"}}, a.fail()
}

func (a *boundApp) OnBindingEvent(ctx context.Context, req *runtimev1.BindingEventRequest) (*runtimev1.BindingEventResponse, error) {
	a.event = req
	a.metadata, _ = metadata.FromIncomingContext(ctx)
	return a.answer, a.fail()
}

func serveBound(t *testing.T, a *boundApp) App {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	runtimev1.RegisterAppCallbackServer(server, a)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return openTest(t, Settings{Protocol: "grpc", Address: listener.Addr().String(), Token: security.NewToken("secret")})
}

// TestGRPCList: the list is asked for once for the bindings of a start, without the token; one that failed is asked for
// again.
func TestGRPCList(t *testing.T) {
	a := &boundApp{}
	app := serveBound(t, a)
	failure := status.Error(codes.Unavailable, "not yet")
	a.failed.Store(&failure)
	if _, err := app.WantsBinding(testContext(t), "a", ""); status.Code(err) != codes.Unavailable {
		t.Errorf("%v", err)
	}
	a.failed.Store(nil)
	for name, want := range map[string]bool{"a": true, "b": true, "c": false} {
		if wants, err := app.WantsBinding(testContext(t), name, ""); err != nil || wants != want {
			t.Errorf("%s: %t, %v", name, wants, err)
		}
	}
	if a.lists.Load() != 2 || len(a.metadata["dapr-api-token"]) != 0 {
		t.Errorf("%d lists, %v", a.lists.Load(), a.metadata)
	}
}

// TestGRPCListUnimplemented: an application without the method takes no binding.
func TestGRPCListUnimplemented(t *testing.T) {
	app := openTest(t, Settings{Protocol: "grpc", Address: serveCallback(t, nil)})
	if wants, err := app.WantsBinding(testContext(t), "a", ""); err != nil || wants {
		t.Errorf("%t, %v", wants, err)
	}
}

func TestGRPCEvent(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	a := &boundApp{answer: &runtimev1.BindingEventResponse{Data: []byte("answer"), To: []string{"x", "y"},
		Concurrency: runtimev1.BindingEventResponse_PARALLEL, StoreName: "ignored"}}
	app := serveBound(t, a)
	event := &BindingEvent{Name: "a", Route: "/r", Data: []byte("data"), Metadata: map[string]string{"k": "v", "traceparent": parent}}
	answer, err := app.BindingEvent(testContext(t), event)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&BindingAnswer{Data: []byte("answer"), To: []string{"x", "y"}, Parallel: true}, answer); diff != "" {
		t.Error(diff)
	}
	if a.event.GetName() != "a" || string(a.event.GetData()) != "data" || a.event.GetMetadata()["k"] != "v" {
		t.Errorf("%v", a.event)
	}
	if got := [2][]string{a.metadata["dapr-api-token"], a.metadata["traceparent"]}; !cmp.Equal(got, [2][]string{{"secret"}, {parent}}) {
		t.Errorf("%v", got)
	}
	failure := status.Error(codes.Aborted, "no")
	a.failed.Store(&failure)
	if _, err := app.BindingEvent(testContext(t), event); status.Code(err) != codes.Aborted {
		t.Errorf("%v", err)
	}
}

// TestLimitedEvents: events count for --app-max-concurrency, the probe does not.
func TestLimitedEvents(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	app := openTest(t, Settings{Address: serveHTTP(t, "http", func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			entered <- struct{}{}
			<-release
		}
	}), MaxConcurrency: 1})
	done := make(chan error, 1)
	go func() {
		_, err := app.BindingEvent(context.Background(), &BindingEvent{Route: "b"})
		done <- err
	}()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := app.BindingEvent(ctx, &BindingEvent{Route: "b"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second event: %v", err)
	}
	if wants, err := app.WantsBinding(testContext(t), "b", "b"); err != nil || !wants {
		t.Errorf("the probe: %v", err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
