package reminders

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	logrustest "github.com/sirupsen/logrus/hooks/test"

	"github.com/daprd/daprd/pkg/actors/due"
	"github.com/daprd/daprd/pkg/actors/placement"
)

var everywhere = []placement.Range{{First: 0, Last: 1<<64 - 1}}

// host is one sidecar with its Store.
type host struct {
	*Store
	queue *due.Queue
	log   *logrustest.Hook

	mu    sync.Mutex
	owned []placement.Range
	fired []firedAt
	// answer is what the application says, nil is Fired.
	answer func(ctx context.Context, r *Reminder) (Outcome, error)
}

// firedAt is a firing, and the time since the test began.
type firedAt struct {
	Name  string
	After time.Duration
}

func newHost(t testing.TB, storage Storage) *host {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	log.SetLevel(logrus.DebugLevel)
	began := time.Now()
	h := &host{queue: due.New(), log: logrustest.NewLocal(log), owned: everywhere}
	h.Store = New(Deps{Namespace: "ns", Storage: storage, Queue: h.queue, Log: log,
		Owned: func(string) []placement.Range {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.owned
		},
		Fire: func(ctx context.Context, r *Reminder, _ func() bool) (Outcome, error) {
			h.mu.Lock()
			h.fired = append(h.fired, firedAt{r.ActorID + "/" + r.Name, time.Since(began)})
			answer := h.answer
			h.mu.Unlock()
			if answer == nil {
				return Fired, nil
			}
			return answer(ctx, r)
		}})
	t.Cleanup(h.end)
	return h
}

// end is a process that ends.
func (h *host) end() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = h.queue.Close(ctx)
	_ = h.Store.Close()
}

func (h *host) firings() []firedAt {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.fired)
}

// told is how often a line was logged.
func (h *host) told(text string) (n int) {
	for _, entry := range h.log.AllEntries() {
		if entry.Level <= logrus.InfoLevel && strings.Contains(entry.Message, text) {
			n++
		}
	}
	return n
}

func (h *host) create(t testing.TB, r Reminder) {
	t.Helper()
	if r.ActorType == "" {
		r.ActorType = "T"
	}
	if r.ActorID == "" {
		r.ActorID = "a"
	}
	if err := h.Create(t.Context(), &r, true); err != nil {
		t.Fatal(err)
	}
}

func want(t testing.TB, got []firedAt, want ...firedAt) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestRegistering: create, get, list, delete and rename, and what is told of those that are not there.
func TestRegistering(t *testing.T) {
	shelves(t, func(t *testing.T, s *shelf) {
		h := newHost(t, s)
		r := &Reminder{ActorType: "T", ActorID: "a", Name: "r", Data: []byte(`{"a": "<b>"}`), DueTime: "1h", Period: "R3/PT1H", TTL: "24h",
			Failure: &Failure{Interval: time.Minute, Retries: -1}}
		if err := h.Create(t.Context(), r, false); err != nil {
			t.Fatal(err)
		}
		if err := h.Create(t.Context(), r, false); !errors.Is(err, ErrExists) {
			t.Errorf("a second one: %v", err)
		}
		got, err := h.Get(t.Context(), "T", "a", "r")
		if err != nil {
			t.Fatal(err)
		}
		if until := time.Until(got.Expires); until < 24*time.Hour || until > 25*time.Hour {
			t.Errorf("expires in %v", until)
		}
		got.Expires = time.Time{}
		if diff := cmp.Diff(r, got); diff != "" {
			t.Error(diff)
		}
		for _, name := range []string{"r2", "r1"} {
			h.create(t, Reminder{ActorID: "b", Name: name, DueTime: "1h"})
		}
		list := func(actorID string) (names []string) {
			all, err := h.List(t.Context(), "T", actorID)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range all {
				names = append(names, r.ActorID+"/"+r.Name)
			}
			return names
		}
		if diff := cmp.Diff([]string{"a/r", "b/r1", "b/r2"}, list("")); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"b/r1", "b/r2"}, list("b")); diff != "" {
			t.Error(diff)
		}
		if err := h.Rename(t.Context(), "T", "a", "r", "s"); err != nil {
			t.Error(err)
		}
		if err := h.Rename(t.Context(), "T", "a", "none", "x"); err != nil {
			t.Error(err)
		}
		if err := h.Delete(t.Context(), "T", "b", "r1"); err != nil {
			t.Error(err)
		}
		if err := h.Delete(t.Context(), "T", "b", "none"); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"a/s", "b/r2"}, list("")); diff != "" {
			t.Error(diff)
		}
		if _, err := h.Get(t.Context(), "T", "a", "r"); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		if err := h.DeleteAll(t.Context(), "T", "b"); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"a/s"}, list("")); diff != "" {
			t.Error(diff)
		}
		if n := s.keys("record"); n != 1 {
			t.Errorf("%d records are left", n)
		}
		if h.Waiting() != 1 {
			t.Errorf("%d are watched", h.Waiting())
		}
	})
}

// TestFiring: when reminders fire, and for how long.
func TestFiring(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	cases := map[string]struct {
		reminder Reminder
		lasts    time.Duration
		want     []time.Duration
		stays    bool
	}{
		"once":              {Reminder{DueTime: "3s"}, 10 * s, []time.Duration{3 * s}, false},
		"at once":           {Reminder{DueTime: "0s"}, 10 * s, []time.Duration{0}, false},
		"period":            {Reminder{DueTime: "1s", Period: "2s"}, 6 * s, []time.Duration{1 * s, 3 * s, 5 * s}, true},
		"period alone":      {Reminder{Period: "2s"}, 5 * s, []time.Duration{2 * s, 4 * s}, true},
		"repetitions":       {Reminder{DueTime: "1s", Period: "R2/PT1S"}, 10 * s, []time.Duration{1 * s, 2 * s}, false},
		"ttl":               {Reminder{DueTime: "1s", Period: "1s", TTL: "2500ms"}, 10 * s, []time.Duration{1 * s, 2 * s, 3 * s}, false},
		"zero-length":       {Reminder{DueTime: "1s", Period: "0s"}, 10 * s, []time.Duration{1 * s}, false},
		"every":             {Reminder{Period: "@every 3s"}, 4 * s, []time.Duration{3 * s}, true},
		"cron":              {Reminder{Period: "*/5 * * * * *"}, 11 * s, []time.Duration{5 * s, 10 * s}, true},
		"calendar":          {Reminder{DueTime: "PT1S", Period: "P1D"}, 25 * time.Hour, []time.Duration{1 * s, 24*time.Hour + s}, true},
		"smaller than a ms": {Reminder{DueTime: "1000001ns"}, 1 * s, []time.Duration{2 * ms}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shelf := newShelf()
				h := newHost(t, shelf)
				c.reminder.Name = "r"
				h.create(t, c.reminder)
				time.Sleep(c.lasts)
				synctest.Wait()
				var got []time.Duration
				for _, f := range h.firings() {
					got = append(got, f.After)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Error(diff)
				}
				_, err := h.Get(t.Context(), "T", "a", "r")
				if stays := err == nil; stays != c.stays {
					t.Errorf("after it: %v", err)
				}
				if n := shelf.keys("record") + shelf.keys("track"); !c.stays && n > 0 {
					t.Errorf("%d keys are left", n)
				}
				h.end()
			})
		})
	}
}

// TestMany: a page divides when it is full, for many actors and for many reminders of one, and another host finds all.
func TestMany(t *testing.T) {
	shelves(t, func(t *testing.T, s *shelf) {
		h := newHost(t, s)
		const many = 3000
		var wait sync.WaitGroup
		for w := range 16 {
			wait.Go(func() {
				for i := w; i < many; i += 16 {
					h.create(t, Reminder{ActorID: fmt.Sprint("actor-", i), Name: "r", DueTime: "1h"})
					h.create(t, Reminder{ActorID: "one", Name: fmt.Sprint("r", i), DueTime: "1h"})
				}
			})
		}
		wait.Wait()
		other := newHost(t, s)
		other.Settled([]string{"T"})
		other.walks.Wait()
		if n := other.Waiting(); n != 2*many {
			t.Errorf("another host finds %d", n)
		}
		all, err := h.List(t.Context(), "T", "one")
		if err != nil || len(all) != many {
			t.Errorf("%d, %v", len(all), err)
		}
	})
}
