package state

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/config"
)

// OutboxSettings say where the writes of a store's transactions are published (pkg/outbox).
type OutboxSettings struct {
	// PubSub and Topic are where they are published.
	PubSub, Topic string
	// Through is the pub/sub that keeps events until their transaction is known to be stored.
	Through string
	// DiscardMissing drops an event whose transaction is not found, instead of asking again.
	DiscardMissing bool
}

// Outbox publishes what transactions write: the seam of pkg/outbox.
type Outbox interface {
	// Follow is told of a store that comes into service, or changes; its settings are nil where it publishes nothing or
	// has gone. What the outbox keeps in the store it reads through records.
	Follow(store string, settings *OutboxSettings, records *Service)
	// Take finds out what of a transaction is published. The error is an *apierr.Error.
	Take(store string, t *Transaction) (Outgoing, error)
}

// Outgoing is one transaction on its way through the outbox.
type Outgoing interface {
	// Operations are those to store.
	Operations() []RawOperation
	// Markers are the keys, as they stand in the store, that are written with them: one for each event.
	Markers() []string
	// Publish hands the events over, before the store is asked. The error is an *apierr.Error.
	Publish(ctx context.Context) error
	// Settle is told what became of the transaction, also after Publish failed.
	Settle(err error)
}

// MarkerValue is the value of a marker, a JSON string, as Dapr writes it.
const MarkerValue = `"0"`

// PublishedTransactionTime bounds a transaction whose events are with the broker already: whoever finds an event that is
// much older knows that its transaction will not come any more.
const PublishedTransactionTime = time.Minute

var errTransactionTime = fmt.Errorf("the state store did not take the transaction within %s", PublishedTransactionTime)

// transactPublished stores a transaction of which the outbox publishes what it writes.
func (s *Service) transactPublished(ctx context.Context, c *component, t *Transaction) (err error) {
	out, err := s.deps.Outbox.Take(c.name, t)
	if err != nil {
		return err
	}
	stored, err := c.complete(out.Operations())
	if err != nil || len(stored) == 0 {
		return err
	}
	for _, key := range out.Markers() {
		stored = append(stored, Operation{Set: &SetRequest{Key: key, Value: []byte(MarkerValue), JSON: true}})
	}
	if err := c.fits(len(stored)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, PublishedTransactionTime, errTransactionTime)
	defer cancel()
	defer func() { out.Settle(err) }()
	if err := out.Publish(ctx); err != nil {
		return err
	}
	return c.run(ctx, stored, t.Metadata)
}

// HasStored says whether a key is there, as it stands in the store: without prefix. It reads what was written last.
func (s *Service) HasStored(ctx context.Context, store, key string) (bool, error) {
	held, err := s.take(store)
	if err != nil {
		return false, err
	}
	defer held.Leave()
	item, err := held.Value.stored.get(ctx, &GetRequest{Key: key, Consistency: Strong})
	if err != nil {
		return false, failed(apierr.StateGet, err, key, store, err)
	}
	return item.Found, nil
}

// DeleteStored removes a key as it stands in the store: without prefix.
func (s *Service) DeleteStored(ctx context.Context, store, key string) error {
	held, err := s.take(store)
	if err != nil {
		return err
	}
	defer held.Leave()
	if err := held.Value.stored.remove(ctx, &DeleteRequest{Key: key}); err != nil {
		return failed(apierr.StateDelete, err, key, err)
	}
	return nil
}

// parseOutbox reads the settings of the outbox, nil for none.
func parseOutbox(properties map[string]string) (*OutboxSettings, error) {
	pubSub, _ := property(properties, propertyOutboxPublishPubSub)
	topic, _ := property(properties, propertyOutboxPublishTopic)
	switch {
	case pubSub == "" && topic == "":
		return nil, nil
	case topic == "":
		return nil, errors.New("metadata property outboxPublishPubsub needs outboxPublishTopic, the topic for what transactions write")
	case pubSub == "":
		return nil, errors.New("metadata property outboxPublishTopic needs outboxPublishPubsub, the pub/sub component for what transactions write")
	}
	through, _ := property(properties, propertyOutboxPubSub)
	if through == "" {
		through = pubSub
	}
	discard, _ := property(properties, propertyOutboxDiscard)
	return &OutboxSettings{PubSub: pubSub, Topic: topic, Through: through, DiscardMissing: config.Truthy(discard)}, nil
}
