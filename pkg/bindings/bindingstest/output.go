// Package bindingstest is the conformance suite of bindings: what every input and every output must do, whatever it
// reaches. It knows no technology.
package bindingstest

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/bindings"
)

// callers use the same output at once.
const callers = 8

// Output holds an output against the contract. requests are some that succeed, in this order and at once.
func Output(t *testing.T, output bindings.Output, requests ...bindings.Request) {
	if len(requests) == 0 {
		t.Fatal("bindingstest: requests are needed")
	}
	t.Run("operations", func(t *testing.T) {
		first := output.Operations()
		sorted := slices.Sorted(slices.Values(first))
		if len(sorted) == 0 || len(slices.Compact(sorted)) != len(first) || slices.Contains(first, "") {
			t.Errorf("%q: want some, each once", first)
		}
		if diff := cmp.Diff(first, output.Operations()); diff != "" {
			t.Errorf("the second time: %s", diff)
		}
		for _, r := range requests {
			if !slices.Contains(first, r.Operation) {
				t.Errorf("%s is not listed", r.Operation)
			}
		}
	})
	t.Run("the request belongs to the caller", func(t *testing.T) {
		for _, r := range requests {
			ask(t, output, r)
		}
	})
	t.Run("many callers at once", func(t *testing.T) {
		var wait sync.WaitGroup
		for range callers {
			wait.Go(func() { ask(t, output, requests[0]) })
		}
		wait.Wait()
	})
	t.Run("a caller that is gone", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = output.Invoke(ctx, &requests[0])
		}()
		<-done // the test's own time is the bound
	})
}

// ask makes a request of a copy and sees that the copy is as it was; afterwards it is overwritten, which the race
// detector sees if somebody still reads it.
func ask(t *testing.T, output bindings.Output, r bindings.Request) {
	mine := bindings.Request{Operation: r.Operation, Data: bytes.Clone(r.Data), Metadata: maps.Clone(r.Metadata)}
	if _, err := output.Invoke(t.Context(), &mine); err != nil {
		t.Errorf("%s: %v", r.Operation, err)
	}
	if diff := cmp.Diff(r, mine); diff != "" {
		t.Errorf("%s changed its request: %s", r.Operation, diff)
	}
	for i := range mine.Data {
		mine.Data[i] = 0xff
	}
	clear(mine.Metadata)
}
