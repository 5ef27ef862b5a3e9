package pubsub

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/cloudevent"
)

// together delivers several messages in one call for each path.
func (c *consumer) together(given context.Context, component *component, messages []*Message) []error {
	ctx, release := c.bounded(given)
	defer release()
	errs := make([]error, len(messages))
	var (
		paths  []string
		groups = map[string][]int{}
		opened = make([]*letter, len(messages))
	)
	for i, m := range messages {
		l, err := c.open(m)
		switch {
		case err != nil:
			_, errs[i] = c.settle(ctx, component, m, channel.TopicAnswer{}, err)
		case l == nil:
			errs[i] = c.discard(component, m)
		default:
			if _, known := groups[l.path]; !known {
				paths = append(paths, l.path)
			}
			opened[i] = l
			groups[l.path] = append(groups[l.path], i)
		}
	}
	for _, path := range paths {
		c.group(ctx, component, path, opened, groups[path], errs)
	}
	return errs
}

// group delivers the letters of one path. Of those that the application takes in part only the others are tried again.
func (c *consumer) group(ctx context.Context, component *component, path string, letters []*letter, members []int, errs []error) {
	began := time.Now()
	answers := make([]channel.TopicAnswer, len(letters))
	ids := make([]string, len(letters))
	for _, i := range members {
		ids[i] = uuid.NewString()
	}
	left := members
	err := c.reaching(ctx, component, func(ctx context.Context) error {
		said, err := c.to.(bulkReceiver).DeliverBulk(ctx, c.bulk(path, letters, left, ids))
		if err != nil {
			return err
		}
		var again []int
		var first error
		for k, i := range left {
			if answers[i] = said[k]; said[k].Verdict != channel.Retry {
				continue
			}
			if again = append(again, i); first == nil {
				first = refusal(said[k])
			}
		}
		left = again
		return first
	})
	failed := make(map[int]error, len(left))
	for _, i := range left {
		if failed[i] = err; answers[i].Verdict == channel.Retry {
			failed[i] = refusal(answers[i])
		}
	}
	counts := map[string]int{}
	for _, i := range members {
		var outcome string
		outcome, errs[i] = c.settle(ctx, component, letters[i].message, answers[i], failed[i])
		counts[outcome]++
	}
	for outcome, n := range counts {
		component.count.deliveredBulk(c.wish.Topic, outcome, n, time.Since(began))
	}
}

func (c *consumer) bulk(path string, letters []*letter, members []int, ids []string) *channel.BulkTopicEvent {
	b := &channel.BulkTopicEvent{ID: uuid.NewString(), PubSub: c.wish.PubSub, Topic: c.wish.Topic, Path: path, Metadata: map[string]string{"pubsubName": c.wish.PubSub}}
	for _, i := range members {
		l := letters[i]
		entry := channel.BulkEntry{ID: ids[i], Data: l.body, ContentType: cloudevent.ContentType, Metadata: l.message.Metadata}
		if c.service.deps.Tracer.On() {
			entry.TraceParent, _, _ = l.trace()
		}
		if c.raw {
			entry.Data, entry.Raw, entry.ContentType = l.message.Data, true, contentType(l.message)
			if entry.ContentType == "" {
				entry.ContentType = "application/octet-stream"
			}
		}
		b.Entries = append(b.Entries, entry)
	}
	return b
}
