package schedule

import (
	"time"

	"github.com/robfig/cron/v3"
)

// Every is the time between two firings: months and days of the calendar, then a duration; or a cron schedule.
type Every struct {
	months, days int
	clock        time.Duration
	cron         cron.Schedule
}

// None says that there is no second firing.
func (e Every) None() bool { return e.months == 0 && e.days == 0 && e.clock == 0 && e.cron == nil }

// After is the firing after that of t; zero when there is none (a cron schedule that does not come within five years,
// the end of time).
func (e Every) After(t time.Time) time.Time {
	if e.cron != nil {
		return inTime(e.cron.Next(t.Local()).UTC())
	}
	return inTime(t.AddDate(0, e.months, e.days).Add(e.clock))
}

// from is the first firing at now or later, counted from that of t.
func (e Every) from(t, now time.Time) time.Time {
	switch {
	case e.cron != nil:
		return e.After(now)
	case e.months == 0 && e.days == 0:
		if missed := now.Sub(t) / e.clock; missed > 0 {
			t = t.Add(missed * e.clock)
		}
	}
	for !t.IsZero() && t.Before(now) {
		t = e.After(t)
	}
	return t
}
