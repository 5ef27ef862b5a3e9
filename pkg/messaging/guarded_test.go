package messaging_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/messaging"
	"github.com/daprd/daprd/pkg/nameresolution"
	"github.com/daprd/daprd/pkg/ready"
	"github.com/daprd/daprd/pkg/resiliency"
)

func span(d time.Duration) *config.Span { return (*config.Span)(&d) }

// ruled is a caller whose own application answers, under policies for it.
func ruled(t testing.TB, policies config.ResiliencyPolicies, target config.AppTarget, app channel.App) *messaging.Direct {
	t.Helper()
	p := resiliency.New()
	warnings, err := p.Set(config.Resiliency{Spec: config.ResiliencySpec{Policies: policies,
		Targets: config.ResiliencyTargets{Apps: map[string]config.AppTarget{"caller": target, "callee": target}}}})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	return messaging.New(messaging.Deps{Self: messaging.Self{AppID: "caller", Namespace: "default"}, App: filled(app),
		Resolver: new(ready.Slot[nameresolution.Resolver]), Peers: messaging.NewPeers(messaging.Insecure{}, 0), Policies: p})
}

// refused stands for no answer.
const refused = -1

// answers is an application that gives these statuses in turn, the last one for ever, and counts what it left open.
type answers struct {
	statuses []int
	header   channel.Header
	// unread leaves the body of the request alone.
	unread bool
	calls  int
	bodies []string
	open   int
}

func (a *answers) serve(ctx context.Context, req *channel.Request) (*channel.Response, error) {
	status := a.statuses[min(a.calls, len(a.statuses)-1)]
	a.calls++
	if !a.unread {
		body, err := io.ReadAll(req.Body.Reader())
		if err != nil {
			return nil, err
		}
		a.bodies = append(a.bodies, string(body))
	}
	if status == refused {
		return nil, errors.New("connection refused")
	}
	a.open++
	return &channel.Response{Status: status, Header: a.header, Body: channel.Body{Stream: strings.NewReader("said"), Length: -1},
		Release: func() { a.open-- }}, nil
}

func TestAnswersUnderPolicies(t *testing.T) {
	again := map[string]config.Retry{"again": {Duration: span(time.Second), MaxRetries: new(3)}}
	listed := map[string]config.Retry{"again": {Duration: span(time.Second), MaxRetries: new(3), Matching: config.Matching{HTTPStatusCodes: "429", GRPCStatusCodes: "5"}}}
	stream := func() channel.Body { return channel.Body{Stream: strings.NewReader("sent"), Length: -1} }
	short := func() channel.Body { return channel.Body{Stream: strings.NewReader("sent"), Length: 4} }
	whole := func() channel.Body { return channel.Body{Bytes: []byte("sent")} }
	for name, test := range map[string]struct {
		retries map[string]config.Retry
		app     answers
		body    func() channel.Body
		calls   int
		status  int
		err     string
		elapsed time.Duration
	}{
		"until success":                 {again, answers{statuses: []int{503, refused, 200}}, whole, 3, 200, "", 2 * time.Second},
		"the last answer":               {again, answers{statuses: []int{500, 500, 500, 503, 200}}, whole, 4, 503, "", 3 * time.Second},
		"404":                           {again, answers{statuses: []int{404, 200}}, whole, 1, 404, "", 0},
		"redirect":                      {again, answers{statuses: []int{302, 200}}, whole, 1, 302, "", 0},
		"429 with Retry-After":          {listed, answers{statuses: []int{429, 200}, header: channel.Header{{Name: "retry-after", Value: "9"}}}, whole, 2, 200, "", 9 * time.Second},
		"gRPC Unavailable":              {again, answers{statuses: []int{int(codes.Unavailable), int(codes.OK)}}, whole, 2, 0, "", time.Second},
		"gRPC NotFound":                 {again, answers{statuses: []int{int(codes.NotFound), int(codes.OK)}}, whole, 1, int(codes.NotFound), "", 0},
		"gRPC NotFound, listed":         {listed, answers{statuses: []int{int(codes.NotFound), int(codes.OK)}}, whole, 2, 0, "", time.Second},
		"no answer":                     {again, answers{statuses: []int{refused}}, whole, 4, 0, "failed to invoke, id: caller, err: connection refused", 3 * time.Second},
		"a short stream is kept":        {again, answers{statuses: []int{503, 200}}, short, 2, 200, "", time.Second},
		"a stream is not sent again":    {again, answers{statuses: []int{503, 200}}, stream, 1, 503, "", 0},
		"nor after an error":            {again, answers{statuses: []int{refused, 200}}, stream, 1, 0, "failed to invoke, id: caller, err: connection refused", 0},
		"a stream that nobody read":     {again, answers{statuses: []int{refused, 503, 200}, unread: true}, stream, 3, 200, "", 2 * time.Second},
		"no policy for the status":      {nil, answers{statuses: []int{503, 200}}, whole, 1, 503, "", 0},
		"an app that is not there, yet": {nil, answers{statuses: []int{refused}}, whole, 1, 0, "failed to invoke, id: caller, err: connection refused", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				target := config.AppTarget{}
				if test.retries != nil {
					target.Retry = "again"
				}
				d := ruled(t, config.ResiliencyPolicies{Retries: test.retries}, target, serving(test.app.serve))
				began := time.Now()
				res, err := d.Invoke(t.Context(), "caller", &channel.Request{Verb: "POST", Method: "m", Body: test.body()})
				if elapsed := time.Since(began); elapsed != test.elapsed || test.app.calls != test.calls {
					t.Errorf("%d calls in %s, want %d in %s", test.app.calls, elapsed, test.calls, test.elapsed)
				}
				for _, body := range test.app.bodies {
					if body != "sent" {
						t.Errorf("an attempt got the body %q", body)
					}
				}
				if test.err != "" {
					if err == nil || err.Error() != test.err {
						t.Errorf("error %v, want %s", err, test.err)
					}
				} else if err != nil || res.Status != test.status || readAll(t, res) != "said" {
					t.Errorf("answer %+v, %v", res, err)
				}
				if n := test.app.open; n != 0 {
					t.Errorf("%d answers are not closed", n)
				}
			})
		})
	}
}

// closable is a stream that tells whether it was closed.
type closable struct {
	io.Reader
	closed int
}

func (c *closable) Close() error { c.closed++; return nil }

// TestStreamIsClosed: a stream that no attempt has read is closed once, when no other follows.
func TestStreamIsClosed(t *testing.T) {
	for name, closes := range map[string]bool{"by the attempts": true, "not by them": false} {
		t.Run(name, func(t *testing.T) {
			body := &closable{Reader: strings.NewReader("sent")}
			app := serving(func(_ context.Context, req *channel.Request) (*channel.Response, error) {
				if body.closed > 0 {
					t.Error("closed before the last attempt")
				}
				if closes {
					_ = req.Body.Stream.(io.Closer).Close()
				}
				return nil, errors.New("refused")
			})
			d := ruled(t, config.ResiliencyPolicies{Retries: map[string]config.Retry{"again": {Duration: span(0), MaxRetries: new(2)}}}, config.AppTarget{Retry: "again"}, app)
			if _, err := d.Invoke(t.Context(), "caller", &channel.Request{Verb: "POST", Method: "m", Body: channel.Body{Stream: body, Length: -1}}); err == nil {
				t.Error("no error")
			}
			if body.closed != 1 {
				t.Errorf("closed %d times", body.closed)
			}
		})
	}
}

// TestTimeoutUnderPolicies: it bounds the time until the answer, not the reading of its body.
func TestTimeoutUnderPolicies(t *testing.T) {
	policies := config.ResiliencyPolicies{Timeouts: map[string]config.Span{"quick": config.Span(time.Second)}}
	synctest.Test(t, func(t *testing.T) {
		slow := serving(func(ctx context.Context, req *channel.Request) (*channel.Response, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		_, err := ruled(t, policies, config.AppTarget{Timeout: "quick"}, slow).Invoke(t.Context(), "caller", post("m", nil))
		row := apierr.From(err)
		want := `failed to invoke, id: caller, err: context deadline exceeded: the app caller, method m did not answer within 1s (timeout policy "quick")`
		if row.Error() != want || row.HTTP != http.StatusInternalServerError || row.Code != "ERR_DIRECT_INVOKE" || row.GRPC != codes.DeadlineExceeded {
			t.Errorf("%+v", row)
		}
		var seen context.Context
		streaming := serving(func(ctx context.Context, req *channel.Request) (*channel.Response, error) {
			seen = ctx
			return &channel.Response{Status: 200}, nil
		})
		res, err := ruled(t, policies, config.AppTarget{Timeout: "quick"}, streaming).Invoke(t.Context(), "caller", post("m", nil))
		time.Sleep(time.Minute)
		if err != nil || seen.Err() != nil {
			t.Errorf("a minute later: %v, %v", err, seen.Err())
		}
		res.Close()
	})
}

func TestBreakerUnderPolicies(t *testing.T) {
	policies := config.ResiliencyPolicies{CircuitBreakers: map[string]config.CircuitBreaker{"fuse": {Trip: "consecutiveFailures > 1"}}}
	app := &answers{statuses: []int{500}}
	d := ruled(t, policies, config.AppTarget{CircuitBreaker: "fuse"}, serving(app.serve))
	call := func(id, method string) (int, error) {
		res, err := d.Invoke(t.Context(), id, post(method, nil))
		if err != nil {
			return 0, err
		}
		defer res.Close()
		return res.Status, nil
	}
	for range 2 {
		if status, err := call("caller", "m"); status != 500 || err != nil {
			t.Fatal(status, err)
		}
	}
	for _, id := range []string{"caller", "caller.default"} {
		_, err := call(id, "m")
		row := apierr.From(err)
		want := "failed to invoke, id: " + id + `, err: circuit breaker is open: "fuse" of the app caller, method m, since `
		if err == nil || !strings.HasPrefix(row.Error(), want) || row.HTTP != http.StatusInternalServerError || row.GRPC != codes.Unavailable {
			t.Errorf("%s: %v", id, err)
		}
	}
	if status, err := call("caller", "other"); status != 500 || err != nil {
		t.Errorf("another method: %d, %v", status, err)
	}
}

// TestRemoteUnderPolicies: with a target of its own an app has no built-in retries; without one they can be defined anew.
func TestRemoteUnderPolicies(t *testing.T) {
	build := func(spec config.ResiliencySpec) *caller {
		c := newCaller(t, map[string][]string{"callee": {nowhere(t)}})
		p := resiliency.New()
		if _, err := p.Set(config.Resiliency{Spec: spec}); err != nil {
			t.Fatal(err)
		}
		resolver := new(ready.Slot[nameresolution.Resolver])
		resolver.Fill(c.directory)
		peers := messaging.NewPeers(messaging.Insecure{}, 4<<20)
		c.Direct = messaging.New(messaging.Deps{Self: messaging.Self{AppID: "caller", Namespace: "default"}, App: c.app, Resolver: resolver, Peers: peers, Policies: p})
		t.Cleanup(func() { _, _ = peers.Close(), c.Close() })
		return c
	}
	now := map[string]config.Retry{"DaprBuiltInServiceRetries": {Duration: span(time.Millisecond), MaxRetries: new(5)}}
	for name, test := range map[string]struct {
		spec config.ResiliencySpec
		want string
	}{
		"defined anew": {config.ResiliencySpec{Policies: config.ResiliencyPolicies{Retries: now}}, "failed to invoke target callee after 5 retries. Error: "},
		"an app with a target": {config.ResiliencySpec{Policies: config.ResiliencyPolicies{Retries: now},
			Targets: config.ResiliencyTargets{Apps: map[string]config.AppTarget{"callee": {}}}}, "rpc error: code = Unavailable"},
	} {
		_, err := build(test.spec).Invoke(within(t), "callee", post("m", nil))
		if err == nil || !strings.HasPrefix(err.Error(), "failed to invoke, id: callee, err: "+test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEndpointUnderPolicies: a service without a sidecar has policies by its name, or by its URL.
func TestEndpointUnderPolicies(t *testing.T) {
	var calls atomic.Int64
	listener := listen(t)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if calls.Add(1)%3 != 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = w.Write(body)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	url := "http://" + listener.Addr().String()
	p := resiliency.New()
	retry := config.AppTarget{Retry: "again"}
	if _, err := p.Set(config.Resiliency{Spec: config.ResiliencySpec{
		Policies: config.ResiliencyPolicies{Retries: map[string]config.Retry{"again": {Duration: span(0), MaxRetries: new(2)}}},
		Targets:  config.ResiliencyTargets{Apps: map[string]config.AppTarget{"outside": retry, url: retry}}}}); err != nil {
		t.Fatal(err)
	}
	endpoints := new(ready.Slot[*messaging.Endpoints])
	named := messaging.NewEndpoints([]messaging.Endpoint{{Name: "outside", BaseURL: url}})
	endpoints.Fill(named)
	d := messaging.New(messaging.Deps{Peers: messaging.NewPeers(messaging.Insecure{}, 0), Endpoints: endpoints, Policies: p})
	t.Cleanup(func() { _, _ = d.Close(), named.Close() })
	for _, id := range []string{"outside", url} {
		res, err := d.Invoke(within(t), id, post("m", []byte("sent")))
		if err != nil || res.Status != 200 {
			t.Fatalf("%s: %+v, %v", id, res, err)
		}
		if diff := cmp.Diff("sent", readAll(t, res)); diff != "" {
			t.Error(diff)
		}
	}
	if calls.Load() != 6 {
		t.Errorf("%d calls", calls.Load())
	}
}

// moving is a resolver whose answer is another one after the first.
type moving struct {
	first, later string
	asked        atomic.Int64
}

func (m *moving) Resolve(context.Context, nameresolution.Target) ([]string, error) {
	if m.asked.Add(1) == 1 {
		return []string{m.first}, nil
	}
	return []string{m.later}, nil
}

// TestStreamToASidecarThatIsGone: nobody has read of the stream, so that it can go to another address.
func TestStreamToASidecarThatIsGone(t *testing.T) {
	peer := startCallee(t, "callee", serving(echo))
	p := resiliency.New()
	if _, err := p.Set(config.Resiliency{Spec: config.ResiliencySpec{
		Policies: config.ResiliencyPolicies{Retries: map[string]config.Retry{"again": {Duration: span(0), MaxRetries: new(1)}}, Timeouts: map[string]config.Span{"long": config.Span(time.Hour)}},
		Targets:  config.ResiliencyTargets{Apps: map[string]config.AppTarget{"callee": {Retry: "again", Timeout: "long"}}}}}); err != nil {
		t.Fatal(err)
	}
	resolver := new(ready.Slot[nameresolution.Resolver])
	resolver.Fill(&moving{first: nowhere(t), later: peer.address})
	peers := messaging.NewPeers(messaging.Insecure{}, 4<<20)
	d := messaging.New(messaging.Deps{Self: messaging.Self{AppID: "caller", Namespace: "default"}, App: new(ready.Slot[channel.App]), Resolver: resolver, Peers: peers, Policies: p})
	t.Cleanup(func() { _, _ = peers.Close(), d.Close() })
	long := strings.Repeat("0123456789abcdef", 1<<14)
	for name, stream := range map[string]io.Reader{"closable": &closable{Reader: strings.NewReader(long)}, "not": strings.NewReader(long)} {
		res, err := d.Invoke(within(t), "callee", &channel.Request{Verb: "POST", Method: "m", Body: channel.Body{Stream: stream, Length: -1}})
		if err != nil || res.Status != 200 {
			t.Fatalf("%s: %+v, %v", name, res, err)
		}
		if got := readAll(t, res); got != long {
			t.Errorf("%s: %d bytes came back of %d", name, len(got), len(long))
		}
	}
}
