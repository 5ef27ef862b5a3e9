// Package actors is the building block of virtual actors: it brings calls to the one host that an actor has, takes turns
// for those that live here, keeps their state, and lets them leave. Who hosts what it asks of a Table; what placement
// asks of it are Drain, Halt and Settled. It must not know from which transport a call came, which protocol an
// application speaks, nor how placement reaches its table.
//
// The guarantees are in docs/actors.md. Two things carry them: an actor is entered under the lock of its kind while the
// Table vouches for it (Table.Owner), and everything that an actor does here, its departure included, is a turn or waits
// for one.
package actors

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/messaging"
	"github.com/daprd/daprd/pkg/ready"
	"github.com/daprd/daprd/pkg/resiliency"
	"github.com/daprd/daprd/pkg/state"
)

// Deps are what a Service needs from the sidecar around it.
type Deps struct {
	// AppID and Namespace are this sidecar's.
	AppID, Namespace string
	// Table is empty while nobody says where actors live.
	Table *ready.Slot[Table]
	State *state.Service
	// App is the application beside this sidecar, once there is one.
	App *ready.Slot[channel.App]
	// Others calls other sidecars.
	Others *messaging.Direct
	// Policies are the resiliency policies in force; nil has none.
	Policies *resiliency.Policies
	Observer Observer
	Log      logrus.FieldLogger
}

// Observer is told what happens to actors: the seam of the metrics. Each function counts one type, and is asked for once.
type Observer interface {
	// ActorPending is told of calls that begin (1) and end (-1) to wait for their turn.
	ActorPending(actorType string) func(n int)
	// ActorDeactivated is told of an actor that has left, and whether the application agreed.
	ActorDeactivated(actorType string) func(success bool)
	// ActorRebalanced is told of an actor that leaves since its host is another.
	ActorRebalanced(actorType string) func()
	// ActorFired is told of a timer's tick, or of a reminder's firing, that was brought to its actor, and whether it worked.
	ActorFired(actorType string) func(timer, success bool)
	// ActorTimers is told of timers that begin (1) and end (-1).
	ActorTimers(actorType string) func(n int)
	// ActorReminders is told of reminders that this sidecar begins (1) and ceases (-1) to wait for.
	ActorReminders(actorType string) func(n int)
}

// Service is the block. Its methods may be called by many goroutines at once, and fail with *apierr.Error only.
type Service struct {
	deps      Deps
	log       logrus.FieldLogger
	alive     context.Context
	kill      context.CancelFunc
	farewells crew
	callbacks atomic.Pointer[callbacks]
	finishing sync.Once

	// kinds are the types that are hosted or were; the map is replaced, never changed.
	kinds atomic.Pointer[map[string]*kind]
	// changing is held while hosts come and go; guests are those there are, the newest last.
	changing sync.Mutex
	guests   []*guest
	ill      bool
	ending   atomic.Bool
	// left is closed when the sidecar is about to end.
	left      chan struct{}
	leaveOnce sync.Once
	// announcing is held while it is found out what the table is to be told.
	announcing sync.Mutex
	announced  announcement
	hosting    atomic.Bool
	background sync.WaitGroup
}

// New makes a Service that hosts nothing.
func New(deps Deps) *Service {
	s := &Service{deps: deps, log: deps.Log, left: make(chan struct{})}
	s.alive, s.kill = context.WithCancel(context.Background())
	s.kinds.Store(&map[string]*kind{})
	s.announced = announcement{cancel: func() {}, done: make(chan struct{})}
	close(s.announced.done)
	return s
}

// look finds a type that is hosted or was.
func (s *Service) look(actorType string) (*kind, bool) {
	k, ok := (*s.kinds.Load())[actorType]
	return k, ok
}

// kind finds a type and makes it if need be. Only the types of hosts are made.
func (s *Service) kind(actorType string) *kind {
	if k, ok := s.look(actorType); ok {
		return k
	}
	o := s.deps.Observer
	k := &kind{name: actorType, service: s, actors: map[string]*actor{}, pending: o.ActorPending(actorType),
		deactivated: o.ActorDeactivated(actorType), rebalanced: o.ActorRebalanced(actorType), fired: o.ActorFired(actorType)}
	next := maps.Clone(*s.kinds.Load())
	next[actorType] = k
	s.kinds.Store(&next)
	return k
}

// all are the types that are hosted or were.
func (s *Service) all() []*kind { return slices.Collect(maps.Values(*s.kinds.Load())) }

// table is that in force; the error is a row.
func (s *Service) table() (Table, error) {
	if table, ok := s.deps.Table.Load(); ok {
		return table, nil
	}
	if s.ending.Load() {
		return nil, apierr.ActorRuntimeClosed.New()
	}
	return nil, apierr.ActorNoPlacement.New()
}

// Count is how many actors of a type are active here.
type Count struct {
	Type   string
	Active int
}

// Counts are those of the types that are hosted, in the order of their names.
func (s *Service) Counts() (all []Count) {
	for _, k := range s.all() {
		if n := k.count(); n > 0 || k.hosting.Load() != nil {
			all = append(all, Count{k.name, n})
		}
	}
	slices.SortFunc(all, func(a, b Count) int { return compare(a.Type, b.Type) })
	return all
}

// Close ends what is left: turns, callbacks, and farewells that the application does not answer. Calls fail from now on.
func (s *Service) Close() error {
	s.end()
	for _, k := range s.all() {
		k.stop()
		k.halt()
	}
	ctx, cancel := context.WithTimeout(context.Background(), roundRoom)
	defer cancel()
	err := s.finish(ctx)
	s.kill()
	s.background.Wait()
	s.farewells.wait.Wait()
	return err
}
