package ready

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
)

// Uses counts the calls in flight on something that may be taken away: a component that is removed or replaced
// while the sidecar runs. Enter and Leave stand around each use; Drain refuses new ones and waits for the others.
// The zero Uses is open. A Uses must not be copied.
type Uses struct {
	// count is the number of uses; it begins at ending once there may be no more, so that Enter and Leave take no lock.
	count atomic.Int64

	mu   sync.Mutex
	over chan struct{}
}

// ending stands at the count of uses that are the last ones.
const ending = math.MinInt64

// Enter begins a use. false means that there are no more uses: whoever asks looks for the successor.
func (u *Uses) Enter() bool {
	for {
		count := u.count.Load()
		if count < 0 {
			return false
		}
		if u.count.CompareAndSwap(count, count+1) {
			return true
		}
	}
}

// Leave ends a use that Enter has begun.
func (u *Uses) Leave() {
	if u.count.Add(-1) == ending {
		close(u.over)
	}
}

// Drain refuses new uses and waits until the last one has left, or ctx ends; its error is the context's cause.
// It may be called more than once.
func (u *Uses) Drain(ctx context.Context) error {
	u.mu.Lock()
	if u.over == nil {
		// The one that sees this count has to see the channel too.
		u.over = make(chan struct{})
		if u.count.Add(ending) == ending {
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
