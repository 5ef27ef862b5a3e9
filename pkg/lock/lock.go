package lock

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/ready"
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
type Settings struct {
	// KeyPrefix is the strategy, in lower case: "" and appid, name, none, or a prefix.
	KeyPrefix string
}

const (
	propertyKeyPrefix = "keyPrefix"
	separator         = "||"
	// kind begins the key of every lock, so that a state store in the same database is not in the way.
	kind = "lock"
)

// ParseSettings reads them. Errors name the property.
func ParseSettings(properties map[string]string) (Settings, error) {
	for name, value := range properties {
		if strings.EqualFold(name, propertyKeyPrefix) {
			if strings.Contains(value, separator) {
				return Settings{}, fmt.Errorf("metadata property %s: input key/keyPrefix '%s' can't contain '%s'", propertyKeyPrefix, value, separator)
			}
			return Settings{strings.ToLower(value)}, nil
		}
	}
	return Settings{}, nil
}

// Service is the distributed lock building block. Its methods may be called by many goroutines at once. Errors are
// *apierr.Error.
type Service struct {
	deps   Deps
	stores ready.Shelf[*component]
}

// component is a store in service.
type component struct {
	store  Store
	prefix string
	guard  *resiliency.Guard
}

// NewService makes a Service without stores.
func NewService(deps Deps) *Service { return &Service{deps: deps} }

// Add puts a store into service under name; the Service closes it at the end. It refuses a name that is in service
// already.
func (s *Service) Add(name string, store Store, settings Settings) error {
	if !s.stores.Put(name, s.component(name, store, settings)) {
		return fmt.Errorf("lock store %s is loaded already: give each component a name of its own", name)
	}
	return nil
}

// Replace puts a store into service in place of the one under name, which is closed when the calls in flight are
// done, or ctx ends.
func (s *Service) Replace(ctx context.Context, name string, store Store, settings Settings) error {
	return retire(ctx, s.stores.Swap(name, s.component(name, store, settings)))
}

// Remove takes a store out of service and closes it when the calls in flight are done, or ctx ends.
func (s *Service) Remove(ctx context.Context, name string) error {
	return retire(ctx, s.stores.Remove(name))
}

func retire(ctx context.Context, old *ready.Held[*component]) error {
	if old == nil {
		return nil
	}
	return old.Retire(ctx, old.Value.store)
}

// Close takes every store out of service and closes it. Errors are joined.
func (s *Service) Close() error {
	var failures []error
	for name, c := range s.stores.Clear() {
		if err := ready.Close(c.store); err != nil {
			failures = append(failures, fmt.Errorf("error closing lock store %s: %w", name, err))
		}
	}
	return errors.Join(failures...)
}

func (s *Service) component(name string, store Store, settings Settings) *component {
	c := &component{store: store, guard: s.deps.Policies.Component(resiliency.Lock, name, resiliency.Outbound)}
	switch settings.KeyPrefix {
	case "", "appid":
		c.prefix = s.deps.AppID
	case "name":
		c.prefix = name
	case "none":
	default:
		c.prefix = settings.KeyPrefix
	}
	if c.prefix != "" {
		c.prefix += separator
	}
	c.prefix = kind + separator + c.prefix
	return c
}

// TryLock takes the lock of a resource for an owner, for so many seconds, unless somebody has it; it never waits. false
// means that it is taken.
func (s *Service) TryLock(ctx context.Context, store, resource, owner string, seconds int) (bool, error) {
	if seconds <= 0 {
		return false, apierr.MalformedRequest.New(fmt.Sprintf("ExpiryInSeconds is not positive in lock store %s", store))
	}
	held, key, err := s.take(store, resource, owner, apierr.LockTry)
	if err != nil {
		return false, err
	}
	defer held.Leave()
	taken, err := resiliency.Do(ctx, held.Value.guard, func(ctx context.Context) (bool, error) {
		return held.Value.store.TryLock(ctx, key, owner, time.Duration(seconds)*time.Second)
	})
	if err != nil {
		return false, apierr.LockTry.New(err)
	}
	return taken, nil
}

// Unlock frees the lock of a resource if the owner has it.
func (s *Service) Unlock(ctx context.Context, store, resource, owner string) (Status, error) {
	held, key, err := s.take(store, resource, owner, apierr.LockRelease)
	if err != nil {
		return InternalError, err
	}
	defer held.Leave()
	status, err := resiliency.Do(ctx, held.Value.guard, func(ctx context.Context) (Status, error) {
		return held.Value.store.Unlock(ctx, key, owner)
	})
	if err != nil {
		return InternalError, apierr.LockRelease.New(err)
	}
	return status, nil
}

// take checks a call, in Dapr's order, and begins a use of the store.
func (s *Service) take(store, resource, owner string, row apierr.Row) (*ready.Held[*component], string, error) {
	switch {
	case s.stores.Len() == 0:
		return nil, "", apierr.LockNotConfigured.New()
	case resource == "":
		return nil, "", apierr.MalformedRequest.New(fmt.Sprintf("ResourceId is empty in lock store %s", store))
	case owner == "":
		return nil, "", apierr.MalformedRequest.New(fmt.Sprintf("LockOwner is empty in lock store %s", store))
	}
	held, ok := s.stores.Take(store)
	if !ok {
		return nil, "", apierr.LockNotFound.New(store)
	}
	if strings.Contains(resource, separator) {
		held.Leave()
		return nil, "", row.New(fmt.Sprintf("input key/keyPrefix '%s' can't contain '%s'", resource, separator))
	}
	return held, held.Value.prefix + resource, nil
}
