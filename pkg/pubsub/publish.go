package pubsub

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

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
}

// The metadata that the block understands; names match in any case but the first two.
const (
	metadataRaw   = "rawPayload"
	metadataTTL   = "ttlInSeconds"
	metadataEvent = "cloudevent."
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
	request := PublishRequest{Topic: p.Topic, Data: p.Data, ContentType: p.ContentType, Metadata: p.Metadata}
	if !raw {
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

// envelop makes the CloudEvent of a publication.
func (s *Service) envelop(c *component, p *Publication) ([]byte, error) {
	expiration := time.Time{}
	if ttl, ok := p.Metadata[metadataTTL]; ok && !c.has(FeatureMessageTTL) {
		seconds, err := strconv.ParseInt(ttl, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("metadata %s: %q is no whole number of seconds", metadataTTL, ttl)
		}
		expiration = time.Now().Add(time.Duration(seconds) * time.Second)
	}
	if cloudevent.IsEvent(p.ContentType) {
		return s.complete(c, p, expiration)
	}
	e := cloudevent.Envelope{ID: uuid.NewString(), Source: s.deps.AppID, Type: cloudevent.DefaultType, Topic: p.Topic, PubSub: c.name,
		TraceID: p.TraceParent, TraceParent: p.TraceParent, TraceState: p.TraceState, Time: time.Now(), Expiration: expiration,
		DataContentType: p.ContentType, Data: p.Data}
	if e.Source == "" {
		e.Source = cloudevent.DefaultSource
	}
	override(&e, p.Metadata)
	return e.Append(make([]byte, 0, len(p.Data)+len(p.Data)/3+512)), nil
}

// override takes the attributes that the publisher names in metadata.
func override(e *cloudevent.Envelope, metadata map[string]string) {
	parent := ""
	for name, value := range metadata {
		if len(name) <= len(metadataEvent) || !strings.EqualFold(name[:len(metadataEvent)], metadataEvent) {
			continue
		}
		switch strings.ToLower(name[len(metadataEvent):]) {
		case "id":
			e.ID = value
		case "source":
			e.Source = value
		case "type":
			e.Type = value
		case "subject":
			e.Subject = value
		case "traceid":
			e.TraceID = value
		case "traceparent":
			parent = value
		case "tracestate":
			e.TraceState = value
		}
	}
	if parent != "" {
		e.TraceID, e.TraceParent = parent, parent
	}
}

// complete fills in what a CloudEvent of the application's own lacks.
func (s *Service) complete(c *component, p *Publication, expiration time.Time) ([]byte, error) {
	e, err := cloudevent.Parse(p.Data)
	if err != nil {
		return nil, err
	}
	e.Set("topic", p.Topic)
	e.Set("pubsubname", c.name)
	e.SetDefault("source", cloudevent.DefaultSource)
	e.SetDefault("type", cloudevent.DefaultType)
	e.SetDefault("specversion", cloudevent.SpecVersion)
	e.SetDefault("time", time.Now().UTC().Format(time.RFC3339))
	e.SetDefault("traceid", p.TraceParent)
	e.SetDefault("traceparent", p.TraceParent)
	e.SetDefault("tracestate", p.TraceState)
	if !expiration.IsZero() {
		e.Set("expiration", expiration.UTC().Format(time.RFC3339))
	}
	return e.Append(make([]byte, 0, len(p.Data)+256)), nil
}
