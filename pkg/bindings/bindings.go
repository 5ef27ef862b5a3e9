package bindings

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/ready"
	"github.com/daprd/daprd/pkg/resiliency"
	"github.com/daprd/daprd/pkg/tracing"
)

// DefaultProbeTimeout bounds the question whether the application wants a binding, as in Dapr 1.18.
const DefaultProbeTimeout = 3 * time.Second

// Deps are what a Service needs from the sidecar around it.
type Deps struct {
	// App is the application beside this sidecar, once there is one.
	App *ready.Slot[channel.App]
	// ProbeTimeout bounds the question whether the application wants a binding (--app-binding-options-timeout); 0 and
	// less is DefaultProbeTimeout.
	ProbeTimeout time.Duration
	// Policies are the resiliency policies in force.
	Policies *resiliency.Policies
	// Observer is told of every event and request; nil observes nothing.
	Observer Observer
	// Tracer makes the spans of events; nil makes none.
	Tracer *tracing.Tracer
	Log    logrus.FieldLogger
}

// Service is the bindings building block. Its methods may be called by many goroutines at once.
type Service struct {
	deps       Deps
	components ready.Shelf[*component]

	// mu is held for changes of what is read, never while anything is waited for.
	mu       sync.Mutex
	started  bool
	readings map[string]*reading
}

// NewService makes a Service without bindings.
func NewService(deps Deps) *Service {
	if deps.ProbeTimeout <= 0 {
		deps.ProbeTimeout = DefaultProbeTimeout
	}
	return &Service{deps: deps, readings: map[string]*reading{}}
}

// Pair is one component: its two sides, of which at least one is there.
type Pair struct {
	Input  Input
	Output Output
}

// Close closes both sides. Errors are joined.
func (p Pair) Close() error { return errors.Join(ready.Close(p.Input), ready.Close(p.Output)) }

// Add puts a binding into service under name; the Service closes it at the end. It refuses a name that is in service
// already. An input is read at once where reading has begun.
func (s *Service) Add(name string, pair Pair, settings Settings) error {
	c := s.component(name, pair, settings)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.components.Put(name, c) {
		return fmt.Errorf("binding %s is loaded already: give each component a name of its own", name)
	}
	s.begin(c)
	return nil
}

// Replace puts a binding into service in place of the one under name, which is closed when what it has in hand is
// done, or ctx ends.
func (s *Service) Replace(ctx context.Context, name string, pair Pair, settings Settings) error {
	c := s.component(name, pair, settings)
	s.mu.Lock()
	old, last := s.components.Swap(name, c), s.readings[name]
	last.stop()
	delete(s.readings, name)
	s.begin(c)
	s.mu.Unlock()
	return retire(ctx, old, last)
}

// Remove takes a binding out of service and closes it when what it has in hand is done, or ctx ends.
func (s *Service) Remove(ctx context.Context, name string) error {
	s.mu.Lock()
	old, last := s.components.Remove(name), s.readings[name]
	last.stop()
	delete(s.readings, name)
	s.mu.Unlock()
	return retire(ctx, old, last)
}

// retire ends a binding that is out of service: the events in hand first, then the requests.
func retire(ctx context.Context, old *ready.Held[*component], last *reading) error {
	if last.wait(ctx) != nil {
		last.cut()
	}
	if old == nil {
		return nil
	}
	err := old.Retire(ctx, old.Value)
	last.leave()
	return err
}

// Features are the capabilities of a binding, for the metadata API.
func (s *Service) Features(name string) []string {
	c, ok := s.components.Look(name)
	if !ok {
		return nil
	}
	var features []string
	if c.bare.Input != nil {
		features = append(features, "INPUT_BINDING")
	}
	if c.bare.Output != nil {
		features = append(features, "OUTPUT_BINDING")
	}
	return features
}

// Close takes every binding out of service and closes it; events that are still in hand are cut off. Errors are joined.
func (s *Service) Close() error {
	readings := s.halt()
	for _, r := range readings {
		r.cut()
	}
	var failures []error
	for _, c := range s.components.Clear() {
		failures = append(failures, c.Close())
	}
	for _, r := range readings {
		r.leave()
	}
	return errors.Join(failures...)
}
