package reminders

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"

	"github.com/daprd/daprd/pkg/state"
)

// Dapr 1.7 keeps the reminders of a type in one list, or in a number of lists (partitions) that a record names; what has
// fired is in a track each. They are moved over in phases that the type's index tells of, so that any number of sidecars
// may do it at once and each may end at any write:
//
//	moving    each reminder that no page names is written, unless the phase was over when its page had been read
//	removing  the lists are deleted, the record that names them last
//	(none)    there is nothing to move; only now reminders are fired, changed and deleted
//
// So no reminder is written again that has fired or was deleted since it was moved.
//
// What cannot be read stays in its list, of which only the rest is deleted. Later looks find nothing else and begin
// nothing, until somebody has corrected it.

// move is a moving over that goes on.
type move struct {
	// Number tells this one from others before it.
	Number uint64 `json:"number"`
	// Removing says that everything has been moved.
	Removing bool     `json:"removing,omitempty"`
	Sources  []source `json:"sources"`
}

func newMove(sources []source) *move { return &move{Number: newSerial(), Sources: sources} }

var (
	errMoved   = errors.New("another sidecar has moved the reminders over")
	errChanged = errors.New("the lists have changed")
)

// moveOver moves what Dapr 1.7 has stored, if there is anything, and returns when nothing is left of it but what cannot be
// read. k.opening is held.
func (s *Store) moveOver(ctx context.Context, k *kind) error {
	for {
		var is index
		if _, err := s.read(ctx, k.index(), k.index(), &is); err != nil {
			return err
		}
		var err error
		switch {
		case is.Move == nil:
			var old *survey
			if old, err = s.survey(ctx, k.layout); err != nil {
				return err
			}
			if !old.more {
				s.tellUnreadable(k, old.unreadable)
				return nil
			}
			s.deps.Log.Infof("moving over the reminders of the actor type %s that Dapr 1.7 has stored", k.ActorType)
			err = s.advance(ctx, k, nil, newMove(old.sources))
		case !is.Move.Removing:
			err = s.moveAll(ctx, k, is.Move)
		default:
			err = s.removeAll(ctx, k, is.Move)
		}
		if err != nil && !errors.Is(err, errMoved) {
			return err
		}
	}
}

// maxTold bounds the lines about what cannot be read, of one type.
const maxTold = 100

// tellUnreadable tells of each thing once.
func (s *Store) tellUnreadable(k *kind, all []error) {
	for _, what := range all {
		text := what.Error()
		if k.told[text] || len(k.told) > maxTold {
			continue
		}
		if k.told == nil {
			k.told = map[string]bool{}
		}
		if k.told[text] = true; len(k.told) > maxTold {
			s.deps.Log.Errorf("more that Dapr 1.7 has stored of reminders of the actor type %s cannot be moved over and stays where it is: %d things in all", k.ActorType, len(all))
			return
		}
		s.deps.Log.Errorf("reminders of the actor type %s that Dapr 1.7 has stored cannot be moved over: %s. What cannot be read stays there and does not fire. "+
			"Correct it, and the next sidecar that starts moves it over; or register the reminder anew and remove it there", k.ActorType, text)
	}
}

// advance goes on to the next phase, if nobody else has yet.
func (s *Store) advance(ctx context.Context, k *kind, from, to *move) error {
	return s.amendIndex(ctx, k.layout, func(i *index) error {
		if !i.Move.same(from) {
			return errDone
		}
		i.Move = to
		return nil
	})
}

func (m *move) same(other *move) bool {
	return m == nil && other == nil || m != nil && other != nil && m.Number == other.Number && m.Removing == other.Removing
}

// again is a move from the beginning, since Dapr 1.7 still writes.
func (s *Store) again(ctx context.Context, k *kind, m *move) error {
	old, err := s.survey(ctx, k.layout)
	if err != nil {
		return err
	}
	return s.advance(ctx, k, m, newMove(old.sources))
}

// unchanged reads the entries of a list that was not written since the move began, none of one that is not there any more.
func (s *Store) unchanged(ctx context.Context, from source) ([]json.RawMessage, cell, error) {
	entries, is, err := s.list(ctx, from)
	if (err == nil || isUnreadable(err)) && is.found && is.etag != from.ETag {
		err = errChanged
	}
	return entries, is, err
}

// moveAll writes the reminders of all lists.
func (s *Store) moveAll(ctx context.Context, k *kind, m *move) error {
	next := &move{Number: m.Number, Removing: true, Sources: slices.Clone(m.Sources)}
	for i := range next.Sources {
		from := &next.Sources[i]
		if !from.Kept || from.Stays {
			continue
		}
		entries, _, err := s.unchanged(ctx, *from)
		if errors.Is(err, errChanged) {
			return s.again(ctx, k, m)
		}
		if err != nil {
			return err
		}
		var mu sync.Mutex
		err = parallel(len(entries), func(i int) error {
			readable, err := s.moveOne(ctx, k, m, from.Key, i, entries[i])
			if !readable && err == nil {
				mu.Lock()
				defer mu.Unlock()
				from.Left = append(from.Left, i)
			}
			return err
		})
		if err != nil {
			return err
		}
		slices.Sort(from.Left)
	}
	return s.advance(ctx, k, m, next)
}

// moveOne writes one reminder, if it can be read, has something left to do, and no page names it.
func (s *Store) moveOne(ctx context.Context, k *kind, m *move, key string, i int, text json.RawMessage) (readable bool, err error) {
	r, err := s.oldRecord(ctx, k.layout, key, i, text)
	if isUnreadable(err) {
		return false, nil
	}
	if err != nil || r == nil {
		return true, err
	}
	_, _, err = s.store(ctx, k, r, false, func() error {
		var is index
		if _, err := s.read(ctx, k.index(), k.index(), &is); err != nil {
			return err
		}
		if !is.Move.same(m) {
			return errMoved
		}
		return nil
	})
	if errors.Is(err, ErrExists) {
		err = nil
	}
	return true, err
}

// removeAll deletes what was moved: lists, and tracks.
func (s *Store) removeAll(ctx context.Context, k *kind, m *move) error {
	moved, stays := 0, false
	for _, from := range m.Sources {
		var (
			n    int
			left bool
			err  error
		)
		switch {
		case from.Stays:
			left = true
		case from.Key != k.oldNames():
			n, left, err = s.removeList(ctx, k, from)
		case !stays: // else it names lists that stay
			err = s.removeNames(ctx, from)
		}
		if errors.Is(err, errChanged) {
			return s.again(ctx, k, m)
		}
		if err != nil {
			return err
		}
		moved, stays = moved+n, stays || left
	}
	if old, err := s.survey(ctx, k.layout); err != nil {
		return err
	} else if old.more {
		return s.again(ctx, k, m)
	}
	if err := s.advance(ctx, k, m, nil); err != nil {
		return err
	}
	s.deps.Log.Infof("the reminders of the actor type %s are moved over (%d that were in the lists of Dapr 1.7, and are no longer)", k.ActorType, moved)
	return nil
}

// removeNames deletes the record of the partitions.
func (s *Store) removeNames(ctx context.Context, from source) error {
	is, err := s.readBy(ctx, from.Key, from.Partition, func([]byte) error { return nil })
	switch {
	case err != nil || !is.found:
		return err
	case is.etag != from.ETag:
		return errChanged
	}
	return s.swap(ctx, is, nil)
}

// removeList deletes what was moved of a list, how much that is, and says whether something stays.
func (s *Store) removeList(ctx context.Context, k *kind, from source) (moved int, stays bool, err error) {
	entries, is, err := s.unchanged(ctx, from)
	switch {
	case errors.Is(err, errChanged):
		// If nothing is there but what stays another sidecar has been here, or this one before it ended.
		var now survey
		if err := s.surveyList(ctx, k.layout, from, &now); err != nil || !now.more {
			return 0, true, err
		}
		return 0, false, errChanged
	case err != nil || !is.found:
		return 0, false, err
	}
	err = parallel(len(entries), func(i int) error {
		var old oldReminder
		if _, stays := slices.BinarySearch(from.Left, i); stays || !from.Kept {
			return nil
		}
		if err := json.Unmarshal(entries[i], &old); err != nil {
			return err
		}
		key := k.oldTrack(old.ActorID, old.Name)
		return s.write(ctx, key, drop(key, key))
	})
	if moved = len(entries) - len(from.Left); err != nil || moved == 0 && len(entries) > 0 {
		return 0, true, err
	}
	return moved, len(from.Left) > 0, s.swap(ctx, is, pick(entries, from.Left))
}

// pick is the list of those of its entries that stay, nil for none.
func pick(entries []json.RawMessage, left []int) []byte {
	if len(left) == 0 {
		return nil
	}
	var rest [][]byte
	for _, i := range left {
		rest = append(rest, entries[i])
	}
	return slices.Concat([]byte("["), bytes.Join(rest, []byte(",")), []byte("]"))
}

// swap writes a key of Dapr 1.7 that is as it was read, or deletes it. Where it is not, the next look tells.
func (s *Store) swap(ctx context.Context, is cell, value []byte) error {
	op := is.set(value, true)
	if value == nil {
		op = state.Operation{Delete: &state.DeleteRequest{Key: is.key, ETag: &is.etag, Metadata: partitioned(is.partition)}}
	}
	err := s.write(ctx, is.partition, op)
	if _, refused := state.IsETag(err); refused {
		return nil
	}
	return err
}
