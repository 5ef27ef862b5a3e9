package reminders

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/daprd/daprd/pkg/state"
)

// shelf is a state store in memory that fails as tests want it to.
type shelf struct {
	mu    sync.Mutex
	items map[string]shelved
	// version makes entity tags, of which none comes twice.
	version int
	// half keeps what a refused transaction has written beside, and lets a tag pass where there is no key: as Redis does.
	half bool
	// writes counts the writes of each key, gets the reads.
	writes map[string]int
	gets   int
	// down fails everything. left is how many writes succeed before all fail, below 0 without end; the first that fails is
	// done all the same where lost is set.
	down bool
	left int
	lost bool
	// mute is how many of the next writes are done and answered with a failure.
	mute int
}

type shelved struct{ value, etag string }

var errDown = errors.New("the store is away")

func newShelf() *shelf {
	return &shelf{items: map[string]shelved{}, writes: map[string]int{}, left: -1}
}

func (s *shelf) ActorGet(ctx context.Context, req state.GetRequest) (state.Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gets++
	if err := ctx.Err(); err != nil {
		return state.Item{}, err
	}
	if s.down || s.left == 0 {
		return state.Item{}, errDown
	}
	item, ok := s.items[req.Key]
	return state.Item{Key: req.Key, Value: []byte(item.value), ETag: item.etag, Found: ok}, nil
}

func (s *shelf) ActorTransact(ctx context.Context, ops []state.Operation, metadata map[string]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.down || s.left == 0 && !s.lost {
		return errDown
	}
	lost := s.left == 0
	s.lost = s.lost && !lost
	if s.left > 0 {
		s.left--
	}
	before := map[string]*shelved{}
	for _, op := range ops {
		if !s.half {
			s.remember(before, op)
		}
	}
	var refused error
	for _, op := range ops {
		if err := s.apply(op, metadata["partitionKey"]); err != nil {
			refused = errors.Join(refused, err)
		}
	}
	if refused != nil {
		s.restore(before)
	}
	if s.mute > 0 {
		s.mute--
		lost = true
	}
	if lost {
		return errDown
	}
	return refused
}

func (s *shelf) remember(before map[string]*shelved, op state.Operation) {
	key := ""
	if op.Set != nil {
		key = op.Set.Key
	} else {
		key = op.Delete.Key
	}
	before[key] = nil
	if is, found := s.items[key]; found {
		before[key] = &is
	}
}

func (s *shelf) restore(before map[string]*shelved) {
	for key, is := range before {
		if is == nil {
			delete(s.items, key)
		} else {
			s.items[key] = *is
		}
	}
}

func (s *shelf) apply(op state.Operation, partition string) error {
	key, etag, first := "", (*string)(nil), false
	var of map[string]string
	if op.Set != nil {
		key, etag, first, of = op.Set.Key, op.Set.ETag, op.Set.Concurrency == state.FirstWrite, op.Set.Metadata
	} else {
		key, etag, of = op.Delete.Key, op.Delete.ETag, op.Delete.Metadata
	}
	if of["partitionKey"] != partition {
		return errors.New("an operation of another partition: " + key)
	}
	if strings.HasPrefix(key, keyPrefix) && strings.Contains(partition, "{") && !strings.HasPrefix(key, partition+"||") {
		return errors.New("a key in another partition: " + key)
	}
	is, found := s.items[key]
	switch {
	case etag == nil && first && found:
		return errors.New("the key is there, and no etag was given") // not an ETagError: Redis gives none either
	case etag != nil && !found && !s.half, etag != nil && found && is.etag != *etag:
		return &state.ETagError{}
	}
	s.writes[key]++
	s.version++
	if op.Set != nil {
		s.items[key] = shelved{string(op.Set.Value), strconv.Itoa(s.version)}
	} else {
		delete(s.items, key)
	}
	return nil
}

// set does something to the shelf.
func (s *shelf) set(change func(s *shelf)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// keys are those with a part of that kind in them.
func (s *shelf) keys(kind string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.items {
		if strings.Contains(key, "||"+kind+"||") {
			n++
		}
	}
	return n
}

// shelves runs a test with both kinds of stores.
func shelves(t *testing.T, test func(t *testing.T, s *shelf)) {
	t.Helper()
	for name, half := range map[string]bool{"all or nothing": false, "as Redis": true} {
		t.Run(name, func(t *testing.T) {
			s := newShelf()
			s.half = half
			test(t, s)
		})
	}
}

// standing is a shelf whose n-th call stands still until it is released, and all after it.
type standing struct {
	*shelf
	at int

	once sync.Mutex
	gate chan struct{}
	n    int
}

func (s *standing) wait() {
	s.once.Lock()
	if s.gate == nil {
		s.gate = make(chan struct{})
	}
	n, gate := s.n, s.gate
	s.n++
	s.once.Unlock()
	if n >= s.at {
		<-gate
	}
}

func (s *standing) release() {
	s.once.Lock()
	defer s.once.Unlock()
	if s.gate == nil {
		s.gate = make(chan struct{})
	}
	close(s.gate)
}

func (s *standing) ActorGet(ctx context.Context, req state.GetRequest) (state.Item, error) {
	s.wait()
	return s.shelf.ActorGet(ctx, req)
}

func (s *standing) ActorTransact(ctx context.Context, ops []state.Operation, metadata map[string]string) error {
	s.wait()
	return s.shelf.ActorTransact(ctx, ops, metadata)
}
