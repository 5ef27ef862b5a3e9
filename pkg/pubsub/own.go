package pubsub

import (
	"context"
	"sync"

	"github.com/daprd/daprd/pkg/config"
)

// Own is a subscription of the sidecar itself: its messages go to a Handler, whatever the application does. It follows
// the broker that comes, goes and is replaced, and is shown in the metadata API only while it does not work.
type Own struct {
	deliveries *deliveries
	id         identity
	handle     Handler

	once  sync.Once
	ready chan struct{}
}

// SubscribeOwn begins a subscription of the sidecar itself; there is one of each topic at most. The scopes of the
// component are not asked: they are the application's. The handler's context ends when messages are given back at once.
func (s *Service) SubscribeOwn(pubSub, topic string, handle Handler) *Own {
	d := s.deliveries
	o := &Own{deliveries: d, id: identity{pubSub, topic}, handle: handle, ready: make(chan struct{})}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.own[o.id] = wish{source: internal, own: o,
		TopicSubscription: config.TopicSubscription{PubSub: pubSub, Topic: topic, Rules: []config.TopicRule{{Path: "/"}}}}
	d.reconcile()
	return o
}

// Ready is closed when the broker has accepted the subscription for the first time: what is published from then on
// arrives.
func (o *Own) Ready() <-chan struct{} { return o.ready }

func (o *Own) established() { o.once.Do(func() { close(o.ready) }) }

// End takes no more messages and waits for those in hand; when ctx ends first they are given back at once. The broker
// keeps what it has for a subscription that comes back.
func (o *Own) End(ctx context.Context) error {
	if c := o.take(); c != nil {
		return c.end(ctx)
	}
	return nil
}

// EndLater is End that waits for nothing: messages in hand finish.
func (o *Own) EndLater() {
	if c := o.take(); c != nil {
		c.endLater(false)
	}
}

// take is the consumer, which the deliveries do not follow any more; nil for none.
func (o *Own) take() *consumer {
	d := o.deliveries
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.own[o.id].own != o {
		return nil
	}
	delete(d.own, o.id)
	c := d.toSelf[o.id]
	delete(d.toSelf, o.id)
	return c
}

// toOwner hands messages to the sidecar itself.
func (c *consumer) toOwner(given context.Context, messages []*Message) []error {
	ctx, release := c.bounded(given)
	defer release()
	return c.wish.own.handle(ctx, messages)
}
