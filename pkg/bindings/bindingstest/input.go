package bindingstest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/daprd/daprd/pkg/bindings"
)

// patience is how long the suite waits for what has to come.
const patience = 20 * time.Second

// Input holds an input against the contract. trigger has the source bring at least one event more, nil where events come
// by themselves.
func Input(t *testing.T, input bindings.Input, trigger func()) {
	if trigger == nil {
		trigger = func() {}
	}
	t.Run("events", func(t *testing.T) { delivers(t, input, trigger) })
	t.Run("the end waits for what is in hand", func(t *testing.T) { drains(t, input, trigger) })
	t.Run("read again", func(t *testing.T) { delivers(t, input, trigger) })
	t.Run("an event that fails is not the end", func(t *testing.T) { goesOn(t, input, trigger) })
}

// reading is a Read under way.
type reading struct {
	stop   context.CancelFunc
	ended  chan error
	events chan context.Context
	answer func() error
	// over is set when Read has returned.
	over atomic.Bool
}

// read reads until stop; every event is told by its context, and then answered with answer.
func read(t *testing.T, input bindings.Input, answer func() error) *reading {
	ctx, cancel := context.WithCancel(t.Context())
	r := &reading{stop: cancel, ended: make(chan error, 1), events: make(chan context.Context), answer: answer}
	go func() {
		err := input.Read(ctx, func(ctx context.Context, event *bindings.Event) ([]byte, error) {
			if r.over.Load() {
				t.Error("an event came after the end of Read")
			}
			select {
			case r.events <- ctx:
			default: // nobody waits for it
			}
			return nil, r.answer()
		})
		r.over.Store(true)
		r.ended <- err
	}()
	return r
}

// next waits for an event.
func (r *reading) next(t *testing.T, trigger func()) context.Context {
	t.Helper()
	trigger()
	select {
	case ctx := <-r.events:
		return ctx
	case err := <-r.ended:
		t.Fatalf("Read ended before an event came: %v", err)
	case <-time.After(patience):
		t.Fatal("no event came")
	}
	return nil
}

// end waits for the end of Read, which was asked for.
func (r *reading) end(t *testing.T) {
	t.Helper()
	r.stop()
	select {
	case err := <-r.ended:
		if err != nil {
			t.Errorf("Read gave %v at its wanted end", err)
		}
	case <-time.After(patience):
		t.Fatal("Read did not end with its context")
	}
}

func delivers(t *testing.T, input bindings.Input, trigger func()) {
	r := read(t, input, func() error { return nil })
	r.next(t, trigger)
	r.end(t)
}

func drains(t *testing.T, input bindings.Input, trigger func()) {
	release := make(chan struct{})
	r := read(t, input, func() error { <-release; return nil })
	event := r.next(t, trigger)
	r.stop()
	select {
	case err := <-r.ended:
		t.Fatalf("Read ended with %v while an event was in hand", err)
	case <-time.After(50 * time.Millisecond): // it must not come, so there is nothing to wait for
	}
	if event.Err() != nil {
		t.Errorf("the event in hand was cut off: %v", event.Err())
	}
	close(release)
	r.end(t)
}

func goesOn(t *testing.T, input bindings.Input, trigger func()) {
	failed := false
	r := read(t, input, func() error {
		if !failed {
			failed = true
			return errors.New("the application is not well")
		}
		return nil
	})
	r.next(t, trigger)
	r.next(t, trigger)
	r.end(t)
}
