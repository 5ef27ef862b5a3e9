package runtime

import "context"

// readBindings begins to bring events of input bindings to the application.
func (r *Runtime) readBindings(ctx context.Context) (ending, error) {
	return ending{settle: r.bindings.Stop}, r.bindings.Start(ctx)
}
