package reminders

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/daprd/daprd/pkg/actors/due"
	"github.com/daprd/daprd/pkg/actors/placement"
)

// watch has this sidecar fire a reminder, if it does not yet.
func (s *Store) watch(k *kind, e *pageEntry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.watched[e.Serial]; ok || s.closed {
		return
	}
	added := due.NewEntry(&k.Kind, e.ActorID, e.Name, e.Serial, time.UnixMilli(e.Due))
	s.watched[added.Serial] = added
	s.deps.Queue.Add(added)
}

// unwatch ends the firing of a reminder that is not there any more.
func (s *Store) unwatch(serial uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.watched[serial]; ok {
		delete(s.watched, serial)
		delete(s.unrecorded, serial)
		s.deps.Queue.Remove(e)
	}
}

// release lets reminders go that others fire from now on, and gives the ends of what runs for them.
func (s *Store) release(goes func(e *due.Entry) bool) (running []<-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for serial, e := range s.watched {
		if !goes(e) {
			continue
		}
		delete(s.watched, serial)
		if ended := s.deps.Queue.Release(e); ended != nil {
			running = append(running, ended)
		} else {
			delete(s.unrecorded, serial)
		}
	}
	return running
}

// Waiting is how many reminders this sidecar watches.
func (s *Store) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.watched)
}

// Drain lets those reminders go whose actors move to other hosts, or live there. It returns when what runs for them is over and recorded,
// or ctx ends. It runs within the round, beside the drain of the actors.
//
// What is registered here until Drain is in the store before the round is over, and its new host finds it there; what is
// registered later is fired from here, wherever the actor lives, until the next Drain.
func (s *Store) Drain(ctx context.Context, types []string, moved func(actorType, actorID string) bool) {
	own := map[string][]placement.Range{}
	for _, k := range s.all() {
		if slices.Contains(types, k.ActorType) {
			s.stop(k)
			own[k.ActorType] = s.deps.Owned(k.ActorType)
		}
	}
	running := s.release(func(e *due.Entry) bool {
		ranges, drains := own[e.ActorType()]
		return drains && (!contains(ranges, placement.Position(e.ActorID())) || moved(e.ActorType(), e.ActorID()))
	})
	for _, ended := range running {
		select {
		case <-ended:
		case <-ctx.Done():
			return
		}
	}
}

// Halt lets all reminders go: the table is lost.
func (s *Store) Halt(context.Context) {
	for _, k := range s.all() {
		s.stop(k)
	}
	s.release(func(*due.Entry) bool { return true })
}

// Settled has the reminders of types looked up anew, in the background: a round is over, and their hosts are others.
func (s *Store) Settled(types []string) {
	for _, actorType := range types {
		if len(s.deps.Owned(actorType)) > 0 {
			s.start(s.kind(actorType))
		}
	}
}

// Replaced has everything looked up anew: the state store is another, or has come back. What is watched stays so: if it is
// not in the store any more it is dropped when it is due.
func (s *Store) Replaced() {
	for _, k := range s.all() {
		s.Settled([]string{k.ActorType})
	}
}

// Close ends the background work. The Queue is closed before it.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.kill()
	s.walks.Wait()
	return nil
}

func (s *Store) all() []*kind {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*kind, 0, len(s.kinds))
	for _, k := range s.kinds {
		all = append(all, k)
	}
	return all
}

// stop ends the look through the index of a type, and waits for it.
func (s *Store) stop(k *kind) {
	s.mu.Lock()
	going := k.walk
	k.walk = nil
	s.mu.Unlock()
	if going != nil {
		going.stop()
		<-going.done
	}
}

// start looks through the index of a type, in the place of what goes on.
func (s *Store) start(k *kind) {
	s.stop(k)
	ctx, stop := context.WithCancel(s.alive)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		stop()
		return
	}
	going := &walk{stop: stop, done: make(chan struct{})}
	k.walk = going
	s.walks.Go(func() {
		defer close(going.done)
		defer stop()
		for s.lookThrough(ctx, k) != nil && sleep(ctx, k.storage.pause()) {
		}
	})
}

// lookThrough watches what the type has in the ranges of this sidecar.
func (s *Store) lookThrough(ctx context.Context, k *kind) error {
	err := s.unlock(ctx, k, true)
	if err == nil {
		err = s.walk(ctx, k.layout, s.deps.Owned(k.ActorType), func(e *pageEntry) { s.watch(k, e) })
	}
	switch {
	case err == nil:
		s.calm(k)
	case !errors.Is(err, context.Canceled) && k.storage.begins():
		s.deps.Log.Errorf("the reminders of the actor type %s cannot be read from the state store for actors, and wait until they can: %s", k.ActorType, err)
	}
	return err
}

func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
