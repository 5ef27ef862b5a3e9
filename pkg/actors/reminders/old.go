package reminders

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/daprd/daprd/pkg/actors/schedule"
)

// What Dapr 1.7 has stored is read here. An error that is an *unreadableError says that a value cannot be used; any other
// is the store's, and passes.

// source is one key of Dapr 1.7.
type source struct {
	Key       string `json:"key"`
	Partition string `json:"partition"`
	ETag      string `json:"etag"`
	// Kept says that it has reminders which count: not so the record of the partitions, and the list from before there
	// were any.
	Kept bool `json:"kept,omitempty"`
	// Stays says that it is no list. Left are the entries of a list that cannot be read.
	Stays bool  `json:"stays,omitempty"`
	Left  []int `json:"left,omitempty"`
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

// oldList is the key of the only list, oldNames that of the record of the partitions.
func (l layout) oldList() string  { return "actors||" + l.actorType }
func (l layout) oldNames() string { return l.oldList() + "||metadata" }

func (l layout) oldPartition(id string, n int) string {
	return l.oldList() + "||" + id + "||reminders||" + strconv.Itoa(n)
}

func (l layout) oldTrack(actorID, name string) string {
	return l.actorType + "||" + actorID + "||" + name
}

// survey is what there is.
type survey struct {
	// sources are the keys, in the order in which they are to be deleted.
	sources []source
	// more says that something of them can be moved or deleted. If nothing can, unreadable says why.
	more       bool
	unreadable []error
}

// survey looks at what there is.
func (s *Store) survey(ctx context.Context, l layout) (*survey, error) {
	var types struct {
		ID       string `json:"id"`
		Metadata struct {
			Partitions int `json:"partitionCount"`
		} `json:"actorRemindersMetadata"`
	}
	is := new(survey)
	names, err := s.read(ctx, l.oldNames(), l.oldNames(), &types)
	partitions := types.Metadata.Partitions
	if err == nil && (partitions < 0 || partitions > maxPartitions) {
		err = &unreadableError{names.key, fmt.Errorf("it says that there are %d partitions; %d are the most", partitions, maxPartitions)}
	}
	if isUnreadable(err) {
		is.unreadable = []error{fmt.Errorf("%w (so that nobody knows which lists of reminders count)", err)}
		return is, nil
	}
	if err != nil {
		return nil, err
	}
	lists := make([]source, 1, partitions+1)
	lists[0] = source{Key: l.oldList(), Partition: l.oldList(), Kept: partitions == 0}
	for n := range partitions {
		lists = append(lists, source{Key: l.oldPartition(types.ID, n+1), Partition: types.ID, Kept: true})
	}
	for _, from := range lists {
		if err := s.surveyList(ctx, l, from, is); err != nil {
			return nil, err
		}
	}
	if names.found {
		is.sources = append(is.sources, source{Key: names.key, Partition: names.partition, ETag: names.etag})
		is.more = is.more || len(is.unreadable) == 0
	}
	return is, nil
}

func (s *Store) surveyList(ctx context.Context, l layout, from source, is *survey) error {
	entries, found, err := s.list(ctx, from)
	from.ETag, from.Stays = found.etag, isUnreadable(err)
	switch {
	case err != nil && !from.Stays:
		return err
	case !found.found:
		return nil
	}
	is.sources = append(is.sources, from)
	switch {
	case from.Stays:
		is.unreadable = append(is.unreadable, err)
	case !from.Kept:
		is.more = true
	default:
		// An empty list can be deleted.
		is.more = is.more || len(entries) == 0
		for i := 0; i < len(entries) && !is.more; i++ {
			_, err := s.oldRecord(ctx, l, from.Key, i, entries[i])
			if err != nil && !isUnreadable(err) {
				return err
			}
			if is.more = err == nil; err != nil {
				is.unreadable = append(is.unreadable, err)
			}
		}
	}
	return nil
}

// list reads the entries of a source.
func (s *Store) list(ctx context.Context, from source) (entries []json.RawMessage, found cell, err error) {
	found, err = s.readBy(ctx, from.Key, from.Partition, func(text []byte) error { return json.Unmarshal(text, &entries) })
	return entries, found, err
}

// oldRecord reads the entry i of a list, and what is left of it: a record, or nil where nothing is.
func (s *Store) oldRecord(ctx context.Context, l layout, key string, i int, text json.RawMessage) (*record, error) {
	var old oldReminder
	unreadable := func(cause error) error {
		return &unreadableError{key, fmt.Errorf("entry %d, the reminder %.100s of the actor %s/%.100s: %w", i, old.Name, l.actorType, old.ActorID, cause)}
	}
	if err := json.Unmarshal(text, &old); err != nil {
		return nil, unreadable(err)
	}
	r, err := old.record(nil)
	if err != nil {
		return nil, unreadable(err)
	}
	var last oldTrack
	track := l.oldTrack(old.ActorID, old.Name)
	found, err := s.read(ctx, track, track, &last)
	if err == nil && found.found {
		if r, err = old.record(&last); err != nil {
			err = &unreadableError{track, err}
		}
	}
	if isUnreadable(err) {
		return nil, unreadable(err)
	}
	return r, err
}

var errNobody = errors.New("it names no actor")

// record is what is left of a reminder, after the last firing where there was one; nil is nothing.
func (old *oldReminder) record(last *oldTrack) (*record, error) {
	if old.ActorID == "" {
		return nil, errNobody
	}
	if err := checkLengths(old.ActorID, old.Name); err != nil {
		return nil, err
	}
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
	if last != nil {
		from = last.LastFired
	}
	if plan.Due, err = time.Parse(time.RFC3339, from); err != nil {
		return nil, err
	}
	if last != nil {
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
