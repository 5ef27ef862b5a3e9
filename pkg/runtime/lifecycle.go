package runtime

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrGrace says that the grace period ended before everything was drained.
var ErrGrace = errors.New("graceful shutdown timeout exceeded")

// stage is one row of the start-up: what Run does, in order.
type stage struct {
	name  string
	start func(*Runtime, context.Context) (ending, error)
}

// ending is what a started stage has to do at the end. Each part may be nil.
type ending struct {
	// withdraw tells others to stop coming. It returns at once.
	withdraw func()
	// settle stops taking work for the application and waits for the work in hand, until its context ends.
	// Meanwhile the application can still use the APIs.
	settle func(context.Context) error
	// quiesce stops taking calls of the APIs and waits for those in hand, until its context ends.
	quiesce func(context.Context) error
	// close frees what the stage holds.
	close func(context.Context) error
}

// started is a stage that has been through its start.
type started struct {
	name string
	ending
}

// walk starts the stages in order and gives those that started, also with an error.
func (r *Runtime) walk(ctx context.Context, table []stage) ([]started, error) {
	var done []started
	for _, s := range table {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		end, err := s.start(r, ctx)
		done = append(done, started{s.name, end})
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// drain withdraws, so that peers know before the first server stops listening; then it settles what the
// application works on for others, since that work may need the APIs; then it quiesces the APIs.
func drain(ctx context.Context, stages []started) error {
	for _, s := range stages {
		if s.withdraw != nil {
			s.withdraw()
		}
	}
	settled := together(ctx, stages, func(e ending) func(context.Context) error { return e.settle })
	return errors.Join(settled, together(ctx, stages, func(e ending) func(context.Context) error { return e.quiesce }))
}

// together does one part of every stage's ending, all at once since each waits for calls that others may be
// part of.
func together(ctx context.Context, stages []started, part func(ending) func(context.Context) error) error {
	var (
		wait sync.WaitGroup
		errs = make([]error, len(stages))
	)
	for i, s := range stages {
		do := part(s.ending)
		if do == nil {
			continue
		}
		wait.Go(func() {
			if err := do(ctx); err != nil {
				errs[i] = fmt.Errorf("drain %s: %w", s.name, err)
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// release closes the stages, last first.
func release(ctx context.Context, stages []started) error {
	var errs []error
	for i := len(stages) - 1; i >= 0; i-- {
		if stages[i].close == nil {
			continue
		}
		if err := stages[i].close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", stages[i].name, err))
		}
	}
	return errors.Join(errs...)
}

// within gives a context that ends after the grace period; 0 means that it never ends by itself.
func within(grace time.Duration) (context.Context, context.CancelFunc) {
	if grace <= 0 {
		return context.WithCancel(context.Background())
	}
	return context.WithTimeoutCause(context.Background(), grace, ErrGrace)
}
