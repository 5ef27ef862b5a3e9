package components

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/daprd/daprd/pkg/config"
)

// explanation is the time that a factory has to say what it was doing when its time was over.
const explanation = 100 * time.Millisecond

// outcome is what a factory gave.
type outcome[T any] struct {
	instance T
	err      error
}

// build runs the factory within the component's time: as long as what is behind the component cannot be reached it is
// run again, unless the sidecar goes on without the component (see tryAgain).
func build[T any](ctx context.Context, l *Loader, c *config.Component, spec *Spec, factory Factory[T]) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, c.InitLimit())
	defer cancel()
	for pace, told := pauses(), false; ; {
		instance, err := once(ctx, l, c, spec, factory)
		if err == nil || c.Spec.IgnoreErrors || !away(err) || ctx.Err() != nil {
			return instance, err
		}
		if !told {
			l.deps.Log.Infof("component %s cannot be reached: %s; it is tried again within %s (spec.initTimeout)", c, err, c.InitLimit())
			told = true
		}
		if !pause(ctx, pace.NextBackOff()) {
			return instance, late(ctx, c, err)
		}
	}
}

// once runs the factory. An instance that comes too late is closed.
func once[T any](ctx context.Context, l *Loader, c *config.Component, spec *Spec, factory Factory[T]) (T, error) {
	done := make(chan outcome[T], 1)
	go func() {
		instance, err := factory(ctx, spec)
		done <- outcome[T]{instance, err}
	}()
	select {
	case o := <-done:
		return o.in(ctx, c)
	case <-ctx.Done():
	}
	select {
	case o := <-done:
		return o.in(ctx, c)
	case <-time.After(explanation):
		l.abandoned.Go(func() {
			if o := <-done; o.err == nil {
				l.refuse(c, o.instance)
			}
		})
		return outcome[T]{err: ctx.Err()}.in(ctx, c)
	}
}

func (o outcome[T]) in(ctx context.Context, c *config.Component) (T, error) {
	if o.err != nil {
		o.err = late(ctx, c, o.err)
	}
	return o.instance, o.err
}

// refuse closes an instance that nobody waits for any more.
func (l *Loader) refuse(c *config.Component, instance any) {
	if err := shut(instance); err != nil {
		l.deps.Log.Warnf("error closing component %s, which came after its time: %s", c.Meta.Name, err)
	}
}

// late tells when an initialisation failed because its time was over, or because the sidecar ends.
func late(ctx context.Context, c *config.Component, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("init timeout for component %s exceeded after %s: %w; spec.initTimeout gives it more time", c.Meta.Name, c.InitLimit(), err)
	case ctx.Err() != nil:
		return fmt.Errorf("init of component %s was interrupted: %w", c.Meta.Name, err)
	}
	return err
}

// shut closes what can be closed.
func shut(instance any) error {
	if m, ok := instance.(*made); ok {
		return m.close()
	}
	if closer, ok := instance.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}
