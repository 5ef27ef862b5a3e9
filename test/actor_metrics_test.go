package test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// actorFamilies are those of a sidecar that hosts actors, as daprFamilies. Two of the list have no samples at Dapr 1.18
// either (actor_status_report_total, actor_table_operation_recv_total).
const actorFamilies = `
dapr_runtime_actor_pending_actor_calls gauge actor_type
dapr_runtime_actor_deactivated_total counter actor_type
dapr_runtime_actor_deactivated_failed_total counter actor_type
dapr_runtime_actor_rebalanced_total counter actor_type
dapr_runtime_actor_timers gauge actor_type
dapr_runtime_actor_timers_fired_total counter actor_type success
dapr_runtime_actor_reminders gauge actor_type
dapr_runtime_actor_reminders_fired_total counter actor_type success
`

// TestActorMetrics: a sidecar that hosts actors shows the families of the list, with its types and labels, and they count
// what happens to actors.
func TestActorMetrics(t *testing.T) {
	runtimetest.Isolate(t)
	app := newActorApp(t, `{"entities":["T","Brief"],"entitiesConfig":[{"entities":["Brief"],"actorIdleTimeout":"1ms"}]}`)
	entered, leave := make(chan struct{}, 2), make(chan struct{})
	app.method = func(w http.ResponseWriter, _ *http.Request, _, method string, _ []byte) {
		switch method {
		case "hold":
			entered <- struct{}{}
			<-leave
		case "timer/fails":
			w.WriteHeader(http.StatusInternalServerError)
		}
	}
	inner := app.handler
	app.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete && strings.HasSuffix(r.URL.Path, "/stubborn") {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		inner.ServeHTTP(w, r)
	})
	s := startActors(t, app, runtimetest.Manifests(t, memoryActors))
	shows := func(samples ...string) {
		t.Helper()
		for _, sample := range samples {
			name, value, _ := strings.Cut(sample, " ")
			name, more, _ := strings.Cut(name, ",")
			if more != "" {
				more = "," + more
			}
			actorType, name, _ := strings.Cut(name, ":")
			settle(t, func() bool {
				return strings.Contains(metricsOf(t, s), "dapr_runtime_actor_"+name+`{actor_type="`+actorType+`",app_id="myapp"`+more+"} "+value+"\n")
			}, sample)
		}
	}
	do := func(verb, path, body string, want int) {
		t.Helper()
		if code, answer, _ := callAPI(t, verb, s.URL("/v1.0/actors/"+path), body); code != want {
			t.Errorf("%s %s: %d %s", verb, path, code, answer)
		}
	}
	done := make(chan struct{}, 2)
	for range 2 {
		go func() {
			callAPI(t, "POST", s.URL("/v1.0/actors/T/1/method/hold"), "")
			done <- struct{}{}
		}()
	}
	<-entered
	shows("T:pending_actor_calls 1")
	close(leave)
	<-done
	<-done
	shows("T:pending_actor_calls 0")

	do("POST", "T/1/timers/later", `{"dueTime":"1h"}`, http.StatusNoContent)
	do("POST", "T/1/timers/again", `{"dueTime":"0s","period":"1h"}`, http.StatusNoContent)
	do("POST", "T/1/timers/once", `{"dueTime":"0s"}`, http.StatusNoContent)
	do("POST", "T/1/timers/fails", `{"dueTime":"0s"}`, http.StatusNoContent)
	shows(`T:timers_fired_total,success="true" 2`, `T:timers_fired_total,success="false" 1`, "T:timers 2")
	do("POST", "T/1/timers/later", `{"dueTime":"2h"}`, http.StatusNoContent)
	shows("T:timers 2")
	do("DELETE", "T/1/timers/later", "", http.StatusNoContent)
	shows("T:timers 1", "T:reminders 0", `T:reminders_fired_total,success="true" 0`)

	do("POST", "T/1/reminders/later", `{"dueTime":"1h"}`, http.StatusNoContent)
	do("POST", "T/1/reminders/again", `{"dueTime":"0s","period":"1h"}`, http.StatusNoContent)
	do("POST", "T/1/reminders/once", `{"dueTime":"0s"}`, http.StatusNoContent)
	shows(`T:reminders_fired_total,success="true" 2`, `T:reminders_fired_total,success="false" 0`, "T:reminders 2")
	do("DELETE", "T/1/reminders/later", "", http.StatusNoContent)
	shows("T:reminders 1", "T:timers 1")

	do("POST", "Brief/1/method/m", "", http.StatusOK)
	do("POST", "Brief/stubborn/method/m", "", http.StatusOK)
	shows("Brief:deactivated_total 1", "Brief:deactivated_failed_total 1", "Brief:rebalanced_total 0")

	got := scraped(t, metricsOf(t, s))
	for name := range got {
		if !strings.HasPrefix(name, "dapr_runtime_actor_") {
			delete(got, name)
		}
	}
	if diff := cmp.Diff(rows(actorFamilies), got); diff != "" {
		t.Error(diff)
	}
	lint(t, metricsOf(t, s), rows(daprFamilies, elsewhere, actorFamilies, own))
}
