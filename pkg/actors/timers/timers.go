// Package timers keeps the timers of actors: in memory, on the sidecar that made them, whether or not the actor is active
// and wherever it lives (docs/actors.md, statement 10). They end with the process.
package timers

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/actors/due"
	"github.com/daprd/daprd/pkg/actors/schedule"
)

// The bounds of one sidecar: its timers, and the bytes of their texts together.
const (
	maxTimers = 100_000
	maxBytes  = 256 << 20
)

// Timer is one timer as it was registered.
type Timer struct {
	ActorType, ActorID, Name string
	// Callback is the method that the application's SDK calls.
	Callback string
	// Data is the text of a JSON value, empty for none.
	Data []byte
	// DueTime, Period and TTL are as they were given.
	DueTime, Period, TTL string
}

// Deps are what Timers need.
type Deps struct {
	Queue *due.Queue
	// Fire calls the actor. The context ends when the timer is deleted or replaced, and at the end of the process.
	Fire func(ctx context.Context, timer *Timer) error
	Log  logrus.FieldLogger
}

// Timers are those of one sidecar. The methods may be called by many goroutines at once.
type Timers struct {
	deps Deps

	mu     sync.Mutex
	byName map[name]*timer
	// bySerial has the same timers.
	bySerial map[uint64]*timer
	kinds    map[string]*due.Kind
	serial   uint64
	bytes    int
}

type name struct{ actorType, actorID, name string }

type timer struct {
	*Timer
	plan  schedule.Plan
	entry *due.Entry
	// failing is Run's: what is known not to work is not told again.
	failing bool
}

// New makes Timers without any.
func New(deps Deps) *Timers {
	return &Timers{deps: deps, byName: map[name]*timer{}, bySerial: map[uint64]*timer{}, kinds: map[string]*due.Kind{}}
}

// Create starts a timer, in the place of one that has its name. The timer is kept: the caller does not change it any more.
func (t *Timers) Create(made *Timer) error {
	plan, err := schedule.New(schedule.Timer, time.Now(), schedule.Spec{DueTime: made.DueTime, Period: made.Period, TTL: made.TTL})
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	count, bytes := len(t.byName), t.bytes
	if old, ok := t.byName[made.key()]; ok {
		count, bytes = count-1, bytes-old.size()
	}
	if count >= maxTimers || bytes+made.size() > maxBytes {
		return fmt.Errorf("the sidecar has %d timers with %d bytes already, and may have %d with %d: delete some, or use reminders, which are kept in the state store",
			count, bytes, maxTimers, maxBytes)
	}
	t.remove(made.key())
	t.serial++
	added := &timer{Timer: made, plan: plan, entry: due.NewEntry(t.kind(made.ActorType), made.ActorID, made.Name, t.serial, plan.Due)}
	t.byName[made.key()], t.bySerial[t.serial] = added, added
	t.bytes += made.size()
	t.deps.Queue.Add(added.entry)
	return nil
}

// Delete ends a timer. One that does not exist is no error.
func (t *Timers) Delete(actorType, actorID, timerName string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remove(name{actorType, actorID, timerName})
}

// remove is called with the lock.
func (t *Timers) remove(key name) {
	if old, ok := t.byName[key]; ok {
		t.forget(old)
		t.deps.Queue.Remove(old.entry)
	}
}

// forget is called with the lock.
func (t *Timers) forget(old *timer) {
	delete(t.byName, old.key())
	delete(t.bySerial, old.entry.Serial)
	t.bytes -= old.size()
}

func (t *Timers) kind(actorType string) *due.Kind {
	k, ok := t.kinds[actorType]
	if !ok {
		k = &due.Kind{ActorType: actorType, Run: t.run}
		t.kinds[actorType] = k
	}
	return k
}

// run is one tick. The next is planned when the callback has returned; a failure does not end a timer.
func (t *Timers) run(ctx context.Context, e *due.Entry) time.Time {
	ticking := t.find(e.Serial)
	if ticking == nil {
		return time.Time{}
	}
	if !ticking.plan.Expired(time.Now()) {
		t.tell(ticking, t.deps.Fire(ctx, ticking.Timer), ctx)
		if next, more := ticking.plan.Skip(time.Now()); more {
			ticking.plan = next
			return next.Due
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bySerial[e.Serial] == ticking {
		t.forget(ticking)
	}
	return time.Time{}
}

func (t *Timers) find(serial uint64) *timer {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bySerial[serial]
}

func (t *Timers) tell(of *timer, err error, ctx context.Context) {
	if err != nil && ctx.Err() == nil && !of.failing {
		t.deps.Log.Warnf("timer %s of the actor %s/%s failed, and goes on; further failures in a row are not told: %s", of.Name, of.ActorType, of.ActorID, err)
	}
	of.failing = err != nil
}

func (t *Timer) key() name { return name{t.ActorType, t.ActorID, t.Name} }

// size is what a timer keeps, in bytes.
func (t *Timer) size() int {
	return len(t.ActorType) + len(t.ActorID) + len(t.Name) + len(t.Callback) + len(t.Data) + len(t.DueTime) + len(t.Period) + len(t.TTL)
}
