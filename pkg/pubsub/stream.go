package pubsub

import (
	"context"
	"errors"
	"fmt"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/config"
)

// The ends of a streaming subscription that the caller has to hear of.
var (
	// ErrStreamClosed: the component was removed or replaced, or the sidecar ends.
	ErrStreamClosed = errors.New("stream closed")
	errClosing      = errors.New("subscriber is closed")
)

// Stream brings the messages of a topic to a receiver until ctx ends. established is called when the broker has
// accepted the subscription. Messages in hand when it ends are given back. Errors are *apierr.Error, ErrStreamClosed, or
// that of the subscription which could not be made.
func (s *Service) Stream(ctx context.Context, subscription config.TopicSubscription, to Receiver, established func()) error {
	held, ok := s.brokers.Take(subscription.PubSub)
	if !ok {
		return apierr.PubSubNotFound.New(subscription.PubSub).WithMetadata()
	}
	allowed := held.Value.settings.maySubscribe(s.deps.AppID, subscription.Topic)
	held.Leave()
	subscription.Rules = []config.TopicRule{{Path: "/"}}
	w := wish{TopicSubscription: subscription, source: Streaming}
	if !allowed {
		return denied(w)
	}
	c := s.newConsumer(w, to)
	if c == nil {
		return errors.New("the metadata of the subscription cannot be used; the log tells why")
	}
	c.impatient = true
	if !s.deliveries.enter(c, established) {
		e := apierr.PubSubMetadata.New(errClosing)
		return e.WithResource("pubsub", subscription.PubSub, e.Message).WithMetadata()
	}
	select {
	case <-ctx.Done():
		c.stop()
		c.cut()
		return ctx.Err()
	case <-c.hard.Done(): // or it is over
	}
	select {
	case <-c.done:
		if c.refusal != nil {
			return fmt.Errorf("failed to subscribe to topic %s: %w", subscription.Topic, c.refusal)
		}
	default:
	}
	return ErrStreamClosed
}

// enter begins a streaming subscription. The deliveries own it: when it is cut off, whoever holds the stream open lets go
// of it at once, which is what frees a message that is being written to a client that does not read.
func (d *deliveries) enter(c *consumer, established func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return false
	}
	d.streams[c] = struct{}{}
	d.streaming.Go(func() {
		defer d.leave(c)
		c.run(established)
	})
	return true
}

func (d *deliveries) leave(c *consumer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.streams, c)
}

// appReceiver is the application as it is at the moment of each message.
func (s *Service) appReceiver() Receiver { return appReceiver{s} }

type appReceiver struct{ service *Service }

func (a appReceiver) Deliver(ctx context.Context, event *channel.TopicEvent) (channel.TopicAnswer, error) {
	app, ok := a.service.deps.App.Load()
	if !ok {
		return channel.TopicAnswer{}, channel.ErrUnhealthy
	}
	return app.Deliver(ctx, event)
}

func (a appReceiver) DeliverBulk(ctx context.Context, events *channel.BulkTopicEvent) ([]channel.TopicAnswer, error) {
	app, ok := a.service.deps.App.Load()
	if !ok {
		return nil, channel.ErrUnhealthy
	}
	return app.DeliverBulk(ctx, events)
}
