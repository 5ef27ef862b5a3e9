package pubsub

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/cloudevent"
	"github.com/daprd/daprd/pkg/tracing"
)

// The outcomes of a delivery in metrics.
const (
	outcomeSuccess = "success"
	outcomeRetry   = "retry"
	outcomeDrop    = "drop"
)

// refused is a message that the application has judged and not taken.
type refused struct{ answer channel.TopicAnswer }

// refusal is the error of an answer, with its status for policies that match statuses.
func refusal(answer channel.TopicAnswer) error {
	r := &refused{answer}
	switch {
	case answer.Status >= 300:
		return &refusedHTTP{r}
	case answer.Status > 0 && answer.Status < 100:
		return &refusedGRPC{r}
	}
	return r
}

// Error is the application's reason.
func (r *refused) Error() string { return r.answer.Reason }

type refusedHTTP struct{ *refused }

// HTTPStatus is that of the answer.
func (r *refusedHTTP) HTTPStatus() int { return r.answer.Status }

type refusedGRPC struct{ *refused }

// GRPCStatus is that of the answer.
func (r *refusedGRPC) GRPCStatus() *status.Status {
	return status.New(codes.Code(r.answer.Status), r.answer.Reason)
}

// letter is a message that has been read.
type letter struct {
	message *Message
	event   cloudevent.Event
	body    []byte
	path    string
}

// name is what failures of the message are counted under: the broker's id, else that of the event, unless the
// subscription itself makes the event; "" for none.
func (c *consumer) name(m *Message) string {
	if m.ID != "" || c.raw {
		return m.ID
	}
	if event, err := cloudevent.Parse(m.Data); err == nil && event.Text("id") != "" {
		return event.Text("source") + " " + event.Text("id")
	}
	return ""
}

// each delivers one message after the other.
func (c *consumer) each(ctx context.Context, component *component, messages []*Message) []error {
	if len(messages) == 1 {
		if err := c.one(ctx, component, messages[0]); err != nil {
			return []error{err}
		}
		return nil
	}
	errs := make([]error, len(messages))
	for i, m := range messages {
		errs[i] = c.one(ctx, component, m)
	}
	return errs
}

// one brings a message to its end: nil when it is done with.
func (c *consumer) one(given context.Context, component *component, m *Message) error {
	ctx, release := c.bounded(given)
	defer release()
	began := time.Now()
	l, err := c.open(m)
	if err == nil && l == nil {
		component.count.delivered(c.wish.Topic, outcomeDrop, time.Since(began))
		return c.discard(component, m)
	}
	var answer channel.TopicAnswer
	if err == nil {
		answer, err = c.deliver(ctx, component, l)
	}
	elapsed := time.Since(began)
	outcome, err := c.settle(ctx, component, m, answer, err)
	component.count.delivered(c.wish.Topic, outcome, elapsed)
	return err
}

// bounded is the context of a delivery: it ends when messages are given back at once, and with the broker's own bound.
func (c *consumer) bounded(given context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := given.Deadline(); ok {
		return context.WithDeadline(c.hard, deadline)
	}
	return c.hard, func() {}
}

// open reads a message and finds its path. A nil letter without an error is a message that nobody wants.
func (c *consumer) open(m *Message) (*letter, error) {
	l := &letter{message: m, body: m.Data}
	var err error
	switch {
	case c.raw:
		l.body = cloudevent.Wrap(uuid.NewString(), c.wish.Topic, c.wish.PubSub, m.Data, m.Metadata)
		l.event, err = cloudevent.Parse(l.body)
	case cloudevent.IsBinaryMode(contentType(m), m.Metadata):
		l.event = cloudevent.Assemble(m.Data, m.Metadata)
		l.body = l.event.Append(nil)
	default:
		l.event, err = cloudevent.Parse(m.Data)
	}
	if err != nil {
		return nil, fmt.Errorf("error deserializing cloud event in pubsub %s and topic %s: %w; a subscription with metadata rawPayload: \"true\" takes any bytes",
			c.wish.PubSub, c.wish.Topic, err)
	}
	if now := time.Now(); l.event.Expired(now) {
		c.service.deps.Log.Warnf("dropping expired pub/sub event %s as of %s", l.event.Text("id"), l.event.Text("expiration"))
		return nil, nil
	}
	l.path, err = c.routes.path(l.event)
	if errors.Is(err, errNoRoute) {
		c.service.deps.Log.Debugf("no matching route for event %s in pubsub %s and topic %s; skipping", l.event.Text("id"), c.wish.PubSub, c.wish.Topic)
		return nil, nil
	}
	return l, err
}

func contentType(m *Message) string {
	if m.ContentType != "" {
		return m.ContentType
	}
	return m.Metadata["content-type"]
}

// deliver brings a letter to the application under the inbound policy. While the application cannot be reached the
// letter waits: that is nobody's failure. The error is a refusal when the application has judged it.
func (c *consumer) deliver(ctx context.Context, component *component, l *letter) (answer channel.TopicAnswer, err error) {
	event := channel.TopicEvent{PubSub: c.wish.PubSub, Topic: c.wish.Topic, Path: l.path, Body: l.body, Metadata: l.message.Metadata,
		TraceParent: parentOf(l.event)}
	if c.service.deps.Tracer.On() {
		event.TraceParent, event.TraceState, event.Baggage = l.trace()
	}
	err = c.reaching(ctx, component, func(ctx context.Context) (err error) {
		if answer, err = c.to.Deliver(ctx, &event); err == nil && answer.Verdict == channel.Retry {
			return refusal(answer)
		}
		return err
	})
	return answer, err
}

// parentOf is the trace of an event: the all-zero one where the event says that it has none, "" where it says nothing.
func parentOf(event cloudevent.Event) string {
	parent := event.TraceParent()
	if parent == "" && (event.Raw("traceid") != nil || event.Raw("traceparent") != nil) {
		return tracing.ZeroParent
	}
	return parent
}

// settle ends a message by what became of it, and says how that counts. An error means that it is delivered again.
func (c *consumer) settle(ctx context.Context, component *component, m *Message, answer channel.TopicAnswer, err error) (string, error) {
	log := c.service.deps.Log
	switch {
	case err == nil && answer.Verdict == channel.Success:
		c.attempts.done(c, m)
		return outcomeSuccess, nil
	case err == nil && answer.Unhandled:
		log.Errorf("non-retriable error returned from app while processing pub/sub event %s: %s. status code returned: %d", m.ID, answer.Reason, answer.Status)
		if answer.Status < 100 {
			return outcomeDrop, nil // a gRPC application without the call: done with, as in Dapr
		}
		return outcomeDrop, c.discard(component, m)
	case err == nil:
		log.Warnf("DROP status returned from app while processing pub/sub event %s of topic %s", m.ID, c.wish.Topic)
		return outcomeDrop, c.discard(component, m)
	case c.unjudged(ctx, err):
		return outcomeRetry, err
	}
	count := c.attempts.failed(c.name(m))
	log.Warnf("retriable error returned from app while processing pub/sub event %s, topic: %s, attempt %d: %s", m.ID, c.wish.Topic, count, err)
	if limit := c.attemptsAllowed(); limit > 0 && count >= limit {
		return outcomeDrop, c.giveUp(component, m, count)
	}
	return outcomeRetry, err
}

// attemptsAllowed is 0 for no end. With a dead letter topic and no limit a first failure goes there, as in Dapr.
func (c *consumer) attemptsAllowed() int {
	if c.limit == 0 && c.wish.DeadLetterTopic != "" {
		return 1
	}
	return c.limit
}
