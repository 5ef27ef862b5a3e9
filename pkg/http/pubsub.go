package http

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/cloudevent"
	"github.com/daprd/daprd/pkg/jsontext"
	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/tracing"
)

// pubsubRoutes are the routes of publish and subscribe.
func (s *Server) pubsubRoutes() []route {
	write := []string{"POST", "PUT"}
	return []route{
		{methods: write, versions: []string{v1}, path: "publish/{name}/{topic:*}", group: "publish", name: "PublishEvent", handle: s.publish},
		{methods: write, versions: []string{v1, alpha1}, path: "publish/bulk/{name}/{topic:*}", group: "publish", name: "BulkPublishEvent",
			handle: s.publishBulk},
	}
}

// publication is what the call's own parts say of what it publishes.
func (c *call) publication() pubsub.Publication {
	p := pubsub.Publication{Topic: c.parameter("topic"), ContentType: string(c.ctx.Request.Header.ContentType()), Metadata: c.metadata()}
	p.TraceParent, p.TraceState = c.trace()
	p.Baggage = c.baggage()
	return p
}

// trace is the caller's, "" for none.
func (c *call) trace() (parent, state string) {
	if parent := c.ctx.Request.Header.Peek(tracing.ParentHeader); isParent(parent) {
		return string(parent), string(c.ctx.Request.Header.Peek(tracing.StateHeader))
	}
	return "", ""
}

func (s *Server) publish(c *call) {
	name, p := c.parameter("name"), c.publication()
	p.Data, p.Fault = c.bytes()
	c.done(s.blocks.PubSub.Publish(c.Context(), name, &p))
}

func (s *Server) publishBulk(c *call) {
	name, p := c.parameter("name"), c.publication()
	var entries []pubsub.Entry
	var text []byte
	if text, p.Fault = c.bytes(); p.Fault == nil {
		entries, p.Fault = readEntries(text)
	}
	failed, err := s.blocks.PubSub.PublishBulk(c.Context(), name, &p, entries)
	if len(failed) == 0 {
		c.done(err)
		return
	}
	c.someFailed(failed, apierr.From(err))
}

// bulkEntry is one message in the body of a bulk publish, for encoding/json, which is asked only for its error texts.
type bulkEntry struct {
	EntryID     string            `json:"entryId"`
	Event       json.RawMessage   `json:"event"`
	ContentType string            `json:"contentType"`
	Metadata    map[string]string `json:"metadata"`
}

// readEntries decodes the body of a bulk publish. Data are slices of the body where they can be.
func readEntries(body []byte) (entries []pubsub.Entry, err error) {
	s := newScanner(body)
	if !s.Null() {
		s.Each(func() { entries = append(entries, s.bulkEntry()) })
	}
	if !s.End() {
		return nil, mistake(body, new([]bulkEntry))
	}
	return entries, nil
}

// bulkEntry reads one entry and decodes its event by its content type: bytes are base64, texts are strings, JSON is what it
// is.
func (s *scanner) bulkEntry() (e pubsub.Entry) {
	var event []byte
	s.Members(func(name []byte) {
		switch {
		case is(name, "entryId"):
			e.ID = s.Text()
		case is(name, "event"):
			event = s.Value()
		case is(name, "contentType"):
			e.ContentType = s.Text()
		case is(name, "metadata"):
			e.Metadata = s.StringMap()
		default:
			s.Value()
		}
	})
	switch {
	case cloudevent.IsJSON(e.ContentType), cloudevent.IsEvent(e.ContentType):
		e.Data = event
	case len(event) < 2 || event[0] != '"' || e.ContentType == "":
		e.Fault = pubsub.ErrMismatch
	case cloudevent.IsBinary(e.ContentType):
		var err error
		if e.Data, err = base64.StdEncoding.DecodeString(jsontext.Decoded(event[1 : len(event)-1])); err != nil {
			e.Fault = pubsub.ErrMismatch
		}
	default:
		e.Data = []byte(jsontext.Decoded(event[1 : len(event)-1]))
	}
	return e
}

// someFailed answers a bulk publish of which not everything was taken.
func (c *call) someFailed(failed []pubsub.FailedEntry, e *apierr.Error) {
	body := append([]byte(nil), `{"failedEntries":[`...)
	for i, entry := range failed {
		if i > 0 {
			body = append(body, ',')
		}
		body = jsontext.AppendString(append(body, `{"entryId":`...), entry.ID)
		body = append(jsontext.AppendString(append(body, `,"error":`...), entry.Error.Error()), '}')
	}
	body = append(jsontext.AppendString(append(body, `],"errorCode":`...), e.Code), '}')
	c.answerMetadata(map[string]string{"responseData": "", "error": headerText(e.Message)})
	status := e.HTTP
	if status == 0 {
		status = fasthttp.StatusInternalServerError
	}
	c.json(status, body)
}

// headerText is a text as a header can carry it.
func headerText(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}
