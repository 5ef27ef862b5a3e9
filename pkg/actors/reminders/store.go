package reminders

import (
	"context"
	"errors"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/actors/due"
	"github.com/daprd/daprd/pkg/actors/placement"
	"github.com/daprd/daprd/pkg/state"
)

// Storage is the state store for actors: *state.Service.
type Storage interface {
	ActorGet(ctx context.Context, req state.GetRequest) (state.Item, error)
	ActorTransact(ctx context.Context, ops []state.Operation, metadata map[string]string) error
}

// Deps are what a Store needs.
type Deps struct {
	// Namespace keeps the reminders of namespaces that share a state store apart.
	Namespace string
	Storage   Storage
	Queue     *due.Queue
	// Owned are the parts of a type's ring that this sidecar hosts in the table in force, in their order; none where it
	// does not host the type.
	Owned func(actorType string) []placement.Range
	// Fire calls the actor, wherever it lives, and says what became of it; the error is for the log alone. The context ends
	// when the reminder is deleted or replaced through this sidecar: a call that still waits for its turn should leave then.
	Fire func(ctx context.Context, r *Reminder) (Outcome, error)
	Log  logrus.FieldLogger
}

// Store keeps and fires the reminders. Its methods may be called by many goroutines at once.
type Store struct{ deps Deps }

// New makes a Store that watches nothing yet.
func New(deps Deps) *Store { return &Store{deps: deps} }

var errUnfinished = errors.New("reminders are not implemented yet")

// Create registers a reminder: in the place of one that has its name, or ErrExists where overwrite is false.
func (s *Store) Create(ctx context.Context, r *Reminder, overwrite bool) error { return errUnfinished }

// Get reads a reminder, or fails with ErrNotFound.
func (s *Store) Get(ctx context.Context, actorType, actorID, name string) (*Reminder, error) {
	return nil, errUnfinished
}

// List reads the reminders of an actor, of all of the type with actorID "", in the order of actors and names.
func (s *Store) List(ctx context.Context, actorType, actorID string) ([]*Reminder, error) {
	return nil, errUnfinished
}

// Delete ends a reminder. One that does not exist is no error.
func (s *Store) Delete(ctx context.Context, actorType, actorID, name string) error {
	return errUnfinished
}

// DeleteAll ends the reminders of an actor, of all of the type with actorID "".
func (s *Store) DeleteAll(ctx context.Context, actorType, actorID string) error { return errUnfinished }

// Rename gives a reminder another name, in the place of one that has it. One that does not exist is no error.
func (s *Store) Rename(ctx context.Context, actorType, actorID, name, newName string) error {
	return errUnfinished
}

// Drain lets those reminders go whose actors move to other hosts. It returns when what runs for them is over and recorded,
// or ctx ends. It runs within the round, beside the drain of the actors.
func (s *Store) Drain(ctx context.Context, types []string, moved func(actorType, actorID string) bool) {
}

// Halt lets all reminders go: the table is lost.
func (s *Store) Halt(ctx context.Context) {}

// Settled has the reminders of types looked up anew, in the background: a round is over, and their hosts are others.
func (s *Store) Settled(types []string) {}

// Replaced has everything looked up anew: the state store is another, or has come back.
func (s *Store) Replaced() {}

// Close ends the background work. The Queue is closed before it.
func (s *Store) Close() error { return nil }
