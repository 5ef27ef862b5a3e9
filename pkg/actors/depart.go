package actors

import (
	"context"
	"sync"
	"time"
)

const (
	// farewell bounds the telling of the application that an actor has left.
	farewell = 5 * time.Second
	// roundRoom is what a drain may take beyond the time of the turns: placement waits 8 s for a sidecar.
	roundRoom = 2 * time.Second
	// maxFarewells is how many actors leave at once: the application is told of each by a call.
	maxFarewells = 64
)

// departure is an actor's leaving: its turn ends, the application is told, what is being written ends. Calls that come
// meanwhile wait for the end of it and begin the actor's next stay.
type departure struct {
	begun bool
	// ended is closed when no turn goes on any more, done when the actor has left.
	ended, done chan struct{}
	// written is closed when no write is under way; nil while nobody waits for that.
	written chan struct{}
}

// depart has the actor leave as soon as it has no turn; whoever asks has it settled then.
func (a *actor) depart() *departure {
	if a.departure == nil {
		a.departure = &departure{ended: make(chan struct{}), done: make(chan struct{})}
	}
	return a.departure
}

// begin begins what follows the last turn.
func (d *departure) begin(a *actor) {
	if d.begun {
		return
	}
	d.begun = true
	a.kind.unidle(a)
	close(d.ended)
	a.kind.service.farewells.do(func() { d.run(a) })
}

// run tells the application, and ends the stay.
func (d *departure) run(a *actor) {
	k := a.kind
	if h := k.hosting.Load(); h != nil {
		ctx, cancel := context.WithTimeout(k.service.alive, farewell)
		err := h.host.DeactivateActor(ctx, k.name, a.id)
		cancel()
		k.deactivated(err == nil)
		if err != nil {
			k.service.log.Debugf("the application was told that the actor %s/%s is no longer active, and failed: %s", k.name, a.id, err)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	a.active = false
	if a.writes > 0 {
		written := make(chan struct{})
		d.written = written
		k.mu.Unlock()
		select {
		case <-written:
		case <-k.service.alive.Done():
		}
		k.mu.Lock()
	}
	a.known, a.departure = false, nil
	close(d.done)
	a.settle()
}

// Drain has the actors of types leave for which moved says so, before another host may have them: no new turn begins,
// running turns go on for the drain time of their type and are cancelled then, the application is told. Calls that wait
// are made again, at the new host. It returns when the actors have left, or when a round can wait no longer: what the
// application is still busy with then can write no state.
func (s *Service) Drain(ctx context.Context, types []string, moved func(actorType, actorID string) bool) {
	var (
		kinds   []*kind
		longest time.Duration
		wait    sync.WaitGroup
	)
	for _, name := range types {
		if k, ok := s.look(name); ok {
			kinds = append(kinds, k)
			longest = max(longest, k.settings().drain)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, longest+roundRoom)
	defer cancel()
	if c := s.callbacks.Load(); c != nil {
		wait.Go(func() { c.reminders.Drain(ctx, types, moved) })
	}
	for _, k := range kinds {
		wait.Go(func() {
			for _, l := range k.drain(moved) {
				l.await(ctx)
			}
		})
	}
	wait.Wait()
}

// Halt ends the stay of all actors at once: nobody knows any more whose they are. It returns when no turn is waited for.
// The application is told in the background.
func (s *Service) Halt(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, roundRoom)
	defer cancel()
	if c := s.callbacks.Load(); c != nil {
		c.reminders.Halt(ctx)
	}
	var left []leaver
	for _, k := range s.all() {
		left = append(left, k.halt()...)
	}
	for _, l := range left {
		select {
		case <-l.ended:
		case <-ctx.Done():
			return
		}
	}
}

// leaver is an actor that leaves.
type leaver struct {
	*departure
	actor *actor
}

// revoke takes the actor away from who is busy with it: its turn and its writes are cancelled, and there are no others. A
// write that was not cancelled could arrive when the actor is active elsewhere.
func (a *actor) revoke() {
	a.active = false
	if a.turn != nil {
		a.turn.cancel(errMoved)
	}
	if a.stop != nil {
		a.stop()
	}
}

// await waits until the actor has left. When ctx ends first its stay is over all the same.
func (l leaver) await(ctx context.Context) {
	select {
	case <-l.done:
		return
	case <-ctx.Done():
	}
	k := l.actor.kind
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.actor.departure == l.departure {
		l.actor.revoke()
	}
}

// drain begins the departure of the actors that have moved.
func (k *kind) drain(moved func(actorType, actorID string) bool) []leaver {
	var ids []string
	for _, id := range k.ids() {
		if moved(k.name, id) {
			ids = append(ids, id)
		}
	}
	patience := k.settings().drain
	k.mu.Lock()
	defer k.mu.Unlock()
	var (
		left  []leaver
		turns []*turn
	)
	for _, id := range ids {
		a := k.actors[id]
		if a == nil {
			continue
		}
		left = append(left, leaver{a.depart(), a})
		a.refuse(errMoved)
		if a.turn != nil {
			turns = append(turns, a.turn)
		}
		k.rebalanced()
		a.settle()
	}
	if patience <= 0 {
		cancelAll(turns)
	} else if len(turns) > 0 {
		time.AfterFunc(patience, func() { cancelAll(turns) })
	}
	return left
}

func cancelAll(turns []*turn) {
	for _, t := range turns {
		t.cancel(errMoved)
	}
}

// halt begins the departure of all actors. Their state can be written no more.
func (k *kind) halt() []leaver {
	k.mu.Lock()
	defer k.mu.Unlock()
	left := make([]leaver, 0, len(k.actors))
	for _, a := range k.actors {
		left = append(left, leaver{a.depart(), a})
		a.revoke()
		a.refuse(errMoved)
		a.settle()
	}
	return left
}

func (k *kind) ids() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	ids := make([]string, 0, len(k.actors))
	for id := range k.actors {
		ids = append(ids, id)
	}
	return ids
}

// crew does what it is told with at most maxFarewells goroutines, which end when there is nothing more to do.
type crew struct {
	mu      sync.Mutex
	tasks   []func()
	working int
	wait    sync.WaitGroup
}

func (c *crew) do(task func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tasks = append(c.tasks, task)
	if c.working < maxFarewells {
		c.working++
		c.wait.Go(c.work)
	}
}

func (c *crew) work() {
	for {
		c.mu.Lock()
		if len(c.tasks) == 0 {
			c.working--
			c.tasks = nil
			c.mu.Unlock()
			return
		}
		task := c.tasks[0]
		c.tasks[0] = nil
		c.tasks = c.tasks[1:]
		c.mu.Unlock()
		task()
	}
}
