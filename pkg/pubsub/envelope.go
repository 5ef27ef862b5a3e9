package pubsub

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/daprd/daprd/pkg/cloudevent"
)

// envelop makes the CloudEvent of a publication.
func (s *Service) envelop(c *component, p *Publication) ([]byte, error) {
	now := time.Now()
	expiration := time.Time{}
	if ttl, ok := p.Metadata[metadataTTL]; ok && !c.has(FeatureMessageTTL) {
		if expiration, ok = expirationOf(ttl, now); !ok {
			// Dapr takes it, too, so that applications rely on it.
			s.deps.Log.Warnf("a message to topic %s of pubsub %s never expires: its metadata %s is %q, want a whole number of seconds", p.Topic, c.name, metadataTTL, ttl)
		}
	}
	if cloudevent.IsEvent(p.ContentType) {
		return s.complete(c, p, expiration)
	}
	e := cloudevent.Envelope{ID: uuid.NewString(), Source: s.deps.AppID, Type: cloudevent.DefaultType, Topic: p.Topic, PubSub: c.name,
		TraceID: p.TraceParent, TraceParent: p.TraceParent, TraceState: p.TraceState, Baggage: s.baggage(p), Time: now, Expiration: expiration,
		DataContentType: p.ContentType, Data: p.Data}
	if e.Source == "" {
		e.Source = cloudevent.DefaultSource
	}
	override(&e, p.Metadata)
	return e.Append(make([]byte, 0, len(p.Data)+len(p.Data)/3+512)), nil
}

// expirationOf is when a message with that ttlInSeconds ends, zero for never; false where it is no number of seconds.
func expirationOf(ttl string, now time.Time) (time.Time, bool) {
	const longest = math.MaxInt64 / int64(time.Second) // some 292 years: what is longer has no end
	seconds, err := strconv.ParseInt(ttl, 10, 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange), seconds < 0:
		return time.Time{}, false
	case seconds > longest:
		return time.Time{}, true
	}
	return now.Add(time.Duration(seconds) * time.Second), true
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
		return nil, syntaxError(p.Data, err)
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
	if baggage := s.baggage(p); baggage != "" {
		e.SetDefault("baggage", baggage)
	}
	if !expiration.IsZero() {
		e.Set("expiration", expiration.UTC().Format(time.RFC3339))
	}
	return e.Append(make([]byte, 0, len(p.Data)+256)), nil
}

// syntaxError tells where a text stops being JSON, in the words of encoding/json, as Dapr does; a text that is JSON has
// another fault.
func syntaxError(text []byte, fault error) error {
	var value json.RawMessage
	if err := json.Unmarshal(text, &value); err != nil {
		return err
	}
	return fault
}

// raw are the metadata of a raw message: it has no envelope that could carry the trace of its publisher. They are a copy
// where that has one, since the others belong to the caller.
func (s *Service) raw(p *Publication) map[string]string {
	baggage := s.baggage(p)
	if p.TraceParent == "" && baggage == "" {
		return p.Metadata
	}
	all := make(map[string]string, len(p.Metadata)+3)
	maps.Copy(all, p.Metadata)
	for name, value := range map[string]string{metadataTraceID: p.TraceParent, metadataTraceState: p.TraceState, metadataBaggage: baggage} {
		if value != "" {
			all[name] = value
		}
	}
	return all
}

// baggage goes along where spans are made, as the context of the call does. Elsewhere messages are as Dapr's are, which
// have none.
func (s *Service) baggage(p *Publication) string {
	if !s.deps.Tracer.On() {
		return ""
	}
	return p.Baggage
}
