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

	"github.com/daprd/daprd/pkg/config"
)

// deliveries bring the messages of brokers to those who subscribed. They follow the brokers that come and go.
type deliveries struct {
	service *Service

	mu sync.Mutex
	// declared are the Subscription resources, asked those of the application.
	declared, asked []config.TopicSubscription
	// running: the application takes messages. ended: the sidecar is shutting down.
	running, ended bool
	// unasked: the application has not been asked for its topics, or has not answered. asking is the question that goes on
	// beside everything else, nil for none.
	unasked bool
	asking  *question
	// toApp are the subscriptions of the application by broker and topic; streams those that somebody holds open.
	toApp   map[identity]*consumer
	streams map[*consumer]struct{}
	// own are the sidecar's own wishes, toSelf what there is of them.
	own       map[identity]wish
	toSelf    map[identity]*consumer
	streaming sync.WaitGroup
}

// identity is what there is at most one subscription of the application for.
type identity struct{ pubSub, topic string }

func newDeliveries(s *Service) *deliveries {
	return &deliveries{service: s, toApp: map[identity]*consumer{}, streams: map[*consumer]struct{}{}, own: map[identity]wish{},
		toSelf: map[identity]*consumer{}}
}

// added begins the subscriptions that a broker which is in service now makes possible.
func (d *deliveries) added() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reconcile()
	d.askOn()
}

// removed ends the subscriptions of a broker that is going out of service, and waits until what it has in hand is
// done, or ctx ends.
func (d *deliveries) removed(ctx context.Context, c *component) error {
	d.mu.Lock()
	var ending []*consumer
	for _, standing := range []map[identity]*consumer{d.toApp, d.toSelf} {
		for id, consumer := range standing {
			if id.pubSub == c.name {
				ending = append(ending, consumer)
				delete(standing, id)
			}
		}
	}
	for stream := range d.streams {
		if stream.wish.PubSub == c.name {
			ending = append(ending, stream)
		}
	}
	d.mu.Unlock()
	return endAll(ctx, ending)
}

// Declare says which Subscription resources there are, in place of those before. Those that go end when what they have
// in hand is done.
func (s *Service) Declare(subscriptions []config.TopicSubscription) {
	d := s.deliveries
	d.mu.Lock()
	defer d.mu.Unlock()
	d.declared = slices.Clone(subscriptions)
	d.reconcile()
}

// Start asks the application for its topics and begins to deliver. It does nothing when that has begun already. An
// application that does not answer is asked on; what Subscription resources say is delivered meanwhile.
func (s *Service) Start(ctx context.Context) error {
	d := s.deliveries
	d.mu.Lock()
	running := d.running
	d.mu.Unlock()
	app, ok := s.deps.App.Load()
	if !ok {
		for range s.brokers.Len() {
			s.deps.Log.Warn("app channel not initialized, make sure -app-port is specified if pubsub subscription is required")
		}
	}
	if running || !ok {
		return nil
	}
	asked, answered := s.ask(ctx, app)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	d.begin(ctx, asked, answered)
	return nil
}

// firstTry is how long the start waits for subscriptions, so that it misses nothing that is published right after it.
const firstTry = 5 * time.Second

// begin makes the subscriptions and waits until each was tried.
func (d *deliveries) begin(ctx context.Context, asked []config.TopicSubscription, answered bool) {
	d.mu.Lock()
	if d.unasked = !answered; answered {
		d.asked = asked
	}
	d.running = !d.ended
	d.reconcile()
	d.askOn()
	if d.service.brokers.Len() > 0 {
		d.announce()
	}
	begun := slices.Collect(maps.Values(d.toApp))
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, firstTry)
	defer cancel()
	for _, c := range begun {
		select {
		case <-c.tried:
		case <-ctx.Done():
			return
		}
	}
}

// Stop ends delivery to the application, streaming subscriptions excepted, and waits for the messages in hand until
// ctx ends. Start begins anew.
func (s *Service) Stop(ctx context.Context) error {
	d := s.deliveries
	d.mu.Lock()
	d.running = false
	ending, asking := d.takeAll(), d.stopAsking()
	d.mu.Unlock()
	asking.wait()
	return endAll(ctx, ending)
}

// Drain ends delivery for good, streaming subscriptions included: the sidecar ends.
func (s *Service) Drain(ctx context.Context) error {
	d := s.deliveries
	d.mu.Lock()
	d.running, d.ended = false, true
	ending, asking := d.takeAll(), d.stopAsking()
	for stream := range d.streams {
		ending = append(ending, stream)
	}
	d.mu.Unlock()
	asking.wait()
	err := endAll(ctx, ending)
	d.streaming.Wait()
	return err
}

func (d *deliveries) takeAll() (all []*consumer) {
	for id, consumer := range d.toApp {
		all = append(all, consumer)
		delete(d.toApp, id)
	}
	return all
}

// endAll ends consumers at once and waits for all.
func endAll(ctx context.Context, ending []*consumer) error {
	var (
		wait sync.WaitGroup
		errs = make([]error, len(ending))
	)
	for i, c := range ending {
		wait.Go(func() { errs[i] = c.end(ctx) })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// wishes are the subscriptions that there should be: the application's own go before resources of the same broker and
// topic; of two of its own the last one holds, of two resources the first.
func (d *deliveries) wishes() map[identity]wish {
	all := map[identity]wish{}
	for _, s := range d.declared {
		id := identity{s.PubSub, s.Topic}
		if _, twice := all[id]; !twice {
			all[id] = wish{TopicSubscription: s, source: Declarative}
		}
	}
	for _, s := range d.asked {
		all[identity{s.PubSub, s.Topic}] = wish{TopicSubscription: s, source: Programmatic}
	}
	return all
}

// Check says what is wrong with a subscription: its routes, or its metadata.
func Check(s config.TopicSubscription) error {
	if _, err := newRoutes(s.Rules); err != nil {
		return err
	}
	_, err := Settings{}.bounds(s.Metadata)
	return err
}

// reconcile makes the subscriptions what they should be. The caller holds the lock.
func (d *deliveries) reconcile() {
	if d.running {
		d.level(d.toApp, d.wishes())
	}
	d.level(d.toSelf, d.own)
}

// level makes the standing subscriptions those that are wished for.
func (d *deliveries) level(standing map[identity]*consumer, wishes map[identity]wish) {
	before := map[identity]*consumer{}
	for id, consumer := range standing {
		if w, ok := wishes[id]; !ok || !w.equal(consumer.wish) {
			delete(standing, id)
			consumer.endLater(!ok)
			before[id] = consumer
		}
	}
	for id, w := range wishes {
		if _, there := standing[id]; there {
			continue
		}
		if _, ok := d.service.brokers.Look(id.pubSub); ok {
			if c := d.service.newConsumer(w, d.service.appReceiver()); c != nil {
				standing[id] = c
				c.begin(before[id])
			}
		}
	}
}

// announce writes Dapr's line about the topics. The caller holds the lock.
func (d *deliveries) announce() {
	topics := map[string][]string{}
	for id := range d.wishes() {
		topics[id.pubSub] = append(topics[id.pubSub], id.topic)
	}
	names := make([]string, 0, len(topics))
	for name := range topics {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		slices.Sort(topics[name])
		d.service.deps.Log.Infof("app is subscribed to the following topics: [%s] through pubsub=%s", strings.Join(topics[name], " "), name)
	}
}

// Type says where a subscription comes from, with the numbers of the protocol.
type Type int

// The types of subscriptions.
const (
	Unknown Type = iota
	Declarative
	Programmatic
	Streaming
	internal // of the sidecar itself; no number of the protocol, and shown nowhere
)

// String is the word of the metadata API.
func (t Type) String() string {
	return [...]string{"UNKNOWN", "DECLARATIVE", "PROGRAMMATIC", "STREAMING", "INTERNAL"}[t]
}

// Subscription is one subscription in force, for the metadata API.
type Subscription struct {
	config.TopicSubscription
	Type Type
	// State is "" for one that works, else since when it does not and why.
	State string
}

// Subscriptions are those in force, by broker and topic.
func (s *Service) Subscriptions() []Subscription {
	return slices.DeleteFunc(s.allSubscriptions(), func(s Subscription) bool { return s.Type == internal })
}

// Disturbed are the subscriptions that do not work now, those of the sidecar itself included, by broker and topic.
func (s *Service) Disturbed() []Subscription {
	return slices.DeleteFunc(s.allSubscriptions(), func(s Subscription) bool { return s.State == "" })
}

func (s *Service) allSubscriptions() []Subscription {
	d := s.deliveries
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []Subscription
	for _, standing := range []map[identity]*consumer{d.toApp, d.toSelf} {
		for _, c := range standing {
			all = append(all, Subscription{c.wish.TopicSubscription, c.wish.source, c.state()})
		}
	}
	for c := range d.streams {
		all = append(all, Subscription{c.wish.TopicSubscription, Streaming, c.state()})
	}
	slices.SortFunc(all, func(a, b Subscription) int {
		if c := strings.Compare(a.PubSub, b.PubSub); c != 0 {
			return c
		}
		return strings.Compare(a.Topic, b.Topic)
	})
	return all
}

var errNotAllowed = errors.New("it is not allowed by the component's topics and subscriptionScopes")

// denied is the error of a subscription that the component's scopes refuse.
func denied(w wish) error {
	return fmt.Errorf("subscription to topic '%s' on pubsub '%s' is not allowed: %w", w.Topic, w.PubSub, errNotAllowed)
}
