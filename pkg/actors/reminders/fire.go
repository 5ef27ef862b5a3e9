package reminders

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/daprd/daprd/pkg/actors/due"
	"github.com/daprd/daprd/pkg/actors/schedule"
)

// patience bounds what a firing asks of the store, apart from the firing itself; lookPatience does within an actor's turn.
const (
	patience     = 15 * time.Second
	lookPatience = 2 * time.Second
)

// firing is one reminder that is due, as the store has it.
type firing struct {
	shard    int
	reminder *Reminder
	plan     schedule.Plan
	track    cell
	// over says that it ends, whatever its plan is.
	over bool
	// begun is when the application was asked last.
	begun time.Time
}

// run is a reminder that is due, or was when the index was read. Whatever fails, the reminder stays.
func (s *Store) run(ctx context.Context, k *kind, e *due.Entry) time.Time {
	f := s.takeUnrecorded(e.Serial)
	if f == nil {
		var err error
		if f, err = s.load(ctx, k, e); err != nil {
			return s.storeFailed(ctx, k, err)
		}
		s.calm(k)
		switch {
		case f == nil:
			s.forget(e)
			return time.Time{}
		case f.plan.Expired(time.Now()):
			f.over = true
		case f.plan.Due.After(time.Now()):
			return f.plan.Due
		default:
			if again := s.fire(ctx, k, e, f); !again.IsZero() {
				return again
			}
		}
	}
	return s.record(ctx, k, e, f)
}

// load reads a reminder; nil is one that is not there any more. The page is read last, since it alone decides: a record may
// outlive its deletion where the store failed in the middle of it.
func (s *Store) load(ctx context.Context, k *kind, e *due.Entry) (*firing, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	shard := positionOf(e.ActorID(), "").shard()
	var r record
	found, err := s.read(ctx, k.record(shard, e.Serial), k.partition(shard), &r)
	if err != nil || !found.found {
		return nil, s.readable(err)
	}
	f := &firing{shard: shard, reminder: r.reminder(k.ActorType)}
	left := track{Due: r.Due, Left: r.Left}
	if r.Period != "" {
		if f.track, err = s.read(ctx, k.track(shard, e.Serial), k.partition(shard), &left); err != nil {
			return nil, s.readable(err)
		}
	}
	if f.plan, err = schedule.Resume(r.Period, left.Due, left.Left, r.expires()); err != nil {
		return nil, s.readable(&unreadableError{found.key, err})
	}
	switch named, err := s.named(ctx, k, e); {
	case err != nil:
		return nil, s.readable(err)
	case !named:
		return nil, s.clean(ctx, k, shard, e.Serial)
	}
	return f, nil
}

// named says whether a page names a reminder.
func (s *Store) named(ctx context.Context, k *kind, e *due.Entry) (bool, error) {
	found, err := s.descend(ctx, k.layout, positionOf(e.ActorID(), e.Name()))
	if err != nil {
		return false, err
	}
	i := found.page.find(e.ActorID(), e.Name())
	return i >= 0 && found.page.Entries[i].Serial == e.Serial, nil
}

// readable tells of what somebody else has written into a key. Such a reminder stays in the store, and is looked at again
// with the next table.
func (s *Store) readable(err error) error {
	if unreadable := new(unreadableError); errors.As(err, &unreadable) {
		s.deps.Log.Errorf("a reminder does not fire: %s", unreadable)
		return nil
	}
	return err
}

// defaultFailure is Dapr's.
var defaultFailure = Failure{Interval: time.Second, Retries: 3}

// fire calls the actor; a time is when to try again.
func (s *Store) fire(ctx context.Context, k *kind, e *due.Entry, f *firing) (again time.Time) {
	f.begun = time.Now()
	outcome, err := s.deps.Fire(ctx, f.reminder, func() bool {
		f.begun = time.Now()
		return s.stillThere(ctx, k, e)
	})
	if outcome != Unreached {
		k.actors.ends()
	}
	switch outcome {
	case Cancelled:
		f.over = true
	case Gone:
		return time.Now() // to be looked at as what it is
	case Unreached:
		if ctx.Err() == nil && k.actors.begins() {
			s.deps.Log.Warnf("the reminder %s of the actor %s/%s is due and the actor cannot be reached; it is tried again, as are others that this happens to without being told: %s",
				e.Name(), e.ActorType(), e.ActorID(), err)
		}
		return time.Now().Add(k.actors.pause())
	case Failed:
		policy := defaultFailure
		if f.reminder.Failure != nil {
			policy = *f.reminder.Failure
		}
		if policy.Retries < 0 || int(e.Tries) < policy.Retries {
			e.Tries = min(e.Tries+1, 1<<16-2)
			s.deps.Log.Debugf("the reminder %s of the actor %s/%s failed and is tried again in %v: %s", e.Name(), e.ActorType(), e.ActorID(), policy.Interval, err)
			return time.Now().Add(policy.Interval)
		}
		s.deps.Log.Warnf("the reminder %s of the actor %s/%s failed %d times, and is not tried again before its next period: %s",
			e.Name(), e.ActorType(), e.ActorID(), e.Tries+1, err)
	case Fired:
	}
	e.Tries = 0
	return time.Time{}
}

// stillThere is asked within the actor's turn, for which the firing had to wait: others may have deleted or replaced the
// reminder meanwhile. A store that fails does not stop a firing that has come so far.
func (s *Store) stillThere(ctx context.Context, k *kind, e *due.Entry) bool {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	named, err := s.named(ctx, k, e)
	return named || err != nil
}

// record writes what is left of a reminder after a firing.
func (s *Store) record(ctx context.Context, k *kind, e *due.Entry, f *firing) time.Time {
	if ctx.Err() != nil && !s.isWatched(e) {
		return time.Time{} // it was deleted or replaced meanwhile
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	// What was due until the firing began is done with it.
	next, more := f.plan.Skip(f.begun.Add(1))
	if f.over || !more {
		if err := s.remove(ctx, k, e.ActorID(), e.Name(), e.Serial); err != nil {
			return s.recordFailed(ctx, k, e, f, err)
		}
		s.forget(e)
		return time.Time{}
	}
	first := true
	err := contend(ctx, func() (string, error) {
		if first {
			first = false
			return f.track.seen(), nil
		}
		var err error
		left := track{Due: f.plan.Due}
		f.track, err = s.read(ctx, k.track(f.shard, e.Serial), k.partition(f.shard), &left)
		if err == nil && left.Due.After(f.plan.Due) { // another sidecar has fired it, too, or the write succeeded
			next.Due = left.Due
			return "", errDone
		}
		return f.track.seen(), err
	}, func() error {
		return s.write(ctx, k.partition(f.shard), f.track.set(encode(track{Due: next.Due, Left: next.Left}), true))
	})
	if err != nil {
		return s.recordFailed(ctx, k, e, f, err)
	}
	s.calm(k)
	return next.Due
}

// recordFailed keeps a firing that is over, so that it is recorded when the store is back and not fired again.
func (s *Store) recordFailed(ctx context.Context, k *kind, e *due.Entry, f *firing, err error) time.Time {
	s.mu.Lock()
	if s.watched[e.Serial] == e {
		s.unrecorded[e.Serial] = f
	}
	s.mu.Unlock()
	return s.storeFailed(ctx, k, err)
}

func (s *Store) takeUnrecorded(serial uint64) *firing {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.unrecorded[serial]
	delete(s.unrecorded, serial)
	return f
}

func (s *Store) isWatched(e *due.Entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watched[e.Serial] == e
}

// forget is unwatch for a reminder whose callback runs.
func (s *Store) forget(e *due.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watched[e.Serial] == e {
		delete(s.watched, e.Serial)
	}
}

// storeFailed says when to try again.
func (s *Store) storeFailed(ctx context.Context, k *kind, err error) time.Time {
	if ctx.Err() == nil && k.storage.begins() {
		s.deps.Log.Errorf("the state store for actors fails, and the reminders of the actor type %s wait until it works: %s", k.ActorType, err)
	}
	return time.Now().Add(k.storage.pause())
}

// calm is called when the store works.
func (s *Store) calm(k *kind) {
	if k.storage.ends() {
		s.deps.Log.Infof("the state store for actors works again: the reminders of the actor type %s go on", k.ActorType)
	}
}

// trouble is something that fails over and over, and is told once.
type trouble struct {
	mu    sync.Mutex
	since time.Time
}

// begins says whether this is the first failure.
func (t *trouble) begins() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.since.IsZero() {
		return false
	}
	t.since = time.Now()
	return true
}

// ends says whether there was a failure before.
func (t *trouble) ends() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := !t.since.IsZero()
	t.since = time.Time{}
	return was
}

// The pauses before the next attempt.
const (
	firstPause = time.Second
	lastPause  = 30 * time.Second
)

// pause grows with the time that the trouble has lasted.
func (t *trouble) pause() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	pause := firstPause
	if !t.since.IsZero() {
		pause = min(max(time.Since(t.since)/2, firstPause), lastPause)
	}
	return pause/2 + rand.N(pause/2)
}
