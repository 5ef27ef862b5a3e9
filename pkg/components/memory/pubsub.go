package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/pubsub"
)

// brokerSettings are the properties of pubsub.in-memory; Dapr's has none.
type brokerSettings struct {
	// QueueDepth is how many messages a subscription holds before publishers wait.
	QueueDepth int `metadata:"queueDepth" default:"1000"`
	// Concurrency is how many calls of the application a subscription makes at once; with 1 order is kept.
	Concurrency int `metadata:"concurrency" default:"1"`
	// RedeliverInterval is the pause after a first failure; it doubles up to redeliverLimit.
	RedeliverInterval time.Duration `metadata:"redeliverInterval,milliseconds" default:"500ms"`
	ConsumerID        string        `metadata:"consumerID"`
}

const (
	// redeliverLimit is the longest pause between two deliveries of a message.
	redeliverLimit = 30 * time.Second
	// maxQueue and maxWorkers bound what a manifest can ask for.
	maxQueue   = 1_000_000
	maxWorkers = 1000
)

var errClosed = errors.New("component is closed")

// broker is pubsub.in-memory. Every subscription has a queue of its own, which gets a copy of each message.
type broker struct {
	settings brokerSettings
	sequence atomic.Uint64

	mu     sync.RWMutex
	closed bool
	// exact are the queues by topic, patterns those of topics that end in "*".
	exact    map[string][]*queue
	patterns []*queue
}

// NewPubSub is the factory of pubsub.in-memory.
func NewPubSub(_ context.Context, spec *components.Spec) (pubsub.Broker, error) {
	b := &broker{exact: map[string][]*queue{}}
	if err := components.Decode(spec, &b.settings); err != nil {
		return nil, err
	}
	for name, bound := range map[string]struct{ value, most int }{"queueDepth": {b.settings.QueueDepth, maxQueue}, "concurrency": {b.settings.Concurrency, maxWorkers}} {
		if bound.value < 1 || bound.value > bound.most {
			return nil, fmt.Errorf("metadata property %s: %d is not usable: want 1 to %d", name, bound.value, bound.most)
		}
	}
	if b.settings.RedeliverInterval <= 0 {
		return nil, fmt.Errorf("metadata property redeliverInterval: %s is not usable: want more than 0", b.settings.RedeliverInterval)
	}
	return b, nil
}

// Features are what the interfaces cannot tell.
func (b *broker) Features() []pubsub.Feature {
	return []pubsub.Feature{pubsub.FeatureSubscribeWildcards}
}

// Publish puts a copy into the queue of every subscription of the topic. It waits for room where one is full and being
// read; one that is full and has no reader for now is an error at once.
func (b *broker) Publish(ctx context.Context, req *pubsub.PublishRequest) error {
	b.mu.RLock()
	closed := b.closed
	exact := b.exact[req.Topic]
	var matching []*queue
	for _, q := range b.patterns {
		if len(req.Topic) > len(q.topic)-1 && strings.HasPrefix(req.Topic, q.topic[:len(q.topic)-1]) {
			matching = append(matching, q)
		}
	}
	b.mu.RUnlock()
	if closed {
		return errClosed
	}
	if len(exact) == 0 && len(matching) == 0 {
		return nil // as with Dapr: a message without a subscriber is lost
	}
	m := &pubsub.Message{ID: strconv.FormatUint(b.sequence.Add(1), 10), Topic: req.Topic, Data: bytes.Clone(req.Data),
		ContentType: req.ContentType, Metadata: maps.Clone(req.Metadata)}
	for _, q := range exact {
		if err := q.put(ctx, m); err != nil {
			return err
		}
	}
	for _, q := range matching {
		if err := q.put(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// PublishBulk publishes one after the other, so that their order is kept.
func (b *broker) PublishBulk(ctx context.Context, reqs []pubsub.PublishRequest) []error {
	errs := make([]error, len(reqs))
	for i := range reqs {
		errs[i] = b.Publish(ctx, &reqs[i])
	}
	return errs
}

// Subscribe reads a queue: that which an earlier durable subscription of the topic has left, or a new one.
func (b *broker) Subscribe(ctx context.Context, req *pubsub.SubscribeRequest, deliver pubsub.Handler) error {
	q, err := b.open(req)
	if err != nil {
		return err
	}
	defer b.leave(q, req.Durable)
	q.resume()
	req.Established()
	var wait sync.WaitGroup
	n := workers(b.settings.Concurrency, req.InFlight)
	r := &reader{queue: q, bounds: req.Batch, pause: b.settings.RedeliverInterval, ordered: n == 1}
	for range n {
		wait.Go(func() { r.read(ctx, deliver) })
	}
	wait.Wait()
	if ctx.Err() == nil {
		return errClosed
	}
	return nil
}

// workers are as many as the subscriber and the manifest allow.
func workers(concurrency, inFlight int) int {
	if inFlight > 0 {
		return min(concurrency, inFlight)
	}
	return concurrency
}

func (b *broker) open(req *pubsub.SubscribeRequest) (*queue, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, errClosed
	}
	all := b.of(req.Topic)
	for _, q := range all {
		if req.Durable && q.idle.CompareAndSwap(true, false) {
			return q, nil
		}
	}
	q := newQueue(req.Topic, b.settings.QueueDepth)
	b.set(req.Topic, append(slices.Clip(all), q))
	return q, nil
}

// of are the queues of a subscription's topic; set replaces them. The caller holds the lock.
func (b *broker) of(topic string) []*queue {
	if !strings.HasSuffix(topic, "*") {
		return b.exact[topic]
	}
	return slices.DeleteFunc(slices.Clone(b.patterns), func(q *queue) bool { return q.topic != topic })
}

func (b *broker) set(topic string, queues []*queue) {
	switch {
	case strings.HasSuffix(topic, "*"):
		others := slices.DeleteFunc(slices.Clone(b.patterns), func(q *queue) bool { return q.topic == topic })
		b.patterns = append(others, queues...)
	case len(queues) == 0:
		delete(b.exact, topic)
	default:
		b.exact[topic] = queues
	}
}

// leave keeps the queue of a durable subscription for its return, and drops any other.
func (b *broker) leave(q *queue, durable bool) {
	if durable {
		q.idle.Store(true)
		return
	}
	b.drop(q.topic, func(other *queue) bool { return other == q })
}

// Forget drops the queues of the topic that nobody reads.
func (b *broker) Forget(topic string) {
	b.drop(topic, func(q *queue) bool { return q.idle.Load() })
}

func (b *broker) drop(topic string, which func(*queue) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var kept []*queue
	for _, q := range b.of(topic) {
		if which(q) {
			q.close()
		} else {
			kept = append(kept, q)
		}
	}
	b.set(topic, kept)
}

// Close ends subscriptions and refuses messages; what is in the queues is lost.
func (b *broker) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, queues := range b.exact {
		for _, q := range queues {
			q.close()
		}
	}
	for _, q := range b.patterns {
		q.close()
	}
	b.exact, b.patterns = map[string][]*queue{}, nil
	return nil
}
