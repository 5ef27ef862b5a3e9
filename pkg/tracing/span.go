package tracing

import (
	"net/http"
	"strconv"
	"strings"

	"go.opencensus.io/plugin/ochttp/propagation/tracecontext"
	"go.opencensus.io/trace"
	"go.opencensus.io/trace/propagation"
	"google.golang.org/grpc/codes"
)

// longestText bounds, in bytes, what a span holds of a caller's texts.
const longestText = 1 << 10

// Span is one span. The methods of a nil Span do nothing.
type Span struct {
	tracer        *Tracer
	span          *trace.Span
	parent, state string
}

func newSpan(t *Tracer, span *trace.Span) *Span {
	s := &Span{tracer: t, span: span}
	within := span.SpanContext()
	s.parent, _ = Parent(string(propagation.Binary(within)))
	if within.Tracestate != nil {
		var format tracecontext.HTTPFormat
		_, s.state = format.SpanContextToHeaders(within)
	}
	return s
}

// Parent is the trace parent for what is called in this span.
func (s *Span) Parent() string { return s.parent }

// State is the trace state for what is called in this span, "" for none.
func (s *Span) State() string { return s.state }

// Recording says whether anybody will see the span: only then it is worth describing.
func (s *Span) Recording() bool { return s != nil && s.span.IsRecordingEvents() }

// Name names the span.
func (s *Span) Name(name string) {
	if s.Recording() {
		s.span.SetName(text(name))
	}
}

// Set adds an attribute; an empty one says nothing. The value may borrow memory.
func (s *Span) Set(key, value string) {
	if value != "" && s.Recording() {
		s.span.AddAttributes(trace.StringAttribute(text(key), text(value)))
	}
}

// SetInt adds a number.
func (s *Span) SetInt(key string, value int) {
	if s.Recording() {
		s.span.AddAttributes(trace.Int64Attribute(key, int64(value)))
	}
}

// Link names another trace that the span belongs to: 32 at most.
func (s *Span) Link(parent string) {
	if !s.Recording() || parent == "" || parent == ZeroParent {
		return
	}
	var format tracecontext.HTTPFormat
	if to, ok := format.SpanContextFromHeaders(parent, ""); ok {
		s.span.AddLink(trace.Link{TraceID: to.TraceID, SpanID: to.SpanID, Type: trace.LinkTypeParent})
	}
}

// text is a copy of bounded length that is UTF-8, as exporters need.
func text(value string) string {
	return strings.ToValidUTF8(strings.Clone(value[:min(len(value), longestText)]), "\uFFFD")
}

// EndHTTP ends the span with the status of the answer: 400 and up are errors, in the words of Dapr 1.18.
func (s *Span) EndHTTP(status int) {
	if !s.Recording() {
		return
	}
	s.Set("dapr.status_code", strconv.Itoa(status))
	s.SetInt("http.response.status_code", status)
	if status >= http.StatusBadRequest {
		s.fail("Code("+strconv.Itoa(status)+"): "+http.StatusText(status), strconv.Itoa(status))
	}
	s.end()
}

// EndGRPC ends the span with a status of gRPC.
func (s *Span) EndGRPC(code codes.Code, message string) {
	if !s.Recording() {
		return
	}
	s.Set("dapr.status_code", strconv.Itoa(int(code)))
	s.SetInt("rpc.grpc.status_code", int(code))
	if code != codes.OK {
		if message == "" {
			message = code.String()
		}
		s.fail(message, code.String())
	}
	s.end()
}

// End ends the span; err is what went wrong.
func (s *Span) End(err error) {
	if !s.Recording() {
		return
	}
	if err != nil {
		s.fail(err.Error(), "_OTHER")
	}
	s.end()
}

func (s *Span) fail(message, kind string) {
	s.Set("error.type", kind)
	s.span.SetStatus(trace.Status{Code: trace.StatusCodeUnknown, Message: text(message)})
}

// end marks the span last: a span keeps the newest of its attributes.
func (s *Span) end() {
	s.span.AddAttributes(trace.StringAttribute(ownerKey, s.tracer.owner))
	s.span.End()
}
