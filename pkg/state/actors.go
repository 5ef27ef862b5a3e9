package state

import (
	"context"
	"errors"
	"slices"

	"github.com/daprd/daprd/pkg/ready"
)

// The errors of a sidecar whose actors have nowhere to keep their state.
var (
	ErrNoActorStore = errors.New("no state store is marked for actors: set actorStateStore: \"true\" in the metadata of a state component")
	// ErrUnfitActorStore is Dapr's text.
	ErrUnfitActorStore = errors.New("state store does not support transactions which actors require to save state - please see " +
		"https://docs.dapr.io/operations/components/setup-state-store/supported-state-stores/")
)

// ActorGet reads one key of the store for actors. The key is complete: this store's prefixes are made by the block of
// actors, and its values are not encrypted, as in Dapr. Errors are ErrNoActorStore, ErrUnfitActorStore, or the store's own.
func (s *Service) ActorGet(ctx context.Context, req GetRequest) (Item, error) {
	held, err := s.takeActorStore()
	if err != nil {
		return Item{}, err
	}
	defer held.Leave()
	item, err := held.Value.stored.get(ctx, &req)
	if err != nil {
		return Item{}, err
	}
	return *item, nil
}

// ActorTransact applies operations on the store for actors together. Keys are complete, as in ActorGet; more operations
// than the store takes are an *apierr.Error, a refused entity tag an *ETagError.
func (s *Service) ActorTransact(ctx context.Context, ops []Operation, metadata map[string]string) error {
	held, err := s.takeActorStore()
	if err != nil {
		return err
	}
	defer held.Leave()
	c := held.Value
	if err := c.fits(len(ops)); err != nil || len(ops) == 0 {
		return err
	}
	return c.stored.transact(ctx, ops, metadata)
}

// ActorStoreReady is nil while there is a store that can hold the state of actors: one that has entity tags and
// transactions.
func (s *Service) ActorStoreReady() error {
	name, ok := s.ActorStore()
	if !ok {
		return ErrNoActorStore
	}
	if c, ok := s.stores.Look(name); ok && !slices.Contains(c.features, FeatureActor) {
		return ErrUnfitActorStore
	}
	return nil
}

// WatchActorStore has changed called whenever the answer of ActorStoreReady may be another, until there are no more
// stores. It is called before the first store is added.
func (s *Service) WatchActorStore(changed func()) { s.actorsChanged = changed }

// tellActors is called without the lock for changes: who is told may look.
func (s *Service) tellActors() {
	if s.actorsChanged != nil {
		s.actorsChanged()
	}
}

func (s *Service) takeActorStore() (*ready.Held[*component], error) {
	for {
		name, ok := s.ActorStore()
		if !ok {
			return nil, ErrNoActorStore
		}
		held, ok := s.stores.Take(name)
		if !ok {
			continue // it went away since
		}
		if !slices.Contains(held.Value.features, FeatureActor) {
			held.Leave()
			return nil, ErrUnfitActorStore
		}
		return held, nil
	}
}
