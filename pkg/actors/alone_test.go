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
}

// Owner is this sidecar, for the types that it hosts.
func (a *alone) Owner(_ context.Context, actorType, _ string, enter func()) (placement.Owner, error) {
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

// Fresh is always nil.
func (a *alone) Fresh() error { return nil }

// Status says that there is nobody to be connected to.
func (a *alone) Status() placement.Status { return placement.Status{Ready: true} }
