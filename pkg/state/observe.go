package state

import (
	"context"
	"time"
)

// Observer is told how operations on stores went: the seam of the metrics.
type Observer interface {
	// State gives the function that counts one kind of operation of one component: get, set, delete,
	// bulk_get, bulk_delete, query or transaction. It is asked once for each kind, when a store is added; the
	// function is called by many goroutines.
	State(component, operation string) func(success bool, elapsed time.Duration)
}

// observed tells the observer of every operation: one for each call of the API, and the time that the
// component took. Without an observer nothing is wrapped and no clock is read.
func (o operations) observed(component string, observer Observer) operations {
	if observer == nil {
		return o
	}
	bare := o
	gotten := observer.State(component, "get")
	o.get = func(ctx context.Context, req *GetRequest) (*Item, error) {
		start := time.Now()
		item, err := bare.get(ctx, req)
		gotten(err == nil, time.Since(start))
		return item, err
	}
	gottenMany := observer.State(component, "bulk_get")
	o.getMany = func(ctx context.Context, reqs []GetRequest, parallelism int) ([]Item, error) {
		start := time.Now()
		items, err := bare.getMany(ctx, reqs, parallelism)
		gottenMany(err == nil, time.Since(start))
		return items, err
	}
	written := observer.State(component, "set")
	o.set = func(ctx context.Context, req *SetRequest) error {
		return timed(written, func() error { return bare.set(ctx, req) })
	}
	o.setMany = func(ctx context.Context, reqs []SetRequest) error {
		return timed(written, func() error { return bare.setMany(ctx, reqs) })
	}
	removed := observer.State(component, "delete")
	o.remove = func(ctx context.Context, req *DeleteRequest) error {
		return timed(removed, func() error { return bare.remove(ctx, req) })
	}
	removedMany := observer.State(component, "bulk_delete")
	o.removeMany = func(ctx context.Context, reqs []DeleteRequest) error {
		return timed(removedMany, func() error { return bare.removeMany(ctx, reqs) })
	}
	if bare.transact != nil {
		transacted := observer.State(component, "transaction")
		o.transact = func(ctx context.Context, ops []Operation, metadata map[string]string) error {
			return timed(transacted, func() error { return bare.transact(ctx, ops, metadata) })
		}
	}
	if bare.query != nil {
		queried := observer.State(component, "query")
		o.query = func(ctx context.Context, query *Query, metadata map[string]string) (*QueryResult, error) {
			start := time.Now()
			result, err := bare.query(ctx, query, metadata)
			queried(err == nil, time.Since(start))
			return result, err
		}
	}
	return o
}

func timed(count func(bool, time.Duration), operation func() error) error {
	start := time.Now()
	err := operation()
	count(err == nil, time.Since(start))
	return err
}
