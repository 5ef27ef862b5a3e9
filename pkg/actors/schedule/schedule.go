// Package schedule says when timers and reminders are due: the forms of their times (Go durations, ISO 8601, RFC 3339,
// cron), and the arithmetic over them. Its values are pure: the clock is given. All times are UTC.
package schedule

import (
	"errors"
	"fmt"
	"time"
)

// Spec is when something is due, as its registration says.
type Spec struct {
	// DueTime is a duration from now or an instant; "" is now, for a reminder with a Period one period from now.
	DueTime string
	// Period is a duration, with the number of firings before it (R5/PT1S) or without, or a cron expression; "" fires once.
	Period string
	// TTL is a duration from the due time or an instant; "" is for ever.
	TTL string
}

// Kind is what is due: their rules differ a little, as those of Dapr 1.18 do.
type Kind string

// The kinds.
const (
	Timer    Kind = "timer"
	Reminder Kind = "reminder"
)

// Plan is when something is due from now on.
type Plan struct {
	// Due is the next firing.
	Due time.Time
	// Every is the time between two, nothing for one firing alone.
	Every Every
	// Left is the number of firings that are left, the next one included; 0 has no bound.
	Left int
	// Expires ends it before its firings are over; zero is never.
	Expires time.Time
}

// lastYear bounds instants: later ones cannot be written in RFC 3339.
const lastYear = 9999

// The errors of a Spec that can be read, and asks for nothing that could be done.
var (
	errNothing = errors.New("there must be a due time or a period")
	errLate    = fmt.Errorf("it is after the year %d", lastYear)
)

// New reads a Spec. Its errors name the field, in the texts of Dapr.
func New(kind Kind, now time.Time, spec Spec) (Plan, error) {
	now = now.UTC()
	every, left, err := parsePeriod(kind, spec.Period)
	if err != nil {
		return Plan{}, fmt.Errorf("error parsing %s period: %w", kind, err)
	}
	plan := Plan{Due: now, Every: every, Left: left}
	switch {
	case spec.DueTime != "":
		if plan.Due, err = parseInstant(spec.DueTime, now); err != nil {
			return Plan{}, fmt.Errorf("error parsing %s due time: %w", kind, err)
		}
	case every.cron != nil, kind == Reminder && !every.None():
		plan.Due = every.After(now)
		if plan.Due.IsZero() {
			return Plan{}, fmt.Errorf("error parsing %s period: %w", kind, errLate)
		}
	case kind == Reminder && spec.Period == "":
		return Plan{}, errNothing
	}
	if spec.TTL == "" {
		return plan, nil
	}
	if plan.Expires, err = parseInstant(spec.TTL, plan.Due); err != nil {
		return Plan{}, fmt.Errorf("error parsing %s TTL: %w", kind, err)
	}
	if plan.Expires.Before(now) || plan.Expires.Before(plan.Due) {
		return Plan{}, fmt.Errorf("%s has already expired: its due time is %s, the end of its time to live %s",
			kind, plan.Due.Format(time.RFC3339), plan.Expires.Format(time.RFC3339))
	}
	return plan, nil
}

// Resume is the Plan of something that was registered with period, and is due next at due.
func Resume(period string, due time.Time, left int, expires time.Time) (Plan, error) {
	every, _, err := parsePeriod(Reminder, period)
	if err != nil {
		return Plan{}, fmt.Errorf("error parsing reminder period: %w", err)
	}
	return Plan{Due: due, Every: every, Left: left, Expires: expires}, nil
}

// Expired says that the time to live is over.
func (p Plan) Expired(now time.Time) bool { return !p.Expires.IsZero() && now.After(p.Expires) }

// Next is the Plan after a firing; more is false when that was the last.
func (p Plan) Next() (next Plan, more bool) {
	if p.Every.None() || p.Left == 1 {
		return Plan{}, false
	}
	if p.Left > 1 {
		p.Left--
	}
	p.Due = p.Every.After(p.Due)
	if p.Due.IsZero() || p.Expired(p.Due) {
		return Plan{}, false
	}
	return p, true
}

// Skip is Next without what is over by now: firings that were missed do not come, and do not count.
func (p Plan) Skip(now time.Time) (next Plan, more bool) {
	next, more = p.Next()
	if !more || !next.Due.Before(now) {
		return next, more
	}
	next.Due = next.Every.from(next.Due, now)
	if next.Due.IsZero() || next.Expired(next.Due) {
		return Plan{}, false
	}
	return next, true
}

// inTime is t, or no time where it cannot be written.
func inTime(t time.Time) time.Time {
	if t.Year() > lastYear || t.Year() < 0 {
		return time.Time{}
	}
	return t
}
