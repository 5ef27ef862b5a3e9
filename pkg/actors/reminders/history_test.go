package reminders

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/daprd/daprd/pkg/actors/placement"
	"github.com/daprd/daprd/pkg/state"
)

// line is the way of one sidecar to the store, which takes its time; a sidecar that was killed has none.
type line struct {
	*shelf
	random *random
	mu     sync.Mutex
	dead   bool
}

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
}

func (l *line) isCut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

// longest is the longest way.
const longest = 5 * time.Millisecond

func (l *line) travel() { time.Sleep(time.Duration(l.random.n(int(longest)))) }

func (l *line) ActorGet(ctx context.Context, req state.GetRequest) (state.Item, error) {
	l.travel()
	if l.isCut() {
		return state.Item{}, errDown
	}
	return l.shelf.ActorGet(ctx, req)
}

func (l *line) ActorTransact(ctx context.Context, ops []state.Operation, metadata map[string]string) error {
	l.travel()
	if l.isCut() {
		return errDown
	}
	return l.shelf.ActorTransact(ctx, ops, metadata)
}

// registration is one Create, whether or not it was acknowledged.
type registration struct {
	// times is how often it is to fire.
	times int
	// acknowledged says that Create returned without an error, and nothing has followed upon it that was tried.
	acknowledged bool
	// ended is when what took its place, or deleted it, was acknowledged; zero while nothing was.
	ended time.Time
	fired []time.Time
}

// history is a random one: clients that register, replace and delete, sidecars that come and are killed, a store that goes
// away.
type history struct {
	t     *testing.T
	shelf *shelf
	random
	mu    sync.Mutex
	hosts []*host
	lines map[*host]*line
	// all are the registrations by their data.
	all map[string]*registration
}

// random is a source for several goroutines.
type random struct {
	mu  sync.Mutex
	src *rand.Rand
}

func (r *random) n(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.src.IntN(n)
}

func (h *history) start() {
	l := &line{shelf: h.shelf, random: &h.random}
	started := newHost(h.t, l)
	started.owns(nil)
	started.answers(func(_ context.Context, r *Reminder) (Outcome, error) {
		h.mu.Lock()
		reg := h.all[string(r.Data)]
		reg.fired = append(reg.fired, time.Now())
		h.mu.Unlock()
		if h.n(4) == 0 {
			time.Sleep(time.Duration(h.n(3000)) * time.Millisecond)
		}
		return Fired, nil
	})
	h.mu.Lock()
	h.hosts = append(h.hosts, started)
	h.lines[started] = l
	h.mu.Unlock()
	h.round()
}

func (h *history) kill() {
	h.mu.Lock()
	i := h.n(len(h.hosts))
	victim := h.hosts[i]
	h.hosts = append(h.hosts[:i:i], h.hosts[i+1:]...)
	h.mu.Unlock()
	h.lines[victim].cut()
	victim.end()
	h.round()
}

// round is that of placement: all let go what moves before any goes on.
func (h *history) round() {
	h.mu.Lock()
	hosts := append([]*host(nil), h.hosts...)
	h.mu.Unlock()
	names := make([]string, len(hosts))
	for i := range hosts {
		names[i] = fmt.Sprintf("%p", hosts[i])
	}
	ring := placement.NewRing(names, 100)
	for i, host := range hosts {
		ctx, cancel := context.WithTimeout(h.t.Context(), 10*time.Second)
		host.Drain(ctx, []string{"T"}, func(_, actorID string) bool { return ring.Host(actorID) != names[i] })
		cancel()
	}
	for i, host := range hosts {
		host.owns(ring.Ranges(names[i]))
		host.Settled([]string{"T"})
	}
}

func (h *history) any() *host {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hosts[h.n(len(h.hosts))]
}

// client works on names of its own, and tries each thing until it is acknowledged, on any sidecar.
func (h *history) client(id, steps int) {
	last := map[string][]*registration{}
	for step := range steps {
		time.Sleep(time.Duration(h.n(2000)) * time.Millisecond)
		actor, name := fmt.Sprintf("actor-%d", h.n(5)), fmt.Sprintf("client-%d-%d", id, h.n(8))
		key := actor + "/" + name
		remove := h.n(4) == 0
		for try := 0; ; try++ {
			var made *registration
			r := &Reminder{ActorType: "T", ActorID: actor, Name: name, Data: []byte(fmt.Sprintf("%d-%d-%d", id, step, try))}
			made = &registration{times: 1 + h.n(3)}
			r.DueTime, r.Period = fmt.Sprintf("%dms", h.n(60_000)), fmt.Sprintf("R%d/PT%dS", made.times, 5+h.n(10))
			h.mu.Lock()
			for _, old := range last[key] {
				old.acknowledged = false
			}
			if !remove {
				h.all[string(r.Data)] = made
			}
			h.mu.Unlock()
			var err error
			if remove {
				err = h.any().Delete(h.t.Context(), "T", actor, name)
			} else {
				err = h.any().Create(h.t.Context(), r, true)
			}
			h.mu.Lock()
			if err == nil {
				for _, old := range last[key] {
					old.ended = time.Now()
				}
				last[key] = nil
			}
			if !remove {
				last[key] = append(last[key], made)
				made.acknowledged = err == nil
			}
			h.mu.Unlock()
			if err == nil {
				break
			}
			time.Sleep(time.Duration(h.n(1000)) * time.Millisecond)
		}
	}
}

// TestHistory: in random histories no acknowledged reminder is lost, each fires as often as it is to, and none fires after
// its deletion was acknowledged.
func TestHistory(t *testing.T) {
	shelves(t, func(t *testing.T, s *shelf) {
		for seed := range uint64(10) {
			synctest.Test(t, func(t *testing.T) {
				store := newShelf()
				store.half = s.half
				h := &history{t: t, shelf: store, lines: map[*host]*line{}, all: map[string]*registration{}}
				h.src = rand.New(rand.NewPCG(seed, 1))
				for range 3 {
					h.start()
				}
				var clients sync.WaitGroup
				for id := range 4 {
					clients.Go(func() { h.client(id, 100) })
				}
				over := make(chan struct{})
				var chaos sync.WaitGroup
				chaos.Go(func() {
					for {
						select {
						case <-over:
							return
						case <-time.After(time.Duration(h.n(10_000)) * time.Millisecond):
						}
						switch h.n(5) {
						case 0:
							h.kill()
							h.start()
						case 1:
							h.round()
						case 2:
							store.set(func(s *shelf) { s.down = true })
							time.Sleep(time.Duration(h.n(5000)) * time.Millisecond)
							store.set(func(s *shelf) { s.down = false })
						case 3:
							store.set(func(s *shelf) { s.mute = 1 + h.n(5) })
						case 4:
							// It goes in the middle, with the answer to the last write lost.
							store.set(func(s *shelf) { s.left, s.lost = h.n(3), true })
							time.Sleep(time.Duration(h.n(100)) * time.Millisecond)
							store.set(func(s *shelf) { s.left, s.lost = -1, false })
						}
					}
				})
				clients.Wait()
				close(over)
				chaos.Wait()
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				h.check(seed)
				for _, host := range h.hosts {
					host.end()
				}
			})
		}
	})
}

func (h *history) check(seed uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	lost, late, fired, twice := 0, 0, 0, 0
	for _, reg := range h.all {
		fired += len(reg.fired)
		if reg.acknowledged && len(reg.fired) < reg.times {
			lost++
		}
		if reg.acknowledged && len(reg.fired) > reg.times {
			twice += len(reg.fired) - reg.times
		}
		for _, at := range reg.fired {
			// A firing may have read the record before, and still be on its way to read the track.
			if !reg.ended.IsZero() && at.After(reg.ended.Add(longest)) {
				late++
			}
		}
	}
	if lost > 0 || late > 0 || fired == 0 {
		h.t.Errorf("seed %d: of %d registrations %d are lost; %d firings, %d after the deletion", seed, len(h.all), lost, fired, late)
	}
	for _, host := range h.hosts {
		if n := host.Waiting(); n > 0 {
			h.t.Errorf("seed %d: %d are still watched", seed, n)
		}
	}
	h.t.Logf("seed %d: %d registrations, %d firings, %d of them twice", seed, len(h.all), fired, twice)
}
