package redis

import (
	"context"
	"time"

	"github.com/daprd/daprd/pkg/pubsub"
)

// dispatch hands entries to handlers until ctx ends.
func (s *subscription) dispatch(ctx context.Context) {
	// resting are entries that failed, the first to be due first.
	var resting []*entry
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-s.queue:
			s.hand(ctx, s.gather(ctx, e))
		case e := <-s.failed:
			resting = append(resting, e)
			alarm.Reset(time.Until(resting[0].due))
		case <-alarm.C:
			for len(resting) > 0 && !time.Now().Before(resting[0].due) {
				s.queue <- resting[0]
				resting = resting[1:]
			}
			if len(resting) > 0 {
				alarm.Reset(time.Until(resting[0].due))
			}
		}
	}
}

// gather makes a batch that begins with first: without a time to wait, of what is there.
func (s *subscription) gather(ctx context.Context, first *entry) []*entry {
	batch := []*entry{first}
	if s.batch.Max == 1 {
		return batch
	}
	over := time.NewTimer(s.batch.Await)
	defer over.Stop()
	for len(batch) < s.batch.Max {
		select {
		case e := <-s.queue:
			batch = append(batch, e)
			continue
		default:
		}
		select {
		case e := <-s.queue:
			batch = append(batch, e)
		case <-over.C:
			return batch
		case <-ctx.Done():
			return batch
		}
	}
	return batch
}

// hand runs the handler beside others. With a concurrency of one it waits for it, and insists: no later entry passes
// one that failed.
func (s *subscription) hand(ctx context.Context, batch []*entry) {
	if s.settings.Concurrency > 1 && cap(s.calls) != 1 {
		if s.enter(ctx) {
			s.handlers.Go(func() {
				defer s.leave()
				for _, e := range s.handle(ctx, batch) {
					e.due = time.Now().Add(s.settings.redelivery())
					s.failed <- e
				}
			})
		}
		return
	}
	for len(batch) > 0 && s.enter(ctx) {
		batch = s.handle(ctx, batch)
		s.leave()
		if len(batch) > 0 {
			sleep(ctx, s.settings.redelivery())
		}
	}
}

// enter waits for a slot of the subscription, so that it holds none of the component's meanwhile, and then for one of
// those; false when ctx ended.
func (s *subscription) enter(ctx context.Context) bool {
	if s.calls != nil && !occupy(ctx, s.calls) {
		return false
	}
	if occupy(ctx, s.slots) {
		return true
	}
	if s.calls != nil {
		<-s.calls
	}
	return false
}

func occupy(ctx context.Context, slots chan struct{}) bool {
	select {
	case slots <- struct{}{}:
		if ctx.Err() == nil {
			return true
		}
		<-slots
	case <-ctx.Done():
	}
	return false
}

func (s *subscription) leave() {
	<-s.slots
	if s.calls != nil {
		<-s.calls
	}
}

// handle runs the handler once and gives the entries that it refused. Those that another process has taken over
// meanwhile are left to it. When ctx has ended before, nothing happens, and the entries stay in hand.
func (s *subscription) handle(ctx context.Context, batch []*entry) (refused []*entry) {
	batch = s.renew(ctx, batch)
	if len(batch) == 0 || ctx.Err() != nil {
		return nil
	}
	messages := make([]*pubsub.Message, len(batch))
	for i, e := range batch {
		messages[i] = &e.message
	}
	handling, cancel := context.WithoutCancel(ctx), context.CancelFunc(func() {})
	if bound := s.settings.ProcessingTimeout; bound > 0 {
		handling, cancel = context.WithTimeout(handling, bound)
	}
	defer cancel()
	errs := s.deliver(handling, messages)
	for i, e := range batch {
		if errs == nil || i < len(errs) && errs[i] == nil {
			s.accepted <- e
		} else {
			refused = append(refused, e)
		}
	}
	return refused
}

// acknowledge tells the server what handlers accepted, as much as there is in one command, until there is nothing
// more to come or ctx ends. An entry stays in hand until the server knows.
func (s *subscription) acknowledge(ctx context.Context) {
	for first := range s.accepted {
		done := []*entry{first}
		for more := true; more && len(done) < page; {
			select {
			case e, ok := <-s.accepted:
				if more = ok; ok {
					done = append(done, e)
				}
			default:
				more = false
			}
		}
		s.confirm(ctx, done)
		s.forget(done)
	}
}

func (s *subscription) confirm(ctx context.Context, done []*entry) {
	ids := make([]string, len(done))
	for i, e := range done {
		ids[i] = e.message.ID
	}
	var away outage
	for {
		err := s.client.XAck(ctx, s.topic, s.settings.ConsumerID, ids...).Err()
		if err == nil {
			return
		}
		if ctx.Err() != nil || isFinal(err) {
			s.log.Warnf("%s: topic %s: %d messages that were handled could not be acknowledged, and are delivered again: %v",
				s.label, s.topic, len(ids), s.client.failed(err))
			return
		}
		away.pause(ctx)
	}
}
