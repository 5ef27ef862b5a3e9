package reminders

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/actors/due"
	"github.com/daprd/daprd/pkg/actors/placement"
	"github.com/daprd/daprd/pkg/actors/schedule"
	"github.com/daprd/daprd/pkg/state"
)

// Storage is the state store for actors: *state.Service.
type Storage interface {
	ActorGet(ctx context.Context, req state.GetRequest) (state.Item, error)
	ActorTransact(ctx context.Context, ops []state.Operation, metadata map[string]string) error
}

// Deps are what a Store needs.
type Deps struct {
	// Namespace keeps the reminders of namespaces that share a state store apart.
	Namespace string
	Storage   Storage
	Queue     *due.Queue
	// Owned are the parts of a type's ring that this sidecar hosts in the table in force, in their order; none where it
	// does not host the type.
	Owned func(actorType string) []placement.Range
	// Fire calls the actor, wherever it lives, and says what became of it; the error is for the log alone. The context ends
	// when the reminder is deleted or replaced through this sidecar: a call that still waits for its turn should leave then.
	// One that had to wait calls turn when it has its turn, before the application is asked: where that is false the
	// reminder is not there any more, and the outcome is Gone.
	Fire func(ctx context.Context, r *Reminder, turn func() bool) (Outcome, error)
	Log  logrus.FieldLogger
}

// Store keeps and fires the reminders. Its methods may be called by many goroutines at once.
type Store struct {
	deps  Deps
	locks *locks
	alive context.Context
	kill  context.CancelFunc
	walks sync.WaitGroup

	mu    sync.Mutex
	kinds map[string]*kind
	// watched are the reminders that this sidecar fires.
	watched map[uint64]*due.Entry
	// unrecorded are those that have fired and whose record could not be written yet.
	unrecorded map[uint64]*firing
	closed     bool
}

// kind is one type.
type kind struct {
	due.Kind
	layout
	// opening is held by who moves over what Dapr 1.7 stored; open says that it has been done. A value in the channel is
	// the right to look.
	opening chan struct{}
	open    bool
	// told is what was said of Dapr's reminders that cannot be read; who has opening has it.
	told map[string]bool
	// walk is the look through the index that goes on, nil for none.
	walk *walk
	// storage and actors are what is known not to work.
	storage, actors trouble
}

type walk struct {
	stop context.CancelFunc
	done chan struct{}
}

// New makes a Store that watches nothing yet.
func New(deps Deps) *Store {
	s := &Store{deps: deps, locks: newLocks(), kinds: map[string]*kind{}, watched: map[uint64]*due.Entry{},
		unrecorded: map[uint64]*firing{}}
	s.alive, s.kill = context.WithCancel(context.Background())
	return s
}

func (s *Store) kind(actorType string) *kind {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.kinds[actorType]
	if !ok {
		k = &kind{layout: layout{s.deps.Namespace, actorType}, opening: make(chan struct{}, 1)}
		k.Kind = due.Kind{ActorType: actorType, Run: func(ctx context.Context, e *due.Entry) time.Time { return s.run(ctx, k, e) }}
		s.kinds[actorType] = k
	}
	return k
}

// open gives a type whose old reminders have been moved over.
func (s *Store) open(ctx context.Context, actorType string) (*kind, error) {
	k := s.kind(actorType)
	return k, s.unlock(ctx, k, false)
}

// unlock moves over what Dapr 1.7 has stored; if that has been done before, only if it is to be looked at again.
func (s *Store) unlock(ctx context.Context, k *kind, again bool) error {
	select {
	case k.opening <- struct{}{}:
		defer func() { <-k.opening }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if k.open && !again {
		return nil
	}
	if err := s.moveOver(ctx, k); err != nil {
		return fmt.Errorf("reminders of Dapr 1.7 cannot be moved over: %w", err)
	}
	k.open = true
	return nil
}

// Create registers a reminder: in the place of one that has its name, or ErrExists where overwrite is false. The Reminder
// is not changed, nor kept.
func (s *Store) Create(ctx context.Context, r *Reminder, overwrite bool) error {
	plan, err := schedule.New(schedule.Reminder, time.Now(), schedule.Spec{DueTime: r.DueTime, Period: r.Period, TTL: r.TTL})
	if err != nil {
		return err
	}
	if f := r.Failure; f != nil && f.Interval < 0 {
		return fmt.Errorf("the interval of the failure policy is %v: it cannot be negative", f.Interval)
	}
	k, err := s.open(ctx, r.ActorType)
	if err != nil {
		return err
	}
	return s.begin(ctx, k, newRecord(r, plan), overwrite)
}

// begin stores a reminder and watches it.
func (s *Store) begin(ctx context.Context, k *kind, r *record, overwrite bool) error {
	made, old, err := s.store(ctx, k, r, overwrite, nil)
	if err != nil {
		return err
	}
	if old != 0 {
		s.end(ctx, k, r.ActorID, r.Name, old)
	}
	s.watch(k, made)
	return nil
}

// store writes a record and has a page name it, in the place of old, 0 for none. condition, where it is not nil, is looked
// at after the page was read.
func (s *Store) store(ctx context.Context, k *kind, r *record, overwrite bool, condition func() error) (made *pageEntry, old uint64, err error) {
	if err := checkLengths(r.ActorID, r.Name); err != nil {
		return nil, 0, err
	}
	at := positionOf(r.ActorID, r.Name)
	made = &pageEntry{ActorID: r.ActorID, Name: r.Name, Serial: newSerial(), Due: max(r.Due.Add(time.Millisecond-1).UnixMilli(), 0)}
	ops := []state.Operation{put(k.record(at.shard(), made.Serial), k.partition(at.shard()), encode(r))}
	err = s.amend(ctx, k.layout, at, func(p *page) ([]state.Operation, error) {
		if condition != nil {
			if err := condition(); err != nil {
				return nil, err
			}
		}
		i := p.find(r.ActorID, r.Name)
		switch {
		case i < 0:
			p.Entries = append(p.Entries, *made)
			return ops, nil
		case p.Entries[i].Serial == made.Serial:
			return nil, errDone // it was stored though the store said that it failed
		case !overwrite:
			// What is named and has no record is half deleted.
			var is record
			found, err := s.read(ctx, k.record(at.shard(), p.Entries[i].Serial), k.partition(at.shard()), &is)
			if err == nil && found.found {
				err = ErrExists
			}
			if err != nil {
				return nil, err
			}
		}
		old = p.Entries[i].Serial
		p.Entries[i] = *made
		return ops, nil
	})
	return made, old, err
}

// end is called when no page names a reminder any more. Where what is left of it cannot be removed now it is due at once,
// and removed instead of fired when the store works; if the sidecar ends before, some bytes stay that mean nothing.
func (s *Store) end(ctx context.Context, k *kind, actorID, name string, old uint64) {
	s.unwatch(old)
	if err := s.clean(ctx, k, positionOf(actorID, name).shard(), old); err != nil {
		s.deps.Log.Debugf("the record of a reminder that was replaced or deleted stays in the state store for now: %s", err)
		s.watch(k, &pageEntry{ActorID: actorID, Name: name, Serial: old})
	}
}

// clean removes what no page names any more.
func (s *Store) clean(ctx context.Context, k *kind, shard int, old uint64) error {
	partition := k.partition(shard)
	return s.write(ctx, partition, drop(k.track(shard, old), partition), drop(k.record(shard, old), partition))
}

// Get reads a reminder, or fails with ErrNotFound.
func (s *Store) Get(ctx context.Context, actorType, actorID, name string) (*Reminder, error) {
	k, err := s.open(ctx, actorType)
	if err != nil {
		return nil, err
	}
	r, _, err := s.look(ctx, k, actorID, name)
	if err != nil {
		return nil, err
	}
	return r.reminder(actorType), nil
}

// look reads the record of a name.
func (s *Store) look(ctx context.Context, k *kind, actorID, name string) (*record, uint64, error) {
	at := positionOf(actorID, name)
	found, err := s.descend(ctx, k.layout, at)
	if err != nil {
		return nil, 0, err
	}
	i := found.page.find(actorID, name)
	if i < 0 {
		return nil, 0, ErrNotFound
	}
	of := found.page.Entries[i].Serial
	r := new(record)
	if is, err := s.read(ctx, k.record(at.shard(), of), found.partition, r); err != nil {
		return nil, 0, err
	} else if !is.found {
		return nil, 0, ErrNotFound
	}
	return r, of, nil
}

// Delete ends a reminder. One that does not exist is no error. A firing that has its turn already may still reach the
// application.
func (s *Store) Delete(ctx context.Context, actorType, actorID, name string) error {
	k, err := s.open(ctx, actorType)
	if err != nil {
		return err
	}
	return s.remove(ctx, k, actorID, name, 0)
}

// remove ends a reminder; with only it has to be the one of that serial.
func (s *Store) remove(ctx context.Context, k *kind, actorID, name string, only uint64) error {
	var (
		at  = positionOf(actorID, name)
		old uint64
	)
	err := s.amend(ctx, k.layout, at, func(p *page) ([]state.Operation, error) {
		i := p.find(actorID, name)
		if i < 0 || only != 0 && p.Entries[i].Serial != only {
			return nil, errDone
		}
		old = p.Entries[i].Serial
		p.Entries = slices.Delete(p.Entries, i, i+1)
		return nil, nil
	})
	if err != nil {
		return err
	}
	if old != 0 {
		s.end(ctx, k, actorID, name, old)
	}
	return nil
}

// maxListed bounds the answer of List.
const maxListed = 100_000

var errTooMany = fmt.Errorf("the type has more than %d reminders: list them by actor", maxListed)

// List reads the reminders of an actor, of all of the type with actorID "", in the order of actors and names. More than
// 100 000 are an error.
func (s *Store) List(ctx context.Context, actorType, actorID string) ([]*Reminder, error) {
	k, err := s.open(ctx, actorType)
	if err != nil {
		return nil, err
	}
	entries, err := s.entries(ctx, k, actorID, maxListed)
	if err != nil {
		return nil, err
	}
	all := make([]*Reminder, len(entries))
	err = parallel(len(entries), func(i int) error {
		r := new(record)
		shard := positionOf(entries[i].ActorID, "").shard()
		is, err := s.read(ctx, k.record(shard, entries[i].Serial), k.partition(shard), r)
		if is.found {
			all[i] = r.reminder(actorType)
		}
		return err
	})
	return slices.DeleteFunc(all, func(r *Reminder) bool { return r == nil }), err
}

// entries are those of an actor, or of all with "", in order.
func (s *Store) entries(ctx context.Context, k *kind, actorID string, most int) (all []pageEntry, err error) {
	ranges := []placement.Range{{First: 0, Last: 1<<64 - 1}}
	if actorID != "" {
		at := placement.Position(actorID)
		ranges[0] = placement.Range{First: at, Last: at}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err = s.walk(ctx, k.layout, ranges, func(e *pageEntry) {
		if actorID != "" && e.ActorID != actorID {
			return
		}
		if all = append(all, *e); len(all) > most {
			cancel(errTooMany)
		}
	})
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	slices.SortFunc(all, func(a, b pageEntry) int {
		return cmp.Or(cmp.Compare(a.ActorID, b.ActorID), cmp.Compare(a.Name, b.Name))
	})
	return all, err
}

// DeleteAll ends the reminders of an actor, of all of the type with actorID "". Those that are registered meanwhile may
// stay.
func (s *Store) DeleteAll(ctx context.Context, actorType, actorID string) error {
	k, err := s.open(ctx, actorType)
	if err != nil {
		return err
	}
	entries, err := s.entries(ctx, k, actorID, 1<<31-1)
	if err != nil {
		return err
	}
	return parallel(len(entries), func(i int) error { return s.remove(ctx, k, entries[i].ActorID, entries[i].Name, 0) })
}

// parallel does n things, some at once, and stops at the first failure.
func parallel(n int, do func(i int) error) error {
	var (
		wait  sync.WaitGroup
		mu    sync.Mutex
		next  int
		first error
	)
	take := func(err error) (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		if first == nil {
			first = err
		}
		next++
		return next - 1, first == nil && next <= n
	}
	for range min(n, walkers) {
		wait.Go(func() {
			for i, more := take(nil); more; {
				i, more = take(do(i))
			}
		})
	}
	wait.Wait()
	return first
}

// Rename gives a reminder another name, in the place of one that has it. One that does not exist is no error. If the
// sidecar ends in the middle there may be both.
func (s *Store) Rename(ctx context.Context, actorType, actorID, name, newName string) error {
	k, err := s.open(ctx, actorType)
	if err != nil {
		return err
	}
	r, of, err := s.look(ctx, k, actorID, name)
	if errors.Is(err, ErrNotFound) || err == nil && name == newName {
		return nil
	}
	if err != nil {
		return err
	}
	left := track{Due: r.Due, Left: r.Left}
	shard := positionOf(actorID, name).shard()
	if _, err := s.read(ctx, k.track(shard, of), k.partition(shard), &left); err != nil {
		return err
	}
	r.Name, r.Due, r.Left = newName, left.Due, left.Left
	if err := s.begin(ctx, k, r, true); err != nil {
		return err
	}
	return s.remove(ctx, k, actorID, name, of)
}
