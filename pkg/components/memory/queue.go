package memory

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/daprd/daprd/pkg/pubsub"
)

// queue holds the messages of one subscription in the order in which they were published.
type queue struct {
	topic    string
	messages chan *pubsub.Message
	// idle: nobody reads for now.
	idle   atomic.Bool
	once   sync.Once
	closed chan struct{}

	mu sync.Mutex
	// returned are messages that have to be delivered again, before all others.
	returned []*pubsub.Message
}

func (q *queue) close() { q.once.Do(func() { close(q.closed) }) }

// put waits for room as long as somebody makes some.
func (q *queue) put(ctx context.Context, m *pubsub.Message) error {
	select {
	case q.messages <- m:
		return nil
	case <-q.closed:
		return nil // the subscription is gone: a message without a subscriber
	default:
	}
	if q.idle.Load() {
		return fmt.Errorf("the subscription to topic %s holds %d messages, as many as it may (queueDepth), and its application does not take any for now",
			q.topic, cap(q.messages))
	}
	select {
	case q.messages <- m:
		return nil
	case <-q.closed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the subscription to topic %s holds %d messages, as many as it may (queueDepth), and its application is slower than its publishers: %w",
			q.topic, cap(q.messages), ctx.Err())
	}
}

// read delivers until ctx ends or the queue is closed. What failed is delivered again after a pause, which grows with
// each failure; meanwhile those behind it wait.
func (q *queue) read(ctx context.Context, bounds pubsub.Batch, pause time.Duration, deliver pubsub.Handler) {
	handling := context.WithoutCancel(ctx)
	wait := pause
	batch := make([]*pubsub.Message, 0, max(bounds.Max, 1))
	for {
		if batch = q.take(ctx, batch[:0], bounds); len(batch) == 0 {
			return
		}
		if !q.giveBack(batch, deliver(handling, batch)) {
			wait = pause
			continue
		}
		if !sleep(ctx, q.closed, wait) {
			return
		}
		wait = min(2*wait, redeliverLimit)
	}
}

// take waits for a first message, and for others as long as the bounds allow.
func (q *queue) take(ctx context.Context, batch []*pubsub.Message, bounds pubsub.Batch) []*pubsub.Message {
	if ctx.Err() != nil {
		return batch
	}
	batch = q.takeReturned(batch, max(bounds.Max, 1))
	if len(batch) == 0 {
		select {
		case m := <-q.messages:
			batch = append(batch, m)
		case <-q.closed:
			return batch
		case <-ctx.Done():
			return batch
		}
	}
	if bounds.Max <= 1 {
		return batch
	}
	timer := time.NewTimer(bounds.Await)
	defer timer.Stop()
	for len(batch) < bounds.Max {
		select {
		case m := <-q.messages:
			batch = append(batch, m)
		case <-timer.C:
			return batch
		case <-ctx.Done():
			return batch
		}
	}
	return batch
}

func (q *queue) takeReturned(batch []*pubsub.Message, most int) []*pubsub.Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.returned), most)
	batch = append(batch, q.returned[:n]...)
	q.returned = q.returned[n:]
	return batch
}

// giveBack puts what failed in front of everything else, in its order, and says whether something did.
func (q *queue) giveBack(batch []*pubsub.Message, failures []error) bool {
	if failures == nil {
		return false
	}
	var failed []*pubsub.Message
	for i, err := range failures {
		if err != nil {
			failed = append(failed, batch[i])
		}
	}
	if len(failed) == 0 {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.returned = append(failed, q.returned...)
	return true
}

// sleep says whether the whole pause has passed.
func sleep(ctx context.Context, closed <-chan struct{}, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-closed:
		return false
	case <-ctx.Done():
		return false
	}
}
