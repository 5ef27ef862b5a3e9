package state

import (
	"context"
	"fmt"

	"github.com/daprd/daprd/pkg/apierr"
)

// operations are what can be done with one store: the abilities of the bare component as functions, nil
// where it lacks one. Decorators (guarded, observed, encrypted) wrap the functions that are there; nothing asserts on
// a decorated value.
type operations struct {
	get        func(ctx context.Context, req *GetRequest) (*Item, error)
	set        func(ctx context.Context, req *SetRequest) error
	remove     func(ctx context.Context, req *DeleteRequest) error
	getMany    func(ctx context.Context, reqs []GetRequest, parallelism int) ([]Item, error)
	setMany    func(ctx context.Context, reqs []SetRequest) error
	removeMany func(ctx context.Context, reqs []DeleteRequest) error
	transact   func(ctx context.Context, ops []Operation, metadata map[string]string) error
	query      func(ctx context.Context, query *Query, metadata map[string]string) (*QueryResult, error)
	// maxOperations bounds a transaction; 0 means no bound.
	maxOperations int
}

// MaxItems bounds the keys, items or operations of one request: each takes a hundred bytes and more in memory,
// and two or three in a body.
const MaxItems = 100_000

// CheckItems refuses a request of more than MaxItems. The error is an *apierr.Error.
func CheckItems(n int) error {
	if n <= MaxItems {
		return nil
	}
	return apierr.StateTooManyItems.New(MaxItems)
}

// abilities reads what a bare component can do.
func abilities(store Store) operations {
	o := operations{
		get:    store.Get,
		set:    store.Set,
		remove: store.Delete,
	}
	if bulk, ok := store.(BulkGetter); ok {
		o.getMany = getBulk(bulk)
	}
	if transactor, ok := store.(Transactor); ok {
		o.transact = transactor.Transact
	}
	if limiter, ok := store.(TransactionLimiter); ok {
		o.maxOperations = limiter.MaxOperations()
	}
	if querier, ok := store.(Querier); ok {
		o.query = querier.Query
	}
	return o
}

// many adds what a component does one by one: reading where it cannot read many at once, and writing.
func (o operations) many() operations {
	if o.getMany == nil {
		o.getMany = getEach(o.get)
	}
	o.setMany, o.removeMany = setEach(o.set), removeEach(o.remove)
	return o
}

func getBulk(store BulkGetter) func(context.Context, []GetRequest, int) ([]Item, error) {
	return func(ctx context.Context, reqs []GetRequest, _ int) ([]Item, error) {
		items, err := store.BulkGet(ctx, reqs)
		if err == nil && len(items) != len(reqs) {
			return nil, fmt.Errorf("the store gave %d items for %d keys", len(items), len(reqs))
		}
		return items, err
	}
}

func getEach(get func(context.Context, *GetRequest) (*Item, error)) func(context.Context, []GetRequest, int) ([]Item, error) {
	return func(ctx context.Context, reqs []GetRequest, parallelism int) ([]Item, error) {
		items := make([]Item, len(reqs))
		inParallel(len(reqs), parallelism, func(i int) {
			if err := ctx.Err(); err != nil {
				items[i].Err = err
				return
			}
			item, err := get(ctx, &reqs[i])
			if err != nil {
				items[i].Err = err
				return
			}
			items[i] = *item
		})
		return items, nil
	}
}

func setEach(set func(context.Context, *SetRequest) error) func(context.Context, []SetRequest) error {
	return func(ctx context.Context, reqs []SetRequest) error {
		return writeEach(ctx, len(reqs),
			func(i int) string { return reqs[i].Key },
			func(i int) error { return set(ctx, &reqs[i]) })
	}
}

func removeEach(remove func(context.Context, *DeleteRequest) error) func(context.Context, []DeleteRequest) error {
	return func(ctx context.Context, reqs []DeleteRequest) error {
		return writeEach(ctx, len(reqs),
			func(i int) string { return reqs[i].Key },
			func(i int) error { return remove(ctx, &reqs[i]) })
	}
}
