package reminders

import (
	"context"
	"sync"

	"github.com/daprd/daprd/pkg/actors/placement"
	"github.com/daprd/daprd/pkg/state"
)

// leaf is a page with entries, as it was read.
type leaf struct {
	cell
	place place
	page  page
}

// descend reads the page that a position belongs to; it may not be there yet.
func (s *Store) descend(ctx context.Context, l layout, at position) (*leaf, error) {
	for p := root(at.shard()); ; {
		found, err := s.readPage(ctx, l, p)
		if err != nil || found.page.Branch == "" {
			return found, err
		}
		p = p.child(found.page.Branch, at.digit(p.depth()))
	}
}

func (s *Store) readPage(ctx context.Context, l layout, p place) (*leaf, error) {
	found := &leaf{place: p}
	var err error
	found.cell, err = s.readBy(ctx, l.page(p), l.partition(p.shard), found.page.decode)
	return found, err
}

// amend changes the page of a position. change is given the page as it is, and says what is to be written before it, or
// errDone; it is called again when others were faster.
func (s *Store) amend(ctx context.Context, l layout, at position, change func(p *page) ([]state.Operation, error)) error {
	free, err := s.locks.take(ctx, at.shard())
	if err != nil {
		return err
	}
	defer free()
	var (
		found *leaf
		ops   []state.Operation
	)
	return contend(ctx, func() (string, error) {
		var err error
		if found, err = s.descend(ctx, l, at); err != nil {
			return "", err
		}
		if ops, err = change(&found.page); err != nil {
			return "", err
		}
		if !found.found && found.place.depth() == 0 {
			err = s.name(ctx, l, at.shard())
		}
		return found.seen(), err
	}, func() error {
		pages, below := found.write(l)
		err := s.write(ctx, found.partition, append(ops, pages...)...)
		if _, refused := state.IsETag(err); refused && below > 0 {
			// Where the store has kept the pages below all the same nothing leads to them.
			for i := range pages[:below] {
				pages[i] = drop(pages[i].Set.Key, found.partition)
			}
			_ = s.write(ctx, found.partition, pages[:below]...)
		}
		return err
	})
}

// write are the operations that store a leaf; if it is full the first so many of them are those of the pages below, into
// which it is divided.
func (f *leaf) write(l layout) (ops []state.Operation, below int) {
	text := f.page.encode()
	depth := f.place.depth()
	if !f.page.full(len(text)) || depth >= allDigits {
		return []state.Operation{f.set(text, false)}, 0
	}
	divided := page{Branch: name(newSerial())}
	var children [16]page
	for _, e := range f.page.Entries {
		digit := positionOf(e.ActorID, e.Name).digit(depth)
		children[digit].Entries = append(children[digit].Entries, e)
	}
	for digit, child := range children {
		if len(child.Entries) > 0 {
			below := cell{key: l.page(f.place.child(divided.Branch, digit)), partition: f.partition}
			ops = append(ops, below.set(child.encode(), false))
		}
	}
	return append(ops, f.set(divided.encode(), false)), len(ops)
}

// name has the index name a shard, before it is used for the first time.
func (s *Store) name(ctx context.Context, l layout, shard int) error {
	return s.amendIndex(ctx, l, func(i *index) error {
		if i.Shards.has(shard) {
			return errDone
		}
		i.Shards.add(shard)
		return nil
	})
}

// amendIndex changes what is known of a type. change may be called again; errDone writes nothing.
func (s *Store) amendIndex(ctx context.Context, l layout, change func(i *index) error) error {
	var (
		found cell
		is    index
	)
	return contend(ctx, func() (string, error) {
		is = index{}
		var err error
		if found, err = s.read(ctx, l.index(), l.index(), &is); err != nil {
			return "", err
		}
		return found.seen(), change(&is)
	}, func() error { return s.write(ctx, found.partition, found.set(encode(&is), true)) })
}

// walkers is how many pages are read at once.
const walkers = 8

// walk visits the entries of the actors in ranges, which are in order. visit is called by one goroutine at a time. Entries
// that come meanwhile may be missed.
func (s *Store) walk(ctx context.Context, l layout, ranges []placement.Range, visit func(e *pageEntry)) error {
	var known index
	if _, err := s.read(ctx, l.index(), l.index(), &known); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		wait sync.WaitGroup
		mu   sync.Mutex
		free = make(chan struct{}, walkers)
	)
	for shard := range shards {
		at := root(shard)
		if !known.Shards.has(shard) || !overlap(ranges, at.span()) {
			continue
		}
		free <- struct{}{}
		wait.Go(func() {
			defer func() { <-free }()
			err := s.walkPage(ctx, l, at, ranges, func(entries []pageEntry) {
				mu.Lock()
				defer mu.Unlock()
				for i := range entries {
					if contains(ranges, placement.Position(entries[i].ActorID)) {
						visit(&entries[i])
					}
				}
			})
			if err != nil {
				cancel(err)
			}
		})
	}
	wait.Wait()
	return context.Cause(ctx)
}

func (s *Store) walkPage(ctx context.Context, l layout, at place, ranges []placement.Range, visit func([]pageEntry)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	found, err := s.readPage(ctx, l, at)
	if err != nil {
		return err
	}
	visit(found.page.Entries)
	if found.page.Branch == "" {
		return nil
	}
	for digit := range 16 {
		if child := at.child(found.page.Branch, digit); overlap(ranges, child.span()) {
			if err := s.walkPage(ctx, l, child, ranges, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// overlap says whether one of the ranges, which are in order, has a part of span.
func overlap(ranges []placement.Range, span placement.Range) bool {
	at := after(ranges, span.First)
	return at < len(ranges) && ranges[at].First <= span.Last
}

func contains(ranges []placement.Range, position uint64) bool {
	return overlap(ranges, placement.Range{First: position, Last: position})
}

// after is the first of the ranges that does not end before position.
func after(ranges []placement.Range, position uint64) int {
	low, high := 0, len(ranges)
	for low < high {
		if middle := (low + high) / 2; ranges[middle].Last < position {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// locks keep the writers of one shard in this sidecar apart, who would only get into each other's way.
type locks [shards]chan struct{}

func newLocks() *locks {
	l := new(locks)
	for i := range l {
		l[i] = make(chan struct{}, 1)
	}
	return l
}

func (l *locks) take(ctx context.Context, shard int) (free func(), err error) {
	select {
	case l[shard] <- struct{}{}:
		return func() { <-l[shard] }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
