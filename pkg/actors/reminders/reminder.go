// Package reminders keeps the reminders of actors in the state store for actors, and fires them. Each has a record of its
// own; an index of pages that divide as they fill up says which there are (docs/reminders.md). The Store of every sidecar
// that hosts a type watches those of the actors that live there.
package reminders

import (
	"errors"
	"time"
)

// Reminder is one reminder as it was registered.
type Reminder struct {
	ActorType, ActorID, Name string
	// Data is the text of a JSON value, empty for none.
	Data []byte
	// DueTime, Period and TTL are as they were given.
	DueTime, Period, TTL string
	// Failure is what happens when a firing fails; nil is a retry each second, three times.
	Failure *Failure
	// Expires is the end of its time to live, zero for none. It is an answer of Get, List and Fire; Create works it out.
	Expires time.Time
}

// Failure is what happens when the application answers a firing with a failure. When the retries are over the firing
// counts as one, and the next period comes.
type Failure struct {
	// Interval is the time before each retry.
	Interval time.Duration
	// Retries is how often it is tried again: 0 is never (Dapr's policy "drop"), below 0 without end.
	Retries int
}

// The errors that callers tell apart.
var (
	// ErrExists: there is one of that name, and it was not to be overwritten.
	ErrExists = errors.New("there is a reminder of that name already")
	// ErrNotFound: there is none of that name.
	ErrNotFound = errors.New("there is no reminder of that name")
)

// Outcome is what became of a firing.
type Outcome int

const (
	// Failed: the application was asked and failed. The reminder's Failure applies.
	Failed Outcome = iota
	// Fired: the application was asked and is content.
	Fired
	// Cancelled: the application wants no more of this reminder; it ends.
	Cancelled
	// Unreached: the application was not asked (no table, nobody hosts the type, it is away). The same firing is tried
	// again, with longer and longer pauses up to half a minute, for as long as it takes.
	Unreached
	// Gone: turn has said so; the application was not asked.
	Gone
)
