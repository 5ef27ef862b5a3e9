// Package placement is the sidecar's side of the placement service: it keeps the table of who hosts which actor, takes
// part in the rounds by which a new table comes into force everywhere at once, and tells the runtime of actors what has
// to leave. It must not know what an actor is made of, nor who calls one.
package placement

import (
	"context"
	"errors"
)

// Owner is the host of an actor.
type Owner struct {
	// Address is that of its sidecar, as other sidecars dial it; AppID is its application's id.
	Address, AppID string
	// Local says that it is this sidecar.
	Local bool
}

// Status is what the metadata API shows.
type Status struct {
	// Connected says that there is a stream to a placement service.
	Connected bool
	// Ready says that there is a table.
	Ready bool
}

// Hosting is what the table asks of the runtime of actors.
type Hosting interface {
	// Drain ends the stay of the local actors of types for which moved says so: no new turn of theirs begins, running
	// ones are waited for or cancelled as the type's settings say, and the application is told. Then it returns, at the
	// latest when ctx ends. It runs between a round's LOCK and UNLOCK, and all sidecars wait for it. moved takes no
	// lock and may be called while any is held.
	Drain(ctx context.Context, types []string, moved func(actorType, actorID string) bool)
	// Halt ends the stay of all local actors at once: the table is lost, and another sidecar may own them soon.
	Halt(ctx context.Context)
	// Settled says that a round is over, and the hosts of which types have changed since the table before; after the loss
	// of a table these are all. It returns at once.
	Settled(types []string)
}

// The errors of a look-up.
var (
	// ErrNoHost: the table is good, and nobody hosts the type.
	ErrNoHost = errors.New("no host has announced the actor type")
	// ErrNoTable: there was no table that could be trusted for as long as a look-up may wait.
	ErrNoTable = errors.New("there is no placement table")
)
