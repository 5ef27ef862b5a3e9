package reminders

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/daprd/daprd/pkg/actors/schedule"
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

// move is a moving over that goes on.
type move struct {
	// Number tells this one from others before it.
	Number uint64 `json:"number"`
	// Removing says that everything has been moved.
	Removing bool     `json:"removing,omitempty"`
	Sources  []source `json:"sources"`
}

func newMove(sources []source) *move { return &move{Number: newSerial(), Sources: sources} }

// source is one key of Dapr 1.7.
type source struct {
	Key       string `json:"key"`
	Partition string `json:"partition"`
	ETag      string `json:"etag"`
	// Kept says that it has reminders which count: not so the record of the partitions, and the list from before there
	// were any.
	Kept bool `json:"kept,omitempty"`
}

// maxPartitions bounds what is believed of a record.
const maxPartitions = 10_000

// oldReminder is one in a list.
type oldReminder struct {
	ActorID    string          `json:"actorID"`
	Name       string          `json:"name"`
	Data       json.RawMessage `json:"data"`
	Period     string          `json:"period"`
	DueTime    string          `json:"dueTime"`
	Registered string          `json:"registeredTime"`
	Expires    string          `json:"expirationTime"`
}

// oldTrack is the track of one.
type oldTrack struct {
	LastFired string `json:"lastFiredTime"`
	Left      int    `json:"repetitionLeft"`
}

var (
	errMoved   = errors.New("another sidecar has moved the reminders over")
	errChanged = errors.New("the lists have changed")
)

// moveOver moves what Dapr 1.7 has stored, if there is anything, and returns when nothing is left of it.
func (s *Store) moveOver(ctx context.Context, k *kind) error {
	for {
		var is index
		if _, err := s.read(ctx, k.index(), k.index(), &is); err != nil {
			return err
		}
		var err error
		switch {
		case is.Move == nil:
			var sources []source
			if sources, err = s.sources(ctx, k); err != nil || len(sources) == 0 {
				return err
			}
			s.deps.Log.Infof("moving over the reminders of the actor type %s that Dapr 1.7 has stored", k.ActorType)
			err = s.advance(ctx, k, nil, newMove(sources))
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
	sources, err := s.sources(ctx, k)
	if err != nil {
		return err
	}
	return s.advance(ctx, k, m, newMove(sources))
}

// sources are the keys that there are, in the order in which they are to be deleted.
func (s *Store) sources(ctx context.Context, k *kind) (all []source, err error) {
	var types struct {
		ID       string `json:"id"`
		Metadata struct {
			Partitions int `json:"partitionCount"`
		} `json:"actorRemindersMetadata"`
	}
	list := "actors||" + k.ActorType
	names, err := s.read(ctx, list+"||metadata", list+"||metadata", &types)
	if err != nil {
		return nil, err
	}
	partitions := types.Metadata.Partitions
	if partitions < 0 || partitions > maxPartitions {
		return nil, fmt.Errorf("the key %s says that there are %d partitions; %d are the most", names.key, partitions, maxPartitions)
	}
	add := func(key, partition string, kept bool) error {
		item, err := s.deps.Storage.ActorGet(ctx, state.GetRequest{Key: key, Consistency: state.Strong, Metadata: partitioned(partition)})
		if err == nil && item.Found {
			all = append(all, source{key, partition, item.ETag, kept})
		}
		return err
	}
	if err := add(list, list, partitions == 0); err != nil {
		return nil, err
	}
	for n := range partitions {
		if err := add(list+"||"+types.ID+"||reminders||"+strconv.Itoa(n+1), types.ID, true); err != nil {
			return nil, err
		}
	}
	if names.found {
		all = append(all, source{Key: names.key, Partition: names.partition, ETag: names.etag})
	}
	return all, nil
}

// list reads a source; one that is not there any more is empty, and one that was written since is errChanged.
func (s *Store) list(ctx context.Context, from source) (all []oldReminder, found bool, err error) {
	var text json.RawMessage
	is, err := s.read(ctx, from.Key, from.Partition, &text)
	switch {
	case err != nil || !is.found:
		return nil, false, err
	case is.etag != from.ETag:
		return nil, true, errChanged
	case from.Kept:
		if err := json.Unmarshal(text, &all); err != nil {
			return nil, true, &unreadableError{from.Key, err}
		}
	}
	return all, true, nil
}

// moveAll writes the reminders of all lists.
func (s *Store) moveAll(ctx context.Context, k *kind, m *move) error {
	for _, from := range m.Sources {
		all, _, err := s.list(ctx, from)
		if errors.Is(err, errChanged) {
			return s.again(ctx, k, m)
		}
		if err != nil {
			return err
		}
		if err := parallel(len(all), func(i int) error { return s.moveOne(ctx, k, m, &all[i]) }); err != nil {
			return err
		}
	}
	return s.advance(ctx, k, m, &move{Number: m.Number, Removing: true, Sources: m.Sources})
}

// moveOne writes one reminder, if it has something left to do and no page names it.
func (s *Store) moveOne(ctx context.Context, k *kind, m *move, old *oldReminder) error {
	var last oldTrack
	key := k.oldTrack(old)
	found, err := s.read(ctx, key, key, &last)
	if err != nil {
		return err
	}
	if !found.found {
		last.Left = -1
	}
	r, err := old.record(last, found.found)
	if err != nil {
		s.deps.Log.Errorf("the reminder %s of the actor %s/%s, which Dapr 1.7 has stored, cannot be read and is left out: %s", old.Name, k.ActorType, old.ActorID, err)
		return nil
	}
	if r == nil {
		return nil
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
		return nil
	}
	return err
}

// record is what is left of a reminder; nil is nothing.
func (old *oldReminder) record(last oldTrack, fired bool) (*record, error) {
	plan, err := schedule.New(schedule.Reminder, time.Now(), schedule.Spec{DueTime: "0s", Period: old.Period})
	if err != nil {
		return nil, err
	}
	if old.Expires != "" {
		if plan.Expires, err = time.Parse(time.RFC3339, old.Expires); err != nil {
			return nil, err
		}
	}
	from := old.Registered
	if fired {
		from = last.LastFired
	}
	if plan.Due, err = time.Parse(time.RFC3339, from); err != nil {
		return nil, err
	}
	if fired {
		// One more than are left: that which has fired.
		plan.Left = last.Left + 1
		var more bool
		if plan, more = plan.Next(); !more {
			return nil, nil
		}
	}
	if plan.Expired(time.Now()) {
		return nil, nil
	}
	r := &Reminder{ActorID: old.ActorID, Name: old.Name, DueTime: old.DueTime, Period: old.Period}
	if string(old.Data) != "null" {
		r.Data = old.Data
	}
	return newRecord(r, plan), nil
}

func (l layout) oldTrack(old *oldReminder) string {
	return l.actorType + "||" + old.ActorID + "||" + old.Name
}

// removeAll deletes the lists and the tracks.
func (s *Store) removeAll(ctx context.Context, k *kind, m *move) error {
	moved := 0
	for _, from := range m.Sources {
		all, found, err := s.list(ctx, from)
		if errors.Is(err, errChanged) {
			return s.again(ctx, k, m)
		}
		if err != nil {
			return err
		}
		err = parallel(len(all), func(i int) error {
			key := k.oldTrack(&all[i])
			return s.write(ctx, key, drop(key, key))
		})
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		moved += len(all)
		err = s.write(ctx, from.Partition, state.Operation{Delete: &state.DeleteRequest{Key: from.Key, ETag: &from.ETag, Metadata: partitioned(from.Partition)}})
		if _, refused := state.IsETag(err); refused {
			continue // it was deleted or written meanwhile: the next look tells
		}
		if err != nil {
			return err
		}
	}
	if left, err := s.sources(ctx, k); err != nil {
		return err
	} else if len(left) > 0 {
		return s.again(ctx, k, m)
	}
	if err := s.advance(ctx, k, m, nil); err != nil {
		return err
	}
	s.deps.Log.Infof("the reminders of the actor type %s are moved over (%d in the lists of Dapr 1.7, which are deleted)", k.ActorType, moved)
	return nil
}
