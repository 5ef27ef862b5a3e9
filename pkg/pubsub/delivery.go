package pubsub

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/cloudevent"
	"github.com/daprd/daprd/pkg/resiliency"
)

// The outcomes of a delivery in metrics.
const (
	outcomeSuccess = "success"
	outcomeRetry   = "retry"
	outcomeDrop    = "drop"
)

// refused is a message that the application has judged and not taken.
type refused struct{ answer channel.TopicAnswer }

// Error is the application's reason.
func (r *refused) Error() string { return r.answer.Reason }

// HTTPStatus is for policies that match statuses; 0 where the answer has none that says failure.
func (r *refused) HTTPStatus() int {
	if r.answer.Status >= 300 {
		return r.answer.Status
	}
	return 0
}

// GRPCStatus is for policies that match codes.
func (r *refused) GRPCStatus() *status.Status {
	if r.answer.Status > 0 && r.answer.Status < 100 {
		return status.New(codes.Code(r.answer.Status), r.answer.Reason)
	}
	return nil
}

// letter is a message that has been read.
type letter struct {
	message *Message
	event   cloudevent.Event
	body    []byte
	path    string
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
	outcome := outcomeOf(answer, err)
	component.count.delivered(c.wish.Topic, outcome, time.Since(began))
	return c.settle(ctx, component, m, answer, err)
}

func outcomeOf(answer channel.TopicAnswer, err error) string {
	switch {
	case err != nil:
		return outcomeRetry
	case answer.Verdict == channel.Drop:
		return outcomeDrop
	}
	return outcomeSuccess
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
		l.body = cloudevent.Wrap(uuid.NewString(), c.wish.Topic, c.wish.PubSub, m.Data)
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
// letter waits: that is nobody's failure. The error is *refused when the application has judged it.
func (c *consumer) deliver(ctx context.Context, component *component, l *letter) (answer channel.TopicAnswer, err error) {
	event := channel.TopicEvent{PubSub: c.wish.PubSub, Topic: c.wish.Topic, Path: l.path, Body: l.body, Metadata: l.message.Metadata}
	if !c.raw {
		event.TraceParent = l.event.TraceParent()
	}
	err = c.reaching(ctx, func() error {
		return component.inbound.Run(ctx, func(ctx context.Context) (err error) {
			if answer, err = c.to.Deliver(ctx, &event); err == nil && answer.Verdict == channel.Retry {
				return &refused{answer}
			}
			return err
		})
	})
	return answer, err
}

// reaching tries until the application has been reached, or ctx or the taking of messages ends.
func (c *consumer) reaching(ctx context.Context, try func() error) error {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := try()
		if !waits(err) || ctx.Err() != nil {
			if err == nil || !waits(err) {
				c.reached()
			}
			return err
		}
		c.hold(err)
		if c.taking.Err() != nil {
			return err // it ends: the message is given back rather than held
		}
		if stopped := either(ctx, c.taking, jittered(pause)); stopped {
			return err
		}
	}
}

// waits says whether an error means that the application has not been asked: nobody listens, or a breaker is open.
func waits(err error) bool {
	var open *resiliency.OpenError
	return err != nil && (channel.Unreached(err) || errors.As(err, &open))
}

// settle ends a message by what became of it.
func (c *consumer) settle(ctx context.Context, component *component, m *Message, answer channel.TopicAnswer, err error) error {
	log := c.service.deps.Log
	switch {
	case err == nil && answer.Verdict == channel.Success:
		c.attempts.done(m.ID)
		return nil
	case err == nil && answer.Unhandled:
		log.Errorf("non-retriable error returned from app while processing pub/sub event %s: %s. status code returned: %d", m.ID, answer.Reason, answer.Status)
		if answer.Status < 100 {
			return nil // a gRPC application without the call: done with, as in Dapr
		}
		return c.discard(component, m)
	case err == nil:
		log.Warnf("DROP status returned from app while processing pub/sub event %s of topic %s", m.ID, c.wish.Topic)
		return c.discard(component, m)
	case waits(err), c.hard.Err() != nil, errors.Is(err, ErrStreamClosed):
		return err // not judged: it is nobody's attempt
	}
	count := c.attempts.failed(m.ID)
	log.Warnf("retriable error returned from app while processing pub/sub event %s, topic: %s, attempt %d: %s", m.ID, c.wish.Topic, count, err)
	if limit := c.attemptsAllowed(); limit > 0 && count >= limit {
		return c.giveUp(component, m, count)
	}
	return err
}

// attemptsAllowed is 0 for no end. With a dead letter topic and no limit a first failure goes there, as in Dapr.
func (c *consumer) attemptsAllowed() int {
	if c.limit == 0 && c.wish.DeadLetterTopic != "" {
		return 1
	}
	return c.limit
}

func wait(ctx context.Context, pause time.Duration) error { return resiliency.Wait(ctx, pause) }

// either waits for the pause; true when one of the contexts ended before.
func either(a, b context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return false
	case <-a.Done():
		return true
	case <-b.Done():
		return true
	}
}

// jittered keeps many that wait from coming back at once.
func jittered(pause time.Duration) time.Duration {
	return pause/2 + rand.N(pause/2+1)
}
