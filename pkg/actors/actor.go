package actors

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/daprd/daprd/pkg/apierr"
)

// maxWaiting bounds the calls that wait for one actor. Each holds a goroutine and a connection of its caller.
const maxWaiting = 10_000

// errMoved is why a call could not have its turn, or not to its end: the actor goes to another host. It is made again there.
var errMoved = errors.New("the actor is moving to another host")

// actor is one that is here: active, becoming so, or about to leave. Its kind's mu guards it. While it is idle it costs
// this and its place in the kind's map alone.
type actor struct {
	kind *kind
	id   string
	// turn is the one that it has, nil for none.
	turn *turn
	// first and last are the calls that wait, waiting their number.
	first, last *waiter
	waiting     int32
	// writes are the state transactions under way; they end with stay, which stop ends. Both are nil while there is none.
	writes int32
	stay   context.Context
	stop   context.CancelFunc
	// known says that the application has seen the actor, so that it has to be told when the actor leaves; active that its
	// state may be written.
	known, active bool
	// departure is its leaving, pending or under way, nil where it stays.
	departure *departure
	// prev and next are its neighbours among the idle, since when it is one of them.
	prev, next *actor
	since      time.Time
}

// entry is a call on its way into an actor: it gets the turn at once or waits for it.
type entry struct {
	turn   *turn
	waiter *waiter
	err    error
}

// waiter is a call that waits for its turn.
type waiter struct {
	actor      *actor
	prev, next *waiter
	chain      string
	// ready is closed when turn or err is there.
	ready chan struct{}
	turn  *turn
	err   error
}

// enter takes a call of a chain ("" for none) into the actor id, which it makes if it is not there.
func (k *kind) enter(id, chain string) (e entry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.actors[id]
	if a == nil {
		a = &actor{kind: k, id: strings.Clone(id)} // it may be lent
		k.actors[a.id] = a
	}
	if nested, err := a.nest(chain); nested != nil || err != nil {
		return entry{turn: nested, err: err}
	}
	if a.turn == nil && a.departure == nil {
		return entry{turn: a.begin(chain)}
	}
	if a.waiting == maxWaiting {
		return entry{err: apierr.ActorBusy.New(k.name, id, maxWaiting)}
	}
	w := &waiter{actor: a, chain: chain, ready: make(chan struct{}), prev: a.last}
	if a.last == nil {
		a.first = w
	} else {
		a.last.next = w
	}
	a.last = w
	a.waiting++
	k.pending(1)
	return entry{waiter: w}
}

// reenter takes a call of a chain into the actor that has the chain's turn; nil where none has. It asks no table: as long
// as the turn goes on the actor is here.
func (k *kind) reenter(id, chain string) (*turn, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if a := k.actors[id]; a != nil {
		return a.nest(chain)
	}
	return nil, nil
}

// nest is the turn of the actor if it is the chain's.
func (a *actor) nest(chain string) (*turn, error) {
	t := a.turn
	if chain == "" || t == nil || t.id != chain {
		return nil, nil
	}
	if t.depth >= a.kind.settings().depth {
		return nil, apierr.ActorStackDepth.New()
	}
	t.depth++
	return t, nil
}

// begin gives the actor a turn.
func (a *actor) begin(chain string) *turn {
	a.kind.unidle(a)
	a.known, a.active = true, true
	a.turn = &turn{actor: a, id: strings.Clone(chain), depth: 1}
	return a.turn
}

// wait waits for the turn of the call, as long as ctx lives.
func (e *entry) wait(ctx context.Context) (*turn, error) {
	w := e.waiter
	if w == nil {
		return e.turn, e.err
	}
	select {
	case <-w.ready:
		return w.turn, w.err
	case <-ctx.Done():
	}
	k := w.actor.kind
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-w.ready:
		if w.turn != nil {
			w.turn.leave()
		}
	default:
		w.actor.unqueue(w)
	}
	return nil, context.Cause(ctx)
}

// unqueue takes a waiting call out of the queue.
func (a *actor) unqueue(w *waiter) {
	if w.prev == nil {
		a.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		a.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	a.waiting--
	a.kind.pending(-1)
	a.settle()
}

// refuse ends the waiting of all calls.
func (a *actor) refuse(cause error) {
	for w := a.first; w != nil; w = a.first {
		w.err = cause
		close(w.ready)
		a.unqueue(w)
	}
}

// end is leave for who does not hold kind.mu.
func (t *turn) end() {
	k := t.actor.kind
	k.mu.Lock()
	defer k.mu.Unlock()
	t.leave()
}

// leave ends one call of a turn; with the last one the turn is over.
func (t *turn) leave() {
	if t.depth--; t.depth == 0 {
		t.actor.turn = nil
		t.actor.settle()
	}
}

// settle gives an actor without a turn what comes next: its departure, the call that waits longest, or rest.
func (a *actor) settle() {
	switch {
	case a.turn != nil:
	case a.departure != nil:
		a.departure.begin(a)
	case a.first != nil:
		w := a.first
		w.turn = a.begin(w.chain)
		close(w.ready)
		a.unqueue(w)
	case !a.known:
		delete(a.kind.actors, a.id)
	default:
		a.kind.idle(a)
	}
}
