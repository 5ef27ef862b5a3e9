package resiliency

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/daprd/daprd/pkg/config"
)

// The defaults of Dapr 1.18 (reference: cli-and-config 6).
const (
	defaultPause       = 5 * time.Second
	defaultMaxInterval = 60 * time.Second
	// firstInterval, growth and jitter are those of an exponential policy, which gives up after totalTime.
	firstInterval = 500 * time.Millisecond
	growth        = 1.5
	jitter        = 0.5
	totalTime     = 15 * time.Minute
	// fewest is what a built-in policy's retries are raised to.
	fewest = 3
)

// The built-in policies, which resources may define anew.
const (
	ServiceRetries        = "DaprBuiltInServiceRetries"
	ActorRetries          = "DaprBuiltInActorRetries"
	ActorReminderRetries  = "DaprBuiltInActorReminderRetries"
	InitializationRetries = "DaprBuiltInInitializationRetries"
)

// Retry is a schedule: how often and when an operation is tried again.
type Retry struct {
	// MaxRetries is the number of attempts after the first, -1 for no bound.
	MaxRetries int
	// Pause is the time between two attempts of a constant policy.
	Pause time.Duration
	// Exponential lets pauses grow from 500 ms by half each, give or take half, up to MaxInterval.
	Exponential bool
	MaxInterval time.Duration
	// Total ends an exponential policy.
	Total time.Duration
}

// builtIn are the policies that are there without a resource.
func builtIn(name string) Retry {
	exponential := Retry{MaxRetries: -1, Exponential: true, MaxInterval: defaultMaxInterval, Total: totalTime}
	switch name {
	case ActorReminderRetries:
		return exponential
	case InitializationRetries:
		exponential.MaxRetries, exponential.MaxInterval, exponential.Total = 3, time.Second, 10*time.Second
		return exponential
	}
	return Retry{MaxRetries: 3, Pause: time.Second, MaxInterval: defaultMaxInterval}
}

func isBuiltIn(name string) bool {
	return name == ServiceRetries || name == ActorRetries || name == ActorReminderRetries || name == InitializationRetries
}

// newRetry reads a policy.
func newRetry(name string, c config.Retry) Retry {
	r := Retry{MaxRetries: -1, Pause: defaultPause, MaxInterval: defaultMaxInterval, Total: totalTime,
		Exponential: strings.EqualFold(c.Policy, "exponential")}
	if c.Duration != nil {
		r.Pause = time.Duration(*c.Duration)
	}
	if c.MaxInterval != nil {
		r.MaxInterval = time.Duration(*c.MaxInterval)
	}
	if c.MaxRetries != nil {
		r.MaxRetries = *c.MaxRetries
	}
	if isBuiltIn(name) && r.MaxRetries >= 0 {
		r.MaxRetries = max(r.MaxRetries, fewest)
	}
	return r
}

// Schedule is one use of a Retry.
type Schedule struct {
	retry  Retry
	began  time.Time
	tries  int
	growth *backoff.ExponentialBackOff
}

// Begin begins a use.
func (r Retry) Begin() *Schedule {
	s := &Schedule{retry: r, began: time.Now()}
	if r.Exponential {
		s.growth = &backoff.ExponentialBackOff{InitialInterval: min(firstInterval, r.MaxInterval), RandomizationFactor: jitter,
			Multiplier: growth, MaxInterval: r.MaxInterval}
		s.growth.Reset()
	}
	return s
}

// Next is the pause before another attempt; ok is false when there is none. wish is the pause that an answer
// asked for, 0 for none; it is heeded up to MaxInterval.
func (s *Schedule) Next(wish time.Duration) (pause time.Duration, ok bool) {
	if s.retry.MaxRetries >= 0 && s.tries >= s.retry.MaxRetries {
		return 0, false
	}
	s.tries++
	pause = s.retry.Pause
	if s.growth != nil {
		pause = s.growth.NextBackOff()
	}
	if wish > 0 {
		pause = min(wish, s.retry.MaxInterval)
	}
	if s.growth != nil && s.retry.Total > 0 && time.Since(s.began)+pause > s.retry.Total {
		return 0, false
	}
	return pause, true
}

// Wait sleeps, no longer than ctx lives; the error is that of ctx.
func Wait(ctx context.Context, pause time.Duration) error {
	if pause <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the caller left in a pause between two attempts: %w", ctx.Err())
	}
}
