package ready

import (
	"context"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Shelf holds what a block has in service, by name. A look-up takes no lock of the shelf; what is taken stays usable
// until it is given back, also when it is replaced or removed meanwhile. The zero Shelf is empty. A Shelf must not be
// copied.
type Shelf[T any] struct {
	change sync.Mutex
	// held is replaced as a whole; a map is never changed once it is there.
	held atomic.Pointer[map[string]*Held[T]]
}

// Held is one value on a shelf. Whoever took it calls Leave once.
type Held[T any] struct {
	Value T
	Uses
}

// Put places a value under a name; false means that the name is taken.
func (s *Shelf[T]) Put(name string, value T) bool {
	s.change.Lock()
	defer s.change.Unlock()
	if _, taken := s.load()[name]; taken {
		return false
	}
	s.store(name, &Held[T]{Value: value})
	return true
}

// Swap places a value under a name and gives the one that was there, nil if there was none. The caller retires it.
func (s *Shelf[T]) Swap(name string, value T) *Held[T] {
	s.change.Lock()
	defer s.change.Unlock()
	old := s.load()[name]
	s.store(name, &Held[T]{Value: value})
	return old
}

// Remove takes the value away from its name, nil if there is none. The caller retires it.
func (s *Shelf[T]) Remove(name string) *Held[T] {
	s.change.Lock()
	defer s.change.Unlock()
	old := s.load()[name]
	if old != nil {
		s.store(name, nil)
	}
	return old
}

// Clear takes all values away.
func (s *Shelf[T]) Clear() map[string]T {
	s.change.Lock()
	defer s.change.Unlock()
	values := make(map[string]T, s.Len())
	for name, h := range s.load() {
		values[name] = h.Value
	}
	s.held.Store(nil)
	return values
}

// Take begins a use of the value under name.
func (s *Shelf[T]) Take(name string) (*Held[T], bool) {
	for {
		h, ok := s.load()[name]
		if !ok {
			return nil, false
		}
		if h.Enter() {
			return h, true
		}
		// It was replaced or removed since: by the next look the shelf knows.
	}
}

// Look is the value under name, for a glance that needs no use.
func (s *Shelf[T]) Look(name string) (value T, ok bool) {
	h, ok := s.load()[name]
	if ok {
		value = h.Value
	}
	return value, ok
}

// Find is the name of a value for which is says so; of several the first by name.
func (s *Shelf[T]) Find(is func(T) bool) (found string, ok bool) {
	for name, h := range s.load() {
		if (!ok || name < found) && is(h.Value) {
			found, ok = name, true
		}
	}
	return found, ok
}

// Names are those in use, sorted.
func (s *Shelf[T]) Names() []string { return slices.Sorted(maps.Keys(s.load())) }

// Len is the number of values.
func (s *Shelf[T]) Len() int { return len(s.load()) }

func (s *Shelf[T]) load() map[string]*Held[T] {
	if p := s.held.Load(); p != nil {
		return *p
	}
	return nil
}

// store replaces the map; nil removes.
func (s *Shelf[T]) store(name string, h *Held[T]) {
	next := maps.Clone(s.load())
	if next == nil {
		next = map[string]*Held[T]{}
	}
	if h == nil {
		delete(next, name)
	} else {
		next[name] = h
	}
	s.held.Store(&next)
}

// Retire waits for the uses of a value that is on no shelf any more, until ctx ends, and closes instance if it can be
// closed. A nil Held has nothing to retire.
func (h *Held[T]) Retire(ctx context.Context, instance any) error {
	if h == nil {
		return nil
	}
	// A use that does not end in time is cut off by the closing.
	_ = h.Drain(ctx)
	return Close(instance)
}

// Close closes what can be closed.
func Close(instance any) error {
	if closer, ok := instance.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}
