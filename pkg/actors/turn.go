package actors

import (
	"context"
	"sync"
	"time"
)

// turn is one call of the application for one actor, with the calls that its chain makes into the same actor. It is the
// context of these calls: it does not end when a caller goes away, since the application may still be busy then, and
// only one turn may be.
type turn struct {
	actor *actor
	// id is that of the chain, "" where the type is not reentrant.
	id string
	// depth is how many calls of the chain are in the actor; kind.mu guards it.
	depth int

	mu    sync.Mutex
	done  chan struct{}
	cause error
	after map[*func()]struct{}
}

// Deadline is none: policies set one of their own.
func (t *turn) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value is always nil.
func (t *turn) Value(any) any { return nil }

// Done is closed when the turn has to end.
func (t *turn) Done() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done == nil {
		t.done = make(chan struct{})
		if t.cause != nil {
			close(t.done)
		}
	}
	return t.done
}

// Err is context.Canceled once the turn has to end.
func (t *turn) Err() error {
	if t.why() != nil {
		return context.Canceled
	}
	return nil
}

// why is the reason for which the turn has to end, nil while it has not.
func (t *turn) why() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cause
}

// AfterFunc is what package context looks for in a parent: with it a child needs no goroutine.
func (t *turn) AfterFunc(f func()) (stop func() bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cause != nil {
		go f()
		return func() bool { return false }
	}
	if t.after == nil {
		t.after = map[*func()]struct{}{}
	}
	t.after[&f] = struct{}{}
	return func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		_, waits := t.after[&f]
		delete(t.after, &f)
		return waits
	}
}

// cancel has the turn end for the first cause that is named.
func (t *turn) cancel(cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cause != nil {
		return
	}
	t.cause = cause
	if t.done != nil {
		close(t.done)
	}
	for f := range t.after {
		go (*f)()
	}
	t.after = nil
}
