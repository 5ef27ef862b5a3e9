package pubsub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/config"
)

// Receiver takes messages: the application, or who holds a streaming subscription open.
type Receiver interface {
	// Deliver brings one message, as channel.Subscriber's does.
	Deliver(ctx context.Context, event *channel.TopicEvent) (channel.TopicAnswer, error)
}

// bulkReceiver takes several messages at once.
type bulkReceiver interface {
	DeliverBulk(ctx context.Context, events *channel.BulkTopicEvent) ([]channel.TopicAnswer, error)
}

// wish is a subscription that somebody wants.
type wish struct {
	config.TopicSubscription
	source Type
	own    *Own // nil for subscriptions of others
}

func (w wish) equal(o wish) bool {
	return w.source == o.source && w.own == o.own && w.PubSub == o.PubSub && w.Topic == o.Topic && w.DeadLetterTopic == o.DeadLetterTopic && w.Bulk == o.Bulk &&
		maps.Equal(w.Metadata, o.Metadata) && slices.Equal(w.Rules, o.Rules)
}

// consumer is one subscription at a broker, and what it has in hand.
type consumer struct {
	service *Service
	wish    wish
	routes  *routes
	to      Receiver
	raw     bool
	// limit is how often a message may fail, 0 for no end; slots bounds the calls at once, nil for no bound.
	limit    int
	slots    chan struct{}
	attempts *attempts

	// taking ends when no more messages are taken; hard ends when those in hand are given back at once.
	taking, hard context.Context
	stop, cut    context.CancelFunc
	done         chan struct{}
	// tried is closed when the subscription was made, or could not be made at first.
	tried  chan struct{}
	once   sync.Once
	forget bool
	// impatient: a subscription that cannot be made at first is not tried again; refusal is why.
	impatient bool
	refusal   error

	mu sync.Mutex
	// fault is why the subscription does not work, "" while it does; since is when that began.
	fault string
	since time.Time
	// held: the application cannot be reached and messages wait.
	held bool
}

const (
	// firstPause and longestPause bound the pauses of a subscription that cannot be made, and of messages that wait
	// for an application that is not there.
	firstPause   = 100 * time.Millisecond
	longestPause = 10 * time.Second
)

// newConsumer prepares a subscription; nil if it is unusable, which is logged.
func (s *Service) newConsumer(w wish, to Receiver) *consumer {
	log := s.deps.Log
	if len(w.Rules) == 0 {
		log.Warnf("topic %s has an empty routes. removing from subscriptions list", w.Topic)
		return nil
	}
	c := &consumer{service: s, wish: w, to: s.traced(to), attempts: newAttempts(), done: make(chan struct{}), tried: make(chan struct{})}
	var err error
	if c.routes, err = newRoutes(w.Rules); err == nil {
		err = c.bound()
	}
	if err != nil {
		log.Errorf("Failed to start subscription for pubsub %s, topic %s: %s", w.PubSub, w.Topic, err)
		return nil
	}
	c.raw = strings.EqualFold(w.Metadata[metadataRaw], "true")
	c.taking, c.stop = context.WithCancel(context.Background())
	c.hard, c.cut = context.WithCancel(context.Background())
	return c
}

// bound reads the subscription's bounds.
func (c *consumer) bound() error {
	var settings Settings
	if component, ok := c.service.brokers.Look(c.wish.PubSub); ok {
		settings = component.settings
	}
	settings, err := settings.bounds(c.wish.Metadata)
	if err != nil {
		return err
	}
	if c.limit = settings.MaxAttempts; settings.MaxInFlight > 0 {
		c.slots = make(chan struct{}, settings.MaxInFlight)
	}
	return nil
}

// begin subscribes, in a goroutine that end waits for, when the one before has let go of the topic.
func (c *consumer) begin(before *consumer) {
	go func() {
		if before != nil {
			select {
			case <-before.done:
			case <-c.taking.Done():
			}
		}
		c.run(func() {
			if c.wish.own != nil {
				c.wish.own.established()
			}
		})
	}()
}

// run keeps the subscription going until it is ended.
func (c *consumer) run(established func()) {
	defer c.cut()
	defer close(c.done)
	defer c.wasTried()
	pause, begun := firstPause, false
	for c.taking.Err() == nil {
		err := c.subscribe(func() {
			c.works()
			c.wasTried()
			if !begun {
				established()
			}
			pause, begun = firstPause, true
		})
		if c.taking.Err() != nil {
			return
		}
		if c.impatient && !begun {
			c.refusal = err
			return
		}
		c.broken(err)
		c.wasTried()
		if wait(c.taking, jittered(pause)) != nil {
			return
		}
		pause = min(2*pause, longestPause)
	}
}

func (c *consumer) wasTried() { c.once.Do(func() { close(c.tried) }) }

// subscribe holds the broker in use for as long as the subscription lasts.
func (c *consumer) subscribe(established func()) error {
	held, ok := c.service.brokers.Take(c.wish.PubSub)
	if !ok {
		return fmt.Errorf("pubsub %s is not found", c.wish.PubSub)
	}
	defer held.Leave()
	component := held.Value
	if c.wish.own == nil && !component.settings.maySubscribe(c.service.deps.AppID, c.wish.Topic) {
		return denied(c.wish)
	}
	request := &SubscribeRequest{Topic: component.settings.TopicPrefix + c.wish.Topic, Metadata: c.wish.Metadata, Durable: c.wish.source != Streaming,
		InFlight: cap(c.slots), Established: established}
	handle := func(ctx context.Context, messages []*Message) []error { return c.each(ctx, component, messages) }
	if _, ok := c.to.(bulkReceiver); ok && c.wish.Bulk.Enabled {
		request.Batch = batch(c.wish.Bulk)
		handle = func(ctx context.Context, messages []*Message) []error { return c.together(ctx, component, messages) }
	}
	if c.wish.own != nil {
		handle = c.toOwner
	}
	if err := component.broker.Subscribe(c.taking, request, c.bounding(handle)); err != nil {
		return err
	}
	if f, ok := component.broker.(Forgetter); ok && c.forget {
		f.Forget(request.Topic)
	}
	return nil
}

// bounding makes calls wait for a slot. Messages whose subscription ends meanwhile are given back.
func (c *consumer) bounding(handle Handler) Handler {
	if c.slots == nil {
		return handle
	}
	return func(ctx context.Context, messages []*Message) []error {
		select {
		case c.slots <- struct{}{}:
			defer func() { <-c.slots }()
			return handle(ctx, messages)
		case <-c.taking.Done():
		case <-ctx.Done():
		}
		return slices.Repeat([]error{errNoSlot}, len(messages))
	}
}

var errNoSlot = errors.New("the subscription has as many messages in hand as it may (maxInFlight)")

// batch bounds what a bulk delivery may ask for.
func batch(b config.BulkSubscribe) Batch {
	const most, longest = 10000, time.Minute
	bounds := Batch{Max: b.MaxMessages, Await: time.Duration(b.MaxAwaitMilliseconds) * time.Millisecond}
	if bounds.Max <= 0 {
		bounds.Max = 100
	}
	if bounds.Await <= 0 {
		bounds.Await = time.Second
	}
	return Batch{min(bounds.Max, most), min(bounds.Await, longest)}
}

// end takes no more messages and waits for those in hand. When ctx ends first they are given back at once.
func (c *consumer) end(ctx context.Context) error {
	c.stop()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
	}
	c.cut()
	<-c.done
	return fmt.Errorf("messages of topic %s of pubsub %s were given back to the broker: %w", c.wish.Topic, c.wish.PubSub, context.Cause(ctx))
}

// endLater takes no more messages and lets those in hand finish. forget says that nobody will ask for the topic again.
func (c *consumer) endLater(forget bool) {
	c.forget = forget
	c.stop()
}

// works and broken tell of each change once.
func (c *consumer) works() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault != "" {
		c.service.deps.Log.Infof("the subscription for pubsub %s, topic %s works again after %s", c.wish.PubSub, c.wish.Topic,
			time.Since(c.since).Round(time.Second))
	}
	c.fault = ""
}

func (c *consumer) broken(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault == "" {
		c.since = time.Now()
		c.service.deps.Log.Errorf("Failed to start subscription for pubsub %s, topic %s: %v; it is tried again until it works", c.wish.PubSub, c.wish.Topic, err)
	}
	c.fault = fmt.Sprint(err)
}

// state is what the metadata API tells of it.
func (c *consumer) state() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.fault != "":
		return fmt.Sprintf("retrying since %s: %s", c.since.UTC().Format(time.RFC3339), c.fault)
	case c.held:
		return "waiting for the application since " + c.since.UTC().Format(time.RFC3339)
	}
	return ""
}

// hold and reached tell of an application that is not there, once each way.
func (c *consumer) hold(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.held {
		c.held, c.since = true, time.Now()
		c.service.deps.Log.Warnf("messages of topic %s of pubsub %s wait: %v; they are delivered when the application is there", c.wish.Topic, c.wish.PubSub, err)
	}
}

func (c *consumer) reached() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held {
		c.held = false
		c.service.deps.Log.Infof("the application takes messages of topic %s of pubsub %s again after %s", c.wish.Topic, c.wish.PubSub,
			time.Since(c.since).Round(time.Second))
	}
}
