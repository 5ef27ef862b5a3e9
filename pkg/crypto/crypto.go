package crypto

import (
	"context"
	"errors"

	"github.com/daprd/daprd/pkg/resiliency"
)

// Deps are what a Service needs from the sidecar around it.
type Deps struct {
	// Policies are the resiliency policies in force.
	Policies *resiliency.Policies
}

// Service is the cryptography building block. Its methods may be called by many goroutines at once.
type Service struct{ deps Deps }

// NewService makes a Service without providers.
func NewService(deps Deps) *Service { return &Service{deps: deps} }

var errNotYet = errors.New("cryptography is not there yet")

// Add puts a provider into service under name; the Service closes it at the end. It refuses a name that is in
// service already.
func (s *Service) Add(name string, provider Provider) error { return errNotYet }

// Replace puts a provider into service in place of the one under name, which is closed when the calls in flight are
// done, or ctx ends.
func (s *Service) Replace(ctx context.Context, name string, provider Provider) error {
	return errNotYet
}

// Remove takes a provider out of service and closes it when the calls in flight are done, or ctx ends.
func (s *Service) Remove(ctx context.Context, name string) error { return errNotYet }

// Close takes every provider out of service and closes it. Errors are joined.
func (s *Service) Close() error { return nil }
