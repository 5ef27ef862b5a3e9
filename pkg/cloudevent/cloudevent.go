// Package cloudevent builds and reads CloudEvents as JSON, in the form in which Dapr publishes them. It must not know
// who publishes or receives.
package cloudevent

import (
	"encoding/base64"
	"strings"
	"time"

	"github.com/daprd/daprd/pkg/jsontext"
)

// ContentType is that of a CloudEvent as JSON.
const ContentType = "application/cloudevents+json"

// The values of members that the publisher does not give.
const (
	DefaultType   = "com.dapr.event.sent"
	DefaultSource = "Dapr"
	SpecVersion   = "1.0"
)

const (
	binaryType   = "application/octet-stream"
	textType     = "text/plain"
	protobufType = "application/cloudevents+protobuf"
)

// Envelope is an event that is built around what an application publishes.
type Envelope struct {
	// ID, Source, Type are never empty.
	ID, Source, Type string
	Topic, PubSub    string
	// Subject is left out when it is empty.
	Subject string
	// TraceID, TraceParent, TraceState are written as they are, also empty.
	TraceID, TraceParent, TraceState string
	// Baggage is left out when it is empty.
	Baggage string
	// Time is written in UTC, whole seconds.
	Time time.Time
	// Expiration is left out when it is zero.
	Expiration time.Time
	// DataContentType decides how Data is written; empty means text/plain.
	DataContentType string
	Data            []byte
}

// Append writes the event, its members in the order of their names. Data of application/json that is JSON stays as it
// is, byte for byte; bytes are base64; everything else is a string.
func (e *Envelope) Append(dst []byte) []byte {
	contentType := e.DataContentType
	if contentType == "" {
		contentType = textType
	}
	dst = append(dst, '{')
	if e.Baggage != "" {
		dst = append(appendMember(dst, `"baggage":`, e.Baggage), ',')
	}
	dst = appendData(dst, contentType, e.Data)
	dst = appendMember(dst, `,"datacontenttype":`, contentType)
	if !e.Expiration.IsZero() {
		dst = appendTime(dst, `,"expiration":"`, e.Expiration)
	}
	dst = appendMember(dst, `,"id":`, e.ID)
	dst = appendMember(dst, `,"pubsubname":`, e.PubSub)
	dst = appendMember(dst, `,"source":`, e.Source)
	dst = append(dst, `,"specversion":"1.0"`...)
	if e.Subject != "" {
		dst = appendMember(dst, `,"subject":`, e.Subject)
	}
	dst = appendTime(dst, `,"time":"`, e.Time)
	dst = appendMember(dst, `,"topic":`, e.Topic)
	dst = appendMember(dst, `,"traceid":`, e.TraceID)
	dst = appendMember(dst, `,"traceparent":`, e.TraceParent)
	dst = appendMember(dst, `,"tracestate":`, e.TraceState)
	dst = appendMember(dst, `,"type":`, e.Type)
	return append(dst, '}')
}

func appendData(dst []byte, contentType string, data []byte) []byte {
	switch {
	case IsBinary(contentType):
		dst = append(dst, `"data_base64":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, data)
		return append(dst, '"')
	case IsJSON(contentType) && len(data) > 0:
		return jsontext.AppendValue(append(dst, `"data":`...), data)
	}
	return jsontext.AppendString(append(dst, `"data":`...), string(data))
}

func appendMember(dst []byte, name, value string) []byte {
	return jsontext.AppendString(append(dst, name...), value)
}

func appendTime(dst []byte, name string, t time.Time) []byte {
	return append(t.UTC().AppendFormat(append(dst, name...), time.RFC3339), '"')
}

// IsJSON knows application/json with parameters or without; other types that end in +json are text to Dapr.
func IsJSON(contentType string) bool { return isType(contentType, "application/json") }

// IsEvent says whether a body of the type is a CloudEvent itself.
func IsEvent(contentType string) bool { return isType(contentType, ContentType) }

// IsBinary says whether data of the type is written as base64.
func IsBinary(contentType string) bool {
	return isType(contentType, binaryType) || isType(contentType, protobufType)
}

// isText says whether a gRPC application gets data of the type as the text that it is.
func isText(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.TrimSpace(media)
	return len(media) >= 5 && strings.EqualFold(media[:5], "text/") || strings.EqualFold(media, "application/xml")
}

func isType(contentType, wanted string) bool {
	if len(contentType) < len(wanted) || !strings.EqualFold(contentType[:len(wanted)], wanted) {
		return false
	}
	rest := strings.TrimLeft(contentType[len(wanted):], " ")
	return rest == "" || rest[0] == ';'
}

// Wrap makes an event of bytes that are none: what a subscription with rawPayload gets. Of the broker's metadata it takes
// the trace.
func Wrap(id, topic, pubSub string, data []byte, metadata map[string]string) []byte {
	dst := make([]byte, 0, base64.StdEncoding.EncodedLen(len(data))+256)
	dst = append(dst, '{')
	dst = appendData(dst, binaryType, data)
	dst = appendMember(dst, `,"datacontenttype":`, binaryType)
	dst = appendMember(dst, `,"id":`, id)
	dst = appendMember(dst, `,"pubsubname":`, pubSub)
	dst = append(dst, `,"source":"Dapr","specversion":"1.0"`...)
	dst = appendMember(dst, `,"topic":`, topic)
	for _, name := range [...]string{"traceid", "traceparent", "tracestate"} {
		if value := metadata[name]; value != "" {
			dst = appendMember(dst, `,"`+name+`":`, value)
		}
	}
	dst = appendMember(dst, `,"type":`, DefaultType)
	return append(dst, '}')
}
