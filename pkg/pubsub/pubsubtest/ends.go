package pubsubtest

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/ready"
)

func (f *fixture) endWaits() {
	b, in := f.open(), newInbox()
	begun, release := make(chan struct{}), make(chan struct{})
	s := f.subscribe(b, f.topic, pubsub.Batch{}, func(ctx context.Context, messages []*pubsub.Message) []error {
		close(begun)
		<-release
		if ctx.Err() != nil {
			f.Errorf("the delivery in hand was cut off: %v", ctx.Err())
		}
		return in.take(ctx, messages)
	})
	f.publish(b, f.topic, "in hand")
	await(f, "a delivery", begun)
	s.cancel()
	select {
	case err := <-s.ended:
		f.Fatalf("Subscribe ended with %v while a message was in hand", err)
	case <-time.After(50 * time.Millisecond): // it must not come, so there is nothing to wait for
	}
	close(release)
	s.end()
	again := newInbox()
	f.subscribe(b, f.topic, pubsub.Batch{}, again.take)
	f.publish(b, f.topic, "next")
	if diff := cmp.Diff([]string{"in hand", "next"}, append(in.texts(f, 1), again.texts(f, 1)...)); diff != "" {
		f.Error(diff)
	}
}

// endGivesBack: what was in hand and refused, what waited for its turn, and what waited to be delivered again, all comes
// to the next subscription, at once.
func (f *fixture) endGivesBack() {
	b := f.open()
	begun := make(chan struct{})
	var first sync.Once
	s := f.subscribe(b, f.topic, pubsub.Batch{}, each(func(*pubsub.Message) error {
		first.Do(func() { close(begun) })
		return errRefused
	}))
	f.publish(b, f.topic, numbers(50)...)
	await(f, "a delivery", begun)
	s.end()
	in := newInbox()
	f.subscribe(b, f.topic, pubsub.Batch{}, in.take)
	got := in.texts(f, 50)
	if !f.Ordered {
		f.sort(got)
	}
	if diff := cmp.Diff(numbers(50), got); diff != "" {
		f.Error(diff)
	}
}

// comeAndGo: nothing is lost and nothing comes twice while a subscription ends and begins anew.
func (f *fixture) comeAndGo() {
	b, count := f.open(), NewTally(4, f.Load)
	s := f.subscribe(b, f.topic, pubsub.Batch{}, count.handle)
	done := f.flood(count, b)
	for i := range 10 {
		count.Await(f, float64(i)/11)
		s.end()
		s = f.subscribe(b, f.topic, pubsub.Batch{}, count.handle)
	}
	await(f, "everything is published", done)
	count.Await(f, 1)
	s.end()
	f.judge(count)
}

// judge holds the counts of a run without faults against the contract.
func (f *fixture) judge(count *Tally) {
	f.Helper()
	counts := count.Counts()
	f.Log(counts)
	if counts.Lost != 0 || counts.Duplicated != 0 || f.Ordered && counts.Reordered != 0 {
		f.Errorf("%+v", counts)
	}
}

// load: several publishers at once, and a handler that fails now and then.
func (f *fixture) load() {
	b, count := f.open(), NewTally(8, f.Load)
	var calls atomic.Int64
	f.subscribe(b, f.topic, pubsub.Batch{}, each(func(m *pubsub.Message) error {
		if calls.Add(1)%int64(f.Load/20) == 0 {
			return errRefused
		}
		count.Accept(string(m.Data))
		return nil
	}))
	await(f, "everything is published", f.flood(count, b))
	count.Await(f, 1)
	f.judge(count)
}

func (f *fixture) closed() {
	b, in := f.open(), newInbox()
	if _, ok := b.(io.Closer); !ok {
		return
	}
	s := f.subscribe(b, f.topic, pubsub.Batch{}, in.take)
	other, established := f.begin(b, f.topic+"-other", pubsub.Batch{}, in.take)
	await(f, "the other subscription", established)
	s.end()
	if err := ready.Close(b); err != nil {
		f.Errorf("close: %v", err)
	}
	select {
	case err := <-other.ended:
		if err == nil {
			f.Error("a subscription that lost its broker ended without an error")
		}
	case <-time.After(patience):
		f.Error("a subscription goes on after the end of its broker")
	}
	other.cancel()
	if err := b.Publish(f.Context(), &pubsub.PublishRequest{Topic: f.topic, Data: []byte("late")}); err == nil {
		f.Error("a closed broker has accepted a message")
	}
	ctx, cancel := f.within()
	defer cancel()
	err := b.Subscribe(ctx, &pubsub.SubscribeRequest{Topic: f.topic, Established: func() {}}, in.take)
	if err == nil || errors.Is(err, context.DeadlineExceeded) {
		f.Errorf("a subscription to a closed broker gave %v", err)
	}
}

// keeps: messages wait for their group.
func (f *fixture) keeps() {
	b, in := f.open(), newInbox()
	f.publish(b, f.topic, "before")
	s := f.subscribe(b, f.topic, pubsub.Batch{}, in.take)
	got := in.texts(f, 1)
	s.end()
	f.publish(b, f.topic, "between")
	if err := ready.Close(b); err != nil {
		f.Fatal(err)
	}
	b = f.open()
	f.publish(b, f.topic, "after")
	f.subscribe(b, f.topic, pubsub.Batch{}, in.take)
	rest := in.texts(f, 2)
	slices.Sort(rest)
	if diff := cmp.Diff([]string{"before", "after", "between"}, append(got, rest...)); diff != "" {
		f.Error(diff)
	}
}
