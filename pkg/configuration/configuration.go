package configuration

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
	// App is the application beside this sidecar, once there is one.
	App *ready.Slot[channel.App]
	// Policies are the resiliency policies in force.
	Policies *resiliency.Policies
	Log      logrus.FieldLogger
}

// Service is the configuration building block. Its methods may be called by many goroutines at once.
type Service struct{ deps Deps }

// NewService makes a Service without stores.
func NewService(deps Deps) *Service { return &Service{deps: deps} }

var errNotYet = errors.New("configuration is not there yet")

// Add puts a store into service under name; the Service closes it at the end. It refuses a name that is in service
// already.
func (s *Service) Add(name string, store Store) error { return errNotYet }

// Replace puts a store into service in place of the one under name, which is closed when the calls in flight are
// done, or ctx ends. Subscriptions go on at the new one.
func (s *Service) Replace(ctx context.Context, name string, store Store) error { return errNotYet }

// Remove takes a store out of service and closes it when the calls in flight are done, or ctx ends.
func (s *Service) Remove(ctx context.Context, name string) error { return errNotYet }

// Drain ends all subscriptions: the sidecar ends.
func (s *Service) Drain(ctx context.Context) error { return nil }

// Close takes every store out of service and closes it. Errors are joined.
func (s *Service) Close() error { return nil }
