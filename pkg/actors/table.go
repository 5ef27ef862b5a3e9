package actors

import (
	"context"

	"github.com/daprd/daprd/pkg/actors/placement"
)

// Table says where actors live: the client of the placement service.
type Table interface {
	// Owner finds the host of an actor. It waits while there is no table, or the type moves, bounded by ctx and by the
	// Table's own bound (placement.ErrNoTable). If the host is this sidecar, enter is called before a newer table can take
	// the actor away: what it registers is seen by the next Drain. A type that nobody hosts is placement.ErrNoHost.
	Owner(ctx context.Context, actorType, actorID string, enter func()) (placement.Owner, error)
	// Announce tells which types this sidecar hosts from now on. It returns when the round that does it is over, or ctx
	// ends.
	Announce(ctx context.Context, types []string) error
	// Ring is that of a type in the table in force, nil where there is none, and the name of this sidecar in it.
	Ring(actorType string) (ring *placement.Ring, self string)
	// Fresh is nil while the table can be trusted. When it is not, everything is about to be halted.
	Fresh() error
	Status() placement.Status
}

var _ placement.Hosting = (*Service)(nil)
