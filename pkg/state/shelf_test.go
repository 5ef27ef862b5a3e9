package state

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
)

// shelf is a store with every ability, that keeps what it was asked. The conformance suite runs on real
// stores; here the question is what the Service makes of a store.
type shelf struct {
	mu      sync.Mutex
	items   map[string]*Item
	keys    []string
	gets    []GetRequest
	sets    []SetRequest
	deletes []DeleteRequest
	queries []*Query
	fail    error
	found   QueryResult
	max     int
	closed  int
	// busy is the number of calls at once, and most what it was at most.
	busy, most int
}

func newShelf() *shelf { return &shelf{items: make(map[string]*Item)} }

// plainShelf hides all abilities but the contract.
type plainShelf struct{ Store }

func (s *shelf) enter(key string) func() {
	s.mu.Lock()
	s.busy++
	s.most = max(s.most, s.busy)
	s.keys = append(s.keys, key)
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		s.busy--
		s.mu.Unlock()
	}
}

func (s *shelf) Get(_ context.Context, req *GetRequest) (*Item, error) {
	defer s.enter(req.Key)()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gets = append(s.gets, *req)
	if s.fail != nil {
		return nil, s.fail
	}
	if item, ok := s.items[req.Key]; ok {
		return item, nil
	}
	return &Item{Key: req.Key}, nil
}

func (s *shelf) BulkGet(ctx context.Context, reqs []GetRequest) ([]Item, error) {
	if s.fail != nil {
		return nil, s.fail
	}
	items := make([]Item, len(reqs))
	for i := range reqs {
		item, err := s.Get(ctx, &reqs[i])
		if err != nil {
			return nil, err
		}
		items[i] = *item
	}
	return items, nil
}

func (s *shelf) Set(_ context.Context, req *SetRequest) error {
	defer s.enter(req.Key)()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	if req.ETag != nil && *req.ETag == "wrong" {
		return &ETagError{Kind: ETagMismatch, Cause: errors.New("cause of the store")}
	}
	s.sets = append(s.sets, *req)
	s.items[req.Key] = &Item{Key: req.Key, Value: slices.Clone(req.Value), ETag: strconv.Itoa(len(s.sets)), Found: true}
	return nil
}

func (s *shelf) Delete(_ context.Context, req *DeleteRequest) error {
	defer s.enter(req.Key)()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.deletes = append(s.deletes, *req)
	delete(s.items, req.Key)
	return nil
}

func (s *shelf) Transact(ctx context.Context, ops []Operation, _ map[string]string) error {
	for _, op := range ops {
		var err error
		if op.Set != nil {
			err = s.Set(ctx, op.Set)
		} else {
			err = s.Delete(ctx, op.Delete)
		}
		if err != nil {
			return err
		}
	}
	return s.fail
}

func (s *shelf) Query(_ context.Context, query *Query, _ map[string]string) (*QueryResult, error) {
	s.queries = append(s.queries, query)
	return &s.found, s.fail
}

func (s *shelf) MaxOperations() int { return s.max }

func (s *shelf) Features() []Feature { return []Feature{FeatureETag, FeatureTTL} }

func (s *shelf) Close() error {
	s.closed++
	return s.fail
}
