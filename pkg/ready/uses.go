package ready

import (
	"context"
	"sync"
)

// Uses counts the calls in flight on something that may be taken away: a component that is removed or replaced
// while the sidecar runs. Enter and Leave stand around each use; Drain refuses new ones and waits for the others.
// The zero Uses is open. A Uses must not be copied.
type Uses struct {
	mu     sync.Mutex
	count  int
	ending bool
	over   chan struct{}
}

// Enter begins a use. false means that there are no more uses: whoever asks looks for the successor.
func (u *Uses) Enter() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ending {
		return false
	}
	u.count++
	return true
}

// Leave ends a use that Enter has begun.
func (u *Uses) Leave() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.count--
	if u.ending && u.count == 0 {
		close(u.over)
	}
}

// Drain refuses new uses and waits until the last one has left, or ctx ends; its error is the context's cause.
// It may be called more than once.
func (u *Uses) Drain(ctx context.Context) error {
	u.mu.Lock()
	if !u.ending {
		u.ending, u.over = true, make(chan struct{})
		if u.count == 0 {
			close(u.over)
		}
	}
	over := u.over
	u.mu.Unlock()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
