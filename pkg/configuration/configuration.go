package configuration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/apierr"
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
	// Observer is told of every operation; nil observes nothing.
	Observer Observer
}

// Observer is told how operations on stores went: the seam of the metrics.
type Observer interface {
	// Configuration gives the function that counts one kind of operation of one component: get, subscribe or
	// unsubscribe. It is asked once for each kind, when a store is added.
	Configuration(component, operation string) func(success bool, elapsed time.Duration)
}

// Service is the configuration building block. Its methods may be called by many goroutines at once. Errors are
// *apierr.Error.
type Service struct {
	deps   Deps
	stores ready.Shelf[*component]

	mu            sync.Mutex
	ended         bool
	subscriptions map[string]*subscription
	// outages are by store.
	outages map[string]*outage
}

// component is a store in service.
type component struct {
	store                         Store
	guard                         *resiliency.Guard
	got, subscribed, unsubscribed func(success bool, elapsed time.Duration)
}

// NewService makes a Service without stores.
func NewService(deps Deps) *Service {
	return &Service{deps: deps, subscriptions: map[string]*subscription{}, outages: map[string]*outage{}}
}

// Add puts a store into service under name; the Service closes it at the end. It refuses a name that is in service
// already.
func (s *Service) Add(name string, store Store) error {
	if !s.stores.Put(name, s.component(name, store)) {
		return fmt.Errorf("configuration store %s is loaded already: give each component a name of its own", name)
	}
	return nil
}

// Replace puts a store into service in place of the one under name, which is closed when the calls in flight are
// done, or ctx ends. Subscriptions go on at the new one.
func (s *Service) Replace(ctx context.Context, name string, store Store) error {
	old := s.stores.Swap(name, s.component(name, store))
	for _, sub := range s.of(name) {
		sub.renew()
	}
	return retire(ctx, old)
}

// Remove takes a store out of service and closes it when the calls in flight are done, or ctx ends. Its subscriptions
// end.
func (s *Service) Remove(ctx context.Context, name string) error {
	old := s.stores.Remove(name)
	for _, sub := range s.of(name) {
		sub.end()
	}
	return retire(ctx, old)
}

func retire(ctx context.Context, old *ready.Held[*component]) error {
	if old == nil {
		return nil
	}
	return old.Retire(ctx, old.Value.store)
}

// of are the subscriptions of a store; "" stands for all stores.
func (s *Service) of(store string) (found []*subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.subscriptions {
		if store == "" || sub.store == store {
			found = append(found, sub)
		}
	}
	return found
}

// Drain ends all subscriptions and waits until ctx ends for them and for calls of the application: the sidecar ends.
func (s *Service) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	ending := s.of("")
	for _, sub := range ending {
		sub.end()
	}
	for _, sub := range ending {
		select {
		case <-sub.done:
		case <-ctx.Done():
			return fmt.Errorf("configuration subscriptions do not end: %w", context.Cause(ctx))
		}
	}
	return nil
}

// Close takes every store out of service and closes it. Errors are joined.
func (s *Service) Close() error {
	var failures []error
	for name, c := range s.stores.Clear() {
		if err := ready.Close(c.store); err != nil {
			failures = append(failures, fmt.Errorf("error closing configuration store %s: %w", name, err))
		}
	}
	return errors.Join(failures...)
}

func (s *Service) component(name string, store Store) *component {
	c := &component{store: store, guard: s.deps.Policies.Component(resiliency.Configuration, name, resiliency.Outbound)}
	count := func(operation string) func(bool, time.Duration) {
		if s.deps.Observer == nil {
			return func(bool, time.Duration) {}
		}
		return s.deps.Observer.Configuration(name, operation)
	}
	c.got, c.subscribed, c.unsubscribed = count("get"), count("subscribe"), count("unsubscribe")
	return c
}

func (c *component) get(ctx context.Context, keys []string, metadata map[string]string) (map[string]Item, error) {
	items, err := c.store.Get(ctx, keys, metadata)
	return textual(items), err
}

// Get reads the items of keys, all items for no keys. Keys that are absent are left out.
func (s *Service) Get(ctx context.Context, store string, keys []string, metadata map[string]string) (map[string]Item, error) {
	held, err := s.take(store)
	if err != nil {
		return nil, err
	}
	defer held.Leave()
	c, began, sorted := held.Value, time.Now(), slices.Sorted(slices.Values(keys))
	items, err := resiliency.Do(ctx, c.guard, func(ctx context.Context) (map[string]Item, error) { return c.get(ctx, sorted, metadata) })
	c.got(err == nil, time.Since(began))
	if err != nil {
		return nil, apierr.ConfigurationGet.New(fmt.Sprint(sorted), store, err)
	}
	return items, nil
}

func (s *Service) take(store string) (*ready.Held[*component], error) {
	if s.stores.Len() == 0 {
		return nil, apierr.ConfigurationNotConfigured.New()
	}
	held, ok := s.stores.Take(store)
	if !ok {
		return nil, apierr.ConfigurationNotFound.New(store)
	}
	return held, nil
}
