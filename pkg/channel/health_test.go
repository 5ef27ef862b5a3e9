package channel

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/google/go-cmp/cmp"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/security"
)

// TestProbeHTTP: the path with its query, no token, any 2xx; also while the application has all the calls that it may
// have.
func TestProbeHTTP(t *testing.T) {
	for _, protocol := range []string{"http", "https", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			busy, free := make(chan struct{}), make(chan struct{})
			address := serveHTTP(t, protocol, func(w http.ResponseWriter, r *http.Request) {
				switch r.RequestURI {
				case "/busy":
					close(busy)
					<-free
				case "/well?deep=true":
					if r.Method != http.MethodGet || r.Header.Get("Dapr-Api-Token") != "" {
						t.Errorf("%s with token %q", r.Method, r.Header.Get("Dapr-Api-Token"))
					}
					w.WriteHeader(http.StatusAccepted)
				default:
					w.WriteHeader(http.StatusServiceUnavailable)
				}
			})
			app := openTest(t, Settings{Protocol: protocol, Address: address, Token: security.NewToken("secret"), MaxConcurrency: 1})
			over := make(chan struct{})
			go func() {
				defer close(over)
				if res, err := app.Invoke(testContext(t), &Request{Verb: "GET", Method: "busy"}); err == nil {
					res.Close()
				}
			}()
			<-busy
			if code, err := app.Probe(testContext(t), "/well?deep=true"); code != 202 || err != nil {
				t.Errorf("a well one: %d, %v", code, err)
			}
			if code, err := app.Probe(testContext(t), "/ill"); code != 503 || err == nil || err.Error() != "GET /ill answers 503" {
				t.Errorf("an ill one: %d, %v", code, err)
			}
			close(free)
			<-over
		})
	}
	if code, err := openTest(t, Settings{Address: "127.0.0.1:1"}).Probe(testContext(t), "/healthz"); code != 500 || err == nil {
		t.Errorf("one that is away: %d, %v", code, err)
	}
}

// checkedApp serves the health callback.
type checkedApp struct {
	runtimev1.UnimplementedAppCallbackHealthCheckServer
	check func(context.Context) error
}

func (a *checkedApp) HealthCheck(ctx context.Context, _ *emptypb.Empty) (*runtimev1.HealthCheckResponse, error) {
	return &runtimev1.HealthCheckResponse{}, a.check(ctx)
}

func TestProbeGRPC(t *testing.T) {
	var failure atomic.Pointer[error]
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	runtimev1.RegisterAppCallbackHealthCheckServer(server, &checkedApp{check: func(ctx context.Context) error {
		if got := metadata.ValueFromIncomingContext(ctx, "dapr-api-token"); len(got) > 0 {
			t.Errorf("the token comes along: %q", got)
		}
		if err := failure.Load(); err != nil {
			return *err
		}
		return nil
	}})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	app := openTest(t, Settings{Protocol: "grpc", Address: listener.Addr().String(), Token: security.NewToken("secret")})
	if code, err := app.Probe(testContext(t), "/healthz"); code != 0 || err != nil {
		t.Errorf("a well one: %d, %v", code, err)
	}
	ill := status.Error(codes.NotFound, "no")
	failure.Store(&ill)
	if code, err := app.Probe(testContext(t), ""); codes.Code(code) != codes.NotFound || err == nil {
		t.Errorf("an ill one: %d, %v", code, err)
	}
	without := openTest(t, Settings{Protocol: "grpc", Address: serveCallback(t, nil)})
	if code, err := without.Probe(testContext(t), ""); codes.Code(code) != codes.Unimplemented || err == nil {
		t.Errorf("one without the callback: %d, %v", code, err)
	}
}

// patient answers probes as it is told.
type patient struct{ answers chan error }

func (p patient) Probe(ctx context.Context, path string) (int, error) {
	select {
	case err := <-p.answers:
		return 200, err
	case <-ctx.Done():
		return 500, ctx.Err()
	}
}

// TestHealth: ill at first; one success makes well, as many failures in a row as the threshold make ill.
func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, hook := test.NewNullLogger()
		log.SetOutput(io.Discard)
		log.SetLevel(logrus.InfoLevel)
		var probes, slow int
		h := NewHealth(HealthSettings{Path: "/healthz", Interval: 5 * time.Second, Timeout: time.Second, Threshold: 3, Log: log,
			Observe: func(_ int, elapsed time.Duration) {
				if probes++; elapsed == time.Second {
					slow++
				}
			}})
		app := patient{make(chan error)}
		ctx, stop := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() {
			defer close(over)
			h.Run(ctx, app)
		}()
		step := func(err error, well bool) {
			t.Helper()
			app.answers <- err
			synctest.Wait()
			if h.Well() != well {
				t.Errorf("after the answer %v: well %t", err, h.Well())
			}
		}
		bad := errors.New("GET /healthz answers 500")
		step(bad, false)
		step(nil, true)
		step(bad, true)
		step(bad, true)
		step(nil, true)
		step(bad, true)
		step(bad, true)
		if err := h.Await(ctx, true); err != nil {
			t.Error(err)
		}
		if err := h.Await(ctx, false); err != nil || h.Well() { // the third failure is a probe that gets no answer
			t.Error(err)
		}
		step(nil, true)
		stop()
		<-over
		if err := h.Await(ctx, false); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if probes < 9 || slow != 1 {
			t.Errorf("%d probes are told of, %d of them too slow", probes, slow)
		}
		var lines []string
		for _, entry := range hook.AllEntries() {
			lines = append(lines, entry.Message)
		}
		want := []string{"App health probes starting", "App health probe could not complete with error: GET /healthz answers 500",
			"App entered healthy status", "App health probe could not complete with error: GET /healthz answers 500",
			"App health probe could not complete with error: GET /healthz answers 500",
			"App entered un-healthy status: context deadline exceeded", "App entered healthy status", "App health probes stopping"}
		if diff := cmp.Diff(want, lines); diff != "" {
			t.Error(diff)
		}
	})
}

// TestHealthy: while the application is ill nothing but the probe and its questions reach it.
func TestHealthy(t *testing.T) {
	got := make(chan *rawRequest, 10)
	app := serveRaw(t, answerAll(okEmpty, got))
	health := NewHealth(HealthSettings{})
	channel := Healthy(openTest(t, Settings{Address: app.address}), health)
	ctx := testContext(t)
	calls := map[string]func() error{
		"invoke": func() error {
			res, err := channel.Invoke(ctx, &Request{Verb: "GET", Method: "m"})
			res.Close()
			return err
		},
		"message":  func() error { _, err := channel.Deliver(ctx, &TopicEvent{Path: "m"}); return err },
		"messages": func() error { _, err := channel.DeliverBulk(ctx, &BulkTopicEvent{Path: "m"}); return err },
		"event":    func() error { _, err := channel.BindingEvent(ctx, &BindingEvent{Route: "m"}); return err },
		"update":   func() error { return channel.ConfigurationUpdate(ctx, &ConfigurationUpdate{}) },
	}
	for name, call := range calls {
		if err := call(); status.Code(err) != codes.Internal || status.Convert(err).Message() != "app is not in a healthy state" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(got) > 0 {
		t.Error("a call reaches the application")
	}
	if code, err := channel.Probe(ctx, "/healthz"); code != 200 || err != nil {
		t.Errorf("probe: %d, %v", code, err)
	}
	<-got
	health.set(true)
	for name, call := range calls {
		if err := call(); errors.Is(err, ErrUnhealthy) {
			t.Errorf("%s of a well one: %v", name, err)
		}
	}
	if err := calls["invoke"](); err != nil {
		t.Error(err)
	}
}
