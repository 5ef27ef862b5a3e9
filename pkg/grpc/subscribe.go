package grpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/config"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/pubsub"
)

// The texts of a streaming subscription that does not begin as it has to (reference: grpc-api 4). They are raw errors:
// Unknown on the wire.
var (
	errNoInitial = errors.New("initial request is required")
	errNoPubSub  = errors.New("pubsubName is required")
	errNoTopic   = errors.New("topic is required")
	errDuplicate = errors.New("duplicate initial request received")
)

type topicStream = grpc.BidiStreamingServer[runtimev1.SubscribeTopicEventsRequestAlpha1, runtimev1.SubscribeTopicEventsResponseAlpha1]

// SubscribeTopicEventsAlpha1 brings the messages of a topic to whoever holds the stream open.
func (h *handlers) SubscribeTopicEventsAlpha1(stream topicStream) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	initial := first.GetInitialRequest()
	switch {
	case initial == nil:
		return errNoInitial
	case initial.GetPubsubName() == "":
		return errNoPubSub
	case initial.GetTopic() == "":
		return errNoTopic
	}
	ctx, end := context.WithCancelCause(stream.Context())
	defer end(nil)
	s := &subscriber{stream: stream, pending: map[string][]chan channel.TopicAnswer{}, log: h.log.Debugf}
	err = h.blocks.PubSub.Stream(ctx, config.TopicSubscription{PubSub: initial.GetPubsubName(), Topic: initial.GetTopic(), Metadata: initial.GetMetadata(),
		DeadLetterTopic: initial.GetDeadLetterTopic()}, s, func() { s.established(end) })
	return streamEnd(ctx, initial.GetTopic(), err)
}

// streamEnd is why a stream ended, in the words that the client knows.
func streamEnd(ctx context.Context, topic string, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	var row *apierr.Error
	switch {
	case errors.As(err, &row), errors.Is(err, pubsub.ErrStreamClosed), errors.Is(err, context.Canceled):
		return err
	}
	return fmt.Errorf("failed to create subscription for %s: %w", topic, err)
}

// subscriber is the client at the other end of a stream.
type subscriber struct {
	stream topicStream
	log    func(format string, args ...any)

	begun   sync.Once
	sending sync.Mutex
	mu      sync.Mutex
	// pending are the messages without an answer by the id of their event, the oldest first: two messages may carry
	// the same event.
	pending map[string][]chan channel.TopicAnswer
}

// established tells the client that the subscription is there, and begins to listen for its answers.
func (s *subscriber) established(end context.CancelCauseFunc) {
	s.begun.Do(func() {
		_ = s.send(&runtimev1.SubscribeTopicEventsResponseAlpha1{SubscribeTopicEventsResponseType: &runtimev1.SubscribeTopicEventsResponseAlpha1_InitialResponse{
			InitialResponse: &runtimev1.SubscribeTopicEventsResponseInitialAlpha1{}}})
		go s.listen(end)
	})
}

// listen takes answers until the stream ends, which it does when the handler returns.
func (s *subscriber) listen(end context.CancelCauseFunc) {
	for {
		request, err := s.stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			end(errors.New("EOF"))
			return
		case err != nil:
			end(nil)
			return
		}
		processed := request.GetEventProcessed()
		if processed == nil {
			end(errDuplicate)
			return
		}
		s.answer(processed.GetId(), channel.AnswerOf(processed.GetStatus().GetStatus()))
	}
}

func (s *subscriber) answer(id string, said channel.TopicAnswer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := s.pending[id]
	if len(waiting) == 0 {
		s.log("a streaming subscription answers an event that it does not have: %s", id)
		return
	}
	waiting[0] <- said
	if len(waiting) == 1 {
		delete(s.pending, id)
	} else {
		s.pending[id] = waiting[1:]
	}
}

// Deliver sends one message and waits for its answer.
func (s *subscriber) Deliver(ctx context.Context, event *channel.TopicEvent) (channel.TopicAnswer, error) {
	message, err := channel.TopicMessage(event)
	if err != nil {
		return channel.TopicAnswer{Verdict: channel.Retry, Reason: err.Error()}, nil
	}
	answer := make(chan channel.TopicAnswer, 1)
	s.expect(message.GetId(), answer)
	defer s.forget(message.GetId(), answer)
	err = s.send(&runtimev1.SubscribeTopicEventsResponseAlpha1{SubscribeTopicEventsResponseType: &runtimev1.SubscribeTopicEventsResponseAlpha1_EventMessage{
		EventMessage: message}})
	if err != nil {
		return channel.TopicAnswer{}, pubsub.ErrStreamClosed
	}
	select {
	case said := <-answer:
		return said, nil
	case <-ctx.Done():
		return channel.TopicAnswer{}, ctx.Err()
	case <-s.stream.Context().Done():
		return channel.TopicAnswer{}, pubsub.ErrStreamClosed
	}
}

func (s *subscriber) expect(id string, answer chan channel.TopicAnswer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending[id] = append(s.pending[id], answer)
}

func (s *subscriber) forget(id string, answer chan channel.TopicAnswer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.pending[id][:0]
	for _, other := range s.pending[id] {
		if other != answer {
			kept = append(kept, other)
		}
	}
	if s.pending[id] = kept; len(kept) == 0 {
		delete(s.pending, id)
	}
}

// send is for one message at a time, as gRPC asks.
func (s *subscriber) send(message *runtimev1.SubscribeTopicEventsResponseAlpha1) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	return s.stream.Send(message)
}
