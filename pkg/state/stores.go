package state

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/daprd/daprd/pkg/apierr"
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
}

// components are the stores by name. A map is never changed once it is in service.
type components map[string]*component

// Description is what the metadata API tells of a store.
type Description struct {
	Name string
	// Features are in the words of Dapr, ACTOR among them where the store could hold the state of actors.
	Features []Feature
}

// Add puts a store into service under name. The Service closes it at the end. It refuses a name that is in
// service already, and a second store for actors.
func (s *Service) Add(name string, store Store, settings Settings) error {
	s.change.Lock()
	defer s.change.Unlock()
	current := *s.stores.Load()
	if _, taken := current[name]; taken {
		return fmt.Errorf("state store %s is loaded already: give each component a name of its own", name)
	}
	if other, exists := current.actorStore(); exists && settings.ActorStateStore {
		return fmt.Errorf("detected duplicate actor state store: %s (%s is one already): "+
			"leave actorStateStore on one component only", name, other)
	}
	s.log(name, settings)
	next := maps.Clone(current)
	next[name] = s.component(name, store, settings)
	s.stores.Store(&next)
	return nil
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
	if settings.keys != nil {
		c.operations = c.encrypted(settings.keys)
	}
	return c
}

func (s *Service) log(name string, settings Settings) {
	if s.deps.Log == nil {
		return
	}
	if settings.ActorStateStore {
		s.deps.Log.Infof("detected actor state store: %s", name)
	}
	if settings.Encrypted() {
		s.deps.Log.Infof("automatic encryption enabled for state store %s", name)
	}
}

// Remove takes a store out of service and gives it back: the caller closes it once the calls in flight are
// done.
func (s *Service) Remove(name string) (Store, bool) {
	s.change.Lock()
	defer s.change.Unlock()
	next := maps.Clone(*s.stores.Load())
	removed, ok := next[name]
	if !ok {
		return nil, false
	}
	delete(next, name)
	s.stores.Store(&next)
	return removed.bare, true
}

// Stores describes the stores in service, in the order of their names.
func (s *Service) Stores() []Description {
	current := *s.stores.Load()
	all := make([]Description, 0, len(current))
	for _, name := range slices.Sorted(maps.Keys(current)) {
		all = append(all, Description{Name: name, Features: slices.Clone(current[name].features)})
	}
	return all
}

// Features are the capabilities of a store, for the metadata API.
func (s *Service) Features(name string) []string {
	store, ok := (*s.stores.Load())[name]
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
func (s *Service) ActorStore() (string, bool) { return s.stores.Load().actorStore() }

func (c components) actorStore() (string, bool) {
	for name, one := range c {
		if one.settings.ActorStateStore {
			return name, true
		}
	}
	return "", false
}

// Close takes every store out of service and closes those that hold anything. Errors are joined.
func (s *Service) Close() error {
	s.change.Lock()
	closing := *s.stores.Swap(&components{})
	s.change.Unlock()
	var failures []error
	for _, name := range slices.Sorted(maps.Keys(closing)) {
		closer, ok := closing[name].bare.(io.Closer)
		if !ok {
			continue
		}
		if err := closer.Close(); err != nil {
			failures = append(failures, fmt.Errorf("error closing state store %s: %w", name, err))
		}
	}
	return errors.Join(failures...)
}

// named finds a store in service.
func (s *Service) named(name string) (*component, error) {
	current := *s.stores.Load()
	if found, ok := current[name]; ok {
		return found, nil
	}
	row := apierr.StateStoreNotFound
	if len(current) == 0 {
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
