package actors

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/state"
)

// separator stands between the parts of a key.
const separator = "||"

// partitionKey keeps what belongs to one actor together in stores that have partitions.
const partitionKey = "partitionKey"

// GetState reads one key of an actor's state; one that is not there is an Item that is not Found. The Item's Value and
// Metadata are the store's own: they are read, never changed.
func (s *Service) GetState(ctx context.Context, actorType, actorID, key string) (state.Item, error) {
	if err := s.checkState(actorType, actorID); err != nil {
		return state.Item{}, err
	}
	of := s.partition(actorType, actorID)
	item, err := s.deps.State.ActorGet(ctx, state.GetRequest{Key: of + separator + key, Metadata: map[string]string{partitionKey: of}})
	switch {
	case errors.Is(err, state.ErrNoActorStore), errors.Is(err, state.ErrUnfitActorStore):
		return state.Item{}, apierr.ActorRuntimeNotFound.New(err)
	case err != nil:
		return state.Item{}, apierr.ActorStateGet.New(err)
	}
	return item, nil
}

// Transact applies operations on an actor's state together. The actor has to be active here: what a turn writes that was
// taken for lost, or never was, must not fall into the time of another host. Of a request the key, the value, the entity
// tag, the concurrency and the metadata count.
func (s *Service) Transact(ctx context.Context, actorType, actorID string, ops []state.RawOperation) error {
	if err := s.checkState(actorType, actorID); err != nil {
		return err
	}
	stored, err := s.operations(actorType, actorID, ops)
	if err != nil {
		return err
	}
	ctx, done, err := s.writing(ctx, actorType, actorID)
	if err != nil {
		return err
	}
	defer done()
	err = s.deps.State.ActorTransact(ctx, stored, map[string]string{partitionKey: s.partition(actorType, actorID)})
	switch {
	case errors.Is(err, state.ErrNoActorStore), errors.Is(err, state.ErrUnfitActorStore):
		return apierr.ActorRuntimeNotFound.New(err)
	case err != nil:
		return apierr.ActorStateTransaction.New(err)
	}
	return nil
}

func (s *Service) checkState(actorType, actorID string) error {
	if err := checkReserved(actorType); err != nil {
		return err
	}
	if _, err := s.table(); err != nil {
		return err
	}
	return checkNames(actorType, actorID)
}

// partition begins the keys of an actor.
func (s *Service) partition(actorType, actorID string) string {
	return s.deps.AppID + separator + actorType + separator + actorID
}

var (
	errNoKey = errors.New("a state operation has no key")
	errTTL   = "ttlInSeconds %q is not a whole number of seconds above 0, or -1 for no end"
)

// operations gives operations their complete keys.
func (s *Service) operations(actorType, actorID string, ops []state.RawOperation) ([]state.Operation, error) {
	if err := state.CheckItems(len(ops)); err != nil {
		return nil, err
	}
	of := s.partition(actorType, actorID)
	stored := make([]state.Operation, len(ops))
	for i := range ops {
		set := ops[i].Set
		if ops[i].Type != state.TypeUpsert && ops[i].Type != state.TypeDelete {
			return nil, apierr.StateOperationNotSupported.New(ops[i].Type)
		}
		if set.Key == "" {
			return nil, apierr.ActorStateTransaction.New(errNoKey)
		}
		if ttl, ok := set.Metadata["ttlInSeconds"]; ok {
			if n, err := strconv.Atoi(ttl); err != nil || n == 0 || n < -1 {
				return nil, apierr.ActorStateTransaction.New(fmt.Errorf(errTTL, ttl))
			}
		}
		set.Key = of + separator + set.Key
		set.Metadata = with(set.Metadata, partitionKey, of)
		if ops[i].Type == state.TypeUpsert {
			stored[i].Set = &set
		} else {
			stored[i].Delete = &state.DeleteRequest{Key: set.Key, ETag: set.ETag, Concurrency: set.Concurrency, Consistency: set.Consistency,
				Metadata: set.Metadata}
		}
	}
	return stored, nil
}

func with(m map[string]string, key, value string) map[string]string {
	if m == nil {
		m = make(map[string]string, 1)
	}
	m[key] = value
	return m
}

// writing begins a write of an active actor, which does not leave before done is called, unless it is revoked: then the
// context that the write gets ends.
func (s *Service) writing(ctx context.Context, actorType, actorID string) (write context.Context, done func(), err error) {
	table, err := s.table()
	if err != nil {
		return nil, nil, err
	}
	if err := table.Fresh(); err != nil {
		return nil, nil, apierr.ActorInstanceMissing.New()
	}
	k, ok := s.look(actorType)
	if !ok {
		return nil, nil, apierr.ActorInstanceMissing.New()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.actors[actorID]
	if a == nil || !a.active {
		return nil, nil, apierr.ActorInstanceMissing.New()
	}
	if a.writes++; a.stay == nil {
		a.stay, a.stop = context.WithCancel(context.Background())
	}
	write, cancel := context.WithCancel(ctx)
	detach := context.AfterFunc(a.stay, cancel)
	return write, func() {
		detach()
		cancel()
		k.mu.Lock()
		defer k.mu.Unlock()
		if a.writes--; a.writes > 0 {
			return
		}
		a.stop()
		a.stay, a.stop = nil, nil
		if a.departure != nil && a.departure.written != nil {
			close(a.departure.written)
			a.departure.written = nil
		}
	}, nil
}
