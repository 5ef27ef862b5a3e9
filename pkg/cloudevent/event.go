package cloudevent

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/daprd/daprd/pkg/jsontext"
)

// Member is one member of an event: its name, and its value as JSON.
type Member struct {
	Name  string
	Value []byte
}

// Event is an event that has been read. Its bytes are slices of the text that it was read from.
type Event struct {
	// Members are all members in the order of the text.
	Members []Member
}

var errForm = errors.New("it is no JSON object")

// maxMembers bounds the members of an event: more are nobody's attributes.
const maxMembers = 1000

// Parse reads an event without decoding its data. Of equal names the last one holds.
func Parse(text []byte) (Event, error) {
	e := Event{Members: make([]Member, 0, 16)}
	if len(text) == 0 || firstByte(text) != '{' {
		return e, errForm
	}
	s := jsontext.Scan(text)
	s.Members(func(name []byte) {
		if len(e.Members) == maxMembers {
			s.Fail()
			return
		}
		e.Members = append(e.Members, Member{known(name), s.Value()})
	})
	if !s.End() {
		return e, errForm
	}
	return e, nil
}

func firstByte(text []byte) byte {
	for _, c := range text {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c
		}
	}
	return 0
}

// known keeps the usual names free of an allocation.
func known(name []byte) string {
	switch string(name) {
	case "id":
		return "id"
	case "source":
		return "source"
	case "type":
		return "type"
	case "specversion":
		return "specversion"
	case "datacontenttype":
		return "datacontenttype"
	case "data":
		return "data"
	case "data_base64":
		return "data_base64"
	case "topic":
		return "topic"
	case "pubsubname":
		return "pubsubname"
	case "traceid":
		return "traceid"
	case "traceparent":
		return "traceparent"
	case "tracestate":
		return "tracestate"
	case "time":
		return "time"
	case "expiration":
		return "expiration"
	case "subject":
		return "subject"
	case "baggage":
		return "baggage"
	}
	return jsontext.Decoded(name)
}

// Raw is the value of a member as JSON, nil if there is none.
func (e Event) Raw(name string) []byte {
	for i := len(e.Members) - 1; i >= 0; i-- {
		if e.Members[i].Name == name {
			return e.Members[i].Value
		}
	}
	return nil
}

// Text is the value of a member that is a string; "" for an absent one and for other values.
func (e Event) Text(name string) string {
	raw := e.Raw(name)
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	return jsontext.Decoded(raw[1 : len(raw)-1])
}

// Expired says whether the event's expiration has passed at the time.
func (e Event) Expired(now time.Time) bool {
	text := e.Text("expiration")
	if text == "" {
		return false
	}
	at, err := time.Parse(time.RFC3339, text)
	return err == nil && !at.After(now)
}

// TraceParent is the trace that the event belongs to, "" for none.
func (e Event) TraceParent() string {
	if parent := e.Text("traceparent"); parent != "" {
		return parent
	}
	return e.Text("traceid")
}

// Payload is the data as a gRPC application gets it: bytes decoded, texts as they are, JSON as JSON; nil for other
// content types, as in Dapr.
func (e Event) Payload() ([]byte, error) {
	if encoded := e.Raw("data_base64"); encoded != nil {
		data, err := base64.StdEncoding.DecodeString(e.Text("data_base64"))
		if err != nil {
			return nil, fmt.Errorf("data_base64 is no base64: %w", err)
		}
		return data, nil
	}
	data := e.Raw("data")
	contentType := e.Text("datacontenttype")
	switch {
	case data == nil, string(data) == "null":
		return nil, nil
	case IsJSON(contentType) || IsEvent(contentType):
		return data, nil
	case isText(contentType):
		if data[0] == '"' {
			return []byte(e.Text("data")), nil
		}
		return data, nil
	}
	return nil, nil
}

// Extensions are the members that a gRPC application has no field for.
func (e Event) Extensions() []Member {
	var extensions []Member
	for _, m := range e.Members {
		switch m.Name {
		case "id", "source", "type", "specversion", "datacontenttype", "data", "data_base64":
		default:
			extensions = append(extensions, m)
		}
	}
	return extensions
}

// Set gives a member another value, a string.
func (e *Event) Set(name, text string) {
	value := jsontext.AppendString(nil, text)
	e.Members = slices.DeleteFunc(e.Members, func(m Member) bool { return m.Name == name })
	e.Members = append(e.Members, Member{name, value})
}

// SetDefault gives an absent member a value, a string.
func (e *Event) SetDefault(name, text string) {
	if e.Raw(name) == nil {
		e.Set(name, text)
	}
}

// Append writes the event, its members in the order of their names.
func (e Event) Append(dst []byte) []byte {
	members := slices.Clone(e.Members)
	slices.SortStableFunc(members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	dst = append(dst, '{')
	written := 0
	for i, m := range members {
		if i+1 < len(members) && members[i+1].Name == m.Name {
			continue // the last one holds
		}
		if written++; written > 1 {
			dst = append(dst, ',')
		}
		dst = jsontext.AppendString(dst, m.Name)
		dst = append(append(dst, ':'), m.Value...)
	}
	return append(dst, '}')
}
