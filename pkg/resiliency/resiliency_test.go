package resiliency_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/resiliency"
)

// read gives the Resiliency resources of a text.
func read(t testing.TB, text string) []config.Resiliency {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "r.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	resources, err := config.ReadFolders(dir)
	if err != nil || len(resources.Warnings) > 0 {
		t.Fatal(err, resources.Warnings)
	}
	return resources.Resiliencies
}

const head = "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: {name: r}\n"

// in puts a spec in force.
func in(t testing.TB, spec string, options ...resiliency.Option) *resiliency.Policies {
	t.Helper()
	p := resiliency.New(options...)
	warnings, err := p.Set(read(t, head+spec)...)
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	return p
}

// statused is a failure with an HTTP status.
type statused int

func (s statused) Error() string   { return fmt.Sprintf("status %d", int(s)) }
func (s statused) HTTPStatus() int { return int(s) }

// delayed asks for a pause.
type delayed struct {
	statused
	pause time.Duration
}

func (d delayed) RetryAfter() (time.Duration, bool) { return d.pause, true }

var errDown = errors.New("down")

// script fails with the errors in their order and then succeeds; it keeps when it was called.
type script struct {
	began  time.Time
	errors []error
	calls  []time.Duration
}

func newScript(errs ...error) *script { return &script{began: time.Now(), errors: errs} }

func (s *script) call(context.Context) error {
	s.calls = append(s.calls, time.Since(s.began))
	if n := len(s.calls); n <= len(s.errors) {
		return s.errors[n-1]
	}
	return nil
}

func TestRetries(t *testing.T) {
	second := time.Second
	many := make([]error, 10)
	for i := range many {
		many[i] = errDown
	}
	tests := map[string]struct {
		retry  string
		errors []error
		want   []time.Duration
		err    error
	}{
		"until success":         {"{duration: 1s, maxRetries: 5}", []error{errDown, errDown}, []time.Duration{0, second, 2 * second}, nil},
		"until they are used":   {"{duration: 1s, maxRetries: 2}", many, []time.Duration{0, second, 2 * second}, errDown},
		"none":                  {"{duration: 1s, maxRetries: 0}", many, []time.Duration{0}, errDown},
		"without end":           {"{duration: 1000}", many[:4], []time.Duration{0, second, 2 * second, 3 * second, 4 * second}, nil},
		"the default of 5s":     {"{maxRetries: 1}", many[:1], []time.Duration{0, 5 * second}, nil},
		"404 is the caller's":   {"{duration: 1s}", []error{statused(404)}, []time.Duration{0}, statused(404)},
		"429 too":               {"{duration: 1s}", []error{statused(429)}, []time.Duration{0}, statused(429)},
		"503":                   {"{duration: 1s}", []error{statused(503)}, []time.Duration{0, second}, nil},
		"a listed 404":          {"{duration: 1s, matching: {httpStatusCodes: '404,500-599'}}", []error{statused(404), statused(501)}, []time.Duration{0, second, 2 * second}, nil},
		"a 503 not listed":      {"{duration: 1s, matching: {httpStatusCodes: '429'}}", []error{statused(429), statused(503)}, []time.Duration{0, second}, statused(503)},
		"no status, with lists": {"{duration: 1s, matching: {httpStatusCodes: 429, gRPCStatusCodes: 1}}", []error{errDown}, []time.Duration{0, second}, nil},
		"Unavailable":           {"{duration: 1s}", []error{status.Error(codes.Unavailable, "")}, []time.Duration{0, second}, nil},
		"NotFound":              {"{duration: 1s}", []error{status.Error(codes.NotFound, "")}, []time.Duration{0}, status.Error(codes.NotFound, "")},
		"a listed NotFound":     {"{duration: 1s, matching: {gRPCStatusCodes: '1-5'}}", []error{status.Error(codes.NotFound, "")}, []time.Duration{0, second}, nil},
		"a caller's row":        {"{duration: 1s}", []error{apierr.MalformedRequest.New("x")}, []time.Duration{0}, apierr.MalformedRequest.New("x")},
		"Retry-After":           {"{duration: 1s, matching: {httpStatusCodes: 429}}", []error{delayed{429, 7 * second}}, []time.Duration{0, 7 * second}, nil},
		"Retry-After bounded":   {"{duration: 1s, maxInterval: 3s}", []error{delayed{503, time.Hour}}, []time.Duration{0, 3 * second}, nil},
		"Retry-After of now":    {"{duration: 2s}", []error{delayed{503, 0}}, []time.Duration{0, 2 * second}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := in(t, "spec: {policies: {retries: {again: "+test.retry+"}}, targets: {components: {store: {outbound: {retry: again}}}}}")
			guard := p.Component(resiliency.Statestore, "store", resiliency.Outbound)
			synctest.Test(t, func(t *testing.T) {
				s := newScript(test.errors...)
				err := guard.Run(t.Context(), s.call)
				if (err == nil) != (test.err == nil) || (err != nil && err.Error() != test.err.Error()) {
					t.Errorf("error %v, want %v", err, test.err)
				}
				if diff := cmp.Diff(test.want, s.calls); diff != "" {
					t.Errorf("calls (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestExponential(t *testing.T) {
	p := in(t, "spec: {policies: {retries: {again: {policy: exponential, maxInterval: 10s}}}, targets: {apps: {cart: {retry: again}}}}")
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		err := p.App("cart").Run(t.Context(), func(ctx context.Context) error {
			_ = s.call(ctx)
			return errDown
		})
		total := s.calls[len(s.calls)-1]
		if !errors.Is(err, errDown) || total > 15*time.Minute || total < 14*time.Minute {
			t.Errorf("gave up after %s with %v, want 15 minutes", total, err)
		}
		low, high := 250*time.Millisecond, 750*time.Millisecond+1
		for i := 1; i < len(s.calls); i++ {
			if pause := s.calls[i] - s.calls[i-1]; pause < low || pause > high {
				t.Errorf("pause %d is %s, want %s to %s", i, pause, low, high)
			}
			low, high = min(low*3/2, 5*time.Second), min(high*3/2, 15*time.Second+1)
		}
	})
}

func TestTimeout(t *testing.T) {
	p := in(t, "spec: {policies: {timeouts: {quick: 2s}, retries: {once: {duration: 1s, maxRetries: 1}}}, targets: {components: {store: {outbound: {timeout: quick, retry: once}}}}}")
	guard := p.Component(resiliency.Statestore, "store", resiliency.Outbound)
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		err := guard.Run(t.Context(), func(ctx context.Context) error {
			_ = s.call(ctx)
			<-ctx.Done()
			return errors.New("i/o timeout")
		})
		want := `context deadline exceeded: the component store did not answer within 2s (timeout policy "quick")`
		if err == nil || err.Error() != want || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if diff := cmp.Diff([]time.Duration{0, 3 * time.Second}, s.calls); diff != "" {
			t.Error(diff)
		}
	})
}

func TestCallerLeaves(t *testing.T) {
	p := in(t, "spec: {policies: {timeouts: {slow: 1h}, retries: {again: {duration: 1h}}}, targets: {apps: {cart: {timeout: slow, retry: again}}}}")
	synctest.Test(t, func(t *testing.T) {
		for _, where := range []string{"in a pause", "in an attempt"} {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			began := time.Now()
			err := p.App("cart").Run(ctx, func(ctx context.Context) error {
				if where == "in an attempt" {
					<-ctx.Done()
					return ctx.Err()
				}
				return errDown
			})
			if elapsed := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || elapsed != 3*time.Second {
				t.Errorf("%s: %v after %s", where, err, elapsed)
			}
		}
	})
}

const breaking = `spec:
  policies:
    circuitBreakers: {fuse: {timeout: 10s, trip: "consecutiveFailures >= 2"}}
  targets:
    apps: {cart: {circuitBreaker: fuse}}
    components: {store: {outbound: {circuitBreaker: fuse}}}
`

func TestBreaker(t *testing.T) {
	var out bytes.Buffer
	log := logrus.New()
	log.SetOutput(&out)
	p := in(t, breaking, resiliency.WithLog(log))
	guard := p.Component(resiliency.Statestore, "store", resiliency.Outbound)
	synctest.Test(t, func(t *testing.T) {
		fail := func(context.Context) error { return errDown }
		run := func(operation func(context.Context) error) error { return guard.Run(t.Context(), operation) }
		for range 2 {
			if err := run(fail); !errors.Is(err, errDown) {
				t.Fatal(err)
			}
		}
		opened := time.Now()
		time.Sleep(3 * time.Second)
		var open *resiliency.OpenError
		err := run(func(context.Context) error { t.Error("an open breaker let a call through"); return nil })
		want := resiliency.OpenError{Breaker: "fuse", Target: "the component store", Since: opened, Until: opened.Add(10 * time.Second)}
		if !errors.As(err, &open) || !open.Since.Equal(want.Since) || !open.Until.Equal(want.Until) || open.Breaker != "fuse" || open.HalfOpen {
			t.Errorf("error %v", err)
		}
		if text := `circuit breaker is open: "fuse" of the component store, since 2000-01-01T00:00:00.000Z until 2000-01-01T00:00:10.000Z`; err.Error() != text {
			t.Errorf("text %s", err)
		}
		time.Sleep(8 * time.Second)
		// Half open: one call tries, another one is refused meanwhile.
		err = run(func(context.Context) error {
			if err := run(fail); !errors.As(err, &open) || !open.HalfOpen || !strings.HasPrefix(err.Error(), "too many requests: ") {
				t.Errorf("beside the one that tries: %v", err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if err := run(fail); !errors.Is(err, errDown) {
			t.Errorf("closed again: %v", err)
		}
	})
	for _, change := range []string{"closed to open", "open to half-open", "half-open to closed"} {
		if line := `Circuit breaker \"fuse (component[store] output)\" changed state from ` + change; !strings.Contains(out.String(), line) {
			t.Errorf("no line %s in\n%s", line, &out)
		}
	}
}

func TestWhatABreakerCounts(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx   context.Context
		err   error
		opens bool
	}{
		"no status":      {t.Context(), errDown, true},
		"500":            {t.Context(), statused(500), true},
		"404":            {t.Context(), statused(404), false},
		"Unavailable":    {t.Context(), status.Error(codes.Unavailable, ""), true},
		"PermissionDeny": {t.Context(), status.Error(codes.PermissionDenied, ""), false},
		"a caller left":  {cancelled, context.Canceled, false},
	} {
		t.Run(name, func(t *testing.T) {
			guard := in(t, breaking).App("cart")
			for range 3 {
				_ = guard.Run(test.ctx, func(context.Context) error { return test.err })
			}
			var open *resiliency.OpenError
			err := guard.Run(t.Context(), func(context.Context) error { return nil })
			if errors.As(err, &open) != test.opens {
				t.Errorf("after three of them: %v, want open %t", err, test.opens)
			}
		})
	}
}

func TestBreakersByMethod(t *testing.T) {
	guard := in(t, breaking).App("cart")
	fail := func(context.Context) error { return errDown }
	for range 2 {
		_ = guard.Call(t.Context(), "add", fail)
	}
	var open *resiliency.OpenError
	if err := guard.Call(t.Context(), "add", fail); !errors.As(err, &open) || open.Target != "the app cart, method add" {
		t.Errorf("the failing method: %v", err)
	}
	if err := guard.Call(t.Context(), "list", fail); !errors.Is(err, errDown) {
		t.Errorf("another method: %v", err)
	}
}

// TestBreakerThatOpensKeepsTheAnswer: the last real failure is worth more than the word that the breaker is open.
func TestBreakerThatOpensKeepsTheAnswer(t *testing.T) {
	p := in(t, `spec:
  policies:
    retries: {again: {duration: 1s, maxRetries: 9}}
    circuitBreakers: {fuse: {timeout: 1m, trip: "consecutiveFailures >= 3"}}
  targets: {apps: {cart: {retry: again, circuitBreaker: fuse}}}`)
	synctest.Test(t, func(t *testing.T) {
		s := newScript(errDown, errDown, errDown, errDown)
		if err := p.App("cart").Run(t.Context(), s.call); !errors.Is(err, errDown) || len(s.calls) != 3 {
			t.Errorf("%v after %d calls", err, len(s.calls))
		}
		var open *resiliency.OpenError
		if err := p.App("cart").Run(t.Context(), s.call); !errors.As(err, &open) || len(s.calls) != 3 {
			t.Errorf("%v after %d calls", err, len(s.calls))
		}
	})
}

func TestDefaultPolicies(t *testing.T) {
	p := in(t, `spec:
  policies:
    retries:
      DefaultRetryPolicy: {duration: 1s, maxRetries: 1}
      DefaultAppRetryPolicy: {duration: 1s, maxRetries: 2}
      DefaultComponentRetryPolicy: {duration: 1s, maxRetries: 3}
      DefaultComponentOutboundRetryPolicy: {duration: 1s, maxRetries: 4}
      DefaultPubsubComponentOutboundRetryPolicy: {duration: 1s, maxRetries: 5}
      none: {maxRetries: 0}
  targets:
    apps: {named: {retry: none}, bare: {}}
    components: {store: {outbound: {retry: none}}}`)
	synctest.Test(t, func(t *testing.T) {
		for name, test := range map[string]struct {
			guard *resiliency.Guard
			calls int
		}{
			"app":                             {p.App("any"), 3},
			"an app with a target":            {p.App("named"), 1},
			"an app with an empty target":     {p.App("bare"), 1},
			"inbound":                         {p.Component(resiliency.Pubsub, "any", resiliency.Inbound), 4},
			"outbound":                        {p.Component(resiliency.Statestore, "any", resiliency.Outbound), 5},
			"outbound of a block":             {p.Component(resiliency.Pubsub, "any", resiliency.Outbound), 6},
			"a component with a target":       {p.Component(resiliency.Statestore, "store", resiliency.Outbound), 1},
			"its other direction has none":    {p.Component(resiliency.Statestore, "store", resiliency.Inbound), 4},
			"nothing holds without resources": {resiliency.New().Component(resiliency.Pubsub, "any", resiliency.Outbound), 1},
		} {
			calls := 0
			_ = test.guard.Run(t.Context(), func(context.Context) error { calls++; return errDown })
			if calls != test.calls {
				t.Errorf("%s: %d calls, want %d", name, calls, test.calls)
			}
		}
	})
}

func TestBuiltInRetries(t *testing.T) {
	second := time.Second
	if diff := cmp.Diff(resiliency.Retry{MaxRetries: 3, Pause: second, MaxInterval: time.Minute}, resiliency.New().Retries(resiliency.ServiceRetries)); diff != "" {
		t.Error(diff)
	}
	for written, want := range map[int]int{0: 3, 1: 3, 4: 4, -1: -1} {
		p := in(t, fmt.Sprintf("spec: {policies: {retries: {DaprBuiltInServiceRetries: {duration: 10ms, maxRetries: %d}}}}", written))
		if got := p.Retries(resiliency.ServiceRetries); got.MaxRetries != want || got.Pause != 10*time.Millisecond {
			t.Errorf("%d: %+v", written, got)
		}
	}
}

// TestChanges: a guard heeds what is in force, and breakers whose policy stays keep their state.
func TestChanges(t *testing.T) {
	p := resiliency.New()
	guard := p.Component(resiliency.Statestore, "store", resiliency.Outbound)
	fail := func(context.Context) error { return errDown }
	var open *resiliency.OpenError
	for range 9 {
		if err := guard.Run(t.Context(), fail); !errors.Is(err, errDown) {
			t.Fatal(err)
		}
	}
	set := func(text string) {
		t.Helper()
		if _, err := p.Set(read(t, text)...); err != nil {
			t.Fatal(err)
		}
	}
	set(head + breaking)
	for range 2 {
		_ = guard.Run(t.Context(), fail)
	}
	set(head + breaking + "    actors: {}\n")
	if err := guard.Run(t.Context(), fail); !errors.As(err, &open) {
		t.Errorf("the breaker forgot: %v", err)
	}
	if _, err := p.Set(read(t, head+strings.Replace(breaking, "consecutive", "misspelt", 1))...); err == nil || !strings.Contains(err.Error(), "r.yaml (document 1, line 6): spec.policies.circuitBreakers.fuse.trip: ") {
		t.Errorf("a bad trip: %v", err)
	}
	if err := guard.Run(t.Context(), fail); !errors.As(err, &open) {
		t.Errorf("a refused change changed something: %v", err)
	}
	set(head + strings.Replace(breaking, "10s", "11s", 1))
	if err := guard.Run(t.Context(), fail); !errors.Is(err, errDown) {
		t.Errorf("another policy has another breaker: %v", err)
	}
	if diff := cmp.Diff([]string{"r"}, p.Names()); diff != "" {
		t.Error(diff)
	}
	if _, err := p.Set(); err != nil || p.Names() != nil || p.App("cart") != nil {
		t.Error("policies are left", err)
	}
}

func TestMerging(t *testing.T) {
	first := head + "spec: {policies: {retries: {again: {duration: 1s, maxRetries: 1}}}, targets: {apps: {cart: {retry: again}, list: {retry: again}}}}\n---\n"
	second := strings.Replace(head, "name: r", "name: s", 1) + "spec: {policies: {retries: {again: {duration: 1s, maxRetries: 2}, more: {duration: 1s, maxRetries: 3}}}, targets: {apps: {list: {retry: more, timeout: gone}}}}\n"
	p := resiliency.New()
	warnings, err := p.Set(read(t, first+second)...)
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], `r.yaml (document 2, line 9): spec.targets.apps.list.timeout: no policy "gone" is in spec.policies.timeouts`) {
		t.Errorf("%v, warnings %q", err, warnings)
	}
	synctest.Test(t, func(t *testing.T) {
		for app, want := range map[string]int{"cart": 3, "list": 4} {
			calls := 0
			_ = p.App(app).Run(t.Context(), func(context.Context) error { calls++; return errDown })
			if calls != want {
				t.Errorf("%s: %d calls, want %d", app, calls, want)
			}
		}
	})
}

// TestNilPasses: a guard without policies costs no allocation.
func TestNilPasses(t *testing.T) {
	var none *resiliency.Policies
	for name, guard := range map[string]*resiliency.Guard{
		"nil": none.Component(resiliency.Lock, "l", resiliency.Outbound), "empty": resiliency.New().Component(resiliency.Lock, "l", resiliency.Outbound),
		"another's": in(t, breaking).Component(resiliency.Lock, "l", resiliency.Outbound),
	} {
		ctx, n := t.Context(), 0
		if allocs := testing.AllocsPerRun(100, func() {
			_, _ = resiliency.Do(ctx, guard, func(context.Context) (int, error) { n++; return n, nil })
			_ = guard.Run(ctx, func(context.Context) error { n++; return nil })
		}); allocs != 0 && !raceDetector {
			t.Errorf("%s: %v allocations", name, allocs)
		}
		if n == 0 {
			t.Errorf("%s: the operation did not run", name)
		}
	}
}

// final cannot be tried again.
type final struct{ error }

func (final) Final() bool { return true }

func TestFinal(t *testing.T) {
	p := in(t, "spec: {policies: {timeouts: {t: 1s}, retries: {again: {duration: 1s}}}, targets: {apps: {cart: {retry: again, timeout: t}}}}")
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		err := p.App("cart").Run(t.Context(), func(ctx context.Context) error { calls++; return final{errDown} })
		if calls != 1 || !errors.As(err, new(final)) {
			t.Errorf("%d calls, %v", calls, err)
		}
		err = p.App("cart").Run(t.Context(), func(ctx context.Context) error { calls++; <-ctx.Done(); return final{errDown} })
		if calls != 2 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a timeout: %d calls, %v", calls, err)
		}
	})
}

func TestPanicCounts(t *testing.T) {
	guard := in(t, strings.Replace(breaking, ">= 2", ">= 1", 1)).App("cart")
	func() {
		defer func() { _ = recover() }()
		_ = guard.Run(t.Context(), func(context.Context) error { panic("x") })
	}()
	var open *resiliency.OpenError
	if err := guard.Run(t.Context(), func(context.Context) error { return nil }); !errors.As(err, &open) {
		t.Errorf("after a panic: %v", err)
	}
}

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"0": 0, "7": 7 * time.Second, "Fri, 01 May 2026 12:00:30 GMT": 30 * time.Second, "Fri, 01 May 2026 11:00:00 GMT": 0,
		"": -1, "-1": -1, "soon": -1, "1.5": -1, "99999999999999999999": -1,
	} {
		if got, ok := resiliency.ParseRetryAfter(value, now); ok != (want >= 0) || (ok && got != want) {
			t.Errorf("%q: %s, %t", value, got, ok)
		}
	}
}

// tally is an observer that keeps what it is told.
type tally struct {
	counted map[string]int
	state   map[string]string
}

func (o *tally) ResiliencyLoaded(resource string) { o.counted["loaded "+resource]++ }
func (o *tally) ResiliencyPolicy(resource, policy, direction, target string) (ran, activated func(string)) {
	name := strings.Join([]string{resource, policy, direction, target}, " ")
	return func(status string) { o.counted[name+" ran "+status]++ }, func(status string) { o.counted[name+" activated "+status]++ }
}
func (o *tally) ResiliencyState(resource, direction, target string) func(string) {
	return func(status string) { o.state[strings.Join([]string{resource, direction, target}, " ")] = status }
}

// TestObserver: what is counted, and that the state shown is the worst of the methods' breakers.
func TestObserver(t *testing.T) {
	o := &tally{counted: map[string]int{}, state: map[string]string{}}
	p := in(t, `spec:
  policies:
    timeouts: {quick: 1s}
    retries: {again: {duration: 1s, maxRetries: 2}}
    circuitBreakers: {fuse: {timeout: 10s, trip: consecutiveFailures >= 2}}
  targets:
    apps: {cart: {circuitBreaker: fuse, circuitBreakerCacheSize: 2}}
    components: {topic: {inbound: {timeout: quick, retry: again}}}`, resiliency.WithObserver(o))
	synctest.Test(t, func(t *testing.T) {
		_ = p.Component(resiliency.Pubsub, "topic", resiliency.Inbound).Run(t.Context(), func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		fail := func(context.Context) error { return errDown }
		for _, method := range []string{"a", "a", "b"} {
			_ = p.App("cart").Call(t.Context(), method, fail)
		}
		show := func(want string) {
			t.Helper()
			if got := o.state["r outbound app_cart"]; got != want {
				t.Errorf("state %s, want %s", got, want)
			}
		}
		show("open")
		_ = p.App("cart").Call(t.Context(), "a", fail) // refused
		_ = p.App("cart").Call(t.Context(), "b", func(context.Context) error { return nil })
		show("open")
		time.Sleep(11 * time.Second)
		_ = p.App("cart").Call(t.Context(), "a", func(context.Context) error { show("half-open"); return nil })
		show("closed")
		for _, method := range []string{"a", "a", "b", "c"} { // c pushes the open breaker of a out
			_ = p.App("cart").Call(t.Context(), method, fail)
		}
		show("closed")
	})
	want := map[string]int{
		"loaded r":                            1,
		"r timeout inbound Pubsub_topic ran ": 1, "r timeout inbound Pubsub_topic activated ": 3,
		"r retry inbound Pubsub_topic ran ": 1, "r retry inbound Pubsub_topic activated ": 2,
		"r circuitbreaker outbound app_cart ran closed": 8, "r circuitbreaker outbound app_cart ran open": 1, "r circuitbreaker outbound app_cart ran half-open": 1,
		"r circuitbreaker outbound app_cart activated open": 3, "r circuitbreaker outbound app_cart activated half-open": 1, "r circuitbreaker outbound app_cart activated closed": 1,
	}
	if diff := cmp.Diff(want, o.counted); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMistake(t *testing.T) {
	guard := in(t, "spec: {policies: {retries: {again: {duration: 1s}}, circuitBreakers: {fuse: {trip: consecutiveFailures >= 1}}}, targets: {apps: {cart: {retry: again, circuitBreaker: fuse}}}}").App("cart")
	calls := 0
	for range 2 {
		err := guard.Run(t.Context(), func(context.Context) error { calls++; return resiliency.Mistake(404, errDown) })
		if !errors.Is(err, errDown) || err.Error() != "down" {
			t.Errorf("error %v", err)
		}
	}
	if calls != 2 {
		t.Errorf("%d calls", calls)
	}
}

// TestChangesUnderLoad: calls and changes of the policies at once.
func TestChangesUnderLoad(t *testing.T) {
	p := resiliency.New()
	first, second := read(t, head+breaking), read(t, head+strings.Replace(breaking, "10s", "11s", 1))
	guard := p.Component(resiliency.Statestore, "store", resiliency.Outbound)
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for i := range 4 {
		callers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				want := error(nil)
				if n%3 == 0 {
					want = errDown
				}
				operation := func(context.Context) error { return want }
				for _, err := range []error{guard.Run(t.Context(), operation), p.App("cart").Call(t.Context(), fmt.Sprint(i, n%200), operation)} {
					var open *resiliency.OpenError
					if !errors.Is(err, want) && !errors.As(err, &open) {
						t.Errorf("error %v, want %v", err, want)
					}
				}
			}
		})
	}
	for n := range 300 {
		resources := [][]config.Resiliency{first, second, nil}[n%3]
		if _, err := p.Set(resources...); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	callers.Wait()
}
