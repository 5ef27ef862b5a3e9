package bindings

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// The pauses between two tries at a source that is lost, and between two questions to an application that did not
// answer: short at first, since most that is away comes back at once, and never so long that a user would start over.
const (
	firstPause = 500 * time.Millisecond
	longPause  = 30 * time.Second
)

// steady is how long a source has to be read before its next loss counts as a new one.
const steady = time.Minute

var errEnded = errors.New("the source ended without a reason")

func pauses() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.RandomizationFactor, b.Multiplier = firstPause, longPause, 0.2, 2
	return b
}

// pause waits, and says whether to go on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// read reads an input until ctx ends. The end of events cuts off the events in hand.
func (s *Service) read(ctx, events context.Context, c *component) {
	if c.asked && !s.wanted(ctx, c) {
		return
	}
	source := &source{service: s, component: c}
	deliver := func(ctx context.Context, event *Event) ([]byte, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(events, cancel)()
		source.found()
		return c.deliver(ctx, event)
	}
	for pace := pauses(); ; {
		began := time.Now()
		err := c.bare.Input.Read(ctx, deliver)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) >= steady {
			pace.Reset()
			source.found()
		}
		if err == nil {
			err = errEnded
		}
		source.lost(err)
		if !pause(ctx, pace.NextBackOff()) {
			return
		}
	}
}

// wanted asks the application whether it takes the events, until it answers or ctx ends: an application may listen
// before it is able to answer.
func (s *Service) wanted(ctx context.Context, c *component) bool {
	told := ""
	for pace := pauses(); ; {
		wants, err := s.probe(ctx, c)
		switch {
		case ctx.Err() != nil:
			return false
		case err == nil && !wants:
			s.deps.Log.Infof("app has not subscribed to binding %s.", c.name)
			return false
		case err == nil:
			return true
		}
		if text := err.Error(); text != told {
			s.deps.Log.Warnf("could not ask the app whether it takes the events of binding %s: %s; it is asked again until it answers. "+
				"With the metadata property direction: input it is not asked, and --app-binding-options-timeout gives it more time", c.name, text)
			told = text
		}
		if !pause(ctx, pace.NextBackOff()) {
			return false
		}
	}
}

func (s *Service) probe(ctx context.Context, c *component) (bool, error) {
	app, ok := s.deps.App.Load()
	if !ok {
		return false, errNoApp
	}
	ctx, cancel := context.WithTimeout(ctx, s.deps.ProbeTimeout)
	defer cancel()
	return app.WantsBinding(ctx, c.name, c.route)
}
