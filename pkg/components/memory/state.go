// Package memory holds the components that keep everything in this process: what they hold is lost when it
// ends. They know nothing of the API and of other technologies.
package memory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/state"
)

// sweepInterval is how often expired keys are removed, as in Dapr. Reads do not see them from the moment
// that they expire.
const sweepInterval = time.Second

// sweepBatch is how many records a sweep removes before it lets others at the store.
const sweepBatch = 1000

// stateStore is state.in-memory. Items are made when they are written and never changed, so that a read
// copies nothing. One lock guards all: it is held for a look into a map, and more locks measured no faster.
type stateStore struct {
	mu      sync.RWMutex
	records map[string]*record
	// expiring are the records with an expiry, the next one first.
	expiring expiry

	closing sync.Once
	stop    chan struct{}
	swept   chan struct{}
}

// NewState is the factory of state.in-memory. It has no metadata of its own and opens nothing, so it does
// not fail.
func NewState(_ context.Context, spec *components.Spec) (state.Store, error) {
	if err := components.Decode(spec, &struct{}{}); err != nil { // there are no properties of its own
		return nil, err
	}
	s := &stateStore{records: make(map[string]*record), stop: make(chan struct{}), swept: make(chan struct{})}
	go s.sweep()
	return s, nil
}

// Features are what the interfaces cannot tell.
func (s *stateStore) Features() []state.Feature {
	return []state.Feature{state.FeatureETag, state.FeatureTransactional, state.FeatureTTL}
}

// Get gives the stored Item itself.
func (s *stateStore) Get(ctx context.Context, req *state.GetRequest) (*state.Item, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	found := s.records[req.Key]
	s.mu.RUnlock()
	if found == nil || found.expired() {
		return &state.Item{Key: req.Key}, nil
	}
	return &found.item, nil
}

// BulkGet reads the keys one after another: there is no round trip to save, and no goroutine to pay.
func (s *stateStore) BulkGet(ctx context.Context, reqs []state.GetRequest) ([]state.Item, error) {
	items := make([]state.Item, len(reqs))
	for i := range reqs {
		item, err := s.Get(ctx, &reqs[i])
		if err != nil {
			return nil, err
		}
		items[i] = *item
	}
	return items, nil
}

// Set writes one key under a new entity tag.
func (s *stateStore) Set(ctx context.Context, req *state.SetRequest) error {
	written, err := newRecord(req)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(req.Key, req.ETag, req.Concurrency); err != nil {
		return err
	}
	s.put(req.Key, written)
	return nil
}

// Delete removes one key.
func (s *stateStore) Delete(ctx context.Context, req *state.DeleteRequest) error {
	err := state.CheckOptions(req.Concurrency, req.Consistency)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(req.Key, req.ETag, req.Concurrency); err != nil {
		return err
	}
	s.drop(req.Key)
	return nil
}

// Transact checks all entity tags against the state before the transaction, and then writes everything, or
// nothing.
func (s *stateStore) Transact(ctx context.Context, ops []state.Operation, _ map[string]string) error {
	written, err := prepare(ops)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, op := range ops {
		if err := s.checkOperation(op); err != nil {
			return err
		}
	}
	for i, op := range ops {
		if op.Set != nil {
			s.put(op.Set.Key, written[i])
		} else {
			s.drop(op.Delete.Key)
		}
	}
	return nil
}

// prepare makes the records of a transaction: nil for a delete.
func prepare(ops []state.Operation) ([]*record, error) {
	written := make([]*record, len(ops))
	for i, op := range ops {
		var err error
		if op.Set != nil {
			written[i], err = newRecord(op.Set)
		} else {
			err = state.CheckOptions(op.Delete.Concurrency, op.Delete.Consistency)
		}
		if err != nil {
			return nil, err
		}
	}
	return written, nil
}

func (s *stateStore) checkOperation(op state.Operation) error {
	if op.Set != nil {
		return s.check(op.Set.Key, op.Set.ETag, op.Set.Concurrency)
	}
	return s.check(op.Delete.Key, op.Delete.ETag, op.Delete.Concurrency)
}

// Close ends the sweep and forgets everything.
func (s *stateStore) Close() error {
	s.closing.Do(func() { close(s.stop) })
	<-s.swept
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records, s.expiring = make(map[string]*record), nil
	return nil
}

func (s *stateStore) sweep() {
	defer close(s.swept)
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
			for s.removeExpired() {
			}
		}
	}
}

// removeExpired removes one batch, and says whether there may be more.
func (s *stateStore) removeExpired() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range sweepBatch {
		if len(s.expiring) == 0 || !s.expiring[0].expired() {
			return false
		}
		s.drop(s.expiring[0].item.Key)
	}
	return true
}

// check applies the rules for writers that meet, the same for set and delete. An expired record counts as
// absent even before it is swept.
func (s *stateStore) check(key string, etag *string, concurrency state.Concurrency) error {
	found := s.records[key]
	exists := found != nil && !found.expired()
	conditional := etag != nil && *etag != ""
	switch {
	case !conditional && concurrency == state.FirstWrite && exists:
		return mismatch(errors.New("item already exists and no etag was passed"))
	case conditional && !exists:
		return mismatch(fmt.Errorf("state not exist or expired for key=%s", key))
	case conditional && found.item.ETag != *etag:
		return mismatch(fmt.Errorf("state etag not match for key=%s: current=%s, expect=%s", key, found.item.ETag, *etag))
	}
	return nil
}

func mismatch(cause error) error {
	return &state.ETagError{Kind: state.ETagMismatch, Cause: cause}
}

func (s *stateStore) put(key string, written *record) {
	s.drop(key)
	s.records[key] = written
	if written.expires != 0 {
		s.expiring.push(written)
	}
}

func (s *stateStore) drop(key string) {
	found := s.records[key]
	if found == nil {
		return
	}
	delete(s.records, key)
	if found.expires != 0 {
		s.expiring.remove(found.place)
	}
}
