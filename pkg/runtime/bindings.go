package runtime

import (
	"context"
	"errors"
)

// readBindings begins to bring events of input bindings to the application.
func (r *Runtime) readBindings(ctx context.Context) (ending, error) {
	end := ending{settle: func(ctx context.Context) error {
		ctx, cancel := leaving(ctx)
		defer cancel()
		return errors.Join(r.intake.end(ctx), r.bindings.Stop(ctx))
	}}
	return end, r.intake.add(ctx, r.bindings.Start, r.bindings.Stop)
}
