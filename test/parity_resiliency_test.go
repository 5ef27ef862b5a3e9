package test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// scripted is an application that answers the paths "/<key>/<status>,<status>…" with one status after the other, the
// last one for ever, and the number of the call; "/<key>/slow" until the caller leaves. 429 comes with a Retry-After.
type scripted struct {
	mu    sync.Mutex
	calls map[string]int
}

func (s *scripted) count(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[path]++
	return s.calls[path]
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, script, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	n := s.count(r.URL.Path)
	body, err := io.ReadAll(r.Body)
	if script == "slow" || err != nil {
		<-r.Context().Done()
		return
	}
	statuses := strings.Split(script, ",")
	status, err := strconv.Atoi(statuses[min(n, len(statuses))-1])
	if err != nil {
		status = http.StatusNotFound // what the sidecar asks
	}
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("X-App", "scripted")
	w.WriteHeader(status)
	fmt.Fprintf(w, "call %d %s", n, body)
}

// follow calls an application that follows a script.
func follow(id, script string) func(*asker) meaning {
	return func(a *asker) meaning { return a.follow(id, script) }
}

func (a *asker) follow(id, script string) meaning {
	return a.api.invoke(a.ctx, invocation{ID: id, Verb: "POST", Method: a.key("m") + "/" + script, ContentType: "text/plain", Body: "sent"})
}

func scriptedAnswer(status, call int) meaning {
	return meaning{Status: status, Value: fmt.Sprintf("call %d sent", call), Header: markedBy("scripted")}
}

func resiliencyCases() []parityCase {
	refused := func(id, what string, code codes.Code) meaning {
		m := notInvoked(id, what)
		m.Fault.GRPC = code
		return m
	}
	return []parityCase{
		{name: "again until success", do: follow("again", "503,500,200"), want: scriptedAnswer(200, 3)},
		{name: "the last answer is the caller's", do: follow("again", "500,500,502"), want: scriptedAnswer(502, 3)},
		{name: "404 is not tried again", do: follow("again", "404,200"), want: scriptedAnswer(404, 1)},
		{name: "401 is not tried again", do: follow("again", "401,200"), want: scriptedAnswer(401, 1)},
		{name: "429 is not, unless listed", do: follow("again", "429,200"), want: scriptedAnswer(429, 1)},
		// The policy's own pause would outlast the test.
		{name: "a listed 429 after its Retry-After", do: follow("listed", "429,200"), want: scriptedAnswer(200, 2)},
		{name: "500 is not listed", do: follow("listed", "500,200"), want: scriptedAnswer(500, 1)},
		{name: "timeout", do: follow("slow", "slow"), want: refused("slow",
			`context deadline exceeded: the app slow did not answer within 100ms (timeout policy "quick")`, codes.DeadlineExceeded)},
		{name: "the breaker lets failures through until it opens", do: func(a *asker) meaning {
			a.follow("resilient-callee", "500")
			return a.follow("resilient-callee", "500")
		}, want: scriptedAnswer(500, 2)},
		{name: "an open breaker is an error", do: func(a *asker) meaning {
			a.follow("resilient-callee", "500")
			a.follow("resilient-callee", "500")
			return a.follow("resilient-callee", "500")
		}, want: refused("resilient-callee", `circuit breaker is open: "fuse" of the app resilient-callee, method {key:m}/500, since 2…`, codes.Unavailable)},
		{name: "another method has another breaker", do: func(a *asker) meaning {
			a.follow("resilient-callee", "500")
			a.follow("resilient-callee", "500")
			return a.follow("resilient-callee", "200")
		}, want: scriptedAnswer(200, 1)},
		{name: "404 opens no breaker", do: func(a *asker) meaning {
			for range 4 {
				a.follow("resilient-callee", "404")
			}
			return a.follow("resilient-callee", "404")
		}, want: scriptedAnswer(404, 5)},
		{name: "half open, then closed", do: func(a *asker) meaning {
			a.follow("resilient", "500,500,200")
			a.follow("resilient", "500,500,200")
			if answer := a.follow("resilient", "500,500,200"); answer.Fault == nil && answer.Status != 200 {
				a.t.Errorf("open: %+v", answer)
			}
			settle(a.t, func() bool { return a.follow("resilient", "500,500,200").Status == 200 }, "closing")
			answer := a.follow("resilient", "500,500,200")
			answer.Value = ""
			return answer
		}, want: meaning{Status: 200, Header: markedBy("scripted")}},
		// A pause that went on would hold up the sidecar's end, which the test waits for.
		{name: "a caller that leaves in a pause", do: func(a *asker) meaning {
			ctx, cancel := context.WithTimeout(a.ctx, 100*time.Millisecond)
			defer cancel()
			began := time.Now()
			answer := a.api.invoke(ctx, invocation{ID: "patient", Verb: "POST", Method: a.key("m") + "/503", Body: "sent"})
			if answer.Fault == nil || time.Since(began) > patience/2 {
				a.t.Errorf("%+v after %s", answer, time.Since(began))
			}
			return meaning{}
		}},
		{name: "the names in the metadata", do: func(a *asker) meaning {
			return meaning{Info: &parityInfo{Resiliencies: a.api.metadata(a.ctx).Info.Resiliencies}}
		}, want: meaning{Info: &parityInfo{Resiliencies: []string{"mine"}}}},
	}
}

// TestParityResiliency: policies mean the same over both transports.
func TestParityResiliency(t *testing.T) {
	runtimetest.Isolate(t)
	app := &scripted{calls: map[string]int{}}
	outside := startApplication(t, app.ServeHTTP)
	runtimetest.Start(t, "resilient-callee", appOn(startApplication(t, app.ServeHTTP)))
	redis := redistest.Start(t)
	text, err := os.ReadFile("testdata/parity/resiliency.yaml")
	if err != nil {
		t.Fatal(err)
	}
	filled := strings.NewReplacer("REDIS", redis.Address, "OUTSIDE", "http://"+loopback(outside.port)).Replace(string(text))
	s := runtimetest.Start(t, "resilient", appOn(startApplication(t, app.ServeHTTP)), runtimetest.Manifests(t, filled))
	apis := transports(t, s)
	t.Run("calls", func(t *testing.T) { askAll(t, resiliencyCases(), apis, "", false) })
	t.Run("store", func(t *testing.T) {
		for _, api := range apis {
			t.Run(api.name(), func(t *testing.T) { storeUnderPolicies(t, api, redis) })
		}
	})
	t.Run("stream", func(t *testing.T) { streamUnderPolicies(t, s) })
	t.Run("log", func(t *testing.T) { logUnderPolicies(t, s) })
	t.Run("metrics", func(t *testing.T) { metricsUnderPolicies(t, s) })
}

// storeUnderPolicies: a store that is away opens its breaker, which closes when it is back.
func storeUnderPolicies(t *testing.T, api transport, redis *redistest.Server) {
	store := api.name() + "-store"
	get := func() *fault {
		answer, _ := api.getState(t.Context(), store, "k", nil)
		return answer.Fault
	}
	settle(t, func() bool { return get() == nil }, "connecting of "+store)
	redis.Kill()
	opened := false
	for range 8 {
		f := get()
		if f == nil {
			t.Fatal("a dead store answered")
		}
		// Every now and then one call is let through to try.
		if before, since, ok := strings.Cut(f.Text, `circuit breaker is open: "DefaultStatestoreComponentOutboundCircuitBreakerPolicy" of the component `+store+", since 2"); ok {
			opened = true
			if before != "fail to get k from state store "+store+": " || !strings.Contains(since, " until 2") {
				t.Errorf("text %s", f.Text)
			}
			if want := (&fault{HTTP: 500, Code: "ERR_STATE_GET", GRPC: codes.Internal}).over(api.name()); f.HTTP != want.HTTP || f.Code != want.Code || f.GRPC != want.GRPC {
				t.Errorf("fault %+v, want %+v", f, want)
			}
		}
	}
	if !opened {
		t.Error("the breaker did not open")
	}
	redis.Restart(t)
	settle(t, func() bool { return get() == nil }, "closing of the breaker of "+store)
}

// streamUnderPolicies: a body of unknown length is sent once.
func streamUnderPolicies(t *testing.T, s *runtimetest.Sidecar) {
	for name, test := range map[string]struct {
		body   io.Reader
		status int
	}{
		"streamed":  {struct{ io.Reader }{strings.NewReader("sent")}, 503},
		"in memory": {strings.NewReader("sent"), 200},
	} {
		request, err := http.NewRequestWithContext(t.Context(), "POST", s.URL("/v1.0/invoke/again/method/"+strings.ReplaceAll(name, " ", "")+"/503,200"), test.body)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != test.status || !strings.HasSuffix(string(text), " sent") {
			t.Errorf("%s: %d %s", name, response.StatusCode, text)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func logUnderPolicies(t *testing.T, s *runtimetest.Sidecar) {
	for _, line := range []string{
		`level=debug msg="Found 2 resiliency configurations."`,
		`level=info msg="Loading Resiliency configuration: mine"`,
		`level=warning msg="Error processing operation endpoint[again]. Retrying in 5ms…"`,
		`level=info msg="Recovered processing operation endpoint[again] after 3 attempts"`,
		`changed state from closed to open"`,
		`changed state from open to half-open"`,
		`changed state from half-open to closed"`,
		`level=error msg="the Resiliency broken is left out: `,
		`resources.yaml (document 3, line 37): spec.policies.circuitBreakers.wrong.trip: want a CEL expression over`,
	} {
		if !strings.Contains(s.Log.String(), line) {
			t.Errorf("no line %s", line)
		}
	}
	if strings.Contains(s.Log.String(), "foreign") {
		t.Error("another application's resource was heeded")
	}
}

func metricsUnderPolicies(t *testing.T, s *runtimetest.Sidecar) {
	response, err := http.Get("http://" + s.MetricsAddress().String())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`dapr_resiliency_loaded{app_id="resilient",name="mine",namespace=""} 1`,
		`dapr_resiliency_count{app_id="resilient",flow_direction="outbound",name="mine",namespace="",policy="retry",status="",target="app_again"} `,
		`dapr_resiliency_activations_total{app_id="resilient",flow_direction="outbound",name="mine",namespace="",policy="retry",status="",target="app_again"} `,
		`dapr_resiliency_activations_total{app_id="resilient",flow_direction="outbound",name="mine",namespace="",policy="timeout",status="",target="app_slow"} 2`,
		`dapr_resiliency_activations_total{app_id="resilient",flow_direction="outbound",name="mine",namespace="",policy="circuitbreaker",status="open",target="Statestore_http-store"} `,
		`dapr_resiliency_cb_state{app_id="resilient",flow_direction="outbound",name="mine",namespace="",policy="circuitbreaker",status="closed",target="Statestore_grpc-store"} 1`,
		`dapr_resiliency_cb_state{app_id="resilient",flow_direction="outbound",name="mine",namespace="",policy="circuitbreaker",status="open",target="Statestore_grpc-store"} 0`,
	} {
		if !strings.Contains(string(text), line) {
			t.Errorf("no %s", line)
		}
	}
}
