package secrets

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/ready"
	"github.com/daprd/daprd/pkg/resiliency"
)

// Observer is told how operations on stores went: the seam of the metrics.
type Observer interface {
	// Secret gives the function that counts one kind of operation of one component, "get" or "bulk_get". It is
	// asked when a store is added; the function is called by many goroutines.
	Secret(component, operation string) func(success bool, elapsed time.Duration)
}

// Service is the secrets building block. Its methods may be called by many goroutines at once. Errors of
// Secret and All are *apierr.Error.
type Service struct {
	deps   Deps
	scope  ready.Slot[Scope]
	stores ready.Shelf[*component]
}

type component struct {
	store     Store
	guard     *resiliency.Guard
	got, bulk func(success bool, elapsed time.Duration)
}

// Deps are what a Service needs from the sidecar around it.
type Deps struct {
	// Observer is told of every operation; nil observes nothing.
	Observer Observer
	// Policies are the resiliency policies in force; nil has none.
	Policies *resiliency.Policies
}

// NewService makes a service without stores, which allows everything until Restrict.
func NewService(deps Deps) *Service {
	return &Service{deps: deps}
}

// Restrict applies the Configuration's scopes. Components' own references are not restricted.
func (s *Service) Restrict(scope Scope) { s.scope.Fill(scope) }

// Add makes a store available under name; the Service closes it at the end. It refuses a name that is in
// service already.
func (s *Service) Add(name string, store Store) error {
	if !s.stores.Put(name, s.component(name, store)) {
		return fmt.Errorf("secret store %s is loaded already: give each component a name of its own", name)
	}
	return nil
}

func (s *Service) component(name string, store Store) *component {
	return &component{
		store: store, guard: s.deps.Policies.Component(resiliency.Secretstore, name, resiliency.Outbound),
		got: s.count(name, "get"), bulk: s.count(name, "bulk_get"),
	}
}

// Replace puts a store into service in place of the one under name, which is closed when the calls in flight are
// done, or ctx ends. The error is that of the closing.
func (s *Service) Replace(ctx context.Context, name string, store Store) error {
	return retire(ctx, s.stores.Swap(name, s.component(name, store)))
}

// Remove takes a store out of service and closes it when the calls in flight are done, or ctx ends. The error is that
// of the closing.
func (s *Service) Remove(ctx context.Context, name string) error {
	return retire(ctx, s.stores.Remove(name))
}

func retire(ctx context.Context, old *ready.Held[*component]) error {
	if old == nil {
		return nil
	}
	return old.Retire(ctx, old.Value.store)
}

func (s *Service) count(name, operation string) func(bool, time.Duration) {
	if s.deps.Observer == nil {
		return func(bool, time.Duration) {}
	}
	return s.deps.Observer.Secret(name, operation)
}

// Store is the bare store, for the references of components.
func (s *Service) Store(name string) (Store, bool) {
	c, ok := s.stores.Look(name)
	if !ok {
		return nil, false
	}
	return c.store, true
}

// Features are the capabilities of a store, for the metadata API.
func (s *Service) Features(name string) []string {
	store, _ := s.Store(name)
	if featured, ok := store.(Featured); ok {
		return featured.Features()
	}
	return nil
}

// Secret reads one secret: its values by key. nil means that the store has nothing to say.
func (s *Service) Secret(ctx context.Context, store, name string, metadata map[string]string) (map[string]string, error) {
	c, scope, err := s.take(store)
	if err != nil {
		return nil, err
	}
	defer c.Leave()
	if scope != nil && !scope.Allowed(store, name) {
		return nil, apierr.SecretDenied.New(name, store)
	}
	began := time.Now()
	values, err := resiliency.Do(ctx, c.Value.guard, func(ctx context.Context) (map[string]string, error) { return c.Value.store.Secret(ctx, name, metadata) })
	c.Value.got(err == nil, time.Since(began))
	if err != nil {
		return nil, apierr.SecretGet.New(name, store, err)
	}
	return values, nil
}

// All reads every secret that the application may read; the others are left out without a word. nil means
// that the store has nothing to say.
func (s *Service) All(ctx context.Context, store string, metadata map[string]string) (map[string]map[string]string, error) {
	c, scope, err := s.take(store)
	if err != nil {
		return nil, err
	}
	defer c.Leave()
	began := time.Now()
	all, err := resiliency.Do(ctx, c.Value.guard, func(ctx context.Context) (map[string]map[string]string, error) {
		return c.Value.store.All(ctx, metadata)
	})
	c.Value.bulk(err == nil, time.Since(began))
	if err != nil {
		return nil, apierr.SecretBulkGet.New(store, err)
	}
	if all == nil || scope == nil {
		return all, nil
	}
	allowed := make(map[string]map[string]string, len(all))
	for name, values := range all {
		if scope.Allowed(store, name) {
			allowed[name] = values
		}
	}
	return allowed, nil
}

// take begins a use of a store in service. The caller calls Leave.
func (s *Service) take(store string) (*ready.Held[*component], Scope, error) {
	c, ok := s.stores.Take(store)
	switch {
	case ok:
		scope, _ := s.scope.Load()
		return c, scope, nil
	case s.stores.Len() == 0:
		return nil, nil, apierr.SecretStoresNotConfigured.New()
	}
	return nil, nil, apierr.SecretStoreNotFound.New(store)
}

// Close takes every store out of service and closes those that hold anything. Errors are joined.
func (s *Service) Close() error {
	closing := s.stores.Clear()
	var failures []error
	for _, name := range slices.Sorted(maps.Keys(closing)) {
		if err := ready.Close(closing[name].store); err != nil {
			failures = append(failures, fmt.Errorf("error closing secret store %s: %w", name, err))
		}
	}
	return errors.Join(failures...)
}
