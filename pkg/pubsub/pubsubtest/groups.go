package pubsubtest

import (
	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/pubsub"
)

func (f *fixture) groups() {
	one, two := f.member("one"), f.member("two")
	first, second := newInbox(), newInbox()
	f.subscribe(one, f.topic, pubsub.Batch{}, first.take)
	f.subscribe(two, f.topic, pubsub.Batch{}, second.take)
	f.publish(one, f.topic, numbers(50)...)
	for _, in := range []inbox{first, second} {
		got := in.texts(f, 50)
		f.sort(got)
		if diff := cmp.Diff(numbers(50), got); diff != "" {
			f.Error(diff)
		}
	}
}

func (f *fixture) members() {
	one, two, count := f.member("group"), f.member("group"), NewTally(4, f.Load)
	a := f.subscribe(one, f.topic, pubsub.Batch{}, count.handle)
	b := f.subscribe(two, f.topic, pubsub.Batch{}, count.handle)
	await(f, "everything is published", f.flood(count, one))
	count.Await(f, 1)
	a.end()
	b.end()
	counts := count.Counts()
	f.Log(counts)
	if counts.Lost != 0 || counts.Duplicated != 0 {
		f.Errorf("%+v", counts)
	}
}

// replaced: what a member had in hand when it left comes to another.
func (f *fixture) replaced() {
	one, two, in := f.member("group"), f.member("group"), newInbox()
	begun := make(chan struct{}, 100)
	a := f.subscribe(one, f.topic, pubsub.Batch{}, each(func(*pubsub.Message) error {
		begun <- struct{}{}
		return errRefused
	}))
	f.publish(one, f.topic, numbers(20)...)
	await(f, "a delivery", begun)
	f.subscribe(two, f.topic, pubsub.Batch{}, in.take)
	a.end()
	got := in.texts(f, 20)
	f.sort(got)
	if diff := cmp.Diff(numbers(20), got); diff != "" {
		f.Error(diff)
	}
}
