// Package pubsub is the publish and subscribe building block: the contract of brokers, and the Service that holds
// the block's whole meaning (envelopes, scopes, routing, delivery, dead letters). It knows no wire: no HTTP, no
// protobuf.
package pubsub

import (
	"context"
	"time"
)

// Broker is what every pub/sub component can do. Its methods may be called by many goroutines at once.
//
// The contract of delivery (docs/delivery.md) binds every broker: a message that Publish has accepted is delivered
// to each consumer group until one of its members accepts it; a message that was not accepted is delivered again.
type Broker interface {
	// Publish hands one message over. nil means that the broker has it: as safe as the broker keeps messages. The
	// request belongs to the caller: once Publish returned, the broker holds neither it nor its bytes.
	Publish(ctx context.Context, req *PublishRequest) error
	// Subscribe takes messages of one topic and hands them to deliver until ctx ends. It calls req.Established once
	// the broker has accepted the subscription, and returns an error when it could not be made or is lost: whoever
	// subscribed tries again.
	//
	// When ctx ends it takes no new messages, waits until the calls of deliver in hand have returned, gives back
	// what it holds beyond them, and returns nil. Contexts of deliver do not end with ctx; they carry the broker's
	// own bound on handling, if it has one.
	Subscribe(ctx context.Context, req *SubscribeRequest, deliver Handler) error
}

// Abilities of a Broker beyond the contract, found by assertion once, when the broker is added. A broker that has
// io.Closer is closed at the end.
type (
	// BulkPublisher takes many messages of one topic in one round trip.
	BulkPublisher interface {
		// PublishBulk gives an error for each message, nil where it was accepted, in their order; a nil slice means
		// that all were.
		PublishBulk(ctx context.Context, reqs []PublishRequest) []error
	}
	// Forgetter lets go of what it keeps for a durable subscription of the topic that does not come back.
	Forgetter interface{ Forget(topic string) }
	// Featured names what the interfaces cannot tell. It is asked once, when the broker is added.
	Featured interface {
		Features() []Feature
	}
)

// Feature is a capability as the metadata API lists it.
type Feature string

// The features of brokers, in the words of Dapr 1.18.
const (
	// FeatureMessageTTL: the broker itself forgets messages whose ttlInSeconds is over.
	FeatureMessageTTL Feature = "MESSAGE_TTL"
	// FeatureSubscribeWildcards: the topic of a subscription may be a pattern.
	FeatureSubscribeWildcards Feature = "SUBSCRIBE_WILDCARDS"
	// FeatureBulkPublish: the broker is a BulkPublisher.
	FeatureBulkPublish Feature = "BULK_PUBSUB"
)

// PublishRequest is one message on its way to the broker.
type PublishRequest struct {
	Topic string
	// Data is the CloudEvent as JSON, or the caller's own bytes with rawPayload.
	Data []byte
	// ContentType is that of Data, "" where nobody said.
	ContentType string
	// Metadata is the caller's: ttlInSeconds and whatever the broker understands.
	Metadata map[string]string
}

// SubscribeRequest is a wish for the messages of one topic.
type SubscribeRequest struct {
	Topic    string
	Metadata map[string]string
	// Batch is how many messages one call of deliver may bring.
	Batch Batch
	// InFlight is the most calls of deliver at once that the subscriber wants, 0 for as many as the broker makes. With 1
	// order is kept over failures, where the broker can keep it.
	InFlight int
	// Durable says that the subscription comes back when it has ended: a broker that keeps messages for subscribers
	// alone keeps them meanwhile. Forgetter ends that.
	Durable bool
	// Established is called at most once, when the broker has accepted the subscription. It is never nil.
	Established func()
}

// Batch bounds a call of deliver: at most Max messages (1 and less mean 1), the first of which waits for the others
// for at most Await.
type Batch struct {
	Max   int
	Await time.Duration
}

// Handler takes messages, at least one, all of one topic, and gives an error for each in their order: nil where the
// message is done with, and is never delivered again. A nil slice means that all are done with. A message that got
// an error is delivered again after the broker's pause, whatever the error.
type Handler func(ctx context.Context, messages []*Message) []error

// Message is one message of the broker.
type Message struct {
	// ID is the broker's name of the message within its topic, the same at each delivery; "" if it has none.
	ID string
	// Topic is where it was published, without what the broker itself adds to the name.
	Topic string
	Data  []byte
	// ContentType is "" where the broker does not know.
	ContentType string
	// Metadata is what was published along.
	Metadata map[string]string
}
