package pubsubtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/daprd/daprd/pkg/pubsub"
)

// errRefused is why handlers of the suite refuse a message.
var errRefused = errors.New("the application refuses the message")

// subscription is one under way. It watches over the contract at each call of its handler.
type subscription struct {
	f      *fixture
	cancel context.CancelFunc
	ended  chan error
	once   sync.Once
	over   atomic.Bool
}

// subscribe begins a subscription to the topic and waits until it is established. It ends with the case at the latest,
// and has to end without an error.
func (f *fixture) subscribe(b pubsub.Broker, topic string, batch pubsub.Batch, deliver pubsub.Handler) *subscription {
	f.Helper()
	s, established := f.begin(b, topic, batch, deliver)
	select {
	case <-established:
	case err := <-s.ended:
		f.Fatalf("the subscription ended before it was established: %v", err)
	case <-time.After(patience):
		f.Fatal("the subscription was not established")
	}
	f.Cleanup(s.end)
	return s
}

func (f *fixture) begin(b pubsub.Broker, topic string, batch pubsub.Batch, deliver pubsub.Handler) (*subscription, <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	s := &subscription{f: f, cancel: cancel, ended: make(chan error, 1)}
	established := make(chan struct{})
	request := &pubsub.SubscribeRequest{Topic: topic, Batch: batch, Durable: true, Established: func() { close(established) }}
	go func() {
		err := b.Subscribe(ctx, request, func(ctx context.Context, messages []*pubsub.Message) []error {
			s.watch(ctx, topic, batch, messages)
			return deliver(ctx, messages)
		})
		s.over.Store(true)
		s.ended <- err
	}()
	return s, established
}

// watch holds a call of the handler against the contract.
func (s *subscription) watch(ctx context.Context, topic string, batch pubsub.Batch, messages []*pubsub.Message) {
	if s.over.Load() {
		s.f.Error("messages came after the end of Subscribe")
	}
	if ctx.Err() != nil {
		s.f.Errorf("the context of a delivery has ended already: %v", ctx.Err())
	}
	if len(messages) == 0 || len(messages) > max(batch.Max, 1) {
		s.f.Errorf("%d messages came at once, want 1 to %d", len(messages), max(batch.Max, 1))
	}
	for _, m := range messages {
		if m.Topic != topic && topic[len(topic)-1] != '*' {
			s.f.Errorf("a message of topic %s came, want those of %s", m.Topic, topic)
		}
	}
}

// end ends the subscription and waits until everything in hand is done or given back.
func (s *subscription) end() {
	s.f.Helper()
	s.once.Do(func() {
		s.f.Helper()
		s.cancel()
		select {
		case err := <-s.ended:
			if err != nil {
				s.f.Errorf("Subscribe gave %v at its wanted end", err)
			}
		case <-time.After(patience):
			s.f.Fatal("Subscribe did not end with its context")
		}
	})
}

// each makes a handler of one for single messages.
func each(handle func(*pubsub.Message) error) pubsub.Handler {
	return func(_ context.Context, messages []*pubsub.Message) []error {
		errs := make([]error, len(messages))
		for i, m := range messages {
			errs[i] = handle(m)
		}
		return errs
	}
}

// inbox takes what was delivered.
type inbox chan *pubsub.Message

func newInbox() inbox { return make(inbox, 100_000) }

// take accepts messages into the inbox.
func (i inbox) take(_ context.Context, messages []*pubsub.Message) []error {
	for _, m := range messages {
		i <- m
	}
	return nil
}

// next waits for a message.
func (i inbox) next(f *fixture) *pubsub.Message {
	f.Helper()
	select {
	case m := <-i:
		return m
	case <-time.After(patience):
		f.Fatal("no message came")
		return nil
	}
}

// texts waits for n messages and gives their data.
func (i inbox) texts(f *fixture, n int) (data []string) {
	f.Helper()
	for range n {
		data = append(data, string(i.next(f).Data))
	}
	return data
}

// await waits for a signal.
func await(f *fixture, what string, signal <-chan struct{}) {
	f.Helper()
	select {
	case <-signal:
	case <-time.After(patience):
		f.Fatalf("in vain: %s", what)
	}
}

// numbers are the texts of 0 to n-1.
func numbers(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprint(i)
	}
	return all
}
