package placement_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	client "github.com/daprd/daprd/pkg/actors/placement"
	"github.com/daprd/daprd/pkg/actors/placement/placementtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestOwner: all sidecars of a mesh agree on the owner, and only he takes the actor for his.
func TestOwner(t *testing.T) {
	server := placementtest.Serve(t, "127.0.0.1:0", placementtest.Trusted)
	l := placementtest.NewLedger()
	var all []*placementtest.Sidecar
	for i := range 3 {
		s := placementtest.Start(t, l, fmt.Sprintf("10.0.0.%d:50002", i+1), server.Address)
		s.Host(t, "T")
		all = append(all, s)
	}
	all = append(all, placementtest.Start(t, l, "10.0.0.9:50002", server.Address))
	for id, want := range map[string]string{"1": "10.0.0.3:50002", "3": "10.0.0.2:50002", "bob": "10.0.0.1:50002", "alice": "10.0.0.3:50002"} {
		for _, s := range all {
			got, err := s.Call(t.Context(), "T", id)
			if err != nil || got.Address != want || got.AppID != "app-"+want || got.Local != (s.Address == want) {
				t.Errorf("%s asked for %s: %+v, %v", s.Address, id, got, err)
			}
		}
		if owner := l.Owner("T", id); owner != want {
			t.Errorf("%s is claimed by %s", id, owner)
		}
	}
	if _, err := all[0].Call(t.Context(), "nobody", "1"); !errors.Is(err, client.ErrNoHost) {
		t.Errorf("a type without hosts: %v", err)
	}
	if ring, self := all[1].Ring("T"); self != "10.0.0.2:50002" || len(ring.Hosts()) != 3 || len(ring.Ranges(self)) == 0 {
		t.Errorf("the ring has %v, and this is %s", ring.Hosts(), self)
	}
	if status := all[0].Status(); !status.Connected || !status.Ready || all[0].Fresh() != nil {
		t.Errorf("status %+v, %v", status, all[0].Fresh())
	}
}

// TestGates: while a round waits for a drain, only actors that move wait; all others are found as before.
func TestGates(t *testing.T) {
	server := placementtest.Serve(t, "127.0.0.1:0", placementtest.Trusted)
	l := placementtest.NewLedger()
	draining, go_ := make(chan struct{}), make(chan struct{})
	a := placementtest.Start(t, l, "10.0.0.1:50002", server.Address)
	begins := sync.OnceFunc(func() { close(draining) })
	a.Draining = func(ctx context.Context) {
		begins()
		select {
		case <-go_:
		case <-ctx.Done():
		}
	}
	a.Host(t, "T", "U")
	b := placementtest.Start(t, l, "10.0.0.2:50002", server.Address)
	announced := make(chan error, 1)
	go func() { announced <- b.Announce(t.Context(), []string{"T"}) }()
	<-draining
	// With two hosts: which of these ids move to b is what the ring says.
	ring := client.NewRing([]string{"10.0.0.1:50002", "10.0.0.2:50002"}, 100)
	moving := make(chan client.Owner, 100)
	waiting := 0
	for i := range 50 {
		id := fmt.Sprint(i)
		if owner, err := a.Call(t.Context(), "U", id); err != nil || !owner.Local {
			t.Errorf("a type that does not change waits: %+v %v", owner, err)
		}
		if ring.Host(id) == "10.0.0.1:50002" {
			if owner, err := a.Call(t.Context(), "T", id); err != nil || !owner.Local {
				t.Errorf("an actor that stays waits: %+v %v", owner, err)
			}
			continue
		}
		waiting++
		go func() {
			owner, err := a.Call(t.Context(), "T", id)
			if err != nil {
				t.Error(err)
			}
			moving <- owner
		}()
		soon, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if owner, err := a.Call(soon, "T", id); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an actor that moves does not wait: %+v %v", owner, err)
		}
		cancel()
	}
	if waiting == 0 || len(moving) != 0 {
		t.Errorf("%d actors move, %d did not wait", waiting, len(moving))
	}
	close(go_)
	if err := <-announced; err != nil {
		t.Fatal(err)
	}
	for range waiting {
		if owner := <-moving; owner.Address != "10.0.0.2:50002" {
			t.Errorf("an actor that has moved is at %s", owner.Address)
		}
	}
	if len(l.Broken()) > 0 {
		t.Error(l.Broken())
	}
}

// TestLostServer: without placement everything is halted and look-ups wait; when it is back they go on.
func TestLostServer(t *testing.T) {
	server := placementtest.Serve(t, "127.0.0.1:0", placementtest.Trusted)
	a := placementtest.Start(t, placementtest.NewLedger(), "10.0.0.1:50002", server.Address)
	a.Host(t, "T")
	if _, err := a.Call(t.Context(), "T", "1"); err != nil {
		t.Fatal(err)
	}
	settled := a.Settles.Load()
	server.Stop()
	for a.Settles.Load() == settled { // the last of what a loss does
		time.Sleep(time.Millisecond)
	}
	if a.Halts.Load() != 1 || a.Status() != (client.Status{}) || a.Fresh() == nil {
		t.Errorf("%d halts, status %+v, fresh %v", a.Halts.Load(), a.Status(), a.Fresh())
	}
	soon, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if owner, err := a.Call(soon, "T", "1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("found without a table: %+v %v", owner, err)
	}
	found := make(chan error, 1)
	go func() { _, err := a.Call(t.Context(), "T", "1"); found <- err }()
	placementtest.Serve(t, server.Address, placementtest.Trusted)
	if err := <-found; err != nil {
		t.Error(err)
	}
}

// TestWithdrawn: types that are taken back are drained, and nobody is found for them.
func TestWithdrawn(t *testing.T) {
	server := placementtest.Serve(t, "127.0.0.1:0", placementtest.Trusted)
	l := placementtest.NewLedger()
	a := placementtest.Start(t, l, "10.0.0.1:50002", server.Address)
	a.Host(t, "T")
	if _, err := a.Call(t.Context(), "T", "1"); err != nil {
		t.Fatal(err)
	}
	a.Host(t)
	if a.Drains.Load() != 1 || l.Len() != 0 {
		t.Errorf("%d drains, %d left", a.Drains.Load(), l.Len())
	}
	if _, err := a.Call(t.Context(), "T", "1"); !errors.Is(err, client.ErrNoHost) {
		t.Errorf("a type that was withdrawn: %v", err)
	}
	a.Stop()
	if _, err := a.Call(t.Context(), "T", "1"); !errors.Is(err, client.ErrNoTable) {
		t.Errorf("after the end: %v", err)
	}
	if err := a.Announce(t.Context(), nil); err != nil {
		t.Errorf("taking types back after the end: %v", err)
	}
}

// TestLazy: nobody connects before there is something to connect for.
func TestLazy(t *testing.T) {
	server := placementtest.Serve(t, "127.0.0.1:0", placementtest.Trusted)
	lazy := func(d *client.Deps) { d.Lazy = true }
	for name, need := range map[string]func(*placementtest.Sidecar){
		"types":     func(s *placementtest.Sidecar) { s.Host(t, "T") },
		"a look-up": func(s *placementtest.Sidecar) { _, _ = s.Call(t.Context(), "T", "1") },
	} {
		s := placementtest.Start(t, placementtest.NewLedger(), "10.0.0.1:50002", server.Address, lazy)
		s.Host(t)
		if s.Status().Connected {
			t.Errorf("%s: it is connected without need", name)
		}
		need(s)
		if !s.Status().Connected {
			t.Errorf("%s: it is not connected", name)
		}
		s.Stop()
	}
}

// TestRandomHistories: whatever sidecars come, go, announce, withdraw, and whenever placement goes, no two of them
// believe to own an actor at the same time.
func TestRandomHistories(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	server := placementtest.Serve(t, "127.0.0.1:0", placementtest.Trusted)
	l := placementtest.NewLedger()
	const callers = 4
	var (
		mu   sync.Mutex
		all  []*placementtest.Sidecar
		ever []*placementtest.Sidecar
		work sync.WaitGroup
		over = make(chan struct{})
	)
	pick := func(r *rand.Rand) *placementtest.Sidecar {
		mu.Lock()
		defer mu.Unlock()
		if len(all) == 0 {
			return nil
		}
		return all[r.IntN(len(all))]
	}
	var calls, local atomic.Int64
	for i := range callers {
		r := rand.New(rand.NewPCG(seed, uint64(i)+1))
		work.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				s := pick(r)
				if s == nil {
					continue
				}
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
				owner, err := s.Call(ctx, string("TUV"[r.IntN(3)]), fmt.Sprint(r.IntN(40)))
				cancel()
				if calls.Add(1); err == nil && owner.Local {
					local.Add(1)
				}
			}
		})
	}
	types := func() (some []string) {
		for _, name := range []string{"T", "U", "V"} {
			if random.IntN(2) == 0 {
				some = append(some, name)
			}
		}
		return some
	}
	for step := range 120 {
		switch random.IntN(8) {
		case 0, 1, 2:
			if len(all) < 8 {
				s := placementtest.Start(t, l, fmt.Sprintf("10.0.%d.%d:50002", step/250, step%250), server.Address)
				go func(some []string) { _ = s.Announce(t.Context(), some) }(types())
				ever = append(ever, s)
				mu.Lock()
				all = append(all, s)
				mu.Unlock()
			}
		case 3, 4:
			if s := pick(random); s != nil {
				go func(some []string) { _ = s.Announce(t.Context(), some) }(types())
			}
		case 5:
			if s := pick(random); s != nil {
				mu.Lock()
				all = slices.DeleteFunc(all, func(other *placementtest.Sidecar) bool { return other == s })
				mu.Unlock()
				work.Go(s.Stop)
			}
		case 6:
			if random.IntN(5) == 0 {
				server.Stop()
				for _, s := range ever {
					for s.Status().Connected { // a real server waits for as long as this can take
						time.Sleep(time.Millisecond)
					}
				}
				server = placementtest.Serve(t, server.Address, placementtest.Trusted)
			}
		case 7:
			// A moment of quiet, in which a round may end: enough calls to see it.
			for until := calls.Load() + 200; len(all) > 0 && calls.Load() < until; {
				time.Sleep(time.Millisecond)
			}
		}
	}
	close(over)
	mu.Lock()
	rest := all
	mu.Unlock()
	for _, s := range rest {
		s.Stop()
	}
	work.Wait()
	if len(l.Broken()) > 0 {
		t.Errorf("%d times, the first: %s", len(l.Broken()), l.Broken()[0])
	}
	if local.Load() == 0 {
		t.Error("no actor was ever owned")
	}
	t.Logf("%d calls, %d of them for an actor of one's own", calls.Load(), local.Load())
}
