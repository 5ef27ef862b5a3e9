package secrets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/daprd/daprd/pkg/apierr"
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
	deps Deps

	mu     sync.RWMutex
	scope  Scope
	stores map[string]component
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
	return &Service{deps: deps, stores: map[string]component{}}
}

// Restrict applies the Configuration's scopes. Components' own references are not restricted.
func (s *Service) Restrict(scope Scope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scope = scope
}

// Add makes a store available under name; the Service closes it at the end. It refuses a name that is in
// service already.
func (s *Service) Add(name string, store Store) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.stores[name]; taken {
		return fmt.Errorf("secret store %s is loaded already: give each component a name of its own", name)
	}
	s.stores[name] = component{
		store: store, guard: s.deps.Policies.Component(resiliency.Secretstore, name, resiliency.Outbound),
		got: s.count(name, "get"), bulk: s.count(name, "bulk_get"),
	}
	return nil
}

func (s *Service) count(name, operation string) func(bool, time.Duration) {
	if s.deps.Observer == nil {
		return func(bool, time.Duration) {}
	}
	return s.deps.Observer.Secret(name, operation)
}

// Remove takes a store out of service and gives it back: the caller closes it once the calls in flight are
// done.
func (s *Service) Remove(name string) (Store, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.stores[name]
	delete(s.stores, name)
	return c.store, ok
}

// Store is the bare store, for the references of components.
func (s *Service) Store(name string) (Store, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, ok := s.stores[name]
	return c.store, ok
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
	c, scope, err := s.named(store)
	if err != nil {
		return nil, err
	}
	if scope != nil && !scope.Allowed(store, name) {
		return nil, apierr.SecretDenied.New(name, store)
	}
	began := time.Now()
	values, err := resiliency.Do(ctx, c.guard, func(ctx context.Context) (map[string]string, error) { return c.store.Secret(ctx, name, metadata) })
	c.got(err == nil, time.Since(began))
	if err != nil {
		return nil, apierr.SecretGet.New(name, store, err)
	}
	return values, nil
}

// All reads every secret that the application may read; the others are left out without a word. nil means
// that the store has nothing to say.
func (s *Service) All(ctx context.Context, store string, metadata map[string]string) (map[string]map[string]string, error) {
	c, scope, err := s.named(store)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	all, err := resiliency.Do(ctx, c.guard, func(ctx context.Context) (map[string]map[string]string, error) { return c.store.All(ctx, metadata) })
	c.bulk(err == nil, time.Since(began))
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

func (s *Service) named(store string) (component, Scope, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.stores) == 0 {
		return component{}, nil, apierr.SecretStoresNotConfigured.New()
	}
	c, ok := s.stores[store]
	if !ok {
		return component{}, nil, apierr.SecretStoreNotFound.New(store)
	}
	return c, s.scope, nil
}

// Close takes every store out of service and closes those that hold anything. Errors are joined.
func (s *Service) Close() error {
	s.mu.Lock()
	closing := s.stores
	s.stores = map[string]component{}
	s.mu.Unlock()
	var failures []error
	for _, name := range slices.Sorted(maps.Keys(closing)) {
		closer, ok := closing[name].store.(io.Closer)
		if !ok {
			continue
		}
		if err := closer.Close(); err != nil {
			failures = append(failures, fmt.Errorf("error closing secret store %s: %w", name, err))
		}
	}
	return errors.Join(failures...)
}
