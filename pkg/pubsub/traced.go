package pubsub

import (
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

// Deliver names the span as the sender of the message.
func (t tracedReceiver) Deliver(ctx context.Context, event *channel.TopicEvent) (channel.TopicAnswer, error) {
	span := t.begin(event.TraceParent, event.Topic)
	within := *event
	within.TraceParent = span.Parent()
	answer, err := t.to.Deliver(ctx, &within)
	span.End(failure(answer, err))
	return answer, err
}

// begin begins the span of a delivery, in the words and of the kind of Dapr 1.18.
func (t tracedReceiver) begin(parent, topic string) *tracing.Span {
	span := t.tracer.Start(tracing.Client, parent, "")
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

// DeliverBulk has one span, which begins a trace: the messages belong to many.
func (t tracedBulkReceiver) DeliverBulk(ctx context.Context, events *channel.BulkTopicEvent) ([]channel.TopicAnswer, error) {
	span := t.begin("", events.Topic)
	span.SetInt("messaging.batch.message_count", len(events.Entries))
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
