package test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// replicas are two sidecars of one application, each with an instance of it, and a third that calls them.
type replicas struct {
	mesh   *mesh
	gates  [2]*gate
	counts [2]atomic.Int64
	procs  [2]*process
	caller *process
	id     string
	// any is a gate for calls that either instance may get. It is open when the others are.
	any *gate
}

func startReplicas(t *testing.T) *replicas {
	t.Helper()
	r := &replicas{mesh: newMesh(t), any: newGate()}
	r.id = r.mesh.id("callee")
	t.Cleanup(r.any.open)
	for i := range r.procs {
		r.gates[i] = &gate{opened: r.any.opened, entered: r.any.entered, seen: map[string]bool{}}
		app := startApplication(t, func(w http.ResponseWriter, request *http.Request) {
			if request.URL.Path == "/fast" {
				r.counts[i].Add(1)
			}
			r.gates[i].serve(w, request)
		})
		r.procs[i] = r.mesh.start(t, r.id, app.flag(), "--dapr-graceful-shutdown-seconds", "30")
	}
	r.caller = r.mesh.start(t, r.mesh.id("caller"))
	return r
}

// load calls both replicas over both APIs.
func (r *replicas) load(t *testing.T) *load {
	t.Helper()
	l := newLoad(r.gates[0], false)
	l.start(t, 6, "http", post(client(t), r.caller.invoke(t, r.id, "fast")))
	l.start(t, 2, "grpc", invokes(r.caller.dapr(t), r.id))
	l.reaches(t, 200)
	for i := range r.counts {
		if r.counts[i].Load() == 0 {
			t.Errorf("instance %d got no call", i)
		}
	}
	return l
}

// TestReplicaTerminated: while one of two sidecars of an application is told to end, its callers see no
// failure, nor do the calls that it has in hand.
func TestReplicaTerminated(t *testing.T) {
	r := startReplicas(t)
	l := r.load(t)
	first, second := inFlight(t, r.any, r.caller, r.id), inFlight(t, r.any, r.caller, r.id)
	r.procs[0].signal(t, syscall.SIGTERM)
	r.procs[0].awaits(t, "Waiting 30s to finish outstanding operations")
	l.reaches(t, 100)
	r.any.open()
	first(t)
	second(t)
	r.procs[0].exits(t, 0)
	before := r.counts[1].Load()
	l.reaches(t, 200)
	l.end()
	if r.counts[1].Load() == before {
		t.Error("the instance that is left got no call")
	}
	t.Logf("%d calls, %d failures; the instances got %d and %d", l.calls.Load(), l.failures.Load(), r.counts[0].Load(), r.counts[1].Load())
}

// TestReplicaKilled: a sidecar that vanishes costs its callers nothing but the answers that were under way.
// Calls that can be made again are; those whose answer had begun are cut, and their callers learn of it.
func TestReplicaKilled(t *testing.T) {
	r := startReplicas(t)
	l := r.load(t)
	const streams = 8
	var waits [streams]func() error
	for i := range waits {
		waits[i] = r.any.begin(t, func(ctx context.Context) error {
			a, err := try(ctx, client(t), "POST", r.caller.invoke(t, r.id, "stream"), nil)
			if err == nil && (a.status != 200 || len(a.body) != pieces*len(piece)) {
				t.Errorf("a stream ended as if whole: status %d, %d bytes", a.status, len(a.body))
			}
			return err
		})
	}
	r.procs[0].signal(t, syscall.SIGKILL)
	r.procs[0].exits(t, -1)
	l.reaches(t, 300)
	r.any.open()
	cut := 0
	for i := range waits {
		if waits[i]() != nil {
			cut++
		}
	}
	l.end()
	if cut == 0 || cut == streams {
		t.Errorf("%d of %d streams were cut, want those of the killed sidecar only", cut, streams)
	}
	t.Logf("%d calls, %d failures; %d of %d streams were cut", l.calls.Load(), l.failures.Load(), cut, streams)
}

// TestReplicaFreezes: a sidecar that no longer answers, although its connections stay open, is given up after
// its pings are missed, and its calls are made again elsewhere.
func TestReplicaFreezes(t *testing.T) {
	t.Parallel()
	r := startReplicas(t)
	r.load(t).end()
	r.procs[0].signal(t, syscall.SIGSTOP)
	defer r.procs[0].signal(t, syscall.SIGCONT)
	c := client(t)
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			if err := post(c, r.caller.invoke(t, r.id, "fast"))(t.Context(), fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
}

// TestKilledCalleeComesBack: a sidecar that was killed and started anew is found again.
func TestKilledCalleeComesBack(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	app := startApplication(t, echo)
	caller := m.start(t, m.id("caller"))
	url := caller.invoke(t, m.id("callee"), "m")
	for round := range 3 {
		callee := m.start(t, m.id("callee"), app.flag())
		wants(t, call(t, "POST", url, fmt.Sprint(round)), 200, fmt.Sprint(round))
		callee.signal(t, syscall.SIGKILL)
		callee.exits(t, -1)
	}
}
