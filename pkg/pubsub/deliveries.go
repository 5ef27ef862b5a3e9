package pubsub

import (
	"context"

	"github.com/daprd/daprd/pkg/config"
)

// deliveries bring the messages of brokers to those who subscribed. They follow the brokers that come and go.
type deliveries struct{ service *Service }

func newDeliveries(s *Service) *deliveries { return &deliveries{service: s} }

// added begins the subscriptions that a broker which is in service now makes possible.
func (d *deliveries) added(c *component) {}

// removed ends the subscriptions of a broker that is going out of service, and waits until what it has in hand is
// done, or ctx ends.
func (d *deliveries) removed(ctx context.Context, c *component) error { return nil }

// Declare says which Subscription resources there are, in place of those before.
func (s *Service) Declare(subscriptions []config.TopicSubscription) {}

// Start asks the application for its topics and begins to deliver. It does nothing when that has begun already.
func (s *Service) Start(ctx context.Context) error { return nil }

// Stop ends delivery to the application, streaming subscriptions excepted, and waits for the messages in hand until
// ctx ends. Start begins anew.
func (s *Service) Stop(ctx context.Context) error { return nil }

// Drain ends delivery for good, streaming subscriptions included: the sidecar ends.
func (s *Service) Drain(ctx context.Context) error { return nil }
