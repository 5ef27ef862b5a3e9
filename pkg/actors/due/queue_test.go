package due

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// ran is what has run, and when after the test began.
type ran struct {
	mu    sync.Mutex
	began time.Time
	all   []string
}

func newRan() *ran { return &ran{began: time.Now()} }

func (r *ran) add(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, fmt.Sprintf("%s %v", what, time.Since(r.began)))
}

// restart counts from now on.
func (r *ran) restart() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.began = time.Now()
}

func (r *ran) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := cmp.Diff(want, r.all); diff != "" {
		t.Error(diff)
	}
}

func in(d time.Duration) time.Time { return time.Now().Add(d) }

func closeQueue(t *testing.T, q *Queue) {
	t.Helper()
	if err := q.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestOrder: entries run when they are due, and again when their callback says so.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, r := New(), newRan()
		defer closeQueue(t, q)
		kind := &Kind{ActorType: "T"}
		kind.Run = func(_ context.Context, e *Entry) time.Time {
			r.add(e.ActorType() + "/" + e.ActorID() + "/" + e.Name())
			if e.Tries++; e.Serial == 2 && e.Tries < 3 {
				return in(time.Minute)
			}
			return time.Time{}
		}
		for i, after := range []time.Duration{3 * time.Hour, time.Hour, 2 * time.Hour, 0} {
			q.Add(NewEntry(kind, "a", fmt.Sprint(i+1), uint64(i+1), in(after)))
		}
		time.Sleep(4 * time.Hour)
		r.want(t, "T/a/4 0s", "T/a/2 1h0m0s", "T/a/2 1h1m0s", "T/a/2 1h2m0s", "T/a/3 2h0m0s", "T/a/1 3h0m0s")
	})
}

// TestLanes: callbacks of one actor run one after another, in their order, whoever else is slow.
func TestLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, r := New(), newRan()
		defer closeQueue(t, q)
		run := func(_ context.Context, e *Entry) time.Time {
			r.add(e.ActorType() + e.ActorID() + e.Name())
			if e.ActorID() == "slow" {
				time.Sleep(time.Minute)
			}
			return time.Time{}
		}
		one, other := &Kind{"A", run}, &Kind{"B", run}
		q.Add(NewEntry(one, "slow", "1", 1, in(1*time.Second)))
		q.Add(NewEntry(one, "slow", "2", 2, in(2*time.Second)))
		q.Add(NewEntry(one, "slow", "3", 3, in(3*time.Second)))
		q.Add(NewEntry(one, "quick", "4", 4, in(4*time.Second)))
		q.Add(NewEntry(other, "slow", "5", 5, in(5*time.Second)))
		time.Sleep(10 * time.Minute)
		r.want(t, "Aslow1 1s", "Aquick4 4s", "Bslow5 5s", "Aslow2 1m1s", "Aslow3 2m1s")
	})
}

// TestRemove: what is removed does not run, wherever it is; one that runs is told, and one that is released is not.
func TestRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, r := New(), newRan()
		defer closeQueue(t, q)
		kind := &Kind{ActorType: "T"}
		kind.Run = func(ctx context.Context, e *Entry) time.Time {
			r.add(e.Name())
			select {
			case <-ctx.Done():
				r.add(e.Name() + " told")
			case <-time.After(time.Minute):
				r.add(e.Name() + " ends")
			}
			return in(time.Minute)
		}
		running, waits, later := NewEntry(kind, "a", "running", 1, in(0)), NewEntry(kind, "a", "waits", 2, in(1)), NewEntry(kind, "a", "later", 3, in(time.Hour))
		released := NewEntry(kind, "b", "released", 4, in(time.Microsecond))
		for _, e := range []*Entry{running, waits, later, released} {
			q.Add(e)
		}
		time.Sleep(time.Second)
		for _, e := range []*Entry{later, waits, running} {
			q.Remove(e)
			q.Remove(e)
			if q.Release(e) != nil {
				t.Error("it runs")
			}
		}
		ended := q.Release(released)
		<-ended
		if q.Len() != 0 {
			t.Errorf("%d are left", q.Len())
		}
		time.Sleep(2 * time.Hour)
		r.want(t, "running 0s", "released 1µs", "running told 1s", "released ends 1m0.000001s")
	})
}

// TestBound: as many run as may, and the next begins when one of them ends.
func TestBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New()
		defer closeQueue(t, q)
		var mu sync.Mutex
		running, most, total := 0, 0, 0
		kind := &Kind{Run: func(context.Context, *Entry) time.Time {
			mu.Lock()
			running++
			total++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(time.Minute)
			mu.Lock()
			running--
			mu.Unlock()
			return time.Time{}
		}}
		for i := range 3 * Bound {
			q.Add(NewEntry(kind, fmt.Sprint(i), "", uint64(i), in(0)))
		}
		time.Sleep(150 * time.Second)
		mu.Lock()
		if most != Bound || total != 3*Bound {
			t.Errorf("at most %d run at once, and %d have", most, total)
		}
		mu.Unlock()
		time.Sleep(time.Minute)
	})
}

// TestClose: it waits for what runs, for as long as it may, and nothing begins any more.
func TestClose(t *testing.T) {
	for _, patience := range []time.Duration{time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			q, r := New(), newRan()
			kind := &Kind{}
			kind.Run = func(ctx context.Context, e *Entry) time.Time {
				select {
				case <-ctx.Done():
					r.add(e.Name() + " told")
				case <-time.After(time.Minute):
					r.add(e.Name() + " ends")
				}
				return in(0)
			}
			waits := NewEntry(kind, "a", "waits", 2, in(1))
			q.Add(NewEntry(kind, "a", "runs", 1, in(0)))
			q.Add(waits)
			time.Sleep(time.Microsecond)
			synctest.Wait()
			r.restart()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := q.Close(ctx)
			if patience > time.Minute {
				r.want(t, "runs ends 59.999999s")
			} else {
				r.want(t, "runs told 1s")
			}
			if late := patience < time.Minute; late != errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			q.Add(NewEntry(kind, "b", "new", 3, in(0)))
			q.Remove(waits)
			time.Sleep(time.Hour)
			if q.Close(t.Context()) != nil {
				t.Error("a second time it fails")
			}
		})
	}
}

// TestRandom: whatever is added and removed, what is left runs once.
func TestRandom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New()
		defer closeQueue(t, q)
		var mu sync.Mutex
		count := map[uint64]int{}
		kind := &Kind{Run: func(_ context.Context, e *Entry) time.Time {
			mu.Lock()
			count[e.Serial]++
			mu.Unlock()
			return time.Time{}
		}}
		var all []*Entry
		for i := range 10_000 {
			e := NewEntry(kind, fmt.Sprint(i%100), "", uint64(i), in(time.Second+time.Duration((i*7919)%10_007)*time.Millisecond))
			all = append(all, e)
			q.Add(e)
		}
		for i, e := range all {
			if i%3 == 0 {
				q.Remove(e)
			}
		}
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		for i := range all {
			if removed := i%3 == 0; removed != (count[uint64(i)] == 0) || count[uint64(i)] > 1 {
				t.Fatalf("%d ran %d times", i, count[uint64(i)])
			}
		}
	})
}

// TestMemory: an entry costs at most 64 bytes beside its key, since there may be millions.
func TestMemory(t *testing.T) {
	const many, key = 100_000, 32
	q := New()
	defer closeQueue(t, q)
	kind := &Kind{Run: func(context.Context, *Entry) time.Time { return time.Time{} }}
	before := heapInUse()
	for i := range many {
		q.Add(NewEntry(kind, fmt.Sprintf("%020d", i), "a-reminder-1", uint64(i), in(time.Hour)))
	}
	if each := int(heapInUse()-before) / many; each > 64+key {
		t.Errorf("an entry costs %d bytes", each)
	}
	runtime.KeepAlive(q)
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
