package lock

import (
	"context"
	"errors"

	"github.com/daprd/daprd/pkg/resiliency"
)

// Deps are what a Service needs from the sidecar around it.
type Deps struct {
	// AppID makes key prefixes.
	AppID string
	// Policies are the resiliency policies in force.
	Policies *resiliency.Policies
}

// Settings are what the block itself reads of a component's properties.
type Settings struct{}

// ParseSettings reads them. Errors name the property.
func ParseSettings(properties map[string]string) (Settings, error) { return Settings{}, nil }

// Service is the distributed lock building block. Its methods may be called by many goroutines at once.
type Service struct{ deps Deps }

// NewService makes a Service without stores.
func NewService(deps Deps) *Service { return &Service{deps: deps} }

var errNotYet = errors.New("locks are not there yet")

// Add puts a store into service under name; the Service closes it at the end. It refuses a name that is in service
// already.
func (s *Service) Add(name string, store Store, settings Settings) error { return errNotYet }

// Replace puts a store into service in place of the one under name, which is closed when the calls in flight are
// done, or ctx ends.
func (s *Service) Replace(ctx context.Context, name string, store Store, settings Settings) error {
	return errNotYet
}

// Remove takes a store out of service and closes it when the calls in flight are done, or ctx ends.
func (s *Service) Remove(ctx context.Context, name string) error { return errNotYet }

// Close takes every store out of service and closes it. Errors are joined.
func (s *Service) Close() error { return nil }
