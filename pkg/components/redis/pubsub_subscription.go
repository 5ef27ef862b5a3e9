package redis

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/daprd/daprd/pkg/pubsub"
)

// patience is how long the end of a subscription waits for a server that does not answer: to be told what was
// accepted, and to take back the rest.
const patience = time.Second

// subscription takes the entries of one topic. Each entry that it has in hand holds a token of room, from the read
// until it is acknowledged or given back, while it rests after a failure too. So no channel is ever full.
type subscription struct {
	*broker
	topic   string
	deliver pubsub.Handler
	batch   pubsub.Batch

	room chan struct{}
	// calls are the handlers of this subscription that may run at once, nil where the component's own bound is all.
	calls chan struct{}
	// queue are the entries that wait for a handler, failed those that a handler refused, accepted those to be
	// acknowledged.
	queue, failed, accepted chan *entry
	handlers                sync.WaitGroup
	nextClaim               time.Time
	outage                  outage
}

// Subscribe reads the topic's stream from where its group stands, a new group from the beginning.
func (b *broker) Subscribe(ctx context.Context, req *pubsub.SubscribeRequest, deliver pubsub.Handler) error {
	depth := int(b.settings.QueueDepth)
	s := &subscription{
		broker: b, topic: req.Topic, deliver: deliver, batch: req.Batch,
		room: make(chan struct{}, depth), queue: make(chan *entry, depth), failed: make(chan *entry, depth),
		accepted: make(chan *entry, depth),
	}
	s.batch.Max = max(1, min(s.batch.Max, depth))
	if n := req.InFlight; n > 0 && n < int(b.settings.Concurrency) {
		s.calls = make(chan struct{}, n)
	}
	s.release(depth)
	if err := s.join(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return s.client.failed(err)
	}
	req.Established()
	return s.run(ctx)
}

// join makes the group, and the stream, where they are not there.
func (s *subscription) join(ctx context.Context) error {
	err := s.client.XGroupCreateMkStream(ctx, s.topic, s.settings.ConsumerID, "0").Err()
	if err != nil && strings.HasPrefix(err.Error(), "BUSYGROUP") {
		return nil
	}
	return err
}

// run reads until ctx ends or the subscription is lost. Then it waits for the handlers, acknowledges what they
// accepted, and gives back the rest.
func (s *subscription) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	settling, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var dispatching, acknowledging sync.WaitGroup
	dispatching.Go(func() { s.dispatch(ctx) })
	acknowledging.Go(func() { s.acknowledge(settling) })

	err := s.feed(ctx)
	stop()
	dispatching.Wait()
	s.handlers.Wait()
	close(s.accepted)
	bound := time.AfterFunc(patience, cut)
	acknowledging.Wait()
	bound.Stop()
	s.giveBack(context.WithoutCancel(ctx))
	return err
}

// acquire takes room for at least one entry, and for as many as there is; 0 when ctx ended.
func (s *subscription) acquire(ctx context.Context) int {
	select {
	case <-ctx.Done():
		return 0
	case <-s.room:
	}
	for n := 1; ; n++ {
		select {
		case <-s.room:
		default:
			return n
		}
	}
}

func (s *subscription) release(n int) {
	for range n {
		s.room <- struct{}{}
	}
}

// forget is for entries that are no longer in hand.
func (s *subscription) forget(entries []*entry) {
	s.held.drop(entries)
	s.release(len(entries))
}
