package pubsub

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/ready"
	"github.com/daprd/daprd/pkg/resiliency"
	"github.com/daprd/daprd/pkg/tracing"
)

// Deps are what a Service needs from the sidecar around it.
type Deps struct {
	// AppID and Namespace name the publisher, and the consumer group where the component names none.
	AppID, Namespace string
	// App is the application beside this sidecar, once there is one.
	App *ready.Slot[channel.App]
	// Policies are the resiliency policies in force.
	Policies *resiliency.Policies
	Log      logrus.FieldLogger
	// SkipAppSubscriptions leaves the application's own list out (--disable-init-endpoints=subscribe).
	SkipAppSubscriptions bool
	// Observer is told of every message; nil observes nothing.
	Observer Observer
	// Tracer makes the spans of deliveries, and of the messages of a bulk publish; nil makes none.
	Tracer *tracing.Tracer
}

// Observer is told how messages went: the seam of the metrics. Each function is asked for once, when a broker is added,
// and called by many goroutines; the topics that it is given come from outside.
type Observer interface {
	// Published gives the function that counts published messages of one component.
	Published(component string) func(topic string, success bool, elapsed time.Duration)
	// PublishedBulk counts bulk publishes and the messages in them.
	PublishedBulk(component string) func(topic string, success bool, messages int, elapsed time.Duration)
	// Delivered counts messages that were brought to the application; outcome is success, retry or drop.
	Delivered(component string) func(topic, outcome string, elapsed time.Duration)
	// DeliveredBulk counts bulk deliveries and the messages in them by outcome.
	DeliveredBulk(component string) func(topic, outcome string, messages int, elapsed time.Duration)
}

// Service is the publish and subscribe building block. Its methods may be called by many goroutines at once.
type Service struct {
	deps    Deps
	brokers ready.Shelf[*component]
	// deliveries are the subscriptions and what they have in hand.
	deliveries *deliveries
}

// NewService makes a Service without brokers.
func NewService(deps Deps) *Service {
	s := &Service{deps: deps}
	s.deliveries = newDeliveries(s)
	return s
}

// component is a broker in service.
type component struct {
	name     string
	broker   Broker
	bulk     BulkPublisher // nil if it has none
	settings Settings
	features []Feature
	// outbound guards what goes to the broker, inbound what goes to the application.
	outbound, inbound *resiliency.Guard
	count             counters
}

type counters struct {
	published     func(topic string, success bool, elapsed time.Duration)
	publishedBulk func(topic string, success bool, messages int, elapsed time.Duration)
	delivered     func(topic, outcome string, elapsed time.Duration)
	deliveredBulk func(topic, outcome string, messages int, elapsed time.Duration)
}

// Add puts a broker into service under name; the Service closes it at the end. It refuses a name that is in service
// already.
func (s *Service) Add(name string, broker Broker, settings Settings) error {
	c := s.component(name, broker, settings)
	if !s.brokers.Put(name, c) {
		return fmt.Errorf("pub/sub %s is loaded already: give each component a name of its own", name)
	}
	s.deliveries.added()
	return nil
}

// Replace puts a broker into service in place of the one under name, which is closed when what it has in hand is
// done, or ctx ends. Its subscriptions go on at the new one.
func (s *Service) Replace(ctx context.Context, name string, broker Broker, settings Settings) error {
	c := s.component(name, broker, settings)
	err := s.retire(ctx, s.brokers.Swap(name, c))
	s.deliveries.added()
	return err
}

// Remove takes a broker out of service and closes it when what it has in hand is done, or ctx ends.
func (s *Service) Remove(ctx context.Context, name string) error {
	return s.retire(ctx, s.brokers.Remove(name))
}

func (s *Service) retire(ctx context.Context, old *ready.Held[*component]) error {
	if old == nil {
		return nil
	}
	err := s.deliveries.removed(ctx, old.Value)
	return errors.Join(err, old.Retire(ctx, old.Value.broker))
}

func (s *Service) component(name string, broker Broker, settings Settings) *component {
	c := &component{name: name, broker: broker, settings: settings,
		outbound: s.deps.Policies.Component(resiliency.Pubsub, name, resiliency.Outbound),
		inbound:  s.deps.Policies.Component(resiliency.Pubsub, name, resiliency.Inbound)}
	c.bulk, _ = broker.(BulkPublisher)
	if featured, ok := broker.(Featured); ok {
		c.features = featured.Features()
	}
	if o := s.deps.Observer; o != nil {
		c.count = counters{o.Published(name), o.PublishedBulk(name), o.Delivered(name), o.DeliveredBulk(name)}
	} else {
		c.count = counters{func(string, bool, time.Duration) {}, func(string, bool, int, time.Duration) {},
			func(string, string, time.Duration) {}, func(string, string, int, time.Duration) {}}
	}
	return c
}

func (c *component) has(feature Feature) bool {
	for _, f := range c.features {
		if f == feature {
			return true
		}
	}
	return false
}

// Has says whether a broker is in service.
func (s *Service) Has(name string) bool {
	_, ok := s.brokers.Look(name)
	return ok
}

// Features are the capabilities of a broker, for the metadata API.
func (s *Service) Features(name string) (words []string) {
	c, _ := s.brokers.Look(name)
	if c == nil {
		return nil
	}
	for _, f := range c.features {
		words = append(words, string(f))
	}
	return words
}

// Close takes every broker out of service and closes it. Errors are joined.
func (s *Service) Close() error {
	var failures []error
	for name, c := range s.brokers.Clear() {
		if err := ready.Close(c.broker); err != nil {
			failures = append(failures, fmt.Errorf("error closing pub sub %s: %w", name, err))
		}
	}
	return errors.Join(failures...)
}
