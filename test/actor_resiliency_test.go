package test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// actorPolicies have a target for each type of TestActorPolicies. The breakers stay open for longer than the test.
const actorPolicies = `
---
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: mine}
spec:
  policies:
    timeouts: {quick: 200ms}
    retries: {again: {policy: constant, duration: 1ms, maxRetries: 2}}
    circuitBreakers: {fuse: {trip: consecutiveFailures >= 2, timeout: 1h}}
  targets:
    actors:
      Again: {retry: again}
      Slow: {timeout: quick}
      ByType: {circuitBreaker: fuse, circuitBreakerScope: type}
      ByID: {circuitBreaker: fuse, circuitBreakerScope: id}
      Both: {circuitBreaker: fuse, circuitBreakerScope: both}
`

// tally counts the turns of each actor.
type tally struct {
	mu    sync.Mutex
	turns map[string]int
}

func (c *tally) add(actor string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turns[actor]++
	return c.turns[actor]
}

func (c *tally) of(actor string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.turns[actor]
}

// TestActorPolicies: the policies of a type hold for calls of its actors over both transports: retries and breakers on
// the way to the actor, the timeout for its turn alone.
func TestActorPolicies(t *testing.T) {
	runtimetest.Isolate(t)
	app := newActorApp(t, `{"entities":["Again","Slow","ByType","ByID","Both"]}`)
	counted := &tally{turns: map[string]int{}}
	entered, leave := make(chan struct{}), make(chan struct{})
	app.method = func(w http.ResponseWriter, r *http.Request, id, method string, _ []byte) {
		n := counted.add(strings.Split(r.URL.Path, "/")[2] + "/" + id)
		switch {
		case method == "slow":
			<-r.Context().Done()
		case method == "hold":
			entered <- struct{}{}
			<-leave
		case method == "fail":
			w.WriteHeader(http.StatusInternalServerError)
		case strings.HasPrefix(method, "until"):
			if works, _ := strconv.Atoi(method[len("until"):]); n < works {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}
	}
	s := startActors(t, app, runtimetest.Manifests(t, memoryActors+actorPolicies))
	client := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String()))
	for transport, call := range map[string]func(actorType, id, method string) string{
		"http": func(actorType, id, method string) string {
			code, body, _ := callAPI(t, "POST", s.URL("/v1.0/actors/"+actorType+"/"+id+"/method/"+method), "")
			return fmt.Sprint(code, " ", body)
		},
		"grpc": func(actorType, id, method string) string {
			_, err := client.InvokeActor(t.Context(), &runtimev1.InvokeActorRequest{ActorType: actorType, ActorId: id, Method: method})
			if err == nil {
				return "200 "
			}
			return fmt.Sprint(status.Code(err), " ", status.Convert(err).Message())
		},
	} {
		open := map[string]string{"http": "500 ", "grpc": codes.Unavailable.String() + " "}[transport]
		late := map[string]string{"http": "500 ", "grpc": codes.DeadlineExceeded.String() + " "}[transport]
		t.Run("retry "+transport, func(t *testing.T) {
			if got := call("Again", transport, "until3"); got != "200 " || counted.of("Again/"+transport) != 3 {
				t.Errorf("%s after %d turns", got, counted.of("Again/"+transport))
			}
			if got := call("Again", transport+"-never", "fail"); strings.HasPrefix(got, "200") || counted.of("Again/"+transport+"-never") != 3 {
				t.Errorf("%s after %d turns", got, counted.of("Again/"+transport+"-never"))
			}
		})
		t.Run("timeout "+transport, func(t *testing.T) {
			if got := call("Slow", transport, "slow"); !strings.HasPrefix(got, late) || !strings.Contains(got, "quick") {
				t.Errorf("%s", got)
			}
		})
		fails := func(actorType, id string) {
			t.Helper()
			for range 2 {
				if got := call(actorType, id, "fail"); strings.Contains(got, "circuit breaker is open") {
					t.Errorf("%s/%s: %s", actorType, id, got)
				}
			}
		}
		refused := func(actorType, id string, want bool) {
			t.Helper()
			before := counted.of(actorType + "/" + id)
			got := call(actorType, id, "m")
			is := strings.HasPrefix(got, open) && strings.Contains(got, "circuit breaker is open")
			if is != want || !want && got != "200 " || (counted.of(actorType+"/"+id) == before) != want {
				t.Errorf("%s/%s: %s, refused %t", actorType, id, got, want)
			}
		}
		t.Run("breakers of actors "+transport, func(t *testing.T) {
			fails("ByID", transport)
			refused("ByID", transport, true)
			refused("ByID", transport+"-other", false)
		})
		// The type's breaker is the same for both transports, and is opened by the first.
		t.Run("breaker of a type "+transport, func(t *testing.T) {
			if counted.of("ByType/x") == 0 {
				fails("ByType", "x")
			}
			refused("ByType", "x", true)
			refused("ByType", transport+"-other", true)
		})
		t.Run("both "+transport, func(t *testing.T) {
			if counted.of("Both/x") == 0 {
				fails("Both", "x")
			}
			refused("Both", "x", true)
			refused("Both", transport+"-other", true)
		})
	}
	t.Run("the timeout is that of the turn", func(t *testing.T) { timeoutBehindLock(t, s, entered, leave, counted) })
	for _, line := range []string{
		`dapr_resiliency_activations_total{app_id="myapp",flow_direction="outbound",name="mine",namespace="",policy="retry",status="",target="actor_Again"}`,
		`dapr_resiliency_cb_state{app_id="myapp",flow_direction="outbound",name="mine",namespace="",policy="circuitbreaker",status="open",target="actor_ByType"} 1`,
	} {
		if !strings.Contains(metricsOf(t, s), line) {
			t.Errorf("no %s", line)
		}
	}
}

// timeoutBehindLock: a call that waits for its turn, for longer than the timeout, is not late: the turn before it is, and
// the call that has waited takes its turn then.
func timeoutBehindLock(t *testing.T, s *runtimetest.Sidecar, entered, leave chan struct{}, counted *tally) {
	results := make(chan string, 2)
	call := func(method string) {
		code, body, _ := callAPI(t, "POST", s.URL("/v1.0/actors/Slow/queued/method/"+method), "")
		results <- fmt.Sprint(method, " ", code, " ", body)
	}
	defer close(leave)
	go call("hold")
	<-entered
	go call("m")
	got := []string{<-results, <-results} // either may be told first
	slices.Sort(got)
	if hold, m := got[0], got[1]; !strings.HasPrefix(hold, "hold 500 ") || !strings.Contains(hold, "quick") || m != "m 200 " || counted.of("Slow/queued") != 2 {
		t.Errorf("%s; %s; %d turns", hold, m, counted.of("Slow/queued"))
	}
}
