package test

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// restartRate is how many calls a second the rolling restart is under, mostCalls how many may be under way at once.
	restartRate, mostCalls = 200, 2000
	// restartActors is how many actors these calls are for: each has a list that grows with every call.
	restartActors = 200
)

// pace begins rate calls a second, whether those before have been answered or not. It falls behind only while most calls
// are under way, and catches up then.
func (l *load) pace(t *testing.T, rate, most int, name string, call func(ctx context.Context, id string) error) {
	t.Helper()
	places, begin := make(chan struct{}, most), time.Now()
	l.workers.Go(func() {
		for i := 0; ; i++ {
			due := time.NewTimer(time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(rate))))
			select {
			case <-due.C:
			case <-l.stop:
				due.Stop()
				return
			}
			places <- struct{}{}
			l.workers.Go(func() {
				defer func() { <-places }()
				id := fmt.Sprintf("%s-%d", name, i)
				if err := call(context.Background(), id); err != nil {
					l.failed(t, id, err)
					return
				}
				l.calls.Add(1)
			})
		}
	})
	t.Cleanup(l.end)
}

// TestActorsRollingRestart: three hosts are restarted one after the other, application and sidecar, and no call of a fourth
// sidecar fails. The sidecars have no race detector: with it they are too slow for so many calls.
func TestActorsRollingRestart(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.binary = plainBinary
	g := newGuild(t, m, singleServer)
	c, url := client(t), g.caller.url(t, "")
	l := newLoad(newGate(), false)
	var next, slowest atomic.Int64
	begin := time.Now()
	l.pace(t, restartRate, mostCalls, "entry", func(ctx context.Context, id string) error {
		asked := time.Now()
		a, err := g.ask(ctx, c, url, fmt.Sprintf("a%d", next.Add(1)%restartActors), "add", id)
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("status %d: %s", a.status, a.body)
		}
		took := int64(time.Since(asked))
		for longest := slowest.Load(); took > longest && !slowest.CompareAndSwap(longest, took); longest = slowest.Load() {
		}
		return err
	})
	const each = 2 * restartRate
	l.reaches(t, each)
	for _, h := range g.hosts {
		h.process.stops(t)
		h.die()
		l.reaches(t, each)
		h.live(t)
		g.open(t, h)
		l.reaches(t, each)
	}
	l.end()
	took := time.Since(begin)
	t.Logf("%d calls in %s, %.0f a second; %d failures, the slowest call took %s", l.calls.Load(), took.Round(time.Second),
		float64(l.calls.Load())/took.Seconds(), l.failures.Load(), time.Duration(slowest.Load()).Round(time.Millisecond))
}
