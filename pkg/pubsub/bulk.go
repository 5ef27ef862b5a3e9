package pubsub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/cloudevent"
)

// Entry is one message of a bulk publish.
type Entry struct {
	// ID names the entry within the call. Required, and unlike all others.
	ID          string
	Data        []byte
	ContentType string
	// Metadata go before those of the call.
	Metadata map[string]string
	// Fault is why the transport could make no Data of what it got, nil for nothing.
	Fault error
}

// FailedEntry is an entry that the broker did not take.
type FailedEntry struct {
	ID    string
	Error error
}

const (
	// MaxEntries bounds the messages of one bulk publish.
	MaxEntries = 10000
	// singles is how many messages are published at once to a broker that cannot take them together, as in Dapr.
	singles = 100
)

var (
	errEntryID = errors.New("entryId is duplicated or not present for entry")
	// ErrMismatch is an entry whose event has not the form of its content type.
	ErrMismatch = errors.New("error: mismatch between contentType and event")
	errEntries  = fmt.Errorf("there are more than %d entries; send several requests", MaxEntries)
)

// PublishBulk hands many messages of one topic to the broker. When not all were taken the error is the row of the
// first failure and the list tells all; when something is wrong with the call itself nothing is published and there is
// no list. common holds the topic, the metadata, the trace and the fault of the call.
func (s *Service) PublishBulk(ctx context.Context, broker string, common *Publication, entries []Entry) ([]FailedEntry, error) {
	held, err := s.take(broker, common.Topic, common.Metadata)
	if err != nil {
		return nil, err
	}
	defer held.Leave()
	c := held.Value
	raw, err := isRaw(broker, common.Metadata)
	if err != nil {
		return nil, err
	}
	if common.Fault != nil {
		e := apierr.PubSubBody.New(common.Topic, broker, common.Fault)
		return nil, e.WithResource("pubsub", broker, e.Message).WithMetadata("appID", s.deps.AppID)
	}
	requests, err := s.requests(c, common, entries, raw)
	if err != nil {
		return nil, err
	}
	if len(requests) == 0 {
		return nil, nil
	}
	if !c.settings.mayPublish(s.deps.AppID, common.Topic) {
		return nil, s.forbidden(broker, common.Topic)
	}
	began := time.Now()
	failures := s.handAll(ctx, c, requests)
	failed := failedEntries(entries, failures)
	c.count.publishedBulk(common.Topic, len(failed) == 0, len(entries), time.Since(began))
	if len(failed) == 0 {
		return nil, nil
	}
	return failed, s.unpublished(broker, common.Topic, failed[0].Error)
}

// requests checks the entries and puts them into envelopes.
func (s *Service) requests(c *component, common *Publication, entries []Entry, raw bool) ([]PublishRequest, error) {
	if len(entries) > MaxEntries {
		return nil, s.unmade(apierr.PubSubEntries.New(common.Topic, c.name, errEntries), c.name, errEntries)
	}
	seen := make(map[string]struct{}, len(entries))
	requests := make([]PublishRequest, len(entries))
	for i := range entries {
		entry := &entries[i]
		if _, twice := seen[entry.ID]; twice || entry.ID == "" {
			return nil, s.unmade(apierr.PubSubEntries.New(common.Topic, c.name, errEntryID), c.name, errEntryID)
		}
		seen[entry.ID] = struct{}{}
		if entry.Fault != nil {
			return nil, s.unmade(apierr.PubSubEnvelope.New(common.Topic, c.name, entry.Fault), c.name, entry.Fault)
		}
		parent, state := s.entryTrace(common)
		p := Publication{Topic: common.Topic, Data: entry.Data, ContentType: entry.ContentType, Metadata: merged(common.Metadata, entry.Metadata),
			TraceParent: parent, TraceState: state, Baggage: common.Baggage}
		requests[i] = PublishRequest{Topic: c.settings.TopicPrefix + p.Topic, Data: p.Data, ContentType: p.ContentType, Metadata: p.Metadata}
		if raw {
			requests[i].Metadata = s.raw(&p)
			continue
		}
		event, err := s.envelop(c, &p)
		if err != nil {
			return nil, s.unmade(apierr.PubSubEvent.New(), c.name, err)
		}
		requests[i].Data, requests[i].ContentType = event, cloudevent.ContentType
	}
	return requests, nil
}

// merged gives an entry the metadata of the call, unless it has none of its own, as in Dapr.
func merged(common, own map[string]string) map[string]string {
	if len(own) == 0 || len(common) == 0 {
		return own
	}
	all := maps.Clone(common)
	maps.Copy(all, own)
	return all
}

// handAll publishes through the broker's decorators, together where it can.
func (s *Service) handAll(ctx context.Context, c *component, requests []PublishRequest) []error {
	if c.bulk == nil {
		return s.handSingly(ctx, c, requests)
	}
	failures := make([]error, len(requests))
	left := make([]int, len(requests))
	for i := range left {
		left[i] = i
	}
	// Another attempt is made for those alone that failed.
	err := c.outbound.Run(ctx, func(ctx context.Context) error {
		batch := make([]PublishRequest, len(left))
		for i, place := range left {
			batch[i] = requests[place]
		}
		outcome := c.bulk.PublishBulk(ctx, batch)
		var again []int
		var first error
		for i, place := range left {
			failures[place] = nil
			if outcome != nil && outcome[i] != nil {
				failures[place] = outcome[i]
				again = append(again, place)
				if first == nil {
					first = outcome[i]
				}
			}
		}
		left = again
		return first
	})
	for _, place := range left {
		if failures[place] == nil {
			failures[place] = err // the policy let nothing through
		}
	}
	return failures
}

func (s *Service) handSingly(ctx context.Context, c *component, requests []PublishRequest) []error {
	failures := make([]error, len(requests))
	slots := make(chan struct{}, singles)
	var wait sync.WaitGroup
	for i := range requests {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			failures[i] = c.outbound.Run(ctx, func(ctx context.Context) error { return c.broker.Publish(ctx, &requests[i]) })
		})
	}
	wait.Wait()
	return failures
}

func failedEntries(entries []Entry, failures []error) (failed []FailedEntry) {
	for i, err := range failures {
		if err != nil {
			failed = append(failed, FailedEntry{entries[i].ID, err})
		}
	}
	return failed
}
