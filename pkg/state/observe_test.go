package state

import (
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// tally counts what an observer is told.
type tally struct {
	mu    sync.Mutex
	bound map[string]int
	told  map[string]int
}

func (o *tally) State(component, operation string) func(bool, time.Duration) {
	o.bound[component+" "+operation]++
	return func(success bool, elapsed time.Duration) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if elapsed < 0 {
			operation += " backwards"
		}
		o.told[operation+" "+strconv.FormatBool(success)]++
	}
}

func TestObserver(t *testing.T) {
	store, observer := newShelf(), &tally{bound: make(map[string]int), told: make(map[string]int)}
	service := NewService(Deps{AppID: "myapp", Observer: observer})
	if err := service.Add("st", store, Settings{}); err != nil {
		t.Fatal(err)
	}
	calls(t.Context(), service, "st", "k")
	store.fail = errors.New("down")
	calls(t.Context(), service, "st", "k")
	calls(t.Context(), service, "st", "a||b")
	calls(t.Context(), service, "nope", "k")
	want := map[string]int{}
	bound := map[string]int{}
	for _, operation := range []string{"get", "bulk_get", "delete", "bulk_delete", "query", "transaction"} {
		want[operation+" true"], want[operation+" false"] = 1, 1
		bound["st "+operation] = 1
	}
	want["query false"] = 2 // The query has no key that could be illegal.
	want["set true"], want["set false"] = 2, 2
	bound["st set"] = 1
	if diff := cmp.Diff(want, observer.told); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(bound, observer.bound); diff != "" {
		t.Error("handles:", diff)
	}
}
