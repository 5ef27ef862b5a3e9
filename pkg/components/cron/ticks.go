package cron

import (
	"context"
	"iter"
	"time"

	"github.com/robfig/cron/v3"
)

// look is how often the clock is looked at while a tick is far off: a machine that slept, or whose clock was set, does
// not wait by the old time.
const look = time.Minute

// ticks gives the times of a schedule as they come, until ctx ends.
func ticks(ctx context.Context, schedule cron.Schedule) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		timer := time.NewTimer(0)
		defer timer.Stop()
		for next := schedule.Next(time.Now()); !next.IsZero(); {
			timer.Reset(min(time.Until(next.Round(0)), look))
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			if time.Now().Before(next.Round(0)) {
				continue
			}
			if !yield(next) {
				return
			}
			next = schedule.Next(time.Now())
		}
		<-ctx.Done() // the last tick has come
	}
}
