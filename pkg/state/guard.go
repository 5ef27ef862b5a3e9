package state

import (
	"context"
	"net/http"

	"github.com/daprd/daprd/pkg/resiliency"
)

// guarded runs every operation under the policy of the component. Of a request for many keys that the store takes
// one by one, each is an operation: what worked is not done again.
func (o operations) guarded(guard *resiliency.Guard) operations {
	if guard == nil {
		return o
	}
	bare := o
	o.get = func(ctx context.Context, req *GetRequest) (*Item, error) {
		return resiliency.Do(ctx, guard, func(ctx context.Context) (*Item, error) { return bare.get(ctx, req) })
	}
	o.set = func(ctx context.Context, req *SetRequest) error {
		return guard.Run(ctx, func(ctx context.Context) error { return bare.set(ctx, req) })
	}
	o.remove = func(ctx context.Context, req *DeleteRequest) error {
		return guard.Run(ctx, func(ctx context.Context) error { return bare.remove(ctx, req) })
	}
	if bare.getMany != nil {
		o.getMany = func(ctx context.Context, reqs []GetRequest, parallelism int) ([]Item, error) {
			return resiliency.Do(ctx, guard, func(ctx context.Context) ([]Item, error) { return bare.getMany(ctx, reqs, parallelism) })
		}
	}
	if bare.transact != nil {
		o.transact = func(ctx context.Context, ops []Operation, metadata map[string]string) error {
			return guard.Run(ctx, func(ctx context.Context) error { return bare.transact(ctx, ops, metadata) })
		}
	}
	if bare.query != nil {
		o.query = func(ctx context.Context, query *Query, metadata map[string]string) (*QueryResult, error) {
			return resiliency.Do(ctx, guard, func(ctx context.Context) (*QueryResult, error) { return bare.query(ctx, query, metadata) })
		}
	}
	return o
}

// HTTPStatus says that the caller is to decide, so that no policy tries again: the tag will not fit next time.
func (e *ETagError) HTTPStatus() int {
	if e.Kind == ETagInvalid {
		return http.StatusBadRequest
	}
	return http.StatusConflict
}
