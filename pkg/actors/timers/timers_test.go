package timers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	logrustest "github.com/sirupsen/logrus/hooks/test"

	"github.com/daprd/daprd/pkg/actors/due"
)

type fixture struct {
	*Timers
	t     *testing.T
	log   *logrustest.Hook
	began time.Time
	// lasts is how long a callback takes; fails is its error.
	lasts time.Duration
	fails error

	mu    sync.Mutex
	ticks []string
}

func newFixture(t *testing.T) *fixture {
	log := logrus.New()
	log.SetOutput(io.Discard)
	f := &fixture{t: t, log: logrustest.NewLocal(log), began: time.Now()}
	queue := due.New()
	t.Cleanup(func() {
		if err := queue.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	f.Timers = New(Deps{Queue: queue, Log: log, Fire: func(ctx context.Context, timer *Timer) error {
		f.mu.Lock()
		f.ticks = append(f.ticks, fmt.Sprintf("%s %s %v", timer.Name, timer.Data, time.Since(f.began)))
		f.mu.Unlock()
		select {
		case <-time.After(f.lasts):
			return f.fails
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	return f
}

func (f *fixture) create(timer Timer) {
	f.t.Helper()
	timer.ActorType, timer.ActorID = "T", "a"
	if err := f.Create(&timer); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) want(ticks ...string) {
	f.t.Helper()
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if diff := cmp.Diff(ticks, f.ticks); diff != "" {
		f.t.Error(diff)
	}
}

// left is how many timers there are, and that nothing else is kept.
func (f *fixture) left() int {
	f.Timers.mu.Lock()
	defer f.Timers.mu.Unlock()
	if len(f.byName) != len(f.bySerial) || len(f.byName) == 0 && f.bytes != 0 {
		f.t.Errorf("%d by name, %d by number, %d bytes", len(f.byName), len(f.bySerial), f.bytes)
	}
	return len(f.byName)
}

// TestTicks: a timer ticks until its repetitions or its time to live are over, and is gone then.
func TestTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.create(Timer{Name: "once", DueTime: "1s"})
		f.create(Timer{Name: "twice", DueTime: "2s", Period: "R2/PT2S", Data: []byte(`1`)})
		f.create(Timer{Name: "ttl", DueTime: "3s", Period: "5s", TTL: "6s"})
		time.Sleep(time.Hour)
		f.want("once  1s", "twice 1 2s", "ttl  3s", "twice 1 4s", "ttl  8s")
		if n := f.left(); n != 0 {
			t.Errorf("%d are left", n)
		}
	})
}

// TestSlow: ticks that fall into a callback do not come, and do not count.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.lasts = 2500 * time.Millisecond
		f.create(Timer{Name: "t", DueTime: "1s", Period: "R3/PT1S"})
		time.Sleep(time.Hour)
		f.want("t  1s", "t  4s", "t  7s")
	})
}

// TestFailing: a failure does not stop a timer; a row of them is told once.
func TestFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.fails = errors.New("because")
		f.create(Timer{Name: "t", DueTime: "1s", Period: "R5/PT1S"})
		time.Sleep(time.Hour)
		f.want("t  1s", "t  2s", "t  3s", "t  4s", "t  5s")
		if told := f.log.AllEntries(); len(told) != 1 || !strings.Contains(told[0].Message, "timer t of the actor T/a failed, and goes on") {
			t.Errorf("%d lines", len(told))
		}
	})
}

// TestReplacing: a timer takes the place of one that has its name, and a deleted one does not tick, whatever it does.
func TestReplacing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.lasts = 10 * time.Second
		f.create(Timer{Name: "t", DueTime: "1s", Period: "1s", Data: []byte("1")})
		time.Sleep(5 * time.Second) // it runs
		f.create(Timer{Name: "t", DueTime: "1s", Period: "1m", Data: []byte("2")})
		f.create(Timer{Name: "u", DueTime: "1s"})
		f.Delete("T", "a", "u")
		f.Delete("T", "a", "u")
		f.Delete("T", "b", "none")
		time.Sleep(30 * time.Second)
		f.Delete("T", "a", "t")
		time.Sleep(time.Hour)
		f.want("t 1 1s", "t 2 6s")
		if n := f.left(); n != 0 {
			t.Errorf("%d are left", n)
		}
		if told := f.log.AllEntries(); len(told) != 0 {
			t.Errorf("told: %s", told[0].Message)
		}
	})
}

// TestBounds: there are as many timers as may be, and what is refused changes nothing.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		for i := range maxTimers {
			f.create(Timer{Name: fmt.Sprint(i), DueTime: "1h"})
		}
		err := f.Create(&Timer{ActorType: "T", ActorID: "a", Name: "more", DueTime: "1h"})
		if err == nil || !strings.HasPrefix(err.Error(), "the sidecar has 100000 timers") {
			t.Error(err)
		}
		f.create(Timer{Name: "7", DueTime: "1h"})
		err = f.Create(&Timer{ActorType: "T", ActorID: "a", Name: "7", DueTime: "1h", Data: make([]byte, maxBytes)})
		if err == nil {
			t.Error("more bytes than may be")
		}
		if n := f.left(); n != maxTimers {
			t.Errorf("%d timers", n)
		}
		if err := f.Create(&Timer{Name: "7", DueTime: "x"}); err == nil || err.Error() != `error parsing timer due time: unsupported time/duration format "x"` {
			t.Error(err)
		}
		for i := range maxTimers {
			f.Delete("T", "a", fmt.Sprint(i))
		}
		err = f.Create(&Timer{ActorType: "T", ActorID: "a", Name: "big", DueTime: "1h", Data: make([]byte, maxBytes)})
		if err == nil || f.left() != 0 {
			t.Error(err)
		}
	})
}
