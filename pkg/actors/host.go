package actors

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/channel"
)

func compare(a, b string) int { return strings.Compare(a, b) }

// guest is a host that is there.
type guest struct {
	types map[string]settings
	host  channel.ActorHost
}

// Host has host serve the types of a configuration from now on; of several hosts of a type the newest does. It returns
// when the table knows, or ctx ends. leave takes the types back: their actors leave, unless an earlier host is still
// there; it returns when that is done, or ctx ends.
func (s *Service) Host(ctx context.Context, configuration *channel.AppConfiguration, host channel.ActorHost) (leave func(context.Context), err error) {
	types, warnings := settingsOf(configuration)
	for _, warning := range warnings {
		s.log.Warn(warning)
	}
	for name := range types {
		if err := checkName(name); err != nil {
			return nil, fmt.Errorf("the actor type %q: %w", name, err)
		}
	}
	g := &guest{types, host}
	s.changing.Lock()
	s.begin()
	s.guests = append(s.guests, g)
	s.assign()
	s.changing.Unlock()
	s.announce(ctx)
	return func(ctx context.Context) {
		s.changing.Lock()
		s.guests = slices.DeleteFunc(s.guests, func(other *guest) bool { return other == g })
		s.assign()
		s.changing.Unlock()
		s.announce(ctx)
	}, nil
}

// assign gives each type its newest host. s.changing is held.
func (s *Service) assign() {
	newest := map[string]*hosting{}
	for _, g := range s.guests {
		for name, set := range g.types {
			newest[name] = &hosting{set, g.host}
		}
	}
	for name, h := range newest {
		s.kind(name).host(h)
	}
	for _, k := range s.all() {
		if newest[k.name] == nil {
			k.host(nil)
		}
	}
}

// Well tells whether the application is well. An ill one hosts nothing.
func (s *Service) Well(ctx context.Context, well bool) {
	s.changing.Lock()
	s.ill = !well
	s.changing.Unlock()
	s.announce(ctx)
}

// Reconsider looks again whether there is a store for the state of actors: without one nothing is hosted. It returns at
// once.
func (s *Service) Reconsider() {
	if c := s.callbacks.Load(); c != nil {
		c.reminders.Replaced()
	}
	s.background.Go(func() { s.announce(s.alive) })
}

// TakesStreams refuses the stream of an application that is called for its actors.
func (s *Service) TakesStreams() error {
	if app, ok := s.deps.App.Load(); ok && app.CalledForActors() {
		return apierr.ActorStreamRefused.New()
	}
	if s.ending.Load() {
		return apierr.ActorRuntimeClosed.New()
	}
	return nil
}

// HostStream is Host for as long as listen goes on: a stream that the application has opened. It ends it when the sidecar
// is about to end.
func (s *Service) HostStream(ctx context.Context, configuration *channel.AppConfiguration, host channel.ActorHost, listen func() error) error {
	leave, err := s.Host(ctx, configuration, host)
	if err != nil {
		return apierr.ActorStreamFailed.New(err)
	}
	over := make(chan error, 1)
	go func() { over <- listen() }() // it ends with the stream, when this returns
	select {
	case err = <-over:
	case <-s.left:
		err = apierr.ActorRuntimeClosed.New()
	}
	ctx, cancel := context.WithTimeout(s.alive, leaving)
	defer cancel()
	leave(ctx)
	return err
}

// leaving bounds the round in which the types of a stream are withdrawn.
const leaving = 10 * time.Second

func (s *Service) end() {
	s.leaveOnce.Do(func() {
		s.ending.Store(true)
		close(s.left)
	})
}

// Leave takes all types back for good, before the sidecar ends: their actors leave while the sidecar still answers for
// them. It returns when nobody calls it for an actor any more, or ctx ends.
func (s *Service) Leave(ctx context.Context) {
	s.ending.Store(true)
	s.announce(ctx)
	var types []string
	for _, k := range s.all() {
		types = append(types, k.name)
	}
	// Whoever is left has no table that would have told.
	s.Drain(ctx, types, func(string, string) bool { return true })
	if err := s.finish(ctx); err != nil {
		s.log.Warnf("timers and reminders that were running are cut off: %s", err)
	}
	s.end()
}

// Settled is told that a round is over, and of which types the hosts are others.
func (s *Service) Settled(types []string) {
	if c := s.callbacks.Load(); c != nil {
		c.reminders.Settled(types)
	}
}

// hosted are the types that this sidecar should be known to host.
func (s *Service) hosted() []string {
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.ill || s.ending.Load() || s.deps.State.ActorStoreReady() != nil {
		return nil
	}
	var types []string
	for _, k := range s.all() {
		if k.hosting.Load() != nil {
			types = append(types, k.name)
		}
	}
	slices.Sort(types)
	return types
}

// announcement is what the table was told last, or is being told.
type announcement struct {
	types  []string
	cancel context.CancelFunc
	// done is closed when the table knows, or has given up.
	done chan struct{}
}

// announce tells the table what is hosted, if that is something else than it was told, and waits until it knows, or ctx
// ends; it goes on in the background then. What is told meanwhile takes the place of it.
func (s *Service) announce(ctx context.Context) {
	table, ok := s.deps.Table.Load()
	if !ok {
		return
	}
	s.announcing.Lock()
	types := s.hosted()
	if !slices.Equal(types, s.announced.types) {
		s.tell(table, types)
	}
	done := s.announced.done
	s.announcing.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// tell begins to tell the table, when what it was told before is over. s.announcing is held.
func (s *Service) tell(table Table, types []string) {
	s.announced.cancel()
	<-s.announced.done
	telling, cancel := context.WithCancel(s.alive)
	next := announcement{types, cancel, make(chan struct{})}
	s.announced = next
	s.background.Go(func() {
		defer close(next.done)
		if err := table.Announce(telling, types); err == nil {
			s.hosting.Store(len(types) > 0)
		} else if telling.Err() == nil {
			s.log.Warnf("placement could not be told of the actor types %v: %s", types, err)
		}
	})
}

// Hosting says whether types are announced.
func (s *Service) Hosting() bool { return s.hosting.Load() }
