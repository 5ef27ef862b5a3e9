package state

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// Bounds of what one request does at once where the store has no call for many keys. 100 is what Dapr 1.7
// used; the maximum keeps a caller from opening a connection for every key.
const (
	defaultParallelism = 100
	maxParallelism     = 1000
)

// inParallel calls do for each index from 0 to n-1, at most limit at once, and returns when all are done.
func inParallel(n, limit int, do func(int)) {
	if limit <= 0 {
		limit = defaultParallelism
	}
	workers := min(n, limit, maxParallelism)
	var next atomic.Int64
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= n {
				return
			}
			do(i)
		}
	}
	var others sync.WaitGroup
	for range workers - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
}

// writeEach writes n keys in parallel and joins what failed. A key that comes twice is written in the order
// of the request, which only one worker keeps.
func writeEach(ctx context.Context, n int, key func(int) string, write func(int) error) error {
	limit := defaultParallelism
	if repeats(n, key) {
		limit = 1
	}
	failures := make([]error, n)
	inParallel(n, limit, func(i int) {
		err := ctx.Err()
		if err == nil {
			err = write(i)
		}
		if err != nil {
			failures[i] = atKey(plainKey(key(i)), err)
		}
	})
	return errors.Join(failures...)
}

func repeats(n int, key func(int) string) bool {
	seen := make(map[string]struct{}, n)
	for i := range n {
		seen[key(i)] = struct{}{}
	}
	return len(seen) < n
}

// atKey says which of many keys failed; the text of a refused entity tag keeps its beginning, which clients
// know.
func atKey(key string, err error) error {
	tag, ok := err.(*ETagError)
	if !ok {
		return fmt.Errorf("key %s: %w", key, err)
	}
	cause := fmt.Errorf("key %s", key)
	if tag.Cause != nil {
		cause = fmt.Errorf("key %s: %w", key, tag.Cause)
	}
	return &ETagError{Kind: tag.Kind, Cause: cause}
}
