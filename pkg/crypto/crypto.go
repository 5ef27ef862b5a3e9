package crypto

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/ready"
	"github.com/daprd/daprd/pkg/resiliency"
)

// Deps are what a Service needs from the sidecar around it.
type Deps struct {
	// Policies are the resiliency policies in force.
	Policies *resiliency.Policies
	// Observer is told of every operation; nil observes nothing.
	Observer Observer
}

// Observer is told how operations with keys went: the seam of the metrics.
type Observer interface {
	// Crypto gives the function that counts one kind of operation of one component: encrypt, decrypt, wrap, unwrap,
	// sign, verify or get_key. It is asked once for each kind, when a provider is added.
	Crypto(component, operation string) func(success bool, elapsed time.Duration)
}

// Service is the cryptography building block. Its methods may be called by many goroutines at once. Errors are
// *apierr.Error.
type Service struct {
	deps      Deps
	providers ready.Shelf[*component]
}

// component is a provider in service.
type component struct {
	// bare is for closing; everything else goes by the decorated Provider.
	bare Provider
	Provider
}

// NewService makes a Service without providers.
func NewService(deps Deps) *Service { return &Service{deps: deps} }

// Add puts a provider into service under name; the Service closes it at the end. It refuses a name that is in
// service already.
func (s *Service) Add(name string, provider Provider) error {
	if !s.providers.Put(name, s.component(name, provider)) {
		return fmt.Errorf("crypto provider %s is loaded already: give each component a name of its own", name)
	}
	return nil
}

// Replace puts a provider into service in place of the one under name, which is closed when the calls in flight are
// done, or ctx ends.
func (s *Service) Replace(ctx context.Context, name string, provider Provider) error {
	return retire(ctx, s.providers.Swap(name, s.component(name, provider)))
}

// Remove takes a provider out of service and closes it when the calls in flight are done, or ctx ends.
func (s *Service) Remove(ctx context.Context, name string) error {
	return retire(ctx, s.providers.Remove(name))
}

func retire(ctx context.Context, old *ready.Held[*component]) error {
	if old == nil {
		return nil
	}
	return old.Retire(ctx, old.Value.bare)
}

// Close takes every provider out of service and closes it. Errors are joined.
func (s *Service) Close() error {
	var failures []error
	for name, c := range s.providers.Clear() {
		if err := ready.Close(c.bare); err != nil {
			failures = append(failures, fmt.Errorf("error closing crypto provider %s: %w", name, err))
		}
	}
	return errors.Join(failures...)
}

func (s *Service) component(name string, bare Provider) *component {
	guard := s.deps.Policies.Component(resiliency.Crypto, name, resiliency.Outbound)
	return &component{bare, observed(name, guarded{bare, guard}, s.deps.Observer)}
}

// take begins a use of a provider.
func (s *Service) take(name string) (*ready.Held[*component], error) {
	switch {
	case s.providers.Len() == 0:
		return nil, apierr.CryptoNotConfigured.New()
	case name == "":
		return nil, apierr.BadRequest.New("missing component name")
	}
	held, ok := s.providers.Take(name)
	if !ok {
		return nil, apierr.CryptoNotFound.New(name)
	}
	return held, nil
}
