package due_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/daprd/daprd/pkg/actors/due"
)

// TestCounting: the entries of a kind are counted from when they come until they are out for good, whatever becomes of
// them; those that came by another handle of the Queue are not.
func TestCounting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := due.New()
		var counted, kinds atomic.Int64
		counting := q.Counting(func(string) func(int) {
			kinds.Add(1)
			return func(n int) { counted.Add(int64(n)) }
		})
		kind := &due.Kind{ActorType: "T"}
		kind.Run = func(ctx context.Context, e *due.Entry) (again time.Time) {
			switch e.Name() {
			case "again":
				again = time.Now().Add(time.Hour)
			case "runs":
				<-ctx.Done()
			}
			return again
		}
		want := func(n int64) {
			t.Helper()
			synctest.Wait()
			if got := counted.Load(); got != n {
				t.Errorf("%d are counted, want %d", got, n)
			}
		}
		entry := func(name string, after time.Duration) *due.Entry {
			e := due.NewEntry(kind, "a"+name, name, 1, time.Now().Add(after))
			counting.Add(e)
			return e
		}
		q.Add(due.NewEntry(&due.Kind{ActorType: "T", Run: kind.Run}, "b", "again", 1, time.Now()))
		want(0)
		later, released := entry("later", time.Hour), entry("released", time.Hour)
		entry("again", 0)
		runs := entry("runs", 0)
		entry("once", time.Second)
		want(5)
		time.Sleep(time.Minute) // once has run
		want(4)
		q.Remove(later)
		q.Remove(later)
		q.Release(released)
		want(2)
		q.Remove(runs)
		want(1)
		time.Sleep(3 * time.Hour) // again runs again and again
		want(1)
		if err := q.Close(t.Context()); err != nil {
			t.Error(err)
		}
		entry("new", 0)
		want(1)
		if n := kinds.Load(); n != 1 {
			t.Errorf("it was asked for %d kinds", n)
		}
	})
}
