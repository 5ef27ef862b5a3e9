package state

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/ready"
	"github.com/daprd/daprd/pkg/resiliency"
)

// component is a store in service.
type component struct {
	name string
	// prefix stands before every key, separator included.
	prefix   string
	bare     Store
	features []Feature
	settings Settings
	operations
	// stored are the operations without encryption.
	stored operations
}

// Description is what the metadata API tells of a store.
type Description struct {
	Name string
	// Features are in the words of Dapr, ACTOR among them where the store could hold the state of actors.
	Features []Feature
}

// Add puts a store into service under name. The Service closes it at the end. It refuses a name that is in
// service already, and a second store for actors.
func (s *Service) Add(name string, store Store, settings Settings) error {
	if err := s.add(name, store, settings); err != nil {
		return err
	}
	s.tellActors()
	return nil
}

func (s *Service) add(name string, store Store, settings Settings) error {
	s.change.Lock()
	defer s.change.Unlock()
	if _, taken := s.stores.Look(name); taken {
		return fmt.Errorf("state store %s is loaded already: give each component a name of its own", name)
	}
	if err := s.Admit(name, settings); err != nil {
		return err
	}
	s.log(name, store, settings)
	s.stores.Put(name, s.component(name, store, settings))
	s.publish(name, store, settings.Outbox)
	return nil
}

// Admit refuses a second store for actors, also before it is made.
func (s *Service) Admit(name string, settings Settings) error {
	if other, exists := s.ActorStore(); exists && other != name && settings.ActorStateStore {
		return fmt.Errorf("detected duplicate actor state store: %s (%s is one already): "+
			"leave actorStateStore on one component only", name, other)
	}
	return nil
}

// Replace puts a store into service in place of the one under name, which is closed when the calls in flight are
// done, or ctx ends. What Admit refuses must not come. The error is that of the closing.
func (s *Service) Replace(ctx context.Context, name string, store Store, settings Settings) error {
	s.change.Lock()
	s.log(name, store, settings)
	old := s.stores.Swap(name, s.component(name, store, settings))
	s.publish(name, store, settings.Outbox)
	s.change.Unlock()
	s.tellActors()
	return retire(ctx, old)
}

// Remove takes a store out of service and closes it when the calls in flight are done, or ctx ends. The error is that
// of the closing.
func (s *Service) Remove(ctx context.Context, name string) error {
	s.change.Lock()
	old := s.stores.Remove(name)
	s.publish(name, nil, nil)
	s.change.Unlock()
	s.tellActors()
	return retire(ctx, old)
}

func retire(ctx context.Context, old *ready.Held[*component]) error {
	if old == nil {
		return nil
	}
	return old.Retire(ctx, old.Value.bare)
}

func (s *Service) component(name string, store Store, settings Settings) *component {
	c := &component{
		name:       name,
		prefix:     s.prefix(name, settings.KeyPrefix),
		bare:       store,
		features:   features(store),
		settings:   settings,
		operations: abilities(store).guarded(s.deps.Policies.Component(resiliency.Statestore, name, resiliency.Outbound)).many().observed(name, s.deps.Observer),
	}
	c.stored = c.operations
	if settings.keys != nil {
		c.operations = c.encrypted(settings.keys)
	}
	return c
}

func (s *Service) log(name string, store Store, settings Settings) {
	if s.deps.Log == nil {
		return
	}
	if settings.ActorStateStore {
		s.deps.Log.Infof("detected actor state store: %s", name)
	}
	if settings.Encrypted() {
		s.deps.Log.Infof("automatic encryption enabled for state store %s", name)
	}
	if _, ok := store.(Transactor); !ok && settings.Outbox != nil {
		s.deps.Log.Warnf("the outbox of state store %s has no effect: it publishes what transactions write, and this store has none", name)
	}
}

// publish tells the outbox of a store, nil for one that has gone; without transactions there is nothing to publish.
func (s *Service) publish(name string, store Store, settings *OutboxSettings) {
	if _, ok := store.(Transactor); !ok {
		settings = nil
	}
	if s.deps.Outbox != nil {
		s.deps.Outbox.Follow(name, settings, s)
	}
}

// Stores describes the stores in service, in the order of their names.
func (s *Service) Stores() []Description {
	all := make([]Description, 0, s.stores.Len())
	for _, name := range s.stores.Names() {
		if c, ok := s.stores.Look(name); ok {
			all = append(all, Description{Name: name, Features: slices.Clone(c.features)})
		}
	}
	return all
}

// Features are the capabilities of a store, for the metadata API.
func (s *Service) Features(name string) []string {
	store, ok := s.stores.Look(name)
	if !ok {
		return nil
	}
	words := make([]string, len(store.features))
	for i, feature := range store.features {
		words[i] = string(feature)
	}
	return words
}

// ActorStore is the name of the store that holds the state of actors, if there is one.
func (s *Service) ActorStore() (string, bool) {
	return s.stores.Find(func(c *component) bool { return c.settings.ActorStateStore })
}

// Close takes every store out of service and closes those that hold anything. Errors are joined.
func (s *Service) Close() error {
	closing := s.stores.Clear()
	var failures []error
	for _, name := range slices.Sorted(maps.Keys(closing)) {
		if err := ready.Close(closing[name].bare); err != nil {
			failures = append(failures, fmt.Errorf("error closing state store %s: %w", name, err))
		}
	}
	return errors.Join(failures...)
}

// take begins a use of a store in service. The caller calls Leave.
func (s *Service) take(name string) (*ready.Held[*component], error) {
	if held, ok := s.stores.Take(name); ok {
		return held, nil
	}
	row := apierr.StateStoreNotFound
	if s.stores.Len() == 0 {
		row = apierr.StateStoreNotConfigured
	}
	return nil, row.New(name).WithMetadata("appID", s.deps.AppID)
}

// features are those that the store names and those that follow from its abilities.
func features(store Store) []Feature {
	var named []Feature
	if featured, ok := store.(Featured); ok {
		named = slices.Clone(featured.Features())
	}
	if _, ok := store.(Transactor); ok && !slices.Contains(named, FeatureTransactional) {
		named = append(named, FeatureTransactional)
	}
	if slices.Contains(named, FeatureETag) && slices.Contains(named, FeatureTransactional) {
		named = append(named, FeatureActor)
	}
	return named
}
