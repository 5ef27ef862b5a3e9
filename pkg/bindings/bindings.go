package bindings

import (
	"context"
	"errors"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/ready"
	"github.com/daprd/daprd/pkg/resiliency"
)

// Deps are what a Service needs from the sidecar around it.
type Deps struct {
	// App is the application beside this sidecar, once there is one.
	App *ready.Slot[channel.App]
	// ProbeTimeout bounds the question whether the application wants a binding (--app-binding-options-timeout).
	ProbeTimeout time.Duration
	// Policies are the resiliency policies in force.
	Policies *resiliency.Policies
	Log      logrus.FieldLogger
}

// Settings are what the block itself reads of a component's properties.
type Settings struct{}

// ParseSettings reads them. Errors name the property.
func ParseSettings(properties map[string]string) (Settings, error) { return Settings{}, nil }

// Service is the bindings building block. Its methods may be called by many goroutines at once.
type Service struct{ deps Deps }

// NewService makes a Service without bindings.
func NewService(deps Deps) *Service { return &Service{deps: deps} }

var errNotYet = errors.New("bindings are not there yet")

// Pair is one component: its two sides, of which at least one is there.
type Pair struct {
	Input  Input
	Output Output
}

// Add puts a binding into service under name; the Service closes it at the end. It refuses a name that is in service
// already.
func (s *Service) Add(name string, pair Pair, settings Settings) error { return errNotYet }

// Replace puts a binding into service in place of the one under name, which is closed when what it has in hand is
// done, or ctx ends.
func (s *Service) Replace(ctx context.Context, name string, pair Pair, settings Settings) error {
	return errNotYet
}

// Remove takes a binding out of service and closes it when what it has in hand is done, or ctx ends.
func (s *Service) Remove(ctx context.Context, name string) error { return errNotYet }

// Start begins to read the input bindings that the application wants. It does nothing when that has begun already.
func (s *Service) Start(ctx context.Context) error { return nil }

// Stop ends reading and waits for the events in hand until ctx ends. Start begins anew.
func (s *Service) Stop(ctx context.Context) error { return nil }

// Features are the capabilities of a binding, for the metadata API: INPUT_BINDING, OUTPUT_BINDING.
func (s *Service) Features(name string) []string { return nil }

// Close takes every binding out of service and closes it. Errors are joined.
func (s *Service) Close() error { return nil }
