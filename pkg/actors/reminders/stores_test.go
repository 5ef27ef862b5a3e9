package reminders

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/components/memory"
	"github.com/daprd/daprd/pkg/components/redis"
	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/components/sqlite"
	"github.com/daprd/daprd/pkg/state"
)

// service is the block over a store of this house.
func service(t testing.TB, make components.Factory[state.Store], kind string, properties map[string]string) *state.Service {
	t.Helper()
	store, err := make(t.Context(), componentstest.Spec(kind, properties))
	if err != nil {
		t.Fatal(err)
	}
	s := state.NewService(state.Deps{AppID: "app"})
	if err := s.Add("store", store, state.Settings{ActorStateStore: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// stores are those of this house that can hold reminders.
var stores = map[string]func(t testing.TB) *state.Service{
	"memory": func(t testing.TB) *state.Service { return service(t, memory.NewState, "state.in-memory", nil) },
	"sqlite": func(t testing.TB) *state.Service {
		return service(t, sqlite.NewState, "state.sqlite", map[string]string{"connectionString": filepath.Join(t.TempDir(), "state.db")})
	},
	"redis": func(t testing.TB) *state.Service {
		return service(t, redis.NewState, "state.redis", map[string]string{"redisHost": redistest.Start(t).Address})
	},
	"redis cluster": func(t testing.TB) *state.Service {
		return service(t, redis.NewState, "state.redis", map[string]string{"redisHost": redistest.StartCluster(t)[0].Address, "redisType": "cluster"})
	},
}

// TestStores: with each store, hosts that register and delete at once in the same pages lose nothing, another finds all,
// and all fire.
func TestStores(t *testing.T) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			storage := open(t)
			a, b := newHost(t, storage), newHost(t, storage)
			const many = 300
			due := time.Now().Add(time.Hour)
			var wait sync.WaitGroup
			for i, h := range []*host{a, b, a, b} {
				wait.Go(func() {
					for n := range many / 4 {
						r := &Reminder{ActorType: "T", ActorID: "one", Name: fmt.Sprintf("%d-%d", i, n), Data: []byte(`"<ü>"`), DueTime: due.Format(time.RFC3339Nano), Period: "R2/PT0S"}
						if err := h.Create(t.Context(), r, false); err != nil {
							t.Error(err)
						}
						if n%3 == 0 {
							if err := h.Delete(t.Context(), "T", "one", r.Name); err != nil {
								t.Error(err)
							}
						}
						if err := h.Create(t.Context(), &Reminder{ActorType: "T", ActorID: fmt.Sprintf("other-%d-%d", i, n), Name: "r", DueTime: "1h"}, true); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wait.Wait()
			const left = many/3*2 + many
			c := newHost(t, storage)
			c.Settled([]string{"T"})
			c.walks.Wait()
			if c.Waiting() != left || a.Waiting()+b.Waiting() != left {
				t.Errorf("of %d reminders those who registered them watch %d, and another finds %d", left, a.Waiting()+b.Waiting(), c.Waiting())
			}
			if err := a.Create(t.Context(), &Reminder{ActorType: "T", ActorID: "one", Name: "1-1", DueTime: "1h"}, false); !errors.Is(err, ErrExists) {
				t.Error(err)
			}
			if err := c.DeleteAll(t.Context(), "T", "one"); err != nil {
				t.Error(err)
			}
			if all, err := c.List(t.Context(), "T", ""); err != nil || len(all) != many {
				t.Errorf("%d are left, %v", len(all), err)
			}

			fired := make(chan string, 10)
			c.answers(func(_ context.Context, r *Reminder) (Outcome, error) {
				fired <- r.Name + string(r.Data)
				return Fired, nil
			})
			c.create(t, Reminder{Name: "periodic", Data: []byte(`"<ü>"`), DueTime: "0s", Period: "R3/10ms"})
			for range 3 {
				if got := <-fired; got != `periodic"<ü>"` {
					t.Errorf("fired %s", got)
				}
			}
			redistest.Eventually(t, "the end of the reminder", func() error {
				if c.has(t, "periodic") {
					return errors.New("it is there")
				}
				return nil
			})
		})
	}
}

// TestStoresMove: with each store, reminders of Dapr 1.7 are moved over and its keys are gone.
func TestStoresMove(t *testing.T) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			storage := open(t)
			old := captured(t, "3", "reminder f firing")
			for key, value := range old {
				if err := storage.ActorTransact(t.Context(), []state.Operation{put(key, key, []byte(value))}, partitioned(key)); err != nil {
					t.Fatal(err)
				}
			}
			a, b := newHost(t, storage), newHost(t, storage)
			var wait sync.WaitGroup
			for _, h := range []*host{a, b} {
				wait.Go(func() {
					if _, err := h.open(t.Context(), "T"); err != nil {
						t.Error(err)
					}
				})
			}
			wait.Wait()
			// The time to live of one of the nine is over.
			if all, err := a.List(t.Context(), "T", ""); err != nil || len(all) != 8 {
				t.Errorf("%d are there, %v", len(all), err)
			}
			for key := range old {
				if item, err := storage.ActorGet(t.Context(), state.GetRequest{Key: key}); err != nil || item.Found {
					t.Errorf("%s is there: %v", key, err)
				}
			}
		})
	}
}

// TestReplacedStore: reminders go on when the store comes back, and what is not in another store does not fire.
func TestReplacedStore(t *testing.T) {
	storage := service(t, memory.NewState, "state.in-memory", nil)
	h := newHost(t, storage)
	fired := make(chan string, 10)
	h.answers(func(_ context.Context, r *Reminder) (Outcome, error) {
		fired <- r.Name
		return Fired, nil
	})
	h.create(t, Reminder{Name: "old", DueTime: "50ms"})
	other, err := memory.NewState(t.Context(), componentstest.Spec("state.in-memory", nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := storage.Replace(t.Context(), "store", other, state.Settings{ActorStateStore: true}); err != nil {
		t.Fatal(err)
	}
	h.Replaced()
	h.create(t, Reminder{Name: "new", DueTime: "100ms"})
	if got := <-fired; got != "new" {
		t.Errorf("%s fired", got)
	}
}

// counting counts the writes to each kind of key.
type counting struct {
	Storage
	pages atomic.Int64
	mu    sync.Mutex
	times map[string]int64
}

func (c *counting) ActorTransact(ctx context.Context, ops []state.Operation, metadata map[string]string) error {
	c.mu.Lock()
	for _, op := range ops {
		if op.Set == nil {
			continue
		}
		c.times[op.Set.Key]++
		if strings.Contains(op.Set.Key, "||page||") {
			c.pages.Add(1)
		}
	}
	c.mu.Unlock()
	return c.Storage.ActorTransact(ctx, ops, metadata)
}

// check is that no key was written more often than a page has entries.
func (c *counting) check(t testing.TB, many int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, n := range c.times {
		// A write that is refused counts, too.
		bound := int64(2 * maxEntries)
		if strings.Contains(key, "||index") {
			bound = 8 * shards
		}
		if n > bound {
			t.Errorf("%s was written %d times", key, n)
		}
	}
	if n := c.pages.Load(); n > int64(many)*3 {
		t.Errorf("%d reminders wrote %d pages", many, n)
	}
}

// TestWrites: no key is written more often than it has entries, however many reminders there are: nothing is shared by all.
func TestWrites(t *testing.T) {
	c := &counting{Storage: service(t, memory.NewState, "state.in-memory", nil), times: map[string]int64{}}
	h := newHost(t, c)
	const many = 20_000
	fill(t, h, many)
	c.check(t, many)
}

func fill(t testing.TB, h *host, many int) {
	var wait sync.WaitGroup
	var next atomic.Int64
	for range 8 {
		wait.Go(func() {
			for i := next.Add(1); i <= int64(many); i = next.Add(1) {
				h.create(t, Reminder{ActorID: fmt.Sprint("actor-", i), Name: "reminder", DueTime: "100h"})
			}
		})
	}
	wait.Wait()
}

// BenchmarkMillion registers a million reminders of one type, and has another host find them.
func BenchmarkMillion(b *testing.B) {
	for range b.N {
		const many = 1_000_000
		c := &counting{Storage: service(b, memory.NewState, "state.in-memory", nil), times: map[string]int64{}}
		h := newHost(b, c)
		began := time.Now()
		fill(b, h, many)
		b.ReportMetric(time.Since(began).Seconds(), "s/registered")
		b.ReportMetric(float64(c.pages.Load())/many, "pages/reminder")
		c.check(b, many)
		h.end()
		c.times = nil
		before := heapInUse()
		other := newHost(b, c)
		began = time.Now()
		other.Settled([]string{"T"})
		other.walks.Wait()
		b.ReportMetric(time.Since(began).Seconds(), "s/found")
		if n := other.Waiting(); n != many {
			b.Errorf("%d are found", n)
		}
		b.ReportMetric(float64(heapInUse()-before)/many, "B/waiting")
		other.end()
	}
}

// BenchmarkFired registers 10^5 reminders that are due at once, and ends when all have fired and are gone.
func BenchmarkFired(b *testing.B) {
	for name, open := range stores {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				const many = 100_000
				h := newHost(b, open(b))
				var wait sync.WaitGroup
				began := time.Now()
				for w := range 16 {
					wait.Go(func() {
						for i := w; i < many; i += 16 {
							h.create(b, Reminder{ActorID: fmt.Sprint("actor-", i), Name: "reminder", DueTime: "0s"})
						}
					})
				}
				wait.Wait()
				b.ReportMetric(many/time.Since(began).Seconds(), "registered/s")
				redistest.Eventually(b, "the end of all", func() error {
					if n := h.Waiting(); n > 0 {
						return fmt.Errorf("%d wait", n)
					}
					return nil
				})
				b.ReportMetric(many/time.Since(began).Seconds(), "over/s")
				if n := len(h.firings()); n != many {
					b.Errorf("%d fired", n)
				}
				h.end()
			}
		})
	}
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
