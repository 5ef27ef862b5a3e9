package pubsub

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/resiliency"
)

// reaching tries under the inbound policy until the application has been reached, or ctx or the taking of messages
// ends.
func (c *consumer) reaching(ctx context.Context, component *component, try func(context.Context) error) error {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := c.attempt(ctx, component, try)
		if err == nil || !c.waits(err) && ctx.Err() == nil {
			c.reached()
			return err
		}
		if ctx.Err() != nil {
			return err
		}
		c.hold(err)
		// When the taking ends the message is given back rather than held.
		if c.taking.Err() != nil || either(ctx, c.taking, jittered(pause)) {
			return err
		}
	}
}

// attempt runs try under the policy. What kept the last try from the application comes before what the policy made of
// it: that its time was over, for one.
func (c *consumer) attempt(ctx context.Context, component *component, try func(context.Context) error) error {
	var missed error
	err := component.inbound.Run(ctx, func(ctx context.Context) error {
		err := try(ctx)
		if missed = nil; c.waits(err) {
			missed = err
		}
		return err
	})
	if err != nil && missed != nil && !isOpen(err) {
		return missed
	}
	return err
}

// waits says whether an error is no failure of the message: the application could not be asked, or it went away while
// it was. The second may be the message's doing, so that it counts where the user has set an end.
func (c *consumer) waits(err error) bool {
	return err != nil && (channel.Unreached(err) || isOpen(err) || c.limit == 0 && channel.BrokenOff(err))
}

// unjudged says whether a failure is nobody's attempt: the application was not there, or the delivery was cut short, by
// the end or by the broker's own bound on handling. The last counts where the user has set an end.
func (c *consumer) unjudged(ctx context.Context, err error) bool {
	switch {
	case c.waits(err), c.hard.Err() != nil, errors.Is(err, ErrStreamClosed):
		return true
	}
	return c.limit == 0 && ctx.Err() != nil && errors.Is(err, ctx.Err())
}

func isOpen(err error) bool {
	var open *resiliency.OpenError
	return errors.As(err, &open)
}

func wait(ctx context.Context, pause time.Duration) error { return resiliency.Wait(ctx, pause) }

// either waits for the pause; true when one of the contexts ended before.
func either(a, b context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return false
	case <-a.Done():
		return true
	case <-b.Done():
		return true
	}
}

// jittered keeps many that wait from coming back at once.
func jittered(pause time.Duration) time.Duration {
	return pause/2 + rand.N(pause/2+1)
}
