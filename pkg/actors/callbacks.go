package actors

import (
	"context"
	"errors"

	"github.com/daprd/daprd/pkg/actors/due"
	"github.com/daprd/daprd/pkg/actors/placement"
	"github.com/daprd/daprd/pkg/actors/reminders"
	"github.com/daprd/daprd/pkg/actors/timers"
	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/state"
)

// Reminders keeps reminders, and fires those whose actors live here: *reminders.Store.
type Reminders interface {
	Create(ctx context.Context, r *reminders.Reminder, overwrite bool) error
	Get(ctx context.Context, actorType, actorID, name string) (*reminders.Reminder, error)
	// List and DeleteAll are about the reminders of one actor, or of all of the type with actorID "".
	List(ctx context.Context, actorType, actorID string) ([]*reminders.Reminder, error)
	Delete(ctx context.Context, actorType, actorID, name string) error
	DeleteAll(ctx context.Context, actorType, actorID string) error
	Rename(ctx context.Context, actorType, actorID, name, newName string) error

	// Drain, Halt and Settled are those of placement.Hosting.
	placement.Hosting
	// Replaced is told that the state store is another.
	Replaced()
	Close() error
}

// callbacks are what calls actors of its own accord. They begin with the first host: without one there are none.
type callbacks struct {
	queue     *due.Queue
	timers    *timers.Timers
	reminders Reminders
}

// begin begins the callbacks. s.changing is held.
func (s *Service) begin() {
	if s.callbacks.Load() != nil {
		return
	}
	c := &callbacks{queue: due.New()}
	c.timers = timers.New(timers.Deps{Queue: c.queue.Counting(s.deps.Observer.ActorTimers), Fire: s.fireTimer, Log: s.log})
	c.reminders = reminders.New(reminders.Deps{Namespace: s.deps.Namespace, Storage: s.deps.State,
		Queue: c.queue.Counting(s.deps.Observer.ActorReminders), Owned: s.owned, Fire: s.fireReminder, Log: s.log})
	s.callbacks.Store(c)
}

// finish ends the callbacks: what runs is waited for until ctx ends.
func (s *Service) finish(ctx context.Context) (err error) {
	if c := s.callbacks.Load(); c != nil {
		s.finishing.Do(func() { err = errors.Join(c.queue.Close(ctx), c.reminders.Close()) })
	}
	return err
}

// owned are the parts of a type's ring that are this sidecar's.
func (s *Service) owned(actorType string) []placement.Range {
	table, ok := s.deps.Table.Load()
	if !ok {
		return nil
	}
	ring, self := table.Ring(actorType)
	return ring.Ranges(self)
}

var errNoReminderName = errors.New("reminder name cannot be empty")

// CreateReminder registers a reminder; one of its name is replaced, or with overwrite false an error.
func (s *Service) CreateReminder(ctx context.Context, r *reminders.Reminder, overwrite bool) error {
	if err := s.checkReminders(r.ActorType, r.ActorID, r.Name); err != nil {
		return err
	}
	if r.Name == "" {
		return apierr.ActorBadRequest.New(errNoReminderName)
	}
	err := s.callbacks.Load().reminders.Create(ctx, r, overwrite)
	if errors.Is(err, reminders.ErrExists) {
		return apierr.ActorReminderExists.New(r.Name)
	}
	return storeFailure(apierr.ActorReminderCreate, err)
}

// GetReminder reads a reminder.
func (s *Service) GetReminder(ctx context.Context, actorType, actorID, name string) (*reminders.Reminder, error) {
	if err := s.checkReminders(actorType, actorID, name); err != nil {
		return nil, err
	}
	r, err := s.callbacks.Load().reminders.Get(ctx, actorType, actorID, name)
	if errors.Is(err, reminders.ErrNotFound) {
		return nil, apierr.ActorReminderNotFound.New(name)
	}
	return r, storeFailure(apierr.ActorReminderGet, err)
}

// ListReminders reads the reminders of one actor, or of all of the type with actorID "".
func (s *Service) ListReminders(ctx context.Context, actorType, actorID string) ([]*reminders.Reminder, error) {
	if err := s.checkReminders(actorType, actorID, ""); err != nil {
		return nil, err
	}
	all, err := s.callbacks.Load().reminders.List(ctx, actorType, actorID)
	return all, storeFailure(apierr.ActorReminderGet, err)
}

// DeleteReminder ends a reminder; one that does not exist is no error.
func (s *Service) DeleteReminder(ctx context.Context, actorType, actorID, name string) error {
	if err := s.checkReminders(actorType, actorID, name); err != nil {
		return err
	}
	return storeFailure(apierr.ActorReminderDelete, s.callbacks.Load().reminders.Delete(ctx, actorType, actorID, name))
}

// DeleteReminders ends the reminders of one actor, or of all of the type with actorID "".
func (s *Service) DeleteReminders(ctx context.Context, actorType, actorID string) error {
	if err := s.checkReminders(actorType, actorID, ""); err != nil {
		return err
	}
	return storeFailure(apierr.ActorReminderDelete, s.callbacks.Load().reminders.DeleteAll(ctx, actorType, actorID))
}

// RenameReminder gives a reminder another name (Dapr 1.7); one that does not exist is no error.
func (s *Service) RenameReminder(ctx context.Context, actorType, actorID, name, newName string) error {
	if err := s.checkReminders(actorType, actorID, name, newName); err != nil {
		return err
	}
	if newName == "" {
		return apierr.ActorBadRequest.New(errNoReminderName)
	}
	return storeFailure(apierr.ActorReminderRename, s.callbacks.Load().reminders.Rename(ctx, actorType, actorID, name, newName))
}

// CreateTimer starts a timer, in the place of one of its name. Its type has to be hosted here. The timer is kept.
func (s *Service) CreateTimer(t *timers.Timer) error {
	if err := s.checkCallbacks(t.ActorType, t.ActorID, t.Name); err != nil {
		return err
	}
	if !s.hosts(t.ActorType) {
		return apierr.ActorTimerCreate.New(errNotHosted)
	}
	if err := s.callbacks.Load().timers.Create(t); err != nil {
		return apierr.ActorTimerCreate.New(err)
	}
	return nil
}

// DeleteTimer ends a timer; one that does not exist is no error.
func (s *Service) DeleteTimer(actorType, actorID, name string) error {
	if err := s.checkCallbacks(actorType, actorID, name); err != nil {
		return err
	}
	if c := s.callbacks.Load(); c != nil {
		c.timers.Delete(actorType, actorID, name)
	}
	return nil
}

var errNotHosted = errors.New("the application beside this sidecar does not host the actor type: make timers at the sidecar of a host")

// hosts says whether the application beside this sidecar hosts a type.
func (s *Service) hosts(actorType string) bool {
	k, ok := s.look(actorType)
	return ok && k.hosting.Load() != nil
}

// checkCallbacks is what timers and reminders have in common.
func (s *Service) checkCallbacks(actorType string, names ...string) error {
	if err := checkReserved(actorType); err != nil {
		return err
	}
	if _, err := s.table(); err != nil {
		return err
	}
	return checkNames(append(names, actorType)...)
}

func (s *Service) checkReminders(actorType string, names ...string) error {
	if err := s.checkCallbacks(actorType, names...); err != nil {
		return err
	}
	if !s.hosts(actorType) {
		return apierr.ActorReminderNonHosted.New()
	}
	return nil
}

// storeFailure is the row of an error of the store for actors.
func storeFailure(row apierr.Row, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, state.ErrNoActorStore), errors.Is(err, state.ErrUnfitActorStore):
		return apierr.ActorRuntimeNotFound.New(err)
	}
	return row.New(err)
}

// fireTimer is one tick of a timer.
func (s *Service) fireTimer(ctx context.Context, t *timers.Timer) error {
	err := s.route(ctx, &call{service: s, actorType: t.ActorType, actorID: t.ActorID,
		event: &channel.ActorEvent{Type: t.ActorType, ID: t.ActorID, Name: t.Name, Data: t.Data, DueTime: t.DueTime, Period: t.Period,
			Timer: true, Callback: t.Callback}})
	s.fired(t.ActorType, true, err)
	return err
}

// fireReminder is one firing of a reminder.
func (s *Service) fireReminder(ctx context.Context, r *reminders.Reminder, turn func() bool) (reminders.Outcome, error) {
	c := &call{service: s, actorType: r.ActorType, actorID: r.ActorID, still: turn,
		event: &channel.ActorEvent{Type: r.ActorType, ID: r.ActorID, Name: r.Name, Data: r.Data, DueTime: r.DueTime, Period: r.Period}}
	err := s.route(ctx, c)
	if c.withdrawn {
		return reminders.Gone, nil
	}
	outcome := outcomeOf(err)
	if outcome != reminders.Unreached {
		s.fired(r.ActorType, false, err)
	}
	return outcome, err
}

// outcomeOf says what an error means for a reminder: whether the application was asked.
func outcomeOf(err error) reminders.Outcome {
	switch {
	case err == nil:
		return reminders.Fired
	case errors.Is(err, ErrCancelled):
		return reminders.Cancelled
	case passing(err), errors.Is(err, placement.ErrNoTable), errors.Is(err, context.Canceled):
		return reminders.Unreached
	}
	return reminders.Failed
}

func (s *Service) fired(actorType string, timer bool, err error) {
	if k, ok := s.look(actorType); ok {
		k.fired(timer, err == nil)
	}
}
