package actors_test

import (
	"context"
	"slices"
	"sync"

	"github.com/daprd/daprd/pkg/actors/placement"
)

// alone is the Table of a sidecar that shares its actors with no other.
type alone struct {
	// hosting is the Service.
	hosting placement.Hosting

	mu    sync.Mutex
	types []string
	// doubt is closed when the table is to be trusted again, nil while it is.
	doubt chan struct{}
}

// doubts has the table not be trusted until the function that it gives is called.
func (a *alone) doubts() (over func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.doubt = make(chan struct{})
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		close(a.doubt)
		a.doubt = nil
	}
}

func (a *alone) doubted() chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.doubt
}

// Owner is this sidecar, for the types that it hosts.
func (a *alone) Owner(ctx context.Context, actorType, _ string, enter func()) (placement.Owner, error) {
	if doubt := a.doubted(); doubt != nil {
		select {
		case <-doubt:
		case <-ctx.Done():
			return placement.Owner{}, ctx.Err()
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Contains(a.types, actorType) {
		return placement.Owner{}, placement.ErrNoHost
	}
	enter()
	return placement.Owner{Local: true}, nil
}

// Announce has the actors leave whose type is not hosted any more.
func (a *alone) Announce(ctx context.Context, types []string) error {
	a.mu.Lock()
	before := a.types
	gone := slices.DeleteFunc(slices.Clone(a.types), func(name string) bool { return slices.Contains(types, name) })
	a.types = types
	a.mu.Unlock()
	if len(gone) > 0 {
		a.hosting.Drain(ctx, gone, func(string, string) bool { return true })
	}
	a.hosting.Settled(slices.Concat(before, types))
	return nil
}

// Ring has this sidecar alone in it.
func (a *alone) Ring(actorType string) (ring *placement.Ring, self string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Contains(a.types, actorType) {
		return nil, ""
	}
	return placement.NewRing([]string{"alone"}, 1), "alone"
}

// Fresh is nil unless a test has doubts.
func (a *alone) Fresh() error {
	if a.doubted() != nil {
		return placement.ErrNoTable
	}
	return nil
}

// Status says that there is nobody to be connected to.
func (a *alone) Status() placement.Status { return placement.Status{Ready: true} }
