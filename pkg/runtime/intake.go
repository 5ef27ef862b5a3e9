package runtime

import (
	"context"
	"errors"
	"sync"
	"time"
)

// handBack is how long the messages and events in hand are waited for when nothing new is to be brought to the
// application: an ill one may hold them for ever.
const handBack = 30 * time.Second

// intake is what is brought to the application unasked: messages of subscriptions, events of input bindings. It flows
// while the application is well and the sidecar is not about to end.
type intake struct {
	// mu is held while a side starts or stops, so that one follows the other.
	mu          sync.Mutex
	ill, ending bool
	sides       []*side
}

// side is one kind of what is brought.
type side struct {
	start, stop func(context.Context) error
	flows       bool
}

// add starts a side, at once or when the application is well.
func (i *intake) add(ctx context.Context, start, stop func(context.Context) error) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.sides = append(i.sides, &side{start: start, stop: stop})
	return i.level(ctx)
}

// health tells how the application is.
func (i *intake) health(ctx context.Context, well bool) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ill = !well
	return i.level(ctx)
}

// end stops all sides for good.
func (i *intake) end(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ending = true
	return i.level(ctx)
}

// level starts what should flow and stops what should not.
func (i *intake) level(ctx context.Context) error {
	var (
		flow = !i.ill && !i.ending
		errs = make([]error, len(i.sides))
		wait sync.WaitGroup
	)
	for n, s := range i.sides {
		if s.flows == flow {
			continue
		}
		s.flows = flow
		if flow {
			errs[n] = s.start(ctx)
			continue
		}
		wait.Go(func() {
			bound, cancel := context.WithTimeout(ctx, handBack)
			defer cancel()
			errs[n] = s.stop(bound)
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// leaving bounds the waiting for what was brought to the application: a tenth of the time is left to the servers, since one
// that does not answer must not have calls of others cut short.
func leaving(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithDeadlineCause(ctx, deadline.Add(-time.Until(deadline)/10), ErrGrace)
}
