// Package placementtest is a mesh for tests: placement servers, and sidecars as far as placement sees them, with a ledger
// of who believes to own which actor.
package placementtest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	logtest "github.com/sirupsen/logrus/hooks/test"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	client "github.com/daprd/daprd/pkg/actors/placement"
	"github.com/daprd/daprd/pkg/placement"
	placementv1 "github.com/daprd/daprd/pkg/proto/placement/v1"
)

// Server is a placement server of a test, which can be stopped and started again at its address.
type Server struct {
	Address string
	Stop    func()
}

// Serve runs a server at an address until the test ends.
func Serve(t testing.TB, address string, settings placement.Settings) *Server {
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
	return &Server{listener.Addr().String(), stop}
}

// Ledger is who believes to own which actor: from a look-up that says so until the end of the stay.
type Ledger struct {
	mu     sync.Mutex
	owners map[string]*Sidecar
	broken []string
}

func (l *Ledger) claim(actor string, by *Sidecar) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if other := l.owners[actor]; other != nil && other != by {
		l.broken = append(l.broken, fmt.Sprintf("%s belongs to %s and %s", actor, other.Address, by.Address))
	}
	l.owners[actor] = by
}

// release ends the stays of a sidecar for which over says so.
func (l *Ledger) release(by *Sidecar, over func(actor string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for actor, owner := range l.owners {
		if owner == by && over(actor) {
			delete(l.owners, actor)
		}
	}
}

// Sidecar is one of a test: a client, and the runtime of actors as far as placement sees it.
type Sidecar struct {
	*client.Client
	// Address is its own.
	Address string
	Ledger  *Ledger
	Stop    func()
	// Drains, Halts and Settles count what placement has asked for.
	Drains, Halts, Settles atomic.Int64
	// Draining, if it is not nil, is called in each drain.
	Draining func(ctx context.Context)
}

// Drain is client.Hosting's.
func (s *Sidecar) Drain(ctx context.Context, types []string, moved func(actorType, actorID string) bool) {
	s.Drains.Add(1)
	if s.Draining != nil {
		s.Draining(ctx)
	}
	s.Ledger.release(s, func(actor string) bool {
		actorType, id := actor[:1], actor[2:]
		return slices.Contains(types, actorType) && moved(actorType, id)
	})
}

// Halt is client.Hosting's.
func (s *Sidecar) Halt(context.Context) {
	s.Halts.Add(1)
	s.Ledger.release(s, func(string) bool { return true })
}

// Settled is client.Hosting's.
func (s *Sidecar) Settled([]string) { s.Settles.Add(1) }

// Start runs a sidecar until the test ends.
func Start(t testing.TB, l *Ledger, name string, addresses string, change ...func(*client.Deps)) *Sidecar {
	t.Helper()
	servers, err := client.NewAddresses(addresses, insecure.NewCredentials())
	if err != nil {
		t.Fatal(err)
	}
	log, _ := logtest.NewNullLogger()
	s := &Sidecar{Address: name, Ledger: l}
	deps := client.Deps{AppID: "app-" + name, Namespace: "default", Address: func() string { return name }, Servers: servers, Hosting: s, Log: log,
		Pause: 10 * time.Millisecond}
	for _, c := range change {
		c(&deps)
	}
	s.Client = client.NewClient(deps)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	s.Stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(s.Stop)
	return s
}

// NewLedger makes an empty one.
func NewLedger() *Ledger { return &Ledger{owners: map[string]*Sidecar{}} }

// Broken are the times when two sidecars believed to own an actor.
func (l *Ledger) Broken() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.broken)
}

// Owner is the address of who believes to own an actor, "" for nobody.
func (l *Ledger) Owner(actorType, id string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.owners[actorType+"/"+id]; s != nil {
		return s.Address
	}
	return ""
}

// Len is how many actors are owned.
func (l *Ledger) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.owners)
}

// Host is Announce; a failure ends the test.
func (s *Sidecar) Host(t testing.TB, types ...string) {
	t.Helper()
	if err := s.Announce(t.Context(), types); err != nil {
		t.Fatal(err)
	}
}

// Call looks for an actor, and claims it where it is local.
func (s *Sidecar) Call(ctx context.Context, actorType, id string) (client.Owner, error) {
	return s.Owner(ctx, actorType, id, func() { s.Ledger.claim(actorType+"/"+id, s) })
}

// Trusted are settings with which rounds begin at once.
var Trusted = placement.Settings{Quarantine: -1}
