package pubsubtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/pubsub"
)

func (f *fixture) batches() {
	b, in := f.open(), newInbox()
	var largest atomic.Int64
	hold := make(chan struct{})
	f.subscribe(b, f.topic, pubsub.Batch{Max: 7, Await: time.Second}, func(ctx context.Context, messages []*pubsub.Message) []error {
		<-hold
		largest.Store(max(largest.Load(), int64(len(messages))))
		return in.take(ctx, messages)
	})
	f.publish(b, f.topic, numbers(100)...)
	close(hold)
	got := in.texts(f, 100)
	if !f.Ordered {
		f.sort(got)
	}
	if diff := cmp.Diff(numbers(100), got); diff != "" {
		f.Error(diff)
	}
	if largest.Load() < 2 {
		f.Error("messages came one by one")
	}
}

// sort brings numbers into their order.
func (f *fixture) sort(numbers []string) {
	slices.SortFunc(numbers, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
}

func (f *fixture) batchInPart() {
	b, in, seen := f.open(), newInbox(), newTimes()
	f.subscribe(b, f.topic, pubsub.Batch{Max: 10, Await: 50 * time.Millisecond}, each(func(m *pubsub.Message) error {
		if seen.add(m) == 1 && m.Data[len(m.Data)-1]%2 == 1 {
			return errRefused
		}
		in <- m
		return nil
	}))
	f.publish(b, f.topic, numbers(20)...)
	got := in.texts(f, 20)
	f.sort(got)
	if diff := cmp.Diff(numbers(20), got); diff != "" {
		f.Error(diff)
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	for _, name := range numbers(20) {
		if want := 1 + int(name[len(name)-1])%2; seen.count[name] != want {
			f.Errorf("%s came %d times, want %d", name, seen.count[name], want)
		}
	}
}

func (f *fixture) batchAwaits() {
	b, in := f.open(), newInbox()
	f.subscribe(b, f.topic, pubsub.Batch{Max: 1000, Await: 20 * time.Millisecond}, in.take)
	f.publish(b, f.topic, "alone")
	in.next(f)
}

// bulk publishes many messages in one call, where the broker can.
func (f *fixture) bulk() {
	b, in := f.open(), newInbox()
	many, ok := b.(pubsub.BulkPublisher)
	if has(b, pubsub.FeatureBulkPublish) && !ok {
		f.Error("the broker names the feature and does not have it")
	}
	if !ok {
		return
	}
	f.subscribe(b, f.topic, pubsub.Batch{}, in.take)
	requests := make([]pubsub.PublishRequest, 500)
	for i := range requests {
		requests[i] = pubsub.PublishRequest{Topic: f.topic, Data: fmt.Append(nil, i)}
	}
	for i, err := range many.PublishBulk(f.Context(), requests) {
		if err != nil {
			f.Errorf("message %d: %v", i, err)
		}
	}
	got := in.texts(f, len(requests))
	if !f.Ordered {
		f.sort(got)
	}
	if diff := cmp.Diff(numbers(len(requests)), got); diff != "" {
		f.Error(diff)
	}
}

func (f *fixture) wildcards() {
	b, in := f.open(), newInbox()
	if !has(b, pubsub.FeatureSubscribeWildcards) {
		return
	}
	f.subscribe(b, f.topic+"*", pubsub.Batch{}, in.take)
	f.publish(b, "other-"+f.topic, "no")
	f.publish(b, f.topic+".a", "a")
	f.publish(b, f.topic+".b", "b")
	got := in.texts(f, 2)
	f.sort(got)
	if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" {
		f.Error(diff)
	}
}

func (f *fixture) timeToLive() {
	b, in := f.open(), newInbox()
	if !has(b, pubsub.FeatureMessageTTL) {
		return
	}
	f.subscribe(b, f.topic, pubsub.Batch{}, in.take).end()
	short := &pubsub.PublishRequest{Topic: f.topic, Data: []byte("short"), Metadata: map[string]string{"ttlInSeconds": "1"}}
	if err := b.Publish(f.Context(), short); err != nil {
		f.Fatal(err)
	}
	time.Sleep(2 * time.Second) // what is tested is that time passes
	f.publish(b, f.topic, "long")
	f.subscribe(b, f.topic, pubsub.Batch{}, in.take)
	if m := in.next(f); string(m.Data) != "long" {
		f.Errorf("%q came after its time", m.Data)
	}
}
