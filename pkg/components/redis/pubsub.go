package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-redis/redis/v8"
	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/pubsub"
)

// pubsubSettings is the metadata of pubsub.redis. Defaults are those of Dapr 1.18.
type pubsubSettings struct {
	connection
	ConsumerID        string        `metadata:"consumerID"`
	ProcessingTimeout time.Duration `metadata:"processingTimeout,milliseconds" default:"60s"`
	RedeliverInterval time.Duration `metadata:"redeliverInterval,milliseconds" default:"15s"`
	QueueDepth        uint32        `metadata:"queueDepth" default:"100"`
	Concurrency       uint32        `metadata:"concurrency" default:"10"`
	MaxLenApprox      int64         `metadata:"maxLenApprox"`
	StreamTTL         time.Duration `metadata:"streamTTL"`
}

// The most that queueDepth and concurrency may be: room for it is made at once.
const (
	deepest = 100_000
	widest  = 10_000
)

// defaultRedelivery is the pause before a failed message where redeliverInterval is 0.
const defaultRedelivery = 15 * time.Second

// mostReads bounds the connections that wait for messages: one for each subscription.
const mostReads = 1000

// broker keeps each topic in a stream of its name. A consumer group, and the one consumer in it, have the name of
// consumerID: all replicas are the same consumer, as Dapr's are, and tell by the idle time of an entry whether one
// of them has it in hand.
type broker struct {
	// client is for commands that answer at once; reads waits, on connections of its own, so that subscriptions
	// leave the pool to others.
	client, reads *client
	settings      pubsubSettings
	// held are the entries that this process has in hand.
	held *ledger
	// slots are the calls of handlers that may run at once, over all topics.
	slots chan struct{}
	// label names the component in lines of the log.
	label string
	log   logrus.FieldLogger
}

// NewPubSub is the factory of pubsub.redis.
func NewPubSub(ctx context.Context, spec *components.Spec) (pubsub.Broker, error) {
	settings := pubsubSettings{}
	if err := components.Decode(spec, &settings); err != nil {
		return nil, err
	}
	if err := settings.complete(spec); err != nil {
		return nil, err
	}
	waiting := settings.connection
	waiting.PoolSize, waiting.MinIdle, waiting.MaxRetries = mostReads, 0, -1
	options, err := waiting.options()
	if err != nil {
		return nil, err
	}
	connected, err := dial(ctx, &settings.connection, spec.Log)
	if err != nil {
		return nil, fmt.Errorf("redis streams: %w", err)
	}
	return &broker{
		client: connected, reads: &client{open(&waiting, options), connected.at}, settings: settings,
		held: newLedger(), slots: make(chan struct{}, settings.Concurrency),
		label: label(spec), log: spec.Log,
	}, nil
}

// complete checks the settings and fills in what depends on the sidecar.
func (s *pubsubSettings) complete(spec *components.Spec) error {
	s.ConsumerID = cmp.Or(strings.TrimSpace(s.ConsumerID), spec.AppID)
	s.QueueDepth, s.Concurrency = cmp.Or(s.QueueDepth, 100), cmp.Or(s.Concurrency, 10)
	switch {
	case s.ConsumerID == "":
		return errors.New("metadata property consumerID is missing: without an app id, want the name of the consumer group")
	case s.QueueDepth > deepest:
		return fmt.Errorf("metadata property queueDepth: %d is too much: want %d at most", s.QueueDepth, deepest)
	case s.Concurrency > widest:
		return fmt.Errorf("metadata property concurrency: %d is too much: want %d at most", s.Concurrency, widest)
	}
	warn := func(text string) {
		spec.Log.Warnf("component %s (%s/%s): %s", spec.Name, spec.Type, spec.Version, text)
	}
	if s.MaxLenApprox > 0 && s.StreamTTL > 0 {
		warn("streamTTL has no effect beside maxLenApprox: Redis trims a stream by one of the two")
	}
	if !s.claims() {
		warn("processingTimeout or redeliverInterval is 0: messages that a consumer had in hand when it died are not delivered again")
	}
	return nil
}

// label names a component in lines of the log.
func label(spec *components.Spec) string {
	return fmt.Sprintf("component %s (%s/%s)", spec.Name, spec.Type, spec.Version)
}

// claims says whether entries of consumers that died are taken over. The zero of either time switches it off, as in
// Dapr.
func (s *pubsubSettings) claims() bool { return s.ProcessingTimeout > 0 && s.RedeliverInterval > 0 }

// redelivery is the pause before a failed message is delivered again.
func (s *pubsubSettings) redelivery() time.Duration {
	if s.RedeliverInterval <= 0 {
		return defaultRedelivery
	}
	return s.RedeliverInterval
}

// Publish adds one entry to the topic's stream. A command whose answer was lost is sent again, so that an entry may
// be there twice.
func (b *broker) Publish(ctx context.Context, req *pubsub.PublishRequest) error {
	return b.client.failed(b.add(ctx, b.client, req).Err())
}

// PublishBulk adds all entries in one round trip, in a cluster too: they are of one topic.
func (b *broker) PublishBulk(ctx context.Context, reqs []pubsub.PublishRequest) []error {
	pipe := b.client.Pipeline()
	answers := make([]*redis.StringCmd, len(reqs))
	for i := range reqs {
		answers[i] = b.add(ctx, pipe, &reqs[i])
	}
	if _, err := pipe.Exec(ctx); err == nil {
		return nil
	}
	errs := make([]error, len(reqs))
	for i, answer := range answers {
		errs[i] = b.client.failed(answer.Err())
	}
	return errs
}

func (b *broker) add(ctx context.Context, to redis.Cmdable, req *pubsub.PublishRequest) *redis.StringCmd {
	arguments := redis.XAddArgs{Stream: req.Topic, Values: fields(req)}
	switch s := &b.settings; {
	case s.MaxLenApprox > 0:
		arguments.MaxLen, arguments.Approx = s.MaxLenApprox, true
	case s.StreamTTL > 0:
		arguments.MinID, arguments.Approx = strconv.FormatInt(time.Now().Add(-s.StreamTTL).UnixMilli(), 10), true
	}
	return to.XAdd(ctx, &arguments)
}

// Ping asks whether the server answers.
func (b *broker) Ping(ctx context.Context) error { return b.client.alive(ctx) }

// Close ends the connections.
func (b *broker) Close() error { return errors.Join(b.reads.Close(), b.client.Close()) }
