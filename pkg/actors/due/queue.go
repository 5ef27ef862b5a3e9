// Package due runs what is due: one queue for the timers and the reminders of all actors. It knows neither what they are
// nor where they are kept.
//
// A Queue has one goroutine of its own, and one for each callback that runs. Callbacks of one actor run one after another,
// in the order in which they were due; those of different actors do not wait for each other, until as many run as may
// (Bound).
package due

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// Bound is how many callbacks run at once. What is due beyond it waits for one of them to end.
const Bound = 1024

// look is how often the clock is looked at while nothing is due: a machine that slept, or whose clock was set, does not
// wait by the old time.
const look = time.Minute

// Kind is what entries have in common.
type Kind struct {
	// ActorType is that of the actors.
	ActorType string
	// Run is called for an entry that is due. It returns when it is due again; zero is never. ctx ends when the entry is
	// removed, or the Queue's patience at its end is over.
	Run func(ctx context.Context, e *Entry) time.Time
}

// Entry is one thing that is due at some time. It costs 48 bytes, its key, and 8 to 10 bytes of the queue: there may be
// millions.
type Entry struct {
	kind *Kind
	// key is the actor's id, and the name from cut on.
	key string
	cut uint16
	// Tries is Run's to use.
	Tries uint16
	place int32
	// Serial is what the owner of the entry knows it by.
	Serial uint64
	// due is in microseconds since 1970: nanoseconds end in 2262.
	due int64
}

// Where an entry is that has no place in the heap.
const (
	gone    = -1 - iota // with nobody
	waiting             // behind another of its actor
	running
)

// NewEntry makes an entry that is in no queue. Neither text may be longer than 64 KiB.
func NewEntry(kind *Kind, actorID, name string, serial uint64, at time.Time) *Entry {
	return &Entry{kind: kind, key: actorID + name, cut: uint16(len(actorID)), Serial: serial, due: micros(at), place: gone}
}

// micros is rounded up: nothing is due too early.
func micros(t time.Time) int64 {
	n := t.UnixMicro()
	if t.Nanosecond()%1000 > 0 {
		n++
	}
	return n
}

// ActorType, ActorID and Name are whose entry it is.
func (e *Entry) ActorType() string { return e.kind.ActorType }

// ActorID is the actor's.
func (e *Entry) ActorID() string { return e.key[:e.cut] }

// Name is that of the timer or reminder.
func (e *Entry) Name() string { return e.key[e.cut:] }

// Queue runs entries when they are due. Its methods may be called by many goroutines at once.
type Queue struct {
	*core
	// count gives what counts the entries of a type, nil where nobody does.
	count func(actorType string) func(n int)
}

// core is what a Queue and those of Counting have in common.
type core struct {
	mu      sync.Mutex
	entries entries
	// lanes are the actors with a callback that runs, each with the entries that wait for it.
	lanes map[lane]*work
	// active is how many callbacks run.
	active int
	// counts are what the entries of a kind are counted with.
	counts map[*Kind]func(n int)
	// closed is set when nothing is to begin any more.
	closed bool
	// changed rings when the loop has to look again.
	changed chan struct{}
	alive   context.Context
	kill    context.CancelFunc
	work    sync.WaitGroup
}

type lane struct{ actorType, actorID string }

// work is what runs for an actor, and what waits.
type work struct {
	entry   *Entry
	cancel  context.CancelFunc
	done    chan struct{}
	waiting []*Entry
}

// New makes a Queue and starts it.
func New() *Queue {
	q := &core{lanes: map[lane]*work{}, counts: map[*Kind]func(n int){}, changed: make(chan struct{}, 1)}
	q.alive, q.kill = context.WithCancel(context.Background())
	q.work.Go(q.loop)
	return &Queue{core: q}
}

// Counting is the same Queue, in which the entries of the kinds that are added through it are counted: count is asked once
// for each kind, and what it gives is told of every entry that comes (1) and that is out for good (-1). It must not call
// the Queue.
func (q *Queue) Counting(count func(actorType string) func(n int)) *Queue {
	return &Queue{core: q.core, count: count}
}

// Add puts in an entry that is in no queue. After Close it does nothing.
func (q *Queue) Add(e *Entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	if _, known := q.counts[e.kind]; !known && q.count != nil {
		q.counts[e.kind] = q.count(e.kind.ActorType)
	}
	q.tell(e, 1)
	q.push(e)
}

// Remove takes an entry out for good. The context of a callback that runs for it ends; it is not waited for, since the
// callback itself may be what removes it.
func (q *Queue) Remove(e *Entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w := q.take(e); w != nil {
		w.cancel()
	}
}

// Release takes an entry out for good, too, but lets a callback that runs for it go on, and returns its end; nil where
// there is none.
func (q *Queue) Release(e *Entry) (ended <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w := q.take(e); w != nil {
		return w.done
	}
	return nil
}

// take is called with the lock; it returns the callback that runs for e.
func (q *core) take(e *Entry) (runs *work) {
	switch {
	case e.place >= 0:
		heap.Remove(&q.entries, int(e.place))
	case e.place == running:
		runs = q.lanes[e.lane()]
	}
	q.leave(e)
	return runs
}

// leave says that an entry is with nobody from now on. It is called with the lock.
func (q *core) leave(e *Entry) {
	if e.place != gone {
		e.place = gone
		q.tell(e, -1)
	}
}

// tell is called with the lock.
func (q *core) tell(e *Entry, n int) {
	if count := q.counts[e.kind]; count != nil {
		count(n)
	}
}

// Len is the number of entries, those apart that run.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.entries)
}

// Close lets nothing begin any more and waits for the callbacks that run. When ctx ends before they do, so do their
// contexts; the error is that of ctx.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.ring()
	ended := make(chan struct{})
	go func() {
		q.work.Wait()
		close(ended)
	}()
	defer q.kill()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *Entry) lane() lane { return lane{e.kind.ActorType, e.ActorID()} }

// push is called with the lock.
func (q *core) push(e *Entry) {
	heap.Push(&q.entries, e)
	if e.place == 0 {
		q.ring()
	}
}

func (q *core) ring() {
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

func (q *core) loop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait, more := q.start()
		if !more {
			return
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-q.changed:
		}
	}
}

// start begins the callbacks that are due, and says how long there is nothing more to do; more is false at the end.
func (q *core) start() (wait time.Duration, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now().UnixMicro()
	for !q.closed && len(q.entries) > 0 && q.active < Bound {
		next := q.entries[0]
		if next.due > now {
			return min(time.Duration(min(next.due-now, look.Microseconds()))*time.Microsecond, look), true
		}
		heap.Pop(&q.entries)
		if w, busy := q.lanes[next.lane()]; busy {
			next.place = waiting
			w.waiting = append(w.waiting, next)
			continue
		}
		q.run(next, nil)
	}
	return look, !q.closed
}

// run begins the callback of an entry, with the lock.
func (q *core) run(e *Entry, behind []*Entry) {
	ctx, cancel := context.WithCancel(q.alive)
	w := &work{entry: e, cancel: cancel, done: make(chan struct{}), waiting: behind}
	e.place = running
	q.lanes[e.lane()] = w
	q.active++
	q.work.Go(func() {
		again := e.kind.Run(ctx, e)
		q.end(w, again)
	})
}

// end puts an entry back, and begins what waited for it.
func (q *core) end(w *work, again time.Time) {
	w.cancel()
	q.mu.Lock()
	defer q.mu.Unlock()
	defer close(w.done)
	if w.entry.place == running { // else it was removed
		if again.IsZero() || q.closed {
			q.leave(w.entry)
		} else {
			w.entry.due = micros(again)
			q.push(w.entry)
		}
	}
	q.active--
	delete(q.lanes, w.entry.lane())
	for i, next := range w.waiting {
		if next.place == waiting && !q.closed {
			q.run(next, w.waiting[i+1:])
			return
		}
	}
	q.ring()
}

// entries is a heap: the next one first.
type entries []*Entry

func (h entries) Len() int           { return len(h) }
func (h entries) Less(i, j int) bool { return h[i].due < h[j].due }

func (h entries) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = int32(i), int32(j)
}

// Push is container/heap's.
func (h *entries) Push(x any) {
	e := x.(*Entry)
	e.place = int32(len(*h))
	*h = append(*h, e)
}

// Pop is container/heap's.
func (h *entries) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}
