// Package cron is the input binding bindings.cron: an event at each tick of a schedule. It keeps nothing: what falls
// into a time when nobody reads does not come later.
package cron

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/daprd/daprd/pkg/actors/schedule"
	"github.com/daprd/daprd/pkg/bindings"
	"github.com/daprd/daprd/pkg/components"
)

type settings struct {
	Schedule string `metadata:"schedule,required"`
}

// binding brings the ticks of a schedule.
type binding struct {
	name     string
	schedule cron.Schedule
	zone     string
	spec     *components.Spec
}

// NewInput makes bindings.cron.
func NewInput(_ context.Context, spec *components.Spec) (bindings.Input, error) {
	var s settings
	if err := components.Decode(spec, &s); err != nil {
		return nil, err
	}
	parsed, err := schedule.Cron(s.Schedule)
	if err != nil {
		return nil, fmt.Errorf("metadata property schedule: %w", err)
	}
	return &binding{name: spec.Name, schedule: parsed, zone: zone(parsed), spec: spec}, nil
}

// zone is the time zone of a schedule, as events tell it.
func zone(schedule cron.Schedule) string {
	if s, ok := schedule.(*cron.SpecSchedule); ok {
		return s.Location.String()
	}
	return time.Local.String()
}

// Read delivers an event at each tick. While the application still works on one, one more waits, and further ticks are
// left out: a slow application does not find itself behind by hours.
func (b *binding) Read(ctx context.Context, deliver bindings.Handler) error {
	var (
		working sync.WaitGroup
		due     = make(chan time.Time, 1)
	)
	working.Go(func() {
		for tick := range due {
			if ctx.Err() == nil {
				b.bring(ctx, tick, deliver)
			}
		}
	})
	for tick := range ticks(ctx, b.schedule) {
		select {
		case due <- tick:
		default:
			b.spec.Log.Debugf("binding %s: the tick of %s is left out: the application is still busy with an earlier one, and another waits",
				b.name, tick.Format(time.RFC3339))
		}
	}
	close(due)
	working.Wait()
	return nil
}

// bring delivers one event. A tick that failed is not repeated: the next one comes.
func (b *binding) bring(ctx context.Context, tick time.Time, deliver bindings.Handler) {
	event := &bindings.Event{Metadata: map[string]string{"timeZone": b.zone, "readTimeUTC": tick.UTC().String()}}
	if _, err := deliver(context.WithoutCancel(ctx), event); err != nil {
		b.spec.Log.Warnf("binding %s: the event of %s failed: %s", b.name, tick.Format(time.RFC3339), err)
	}
}
