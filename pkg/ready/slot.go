// Package ready holds what only exists later in the life of the sidecar: the app channel, the messaging
// to other sidecars, the actor runtime. It must not know what it holds.
package ready

import "sync/atomic"

// Slot is a place for one value that its owner fills when the value becomes usable and may swap or empty
// later. Readers ask at every use and answer their "not ready" error while it is empty; they never keep
// the value beyond one call. The zero Slot is empty and ready for use. A Slot must not be copied.
type Slot[T any] struct {
	value atomic.Pointer[T]
}

// Fill makes value the slot's content. Only the slot's owner calls it.
func (s *Slot[T]) Fill(value T) { s.value.Store(&value) }

// Empty takes the content out. Only the slot's owner calls it.
func (s *Slot[T]) Empty() { s.value.Store(nil) }

// Load gives the content, and false while there is none.
func (s *Slot[T]) Load() (value T, ok bool) {
	p := s.value.Load()
	if p == nil {
		return value, false
	}
	return *p, true
}
