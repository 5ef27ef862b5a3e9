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

	// due says that a message has waited for its turn to be delivered again.
	due chan struct{}

	mu sync.Mutex
	// returned are messages that failed, in the order of publishing as far as it is known.
	returned []entry
}

// entry is a message on its way. After a failure it waits until turn; pause is how long, and doubles with each.
type entry struct {
	message *pubsub.Message
	turn    time.Time
	pause   time.Duration
}

func newQueue(topic string, depth int) *queue {
	return &queue{topic: topic, messages: make(chan *pubsub.Message, depth), closed: make(chan struct{}), due: make(chan struct{}, 1)}
}

// reader is one of the workers of a subscription.
type reader struct {
	*queue
	bounds pubsub.Batch
	// pause is that after a first failure.
	pause time.Duration
	// ordered: no message passes one that failed. There is one reader then. Otherwise the others go on meanwhile, while
	// fewer wait for their turn than the queue holds.
	ordered bool
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

// read delivers until ctx ends or the queue is closed. What failed is delivered again after a pause.
func (r *reader) read(ctx context.Context, deliver pubsub.Handler) {
	handling := context.WithoutCancel(ctx)
	most := max(r.bounds.Max, 1)
	batch, messages := make([]entry, 0, most), make([]*pubsub.Message, 0, most)
	for {
		if batch = r.take(ctx, batch[:0], most); len(batch) == 0 {
			return
		}
		messages = messages[:0]
		for _, e := range batch {
			messages = append(messages, e.message)
		}
		r.giveBack(batch, deliver(handling, messages))
		clear(batch) // what is handled is not kept until the next comes
		clear(messages)
	}
}

// take waits for a first message, and for others as long as the bounds allow; none when ctx ended or the queue is
// closed.
func (r *reader) take(ctx context.Context, batch []entry, most int) []entry {
	for len(batch) == 0 {
		if ctx.Err() != nil {
			return batch
		}
		var full bool
		if batch, full = r.takeReturned(batch, most); len(batch) > 0 {
			break
		}
		next := r.messages
		if full {
			next = nil
		}
		select {
		case m := <-next:
			batch = append(batch, entry{message: m})
		case <-r.due:
		case <-r.closed:
			return batch
		case <-ctx.Done():
			return batch
		}
	}
	if most == 1 || r.holds() {
		return batch
	}
	timer := time.NewTimer(r.bounds.Await)
	defer timer.Stop()
	for len(batch) < most {
		select {
		case m := <-r.messages:
			batch = append(batch, entry{message: m})
		case <-timer.C:
			return batch
		case <-ctx.Done():
			return batch
		}
	}
	return batch
}

// takeReturned takes those whose turn has come, and says whether so many wait for theirs that nothing new is taken.
func (r *reader) takeReturned(batch []entry, most int) ([]entry, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	kept, more := r.returned[:0], false
	for _, e := range r.returned {
		switch {
		case e.turn.After(now), r.ordered && len(kept) > 0:
			kept = append(kept, e)
		case len(batch) == most:
			kept, more = append(kept, e), true
		default:
			batch = append(batch, e)
		}
	}
	clear(r.returned[len(kept):])
	r.returned = kept
	if more {
		r.signal() // for another reader
	}
	return batch, r.full()
}

// holds says whether nothing new may be taken.
func (r *reader) holds() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.full()
}

// full is holds for who has the lock.
func (r *reader) full() bool {
	if r.ordered {
		return len(r.returned) > 0
	}
	return len(r.returned) >= cap(r.messages)
}

// giveBack keeps what failed, in its order and before what was kept earlier, until its turn comes.
func (r *reader) giveBack(batch []entry, failures []error) {
	var failed []entry
	now := time.Now()
	for i, err := range failures {
		if err == nil {
			continue
		}
		e := batch[i]
		e.pause = min(max(2*e.pause, r.pause), redeliverLimit)
		e.turn = now.Add(e.pause)
		failed = append(failed, e)
	}
	if len(failed) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range failed {
		time.AfterFunc(e.pause, r.signal)
	}
	r.returned = append(failed, r.returned...)
}

// resume makes it everyone's turn: the application is another than it was, perhaps.
func (q *queue) resume() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.returned {
		q.returned[i].turn, q.returned[i].pause = time.Time{}, 0
	}
}

// signal wakes a reader that waits.
func (q *queue) signal() {
	select {
	case q.due <- struct{}{}:
	default:
	}
}
