package pubsub

import (
	"context"
	"errors"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/resiliency"
)

// ask gives the application's own subscriptions, by the policy for initialisations. Without a broker nobody asks, as in
// Dapr. An answer that cannot be used is one: there are none.
func (s *Service) ask(ctx context.Context, app channel.App) (asked []config.TopicSubscription, answered bool) {
	switch {
	case s.deps.SkipAppSubscriptions:
		return nil, true
	case s.brokers.Len() == 0:
		return nil, false
	}
	schedule := s.deps.Policies.Retries(resiliency.InitializationRetries).Begin()
	for {
		asked, err := app.Subscriptions(ctx)
		if err == nil || ctx.Err() != nil {
			return asked, err == nil
		}
		pause, again := schedule.Next(0)
		if errors.Is(err, channel.ErrUnusable) || !again {
			s.deps.Log.Error(err)
			return nil, errors.Is(err, channel.ErrUnusable)
		}
		if wait(ctx, pause) != nil {
			return nil, false
		}
	}
}

// question is one that is asked until it is answered, or stopped.
type question struct {
	stop context.CancelFunc
	done chan struct{}
}

// wait waits for the end of a question that was stopped; of none at all there is no end to wait for.
func (q *question) wait() {
	if q != nil {
		<-q.done
	}
}

// askOn asks the application for its topics beside everything else, when it did not answer at the start or there was no
// broker then. The caller holds the lock.
func (d *deliveries) askOn() {
	if !d.running || !d.unasked || d.asking != nil || d.service.brokers.Len() == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	q := &question{stop: cancel, done: make(chan struct{})}
	d.asking = q
	go func() {
		defer close(q.done)
		defer cancel()
		for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, longestPause) {
			if asked, answered := d.askAgain(ctx); answered {
				d.answer(q, asked)
				return
			}
			if wait(ctx, jittered(pause)) != nil {
				return
			}
		}
	}()
}

// askAgain asks once.
func (d *deliveries) askAgain(ctx context.Context) ([]config.TopicSubscription, bool) {
	app, ok := d.service.deps.App.Load()
	if !ok {
		return nil, false
	}
	asked, err := app.Subscriptions(ctx)
	if errors.Is(err, channel.ErrUnusable) {
		d.service.deps.Log.Error(err)
		return nil, true
	}
	return asked, err == nil
}

// answer puts the application's topics into force, unless the question was stopped meanwhile.
func (d *deliveries) answer(q *question, asked []config.TopicSubscription) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.asking != q {
		return
	}
	d.asking, d.unasked, d.asked = nil, false, asked
	d.reconcile()
	d.announce()
}

// stopAsking stops the question that goes on; the caller, who holds the lock, waits for its end without it.
func (d *deliveries) stopAsking() *question {
	q := d.asking
	if d.asking = nil; q != nil {
		q.stop()
	}
	return q
}
