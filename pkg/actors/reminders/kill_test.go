package reminders

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// kills runs an act with a store that fails after n writes, for all n, with the last write lost or done, until the act
// succeeds; then has the test look at what is left.
func kills(t *testing.T, prepare func(t *testing.T, s *shelf), act func(t *testing.T, h *host) error, check func(t *testing.T, h *host, done bool)) {
	t.Helper()
	for _, half := range []bool{false, true} {
		for _, lost := range []bool{false, true} {
			for n, done := 0, false; !done; n++ {
				if n > 10_000 {
					t.Fatal("it never succeeds")
				}
				t.Run(fmt.Sprintf("half=%t,lost=%t,writes=%d", half, lost, n), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						s := newShelf()
						s.half = half
						prepare(t, s)
						s.left, s.lost = n, lost
						h := newHost(t, s)
						done = act(t, h) == nil
						h.end()
						s.left, s.lost = -1, false
						next := newHost(t, s)
						next.Settled([]string{"T"})
						next.walks.Wait()
						check(t, next, done)
						next.end()
					})
				})
				if t.Failed() {
					return
				}
			}
		}
	}
}

// TestKilledCreating: whenever a sidecar ends while it registers a reminder, the reminder is there and fires or it is not
// there, and can be registered; others are not touched. The page is one that has to be divided.
func TestKilledCreating(t *testing.T) {
	const others = maxEntries
	fill := func(t *testing.T, s *shelf) {
		h := newHost(t, s)
		for i := range others {
			h.create(t, Reminder{ActorID: "a", Name: fmt.Sprint("r", i), DueTime: "10s"})
		}
		h.end()
	}
	check := func(t *testing.T, h *host, done bool) {
		is := h.has(t, "new")
		if done && !is {
			t.Error("an acknowledged reminder is lost")
		}
		err := h.Create(t.Context(), &Reminder{ActorType: "T", ActorID: "a", Name: "new", DueTime: "5s"}, false)
		if is != errors.Is(err, ErrExists) || !is && err != nil {
			t.Errorf("there: %t, registered again: %v", is, err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(h.firings()); n != others+1 {
			t.Errorf("%d fired", n)
		}
	}
	t.Run("new", func(t *testing.T) {
		kills(t, fill, func(t *testing.T, h *host) error {
			return h.Create(t.Context(), &Reminder{ActorType: "T", ActorID: "a", Name: "new", DueTime: "5s"}, false)
		}, check)
	})
	t.Run("first", func(t *testing.T) {
		kills(t, func(*testing.T, *shelf) {}, func(t *testing.T, h *host) error {
			return h.Create(t.Context(), &Reminder{ActorType: "T", ActorID: "a", Name: "new", DueTime: "5s"}, false)
		}, func(t *testing.T, h *host, done bool) {
			if is := h.has(t, "new"); done != is && done {
				t.Error("lost")
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if n := len(h.firings()); n > 1 || done && n == 0 {
				t.Errorf("fired %d times", n)
			}
		})
	})
}

// TestKilledReplacing: whenever a sidecar ends while it replaces a reminder, one of the two is there.
func TestKilledReplacing(t *testing.T) {
	kills(t, func(t *testing.T, s *shelf) {
		h := newHost(t, s)
		h.create(t, Reminder{Name: "r", DueTime: "10s"})
		h.end()
	}, func(t *testing.T, h *host) error {
		return h.Create(t.Context(), &Reminder{ActorType: "T", ActorID: "a", Name: "r", DueTime: "20s"}, true)
	}, func(t *testing.T, h *host, done bool) {
		r, err := h.Get(t.Context(), "T", "a", "r")
		if err != nil || done && r.DueTime != "20s" {
			t.Errorf("%+v, %v", r, err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(h.firings()); n != 1 {
			t.Errorf("fired %d times", n)
		}
	})
}

// TestKilledDeleting: whenever a sidecar ends while it deletes a reminder, it is there and fires or it is not there.
func TestKilledDeleting(t *testing.T) {
	kills(t, func(t *testing.T, s *shelf) {
		h := newHost(t, s)
		h.create(t, Reminder{Name: "r", DueTime: "10s"})
		h.create(t, Reminder{Name: "other", DueTime: "10s"})
		h.end()
	}, func(t *testing.T, h *host) error {
		return h.Delete(t.Context(), "T", "a", "r")
	}, func(t *testing.T, h *host, done bool) {
		is := h.has(t, "r")
		if done && is {
			t.Error("a deleted reminder is there")
		}
		want := 1
		if is {
			want = 2
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(h.firings()); n != want {
			t.Errorf("%d fired, not %d", n, want)
		}
	})
}

// TestKilledFiring: whenever a sidecar ends while it records a firing, all further ones come; one may come twice.
func TestKilledFiring(t *testing.T) {
	before := 0
	kills(t, func(t *testing.T, s *shelf) {
		h := newHost(t, s)
		h.create(t, Reminder{Name: "r", DueTime: "10s", Period: "R3/PT10S"})
		h.end()
	}, func(t *testing.T, h *host) error {
		h.Settled([]string{"T"})
		time.Sleep(35 * time.Second)
		synctest.Wait()
		if before = len(h.firings()); before < 3 || h.Waiting() != 0 {
			return errors.New("not over")
		}
		return nil
	}, func(t *testing.T, h *host, done bool) {
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := before + len(h.firings()); n < 3 || n > 4 || done && n > 3 {
			t.Errorf("fired %d times", n)
		}
		if h.has(t, "r") {
			t.Error("it is still there")
		}
	})
}

// TestAnswerLost: a write that was done and whose answer is lost is taken for what it is.
func TestAnswerLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for lost := range 4 {
			s := newShelf()
			h := newHost(t, s)
			h.create(t, Reminder{Name: "other", DueTime: "1h"})
			s.set(func(s *shelf) { s.mute = lost })
			if err := h.Create(t.Context(), &Reminder{ActorType: "T", ActorID: "a", Name: "r", DueTime: "10s", Period: "R2/PT10S"}, false); err != nil {
				t.Errorf("%d answers lost: %v", lost, err)
			}
			s.set(func(s *shelf) { s.mute = lost })
			time.Sleep(time.Minute)
			synctest.Wait()
			if n := len(h.firings()); n != 2 || h.has(t, "r") {
				t.Errorf("%d answers lost: fired %d times", lost, n)
			}
			s.set(func(s *shelf) { s.mute = lost })
			if err := h.Delete(t.Context(), "T", "a", "other"); err != nil || h.has(t, "other") {
				t.Errorf("%d answers lost: %v", lost, err)
			}
			h.end()
		}
	})
}
