package placement_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	logtest "github.com/sirupsen/logrus/hooks/test"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	client "github.com/daprd/daprd/pkg/actors/placement"
	"github.com/daprd/daprd/pkg/placement"
	placementv1 "github.com/daprd/daprd/pkg/proto/placement/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a placement server of a test, which can be stopped and started again at its address.
type server struct {
	t       testing.TB
	address string
	stop    func()
}

func startServer(t testing.TB, address string, settings placement.Settings) *server {
	t.Helper()
	log, _ := logtest.NewNullLogger()
	service := placement.NewService(settings, placement.Deps{ID: "one", Log: log})
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(service.ServerOptions()...)
	placementv1.RegisterPlacementServer(s, service)
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { _ = s.Serve(listener) })
	work.Go(func() { _ = service.Lead(ctx) })
	stop := sync.OnceFunc(func() {
		cancel()
		s.Stop()
		work.Wait()
		service.Wait()
	})
	t.Cleanup(stop)
	return &server{t, listener.Addr().String(), stop}
}

// ledger is who believes to own which actor: from a look-up that says so until the end of the stay.
type ledger struct {
	mu     sync.Mutex
	owners map[string]*sidecar
	broken []string
}

func (l *ledger) claim(actor string, by *sidecar) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if other := l.owners[actor]; other != nil && other != by {
		l.broken = append(l.broken, fmt.Sprintf("%s belongs to %s and %s", actor, other.address, by.address))
	}
	l.owners[actor] = by
}

// release ends the stays of a sidecar for which over says so.
func (l *ledger) release(by *sidecar, over func(actor string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for actor, owner := range l.owners {
		if owner == by && over(actor) {
			delete(l.owners, actor)
		}
	}
}

// sidecar is one of a test: a client, and the runtime of actors as far as placement sees it.
type sidecar struct {
	*client.Client
	address string
	ledger  *ledger
	stop    func()
	// drains, halts and settles count what placement has asked for.
	drains, halts, settles atomic.Int64
	drain                  func(ctx context.Context)
}

func (s *sidecar) Drain(ctx context.Context, types []string, moved func(actorType, actorID string) bool) {
	s.drains.Add(1)
	if s.drain != nil {
		s.drain(ctx)
	}
	s.ledger.release(s, func(actor string) bool {
		actorType, id := actor[:1], actor[2:]
		return slices.Contains(types, actorType) && moved(actorType, id)
	})
}

func (s *sidecar) Halt(context.Context) {
	s.halts.Add(1)
	s.ledger.release(s, func(string) bool { return true })
}

func (s *sidecar) Settled([]string) { s.settles.Add(1) }

// start runs a sidecar until the test ends.
func start(t testing.TB, l *ledger, name string, addresses string, change ...func(*client.Deps)) *sidecar {
	t.Helper()
	servers, err := client.NewAddresses(addresses, insecure.NewCredentials())
	if err != nil {
		t.Fatal(err)
	}
	log, _ := logtest.NewNullLogger()
	s := &sidecar{address: name, ledger: l}
	deps := client.Deps{AppID: "app-" + name, Namespace: "default", Address: func() string { return name }, Servers: servers, Hosting: s, Log: log,
		Pause: 10 * time.Millisecond}
	for _, c := range change {
		c(&deps)
	}
	s.Client = client.NewClient(deps)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(s.stop)
	return s
}

func newLedger() *ledger { return &ledger{owners: map[string]*sidecar{}} }

func (s *sidecar) announce(t testing.TB, types ...string) {
	t.Helper()
	if err := s.Announce(t.Context(), types); err != nil {
		t.Fatal(err)
	}
}

// call looks for an actor, and claims it where it is local.
func (s *sidecar) call(ctx context.Context, actorType, id string) (client.Owner, error) {
	return s.Owner(ctx, actorType, id, func() { s.ledger.claim(actorType+"/"+id, s) })
}

var trusted = placement.Settings{Trusted: true}

// TestOwner: all sidecars of a mesh agree on the owner, and only he takes the actor for his.
func TestOwner(t *testing.T) {
	server := startServer(t, "127.0.0.1:0", trusted)
	l := newLedger()
	var all []*sidecar
	for i := range 3 {
		s := start(t, l, fmt.Sprintf("10.0.0.%d:50002", i+1), server.address)
		s.announce(t, "T")
		all = append(all, s)
	}
	all = append(all, start(t, l, "10.0.0.9:50002", server.address))
	for id, want := range map[string]string{"1": "10.0.0.3:50002", "3": "10.0.0.2:50002", "bob": "10.0.0.1:50002", "alice": "10.0.0.3:50002"} {
		for _, s := range all {
			got, err := s.call(t.Context(), "T", id)
			if err != nil || got.Address != want || got.AppID != "app-"+want || got.Local != (s.address == want) {
				t.Errorf("%s asked for %s: %+v, %v", s.address, id, got, err)
			}
		}
		if owner := l.owners["T/"+id]; owner == nil || owner.address != want {
			t.Errorf("%s is claimed by %v", id, owner)
		}
	}
	if _, err := all[0].call(t.Context(), "nobody", "1"); !errors.Is(err, client.ErrNoHost) {
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
	server := startServer(t, "127.0.0.1:0", trusted)
	l := newLedger()
	draining, go_ := make(chan struct{}), make(chan struct{})
	a := start(t, l, "10.0.0.1:50002", server.address)
	begins := sync.OnceFunc(func() { close(draining) })
	a.drain = func(ctx context.Context) {
		begins()
		select {
		case <-go_:
		case <-ctx.Done():
		}
	}
	a.announce(t, "T", "U")
	b := start(t, l, "10.0.0.2:50002", server.address)
	announced := make(chan error, 1)
	go func() { announced <- b.Announce(t.Context(), []string{"T"}) }()
	<-draining
	// With two hosts: which of these ids move to b is what the ring says.
	ring := client.NewRing([]string{"10.0.0.1:50002", "10.0.0.2:50002"}, 100)
	moving := make(chan client.Owner, 100)
	waiting := 0
	for i := range 50 {
		id := fmt.Sprint(i)
		if owner, err := a.call(t.Context(), "U", id); err != nil || !owner.Local {
			t.Errorf("a type that does not change waits: %+v %v", owner, err)
		}
		if ring.Host(id) == "10.0.0.1:50002" {
			if owner, err := a.call(t.Context(), "T", id); err != nil || !owner.Local {
				t.Errorf("an actor that stays waits: %+v %v", owner, err)
			}
			continue
		}
		waiting++
		go func() {
			owner, err := a.call(t.Context(), "T", id)
			if err != nil {
				t.Error(err)
			}
			moving <- owner
		}()
		soon, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if owner, err := a.call(soon, "T", id); !errors.Is(err, context.DeadlineExceeded) {
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
	if len(l.broken) > 0 {
		t.Error(l.broken)
	}
}

// TestLostServer: without placement everything is halted and look-ups wait; when it is back they go on.
func TestLostServer(t *testing.T) {
	server := startServer(t, "127.0.0.1:0", trusted)
	a := start(t, newLedger(), "10.0.0.1:50002", server.address)
	a.announce(t, "T")
	if _, err := a.call(t.Context(), "T", "1"); err != nil {
		t.Fatal(err)
	}
	settled := a.settles.Load()
	server.stop()
	for a.settles.Load() == settled { // the last of what a loss does
		time.Sleep(time.Millisecond)
	}
	if a.halts.Load() != 1 || a.Status() != (client.Status{}) || a.Fresh() == nil {
		t.Errorf("%d halts, status %+v, fresh %v", a.halts.Load(), a.Status(), a.Fresh())
	}
	soon, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if owner, err := a.call(soon, "T", "1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("found without a table: %+v %v", owner, err)
	}
	found := make(chan error, 1)
	go func() { _, err := a.call(t.Context(), "T", "1"); found <- err }()
	startServer(t, server.address, trusted)
	if err := <-found; err != nil {
		t.Error(err)
	}
}

// TestWithdrawn: types that are taken back are drained, and nobody is found for them.
func TestWithdrawn(t *testing.T) {
	server := startServer(t, "127.0.0.1:0", trusted)
	l := newLedger()
	a := start(t, l, "10.0.0.1:50002", server.address)
	a.announce(t, "T")
	if _, err := a.call(t.Context(), "T", "1"); err != nil {
		t.Fatal(err)
	}
	a.announce(t)
	if a.drains.Load() != 1 || len(l.owners) != 0 {
		t.Errorf("%d drains, left %v", a.drains.Load(), l.owners)
	}
	if _, err := a.call(t.Context(), "T", "1"); !errors.Is(err, client.ErrNoHost) {
		t.Errorf("a type that was withdrawn: %v", err)
	}
	a.stop()
	if _, err := a.call(t.Context(), "T", "1"); !errors.Is(err, client.ErrNoTable) {
		t.Errorf("after the end: %v", err)
	}
	if err := a.Announce(t.Context(), nil); err != nil {
		t.Errorf("taking types back after the end: %v", err)
	}
}

// TestLazy: nobody connects before there is something to connect for.
func TestLazy(t *testing.T) {
	server := startServer(t, "127.0.0.1:0", trusted)
	lazy := func(d *client.Deps) { d.Lazy = true }
	for name, need := range map[string]func(*sidecar){
		"types":     func(s *sidecar) { s.announce(t, "T") },
		"a look-up": func(s *sidecar) { _, _ = s.call(t.Context(), "T", "1") },
	} {
		s := start(t, newLedger(), "10.0.0.1:50002", server.address, lazy)
		s.announce(t)
		if s.Status().Connected {
			t.Errorf("%s: it is connected without need", name)
		}
		need(s)
		if !s.Status().Connected {
			t.Errorf("%s: it is not connected", name)
		}
		s.stop()
	}
}

// TestRandomHistories: whatever sidecars come, go, announce, withdraw, and whenever placement goes, no two of them
// believe to own an actor at the same time.
func TestRandomHistories(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	server := startServer(t, "127.0.0.1:0", trusted)
	l := newLedger()
	const callers = 4
	var (
		mu   sync.Mutex
		all  []*sidecar
		ever []*sidecar
		work sync.WaitGroup
		over = make(chan struct{})
	)
	pick := func(r *rand.Rand) *sidecar {
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
				owner, err := s.call(ctx, string("TUV"[r.IntN(3)]), fmt.Sprint(r.IntN(40)))
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
				s := start(t, l, fmt.Sprintf("10.0.%d.%d:50002", step/250, step%250), server.address)
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
				all = slices.DeleteFunc(all, func(other *sidecar) bool { return other == s })
				mu.Unlock()
				work.Go(s.stop)
			}
		case 6:
			if random.IntN(5) == 0 {
				server.stop()
				for _, s := range ever {
					for s.Status().Connected { // a real server waits for as long as this can take
						time.Sleep(time.Millisecond)
					}
				}
				server = startServer(t, server.address, trusted)
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
		s.stop()
	}
	work.Wait()
	if len(l.broken) > 0 {
		t.Errorf("%d times, the first: %s", len(l.broken), l.broken[0])
	}
	if local.Load() == 0 {
		t.Error("no actor was ever owned")
	}
	t.Logf("%d calls, %d of them for an actor of one's own", calls.Load(), local.Load())
}
