package components

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"time"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/config"
)

// The pauses between two tries at a component whose server is away: short at first, since most come up together with
// the sidecar, and never so long that a user would start over.
const (
	firstPause = 100 * time.Millisecond
	longPause  = 10 * time.Second
)

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

// away says that an error is about reaching a server, so that another try may go better. What a server answers, and
// what is wrong with a manifest, would be the same again.
func away(err error) bool {
	var (
		network net.Error
		file    *fs.PathError
	)
	// What the system says of a file counts as a net.Error, too, and is none.
	if errors.As(err, &file) {
		return false
	}
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.Unavailable
}

// tryAgain makes a component in the background, which the sidecar goes on without.
func (l *Loader) tryAgain(ctx context.Context, c *config.Component, p *plan, cause error) {
	ctx, cancel := context.WithCancel(ctx)
	e := &entry{component: *c, stop: cancel}
	l.entries[c.Meta.Name] = e
	absent := Outage{Component: c.Meta.Name, Since: time.Now(), Cause: cause.Error(), Never: true}
	l.out(ctx, absent)
	l.background.Go(func() {
		defer cancel()
		for pace := pauses(); pause(ctx, pace.NextBackOff()); {
			m, err := p.make(ctx)
			if err == nil {
				l.offer(ctx, e, m, absent.Since)
				return
			}
			absent.Cause = err.Error()
			l.out(ctx, absent)
			if !away(err) && ctx.Err() == nil {
				l.deps.Log.Errorf("component %s can be reached, but cannot be used: %s; it is not tried again", c, err)
				return
			}
		}
	})
}

// offer hands a component that came at last to the loader's goroutine.
func (l *Loader) offer(ctx context.Context, e *entry, m *made, began time.Time) {
	err := l.ask(context.WithoutCancel(ctx), func(running context.Context) error { return l.adopt(running, e, m, began) })
	if err != nil {
		l.refuse(&e.component, m)
	}
}

// errGone says that a component which came at last is not wanted any more.
var errGone = errors.New("the component was changed or removed meanwhile")

// adopt puts a component into service that came at last. With an error it is not.
func (l *Loader) adopt(ctx context.Context, e *entry, m *made, began time.Time) error {
	c := &e.component
	if l.entries[c.Meta.Name] != e {
		return errGone
	}
	if err := m.add(); err != nil {
		l.deps.Log.Errorf("component %s: %s", c, err)
		return err
	}
	l.forget(e)
	l.deps.Log.Infof("component %s is up after %s", c, time.Since(began).Round(time.Millisecond))
	l.serve(ctx, &entry{component: *c, made: m})
	if c.Category() == categorySecretStores {
		if err := l.unpark(ctx, c.Meta.Name); err != nil {
			l.deps.Log.Error(err)
		}
	}
	return nil
}
