package ready_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/ready"
)

// door counts how often it was closed.
type door struct{ closed int }

func (d *door) Close() error {
	d.closed++
	return errors.New("it creaks")
}

func TestShelf(t *testing.T) {
	var shelf ready.Shelf[*door]
	first, second := &door{}, &door{}
	if !shelf.Put("b", first) || !shelf.Put("a", second) {
		t.Fatal("a free name is refused")
	}
	if shelf.Put("a", first) {
		t.Error("a taken name is taken again")
	}
	if diff := cmp.Diff([]string{"a", "b"}, shelf.Names()); diff != "" {
		t.Error(diff)
	}
	if _, ok := shelf.Take("c"); ok {
		t.Error("there is a c")
	}
	if old := shelf.Swap("a", first); old.Value != second {
		t.Error("Swap gives another value")
	}
	if got, _ := shelf.Look("a"); got != first {
		t.Error("Swap has placed another value")
	}
	if old := shelf.Remove("a"); old.Value != first || shelf.Remove("a") != nil || shelf.Len() != 1 {
		t.Error("Remove does not remove")
	}
	if left := shelf.Clear(); len(left) != 1 || left["b"] != first || shelf.Len() != 0 {
		t.Errorf("Clear gives %v", left)
	}
}

// TestRetire: what is in use when it is replaced is closed after the use.
func TestRetire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shelf ready.Shelf[*door]
		old := &door{}
		shelf.Put("a", old)
		use, _ := shelf.Take("a")
		retired := make(chan error, 1)
		go func() { retired <- shelf.Swap("a", &door{}).Retire(t.Context(), old) }()
		synctest.Wait()
		if old.closed != 0 {
			t.Fatal("it is closed in the middle of a use")
		}
		if next, ok := shelf.Take("a"); !ok || next.Value == old {
			t.Fatal("a new use gets the old value")
		}
		use.Leave()
		if err := <-retired; err == nil || err.Error() != "it creaks" || old.closed != 1 {
			t.Errorf("error %v, closed %d times", err, old.closed)
		}
	})
}

// TestTakeWhileSwapped: whoever takes while others swap never gets a value that is closed.
func TestTakeWhileSwapped(t *testing.T) {
	var shelf ready.Shelf[*door]
	shelf.Put("a", &door{})
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 1000 {
				h, ok := shelf.Take("a")
				if !ok || h.Value.closed > 0 {
					t.Error("a closed value is taken")
					return
				}
				h.Leave()
			}
		})
	}
	for range 200 {
		old := shelf.Swap("a", &door{})
		_ = old.Retire(t.Context(), old.Value)
	}
	wait.Wait()
}
