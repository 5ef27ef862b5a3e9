package outbox

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/daprd/daprd/pkg/cloudevent"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/jsontext"
	"github.com/daprd/daprd/pkg/state"
)

// idPrefix begins the ids of events, which are the keys of their markers. A UUID of this version follows, which holds the
// time when it was made.
const (
	idPrefix  = "outbox-"
	idVersion = 7
)

// The metadata of operations that the outbox understands.
const (
	metadataProjection  = "outbox.projection"
	metadataContentType = "contentType"
)

// event is what is published of one operation.
type event struct {
	id string
	// text is the CloudEvent.
	text []byte
}

// split parts the operations to store from those that only say what is published, and makes the events.
func (s *Service) split(b *box, t *state.Transaction) (stored []state.RawOperation, events []event, err error) {
	projections := map[string]*state.SetRequest{}
	for i := range t.Operations {
		op := &t.Operations[i]
		if !isProjection(op) {
			stored = append(stored, *op)
		} else if _, twice := projections[op.Set.Key]; !twice { // the first one holds
			projections[op.Set.Key] = &op.Set
		}
	}
	for i := range stored {
		op := &stored[i]
		if op.Type != state.TypeUpsert {
			continue
		}
		payload := &op.Set
		if projection := projections[op.Set.Key]; projection != nil {
			payload = projection
		}
		events = append(events, s.event(b, payload, t))
	}
	return stored, events, matched(projections, stored)
}

func isProjection(op *state.RawOperation) bool {
	return op.Type == state.TypeUpsert && config.Truthy(op.Set.Metadata[metadataProjection])
}

// matched refuses projections of keys that the transaction does not write.
func matched(projections map[string]*state.SetRequest, stored []state.RawOperation) error {
	for key := range projections {
		written := func(op state.RawOperation) bool { return op.Type == state.TypeUpsert && op.Set.Key == key }
		if !slices.ContainsFunc(stored, written) {
			return fmt.Errorf("the projection of key %q has no upsert of that key in its transaction, whose event it could be", key)
		}
	}
	return nil
}

// event makes the CloudEvent of an operation.
func (s *Service) event(b *box, op *state.SetRequest, t *state.Transaction) event {
	id := idPrefix + uuid.Must(uuid.NewV7()).String() // it fails where random numbers do
	contentType, data := payload(op)
	e := cloudevent.Envelope{ID: id, Source: s.deps.AppID, Type: cloudevent.DefaultType, Topic: b.lane.topic, PubSub: b.lane.pubSub, TraceID: t.TraceParent, TraceParent: t.TraceParent,
		TraceState: t.TraceState, Time: time.Now(), DataContentType: contentType, Data: data}
	if e.Source == "" {
		e.Source = cloudevent.DefaultSource
	}
	text := e.Append(make([]byte, 0, len(data)+512))
	if len(op.Metadata) == 0 {
		return event{id, text}
	}
	fields, err := cloudevent.Parse(text)
	if err != nil {
		return event{id, text} // it is what Append has written
	}
	for _, prefixed := range []bool{false, true} {
		for name, value := range op.Metadata {
			if field, has := attribute(name); has == prefixed && isFree(field) {
				fields.Set(field, value)
			}
		}
	}
	return event{id, fields.Append(make([]byte, 0, len(text)+256))}
}

// attribute is the member of the event that an item's metadata names: by itself, as Dapr does, or behind a prefix, which
// its documentation says and which goes before.
func attribute(name string) (field string, prefixed bool) {
	for _, prefix := range []string{"outbox.cloudevent.", "cloudevent."} {
		if field, prefixed = strings.CutPrefix(name, prefix); prefixed {
			return field, true
		}
	}
	return name, false
}

// isFree says whether a caller may give the member a value.
func isFree(field string) bool {
	switch field {
	case "", "id", "data", "data_base64", metadataProjection:
		return false
	}
	return true
}

// payload is the data of an event and its type. JSON is published as such where the item says that it is, or where it is
// an object or a list; other values are the texts that Dapr makes of them.
func payload(op *state.SetRequest) (contentType string, data []byte) {
	contentType = op.ContentType
	if contentType == "" {
		contentType = op.Metadata[metadataContentType]
	}
	switch {
	case contentType != "" && (cloudevent.IsJSON(contentType) || !op.JSON):
		return contentType, op.Value
	case !op.JSON:
		return "", op.Value
	}
	switch value := strings.Trim(string(op.Value), " \t\r\n"); {
	case value == "" || value[0] == '{' || value[0] == '[' || value == "null":
		return "application/json", op.Value
	case value[0] == '"':
		return contentType, []byte(jsontext.Decoded([]byte(value[1 : len(value)-1])))
	default:
		return contentType, []byte(value)
	}
}
