package pubsub

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/cloudevent"
	"github.com/daprd/daprd/pkg/ready"
)

// Publication is what an application publishes. The block keeps none of it.
type Publication struct {
	Topic       string
	Data        []byte
	ContentType string
	// Metadata holds rawPayload, ttlInSeconds, cloudevent.* and whatever the broker understands.
	Metadata map[string]string
	// TraceParent and TraceState are the caller's, "" for none.
	TraceParent, TraceState string
	// Baggage is what came with the call, "" for none. It goes along where spans are made.
	Baggage string
	// Fault is why the transport has no data: the body of the call broke off, was too large or no list of entries. nil
	// for nothing.
	Fault error
}

// The metadata that the block understands; names match in any case but the first two.
const (
	metadataRaw   = "rawPayload"
	metadataTTL   = "ttlInSeconds"
	metadataEvent = "cloudevent."
	// The trace of a raw message stands under these.
	metadataTraceID    = "traceid"
	metadataTraceState = "tracestate"
	metadataBaggage    = "baggage"
)

// Publish hands one message to the broker, in a CloudEvent unless the metadata say rawPayload. Errors are
// *apierr.Error.
func (s *Service) Publish(ctx context.Context, broker string, p *Publication) error {
	held, err := s.take(broker, p.Topic, p.Metadata)
	if err != nil {
		return err
	}
	defer held.Leave()
	c := held.Value
	raw, err := isRaw(broker, p.Metadata)
	if err != nil {
		return err
	}
	if p.Fault != nil {
		return s.unpublished(broker, p.Topic, p.Fault)
	}
	request := PublishRequest{Topic: p.Topic, Data: p.Data, ContentType: p.ContentType, Metadata: p.Metadata}
	if raw {
		request.Metadata = s.raw(p)
	} else {
		if request.Data, err = s.envelop(c, p); err != nil {
			return s.unmade(apierr.PubSubEvent.New(), broker, err)
		}
		request.ContentType = cloudevent.ContentType
	}
	if !c.settings.mayPublish(s.deps.AppID, p.Topic) {
		return s.forbidden(broker, p.Topic)
	}
	if err := s.hand(ctx, c, &request); err != nil {
		return s.unpublished(broker, p.Topic, err)
	}
	return nil
}

// take finds the broker that a call names.
func (s *Service) take(broker, topic string, metadata map[string]string) (*ready.Held[*component], error) {
	if broker == "" {
		e := apierr.PubSubNameEmpty.New()
		return nil, pairs(e, metadata).WithResource("pubsub", "", e.Message)
	}
	held, ok := s.brokers.Take(broker)
	if !ok {
		return nil, apierr.PubSubNotFound.New(broker).WithMetadata()
	}
	if topic == "" {
		held.Leave()
		e := apierr.PubSubTopicEmpty.New(broker)
		return nil, pairs(e, metadata).WithResource("pubsub", broker, e.Message)
	}
	return held, nil
}

func pairs(e *apierr.Error, metadata map[string]string) *apierr.Error {
	e.WithMetadata()
	for name, value := range metadata {
		e.WithMetadata(name, value)
	}
	return e
}

// isRaw reads rawPayload by the rules of Go's booleans, as Dapr does.
func isRaw(broker string, metadata map[string]string) (bool, error) {
	text, ok := metadata[metadataRaw]
	if !ok || text == "" {
		return false, nil
	}
	raw, err := strconv.ParseBool(text)
	if err != nil {
		e := apierr.PubSubMetadata.New(fmt.Sprintf("%s value must be a valid boolean: actual is '%s'", metadataRaw, text))
		return false, pairs(e, metadata).WithResource("pubsub", broker, e.Message)
	}
	return raw, nil
}

func (s *Service) unmade(e *apierr.Error, broker string, cause error) error {
	return e.WithResource("pubsub", broker, e.Message).WithMetadata("appID", s.deps.AppID, "error", cause.Error())
}

func (s *Service) forbidden(broker, topic string) error {
	e := apierr.PubSubForbidden.New(topic, s.deps.AppID)
	return e.WithResource("pubsub", broker, e.Message).WithMetadata("topic", topic, "error", e.Message)
}

func (s *Service) unpublished(broker, topic string, err error) error {
	if own := new(apierr.Error); errors.As(err, &own) {
		return own
	}
	e := apierr.PubSubPublish.New(topic, broker, err)
	return e.WithResource("pubsub", broker, e.Message).WithMetadata("topic", topic, "error", err.Error())
}

// PublishOwn hands over a CloudEvent of the sidecar's own, complete as it is. The scopes of the component are not asked:
// they are the application's. Errors are *apierr.Error.
func (s *Service) PublishOwn(ctx context.Context, broker, topic string, event []byte) error {
	held, err := s.take(broker, topic, nil)
	if err != nil {
		return err
	}
	defer held.Leave()
	if err := s.hand(ctx, held.Value, &PublishRequest{Topic: topic, Data: event, ContentType: cloudevent.ContentType}); err != nil {
		return s.unpublished(broker, topic, err)
	}
	return nil
}

// Permitted says whether the application may publish to a topic of a broker, as far as the broker is in service. The
// error is an *apierr.Error.
func (s *Service) Permitted(broker, topic string) error {
	if c, ok := s.brokers.Look(broker); ok && !c.settings.mayPublish(s.deps.AppID, topic) {
		return s.forbidden(broker, topic)
	}
	return nil
}

// hand publishes through the broker's decorators what is complete already: the last step of Publish, and the way of
// dead letters.
func (s *Service) hand(ctx context.Context, c *component, req *PublishRequest) error {
	topic := req.Topic
	if c.settings.TopicPrefix != "" {
		req.Topic = c.settings.TopicPrefix + topic
	}
	began := time.Now()
	err := c.outbound.Run(ctx, func(ctx context.Context) error { return c.broker.Publish(ctx, req) })
	c.count.published(topic, err == nil, time.Since(began))
	return err
}
