package pubsub

import (
	"cmp"
	"context"
	"errors"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/tracing"
)

// traced is a receiver within spans: one for each attempt to bring it a message, under the span of who published it. Where
// no spans are made the receiver is as it was.
func (s *Service) traced(to Receiver) Receiver {
	if !s.deps.Tracer.On() {
		return to
	}
	one := tracedReceiver{to: to, tracer: s.deps.Tracer}
	if bulk, ok := to.(bulkReceiver); ok {
		return tracedBulkReceiver{one, bulk}
	}
	return one
}

type tracedReceiver struct {
	to     Receiver
	tracer *tracing.Tracer
}

// trace is the trace of a message, for its span: that of the event, or else what the broker knows of one. Baggage that
// cannot be read is left out.
func (l *letter) trace() (parent, state, baggage string) {
	known := l.message.Metadata
	if parent = parentOf(l.event); parent == "" || parent == tracing.ZeroParent {
		parent = cmp.Or(known[tracing.ParentHeader], known[metadataTraceID], parent)
	}
	state = cmp.Or(l.event.Text(tracing.StateHeader), known[metadataTraceState])
	if baggage = cmp.Or(l.event.Text(tracing.BaggageHeader), known[metadataBaggage]); tracing.CheckBaggage(baggage) != nil {
		baggage = ""
	}
	return parent, state, baggage
}

// Deliver names the span as the sender of the message.
func (t tracedReceiver) Deliver(ctx context.Context, event *channel.TopicEvent) (channel.TopicAnswer, error) {
	span := t.begin(event.TraceParent, event.TraceState, event.Topic)
	within := *event
	within.TraceParent = span.Parent()
	answer, err := t.to.Deliver(ctx, &within)
	span.End(failure(answer, err))
	return answer, err
}

// begin begins the span of a delivery, in the words and of the kind of Dapr 1.18.
func (t tracedReceiver) begin(parent, state, topic string) *tracing.Span {
	span := t.tracer.Start(tracing.Client, parent, state)
	if span.Recording() {
		span.Name("pubsub/" + topic)
		span.Topic(topic, "process")
	}
	return span
}

type tracedBulkReceiver struct {
	tracedReceiver
	to bulkReceiver
}

// DeliverBulk has one span, which begins a trace and is linked to those of the messages: they belong to many.
func (t tracedBulkReceiver) DeliverBulk(ctx context.Context, events *channel.BulkTopicEvent) ([]channel.TopicAnswer, error) {
	span := t.begin("", "", events.Topic)
	span.SetInt("messaging.batch.message_count", len(events.Entries))
	for i := range events.Entries {
		span.Link(events.Entries[i].TraceParent)
	}
	within := *events
	within.TraceParent = span.Parent()
	answers, err := t.to.DeliverBulk(ctx, &within)
	var failures []error
	for _, answer := range answers {
		failures = append(failures, failure(answer, nil))
	}
	span.End(errors.Join(append(failures, err)...))
	return answers, err
}

// entryTrace is the trace of one message of a bulk publish: a span of its own within that of the call, as in Dapr 1.18, or
// where no spans are made that of the call.
func (s *Service) entryTrace(common *Publication) (parent, state string) {
	span := s.deps.Tracer.Start(tracing.Client, common.TraceParent, common.TraceState)
	if span == nil {
		return common.TraceParent, common.TraceState
	}
	if span.Recording() {
		span.Name("pubsub/" + common.Topic)
		span.Topic(common.Topic, "create")
	}
	span.End(nil)
	return span.Parent(), span.State()
}

// failure is what a span shows of an answer that is no success.
func failure(answer channel.TopicAnswer, err error) error {
	if err == nil && answer.Verdict != channel.Success {
		return errors.New(answer.Reason)
	}
	return err
}
