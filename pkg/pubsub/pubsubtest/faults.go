package pubsubtest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/daprd/daprd/pkg/pubsub"
)

// outage: the server goes away three times while messages flow. What was accepted comes; what was published again
// because the answer was lost may come twice.
func (f *fixture) outage() {
	b, count := f.open(), NewTally(4, f.Load)
	end := f.persist(b, count.handle)
	done := f.flood(count, b)
	for i := range 3 {
		count.Await(f, float64(i+1)/5)
		back := f.Outage(f.T)
		back()
	}
	await(f, "everything is published", done)
	count.Await(f, 1)
	end()
	counts := count.Counts()
	f.Log(counts)
	if counts.Lost != 0 {
		f.Errorf("%+v", counts)
	}
}

// persist subscribes again whenever the subscription is lost, as the block does.
func (f *fixture) persist(b pubsub.Broker, deliver pubsub.Handler) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	wait.Go(func() {
		for ctx.Err() == nil {
			err := b.Subscribe(ctx, &pubsub.SubscribeRequest{Topic: f.topic, Durable: true, Established: func() {}}, deliver)
			if ctx.Err() != nil && err != nil && !errors.Is(err, context.Canceled) {
				f.Logf("the subscription ended with %v", err)
			}
			time.Sleep(time.Millisecond) // the server may be away
		}
	})
	end = func() { cancel(); wait.Wait() }
	f.Cleanup(end)
	return end
}
