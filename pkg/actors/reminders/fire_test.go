package reminders

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/actors/placement"
)

func (h *host) answers(answer func(ctx context.Context, r *Reminder) (Outcome, error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = answer
}

func always(outcome Outcome) func(context.Context, *Reminder) (Outcome, error) {
	return func(context.Context, *Reminder) (Outcome, error) { return outcome, errors.New("because") }
}

func (h *host) times() (all []time.Duration) {
	for _, f := range h.firings() {
		all = append(all, f.After)
	}
	return all
}

func (h *host) has(t testing.TB, name string) bool {
	t.Helper()
	_, err := h.Get(t.Context(), "T", "a", name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

// TestFailures: what the failure policies make of an application that fails, and when the reminder ends.
func TestFailures(t *testing.T) {
	const s = time.Second
	cases := map[string]struct {
		reminder Reminder
		outcome  Outcome
		lasts    time.Duration
		want     []time.Duration
		stays    bool
	}{
		"default":           {Reminder{DueTime: "1s"}, Failed, time.Minute, []time.Duration{1 * s, 2 * s, 3 * s, 4 * s}, false},
		"default, periodic": {Reminder{DueTime: "1s", Period: "10s"}, Failed, 11 * s, []time.Duration{1 * s, 2 * s, 3 * s, 4 * s, 11 * s}, true},
		"drop":              {Reminder{DueTime: "1s", Failure: &Failure{}}, Failed, time.Minute, []time.Duration{1 * s}, false},
		"constant":          {Reminder{DueTime: "1s", Failure: &Failure{5 * s, 2}}, Failed, time.Minute, []time.Duration{1 * s, 6 * s, 11 * s}, false},
		"without end":       {Reminder{DueTime: "1s", Failure: &Failure{20 * s, -1}}, Failed, time.Minute, []time.Duration{1 * s, 21 * s, 41 * s}, true},
		"cancelled":         {Reminder{DueTime: "1s", Period: "1s"}, Cancelled, time.Minute, []time.Duration{1 * s}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost(t, newShelf())
				h.answers(always(c.outcome))
				c.reminder.Name = "r"
				h.create(t, c.reminder)
				time.Sleep(c.lasts)
				synctest.Wait()
				if diff := cmp.Diff(c.want, h.times()); diff != "" {
					t.Error(diff)
				}
				if h.has(t, "r") != c.stays {
					t.Errorf("stays: %t", !c.stays)
				}
				h.end()
			})
		})
	}
}

// TestUnreached: a firing that nobody took is tried again for as long as it takes, and counts once.
func TestUnreached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, newShelf())
		h.answers(always(Unreached))
		for i := range 10 {
			h.create(t, Reminder{Name: fmt.Sprint("r", i), DueTime: "1s", Period: "R1/PT1H"})
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		tried := len(h.firings())
		if tried < 1000 || tried > 6000 {
			t.Errorf("tried %d times within an hour", tried)
		}
		if n := h.told("cannot be reached"); n != 1 {
			t.Errorf("told %d times", n)
		}
		h.answers(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(h.firings()) - tried; n != 10 || h.Waiting() != 0 {
			t.Errorf("then %d fired, and %d wait", n, h.Waiting())
		}
		h.end()
	})
}

// TestStoreAway: while the store is away nothing fires twice and nothing is lost, whether it goes before the firing or
// between the firing and its record; it is told once.
func TestStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		h := newHost(t, s)
		for i := range 10 {
			h.create(t, Reminder{Name: fmt.Sprint("before", i), DueTime: "10s"})
			h.create(t, Reminder{Name: fmt.Sprint("periodic", i), DueTime: "1s", Period: "R2/PT19S"})
		}
		h.answers(func(context.Context, *Reminder) (Outcome, error) {
			s.set(func(s *shelf) { s.down = true })
			return Fired, nil
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(h.firings()); n != 1 {
			t.Errorf("%d fired while the store is away", n)
		}
		if n := h.told("state store for actors fails"); n != 1 {
			t.Errorf("told %d times", n)
		}
		h.answers(nil)
		s.set(func(s *shelf) { s.down = false })
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(h.firings()); n != 30 || h.Waiting() != 0 {
			t.Errorf("%d fired, %d wait", n, h.Waiting())
		}
		if n := h.told("works again"); n != 1 {
			t.Errorf("its return is told %d times", n)
		}
		h.end()
	})
}

// TestDeletedMeanwhile: a reminder that is deleted, replaced or renamed while it fires does not come back.
func TestDeletedMeanwhile(t *testing.T) {
	shelves(t, func(t *testing.T, s *shelf) {
		synctest.Test(t, func(t *testing.T) {
			h, other := newHost(t, s), newHost(t, s)
			do := map[string]func(r *Reminder) error{
				"deleted":   func(r *Reminder) error { return h.Delete(t.Context(), "T", "a", r.Name) },
				"elsewhere": func(r *Reminder) error { return other.Delete(t.Context(), "T", "a", r.Name) },
				"replaced": func(r *Reminder) error {
					return h.Create(t.Context(), &Reminder{ActorType: "T", ActorID: "a", Name: r.Name, DueTime: "1h"}, true)
				},
				"renamed": func(r *Reminder) error {
					return h.Rename(t.Context(), "T", "a", r.Name, "new")
				},
			}
			h.answers(func(_ context.Context, r *Reminder) (Outcome, error) {
				if act := do[r.Name]; act != nil {
					if err := act(r); err != nil {
						t.Error(err)
					}
				}
				return Fired, nil
			})
			for name := range do {
				h.create(t, Reminder{Name: name, DueTime: "1s", Period: "1m"})
			}
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			count := map[string]int{}
			for _, f := range h.firings() {
				count[f.Name]++
			}
			// What is renamed while it fires fires for that time under its new name, too.
			if diff := cmp.Diff(map[string]int{"a/deleted": 1, "a/elsewhere": 1, "a/replaced": 1, "a/renamed": 1, "a/new": 10}, count); diff != "" {
				t.Error(diff)
			}
			if !h.has(t, "replaced") || h.has(t, "deleted") || h.has(t, "elsewhere") || h.has(t, "renamed") {
				t.Error("not the right ones are left")
			}
			h.end()
			other.end()
		})
	})
}

// TestDeletedWaiting: a firing that waits for its turn is told when the reminder is deleted.
func TestDeletedWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, newShelf())
		left := make(chan struct{})
		h.answers(func(ctx context.Context, _ *Reminder) (Outcome, error) {
			<-ctx.Done()
			close(left)
			return Unreached, ctx.Err()
		})
		h.create(t, Reminder{Name: "r", DueTime: "1s"})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if err := h.Delete(t.Context(), "T", "a", "r"); err != nil {
			t.Error(err)
		}
		<-left
		synctest.Wait()
		if h.Waiting() != 0 || len(h.firings()) != 1 {
			t.Error("it is still there")
		}
		h.end()
	})
}

// TestHandOver: reminders follow their actors from host to host, fire once for each due time, and those that are
// registered on a host that does not own the actor fire there until the next table.
func TestHandOver(t *testing.T) {
	shelves(t, func(t *testing.T, s *shelf) {
		synctest.Test(t, func(t *testing.T) {
			a, b := newHost(t, s), newHost(t, s)
			b.owns(nil)
			const many = 200
			register := func(h *host, n int) {
				for i := range many {
					h.create(t, Reminder{ActorID: fmt.Sprint("actor", i), Name: fmt.Sprint("r", n), DueTime: "10s", Period: "10s"})
				}
			}
			register(a, 1)
			register(b, 2) // all of them foreign
			time.Sleep(25 * time.Second)
			synctest.Wait()
			if n := len(b.firings()); n != 2*many {
				t.Errorf("the host that does not own them fired %d", n)
			}
			round(t, a, b)
			time.Sleep(50 * time.Second)
			synctest.Wait()
			total := map[string]int{}
			for _, h := range []*host{a, b} {
				for _, f := range h.firings() {
					total[f.Name]++
				}
			}
			if len(total) != 2*many {
				t.Errorf("%d have fired", len(total))
			}
			for name, n := range total {
				if n != 7 {
					t.Errorf("%s fired %d times within 75 s", name, n)
				}
			}
			if a.Waiting()+b.Waiting() != 2*many || a.Waiting() < many/2 || b.Waiting() < many/2 {
				t.Errorf("%d and %d are watched", a.Waiting(), b.Waiting())
			}
			a.Halt(t.Context())
			if a.Waiting() != 0 {
				t.Error("a host without a table watches reminders")
			}
			a.Settled([]string{"T"})
			a.walks.Wait()
			if a.Waiting()+b.Waiting() != 2*many {
				t.Errorf("after a halt %d and %d are watched", a.Waiting(), b.Waiting())
			}
			a.end()
			b.end()
		})
	})
}

func (h *host) owns(ranges []placement.Range) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.owned = ranges
}

// round gives each host its part, as placement does: all drain before any goes on.
func round(t testing.TB, hosts ...*host) {
	names := make([]string, len(hosts))
	for i := range hosts {
		names[i] = fmt.Sprint("host", i)
	}
	ring := placement.NewRing(names, 100)
	for i, h := range hosts {
		h.mu.Lock()
		before := h.owned
		h.mu.Unlock()
		h.Drain(t.Context(), []string{"T"}, func(_, actorID string) bool {
			return contains(before, placement.Position(actorID)) && ring.Host(actorID) != names[i]
		})
	}
	for i, h := range hosts {
		h.owns(ring.Ranges(names[i]))
		h.Settled([]string{"T"})
	}
	for _, h := range hosts {
		h.walks.Wait()
	}
}

// TestDrainWaits: what has fired is recorded before the next host looks.
func TestDrainWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		a, b := newHost(t, s), newHost(t, s)
		a.answers(func(context.Context, *Reminder) (Outcome, error) {
			time.Sleep(5 * time.Second)
			return Fired, nil
		})
		a.create(t, Reminder{Name: "r", DueTime: "1s"})
		time.Sleep(2 * time.Second)
		a.Drain(t.Context(), []string{"T"}, func(string, string) bool { return true })
		b.Settled([]string{"T"})
		time.Sleep(time.Minute)
		if n := len(a.firings()) + len(b.firings()); n != 1 || b.has(t, "r") {
			t.Errorf("fired %d times", n)
		}
		a.end()
		b.end()
	})
}

// TestSlowCallback: a slow callback delays the reminders of its actor alone.
func TestSlowCallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, newShelf())
		h.answers(func(_ context.Context, r *Reminder) (Outcome, error) {
			if r.ActorID == "slow" {
				time.Sleep(time.Minute)
			}
			return Fired, nil
		})
		h.create(t, Reminder{ActorID: "slow", Name: "1", DueTime: "1s"})
		h.create(t, Reminder{ActorID: "slow", Name: "2", DueTime: "2s"})
		h.create(t, Reminder{ActorID: "quick", Name: "3", DueTime: "3s"})
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		want(t, h.firings(), firedAt{"slow/1", time.Second}, firedAt{"quick/3", 3 * time.Second}, firedAt{"slow/2", 61 * time.Second})
		h.end()
	})
}

// TestMissed: due times that nobody was there for are made up for by one firing, at once; then the reminder goes on as it
// was planned, and what was missed does not count as a repetition.
func TestMissed(t *testing.T) {
	const s = time.Second
	cases := map[string]struct {
		reminder Reminder
		want     []time.Duration
		stays    bool
	}{
		"periodic": {Reminder{DueTime: "1s", Period: "1s", TTL: "3603s"}, []time.Duration{1 * s, 2 * s, 3600 * s, 3601 * s, 3602 * s, 3603 * s, 3604 * s}, false},
		"bounded":  {Reminder{DueTime: "1s", Period: "R5/PT7S"}, []time.Duration{1 * s, 3600 * s, 3606 * s, 3613 * s, 3620 * s}, false},
		"daily":    {Reminder{DueTime: "1s", Period: "P1D"}, []time.Duration{1 * s}, true},
		"over":     {Reminder{DueTime: "1s", Period: "1s", TTL: "10s"}, []time.Duration{1 * s, 2 * s}, false},
		"once":     {Reminder{DueTime: "10s"}, []time.Duration{3600 * s}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shelf := newShelf()
				h := newHost(t, shelf)
				c.reminder.Name = "r"
				h.create(t, c.reminder)
				time.Sleep(2*s + s/2)
				synctest.Wait()
				h.end()
				time.Sleep(3600*s - 2*s - s/2)
				next := newHost(t, shelf)
				next.Settled([]string{"T"})
				time.Sleep(time.Minute)
				synctest.Wait()
				got := h.times()
				for _, after := range next.times() {
					got = append(got, after+3600*s)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Error(diff)
				}
				if next.has(t, "r") != c.stays {
					t.Errorf("stays: %t", !c.stays)
				}
				next.end()
			})
		})
	}
}

// TestBehind: while a callback takes longer than the period one firing follows upon the other, and none queue up; after
// each due time one begins.
func TestBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, newShelf())
		var quick atomic.Bool
		h.answers(func(context.Context, *Reminder) (Outcome, error) {
			if !quick.Load() {
				time.Sleep(3500 * time.Millisecond)
			}
			return Fired, nil
		})
		h.create(t, Reminder{Name: "r", DueTime: "1s", Period: "1s"})
		time.Sleep(8 * time.Second)
		quick.Store(true)
		time.Sleep(2100 * time.Millisecond)
		synctest.Wait()
		const ms = time.Millisecond
		if diff := cmp.Diff([]time.Duration{1000 * ms, 4500 * ms, 8000 * ms, 9000 * ms, 10000 * ms}, h.times()); diff != "" {
			t.Error(diff)
		}
		h.end()
	})
}

// TestCleanedLater: what a reminder leaves that is replaced or deleted while the store fails is deleted when it works again.
func TestCleanedLater(t *testing.T) {
	for name, act := range map[string]func(t *testing.T, h *host) error{
		"replaced": func(t *testing.T, h *host) error {
			return h.Create(t.Context(), &Reminder{ActorType: "T", ActorID: "a", Name: "r", DueTime: "2h"}, true)
		},
		"deleted": func(t *testing.T, h *host) error { return h.Delete(t.Context(), "T", "a", "r") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShelf()
				h := newHost(t, s)
				h.create(t, Reminder{Name: "r", DueTime: "1s", Period: "1h"})
				time.Sleep(2 * time.Second)
				synctest.Wait()
				s.set(func(s *shelf) { s.left = 1 })
				if err := act(t, h); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				s.set(func(s *shelf) { s.left = -1 })
				time.Sleep(time.Minute)
				synctest.Wait()
				want := 0
				if name == "replaced" {
					want = 1
				}
				if records, tracks := s.keys("record"), s.keys("track"); records != want || tracks != 0 || h.Waiting() != want {
					t.Errorf("%d records and %d tracks are left, %d wait", records, tracks, h.Waiting())
				}
				if n := len(h.firings()); n != 1 {
					t.Errorf("fired %d times", n)
				}
				h.end()
			})
		})
	}
}
