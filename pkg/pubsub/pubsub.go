package pubsub

import (
	"context"
	"errors"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/ready"
	"github.com/daprd/daprd/pkg/resiliency"
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
}

// Settings are what the block itself reads of a component's properties.
type Settings struct{}

// ParseSettings reads them. Errors name the property.
func ParseSettings(properties map[string]string) (Settings, error) { return Settings{}, nil }

// Service is the publish and subscribe building block. Its methods may be called by many goroutines at once.
type Service struct {
	deps Deps
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
	settings Settings
}

// named finds a broker in service.
func (s *Service) named(name string) (*component, bool) { return nil, false }

// hand publishes through the broker's decorators what is complete already: the last step of Publish, and the way of
// dead letters.
func (s *Service) hand(ctx context.Context, c *component, req *PublishRequest) error {
	return errNotYet
}

var errNotYet = errors.New("publish and subscribe is not there yet")

// Add puts a broker into service under name; the Service closes it at the end. It refuses a name that is in service
// already.
func (s *Service) Add(name string, broker Broker, settings Settings) error { return errNotYet }

// Replace puts a broker into service in place of the one under name, which is closed when what it has in hand is
// done, or ctx ends.
func (s *Service) Replace(ctx context.Context, name string, broker Broker, settings Settings) error {
	return errNotYet
}

// Remove takes a broker out of service and closes it when what it has in hand is done, or ctx ends.
func (s *Service) Remove(ctx context.Context, name string) error { return errNotYet }

// Features are the capabilities of a broker, for the metadata API.
func (s *Service) Features(name string) []string { return nil }

// Close takes every broker out of service and closes it. Errors are joined.
func (s *Service) Close() error { return nil }
