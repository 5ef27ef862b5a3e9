package channel

import (
	"context"
	"errors"
	"io"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
)

// The texts of Dapr 1.18. That a host has left is known before it was asked, or while it was.
var (
	errActorStreamBegin = status.Error(codes.InvalidArgument, "first message must be SubscribeActorEventsRequestInitialAlpha1")
	errActorHostAway    = &missed{errors.New("actor host is not connected"), false}
	errActorHostLeft    = &missed{errors.New("actor host disconnected before responding"), true}
)

// The messages of SubscribeActorEventsAlpha1: the sidecar asks, the application answers.
type (
	actorQuestion = runtimev1.SubscribeActorEventsResponseAlpha1
	actorAnswer   = runtimev1.SubscribeActorEventsRequestAlpha1
)

// ActorMessages is the stream as its server sees it.
type ActorMessages interface {
	Send(*actorQuestion) error
	Recv() (*actorAnswer, error)
}

// ActorStream is an ActorHost that has opened a stream. It can be asked between OpenActorStream and the end of Listen.
type ActorStream struct {
	messages ActorMessages
	initial  *runtimev1.SubscribeActorEventsRequestInitialAlpha1
	warn     func(format string, args ...any)

	// begun is closed when the application knows that its types are registered.
	begun chan struct{}

	sending sync.Mutex
	mu      sync.Mutex
	last    uint64
	// pending are the questions without an answer, by their ids; nil once the stream is over.
	pending map[string]chan *actorAnswer
}

// OpenActorStream reads the first message. warn is told of answers that nobody has asked for.
func OpenActorStream(messages ActorMessages, warn func(format string, args ...any)) (*ActorStream, error) {
	first, err := messages.Recv()
	if err != nil {
		return nil, err
	}
	if first.GetInitialRequest() == nil {
		return nil, errActorStreamBegin
	}
	return &ActorStream{messages: messages, initial: first.GetInitialRequest(), warn: warn, begun: make(chan struct{}),
		pending: map[string]chan *actorAnswer{}}, nil
}

// Configuration is what the first message says.
func (s *ActorStream) Configuration() *AppConfiguration {
	c := &AppConfiguration{Entities: s.initial.GetEntities(), ActorSettings: streamSettings(s.initial)}
	for _, e := range s.initial.GetEntitiesConfig() {
		c.PerEntity = append(c.PerEntity, EntitySettings{e.GetEntities(), streamSettings(e)})
	}
	return c
}

// streamSettings reads what the first message and the settings of single types have alike.
func streamSettings(m interface {
	GetActorIdleTimeout() *durationpb.Duration
	GetDrainOngoingCallTimeout() *durationpb.Duration
	GetReentrancy() *runtimev1.ActorReentrancyConfig
}) ActorSettings {
	settings := ActorSettings{IdleTimeout: length(m.GetActorIdleTimeout()), DrainTimeout: length(m.GetDrainOngoingCallTimeout())}
	switch m := m.(type) {
	case *runtimev1.SubscribeActorEventsRequestInitialAlpha1:
		settings.DrainRebalanced = m.DrainRebalancedActors
	case *runtimev1.ActorEntityConfig:
		settings.DrainRebalanced = m.DrainRebalancedActors
	}
	if r := m.GetReentrancy(); r != nil {
		settings.Reentrant = r.GetEnabled()
		if r.MaxStackDepth != nil {
			settings.MaxStackDepth = new(int(r.GetMaxStackDepth()))
		}
	}
	return settings
}

func length(d *durationpb.Duration) *time.Duration {
	if d == nil {
		return nil
	}
	return new(d.AsDuration())
}

// Listen tells the application that its types are registered and takes its answers until it closes the stream, which is
// no error, or the server ends it. Questions without an answer fail then. It is called once.
func (s *ActorStream) Listen() error {
	defer s.end()
	err := s.send(&actorQuestion{ResponseType: &runtimev1.SubscribeActorEventsResponseAlpha1_InitialResponse{
		InitialResponse: &runtimev1.SubscribeActorEventsResponseInitialAlpha1{}}})
	close(s.begun)
	for err == nil {
		var answer *actorAnswer
		if answer, err = s.messages.Recv(); err == nil {
			s.take(answer)
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// end fails what waits for an answer.
func (s *ActorStream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, waiting := range s.pending {
		close(waiting)
	}
	s.pending = nil
}

// take hands an answer to whoever asked.
func (s *ActorStream) take(answer *actorAnswer) {
	id := answerID(answer)
	s.mu.Lock()
	waiting := s.pending[id]
	delete(s.pending, id)
	s.mu.Unlock()
	if waiting == nil {
		s.warn("the application's stream of actors brings what nobody asked for: %T with the id %q", answer.GetRequestType(), id)
		return
	}
	waiting <- answer
}

func answerID(answer *actorAnswer) string {
	switch a := answer.GetRequestType().(type) {
	case *runtimev1.SubscribeActorEventsRequestAlpha1_InvokeResponse:
		return a.InvokeResponse.GetId()
	case *runtimev1.SubscribeActorEventsRequestAlpha1_ReminderResponse:
		return a.ReminderResponse.GetId()
	case *runtimev1.SubscribeActorEventsRequestAlpha1_TimerResponse:
		return a.TimerResponse.GetId()
	case *runtimev1.SubscribeActorEventsRequestAlpha1_DeactivateResponse:
		return a.DeactivateResponse.GetId()
	case *runtimev1.SubscribeActorEventsRequestAlpha1_RequestFailed:
		return a.RequestFailed.GetId()
	}
	return ""
}

// ask sends a question under the next id and waits for its answer. method is the one that is called, "" for none.
func (s *ActorStream) ask(ctx context.Context, method string, question func(id string) *actorQuestion) (*actorAnswer, error) {
	select {
	case <-s.begun:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	waiting := make(chan *actorAnswer, 1)
	s.mu.Lock()
	if s.pending == nil {
		s.mu.Unlock()
		return nil, errActorHostAway
	}
	s.last++
	id := strconv.FormatUint(s.last, 10)
	s.pending[id] = waiting
	s.mu.Unlock()
	defer s.forget(id)
	if err := s.send(question(id)); err != nil {
		return nil, errActorHostLeft
	}
	select {
	case answer, ok := <-waiting:
		if !ok {
			return nil, errActorHostLeft
		}
		return answer, failedAnswer(answer.GetRequestFailed(), method)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (s *ActorStream) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, id)
}

// failedAnswer is the application's refusal as an error.
func failedAnswer(failed *runtimev1.SubscribeActorEventsRequestFailedAlpha1, method string) error {
	switch {
	case failed == nil:
		return nil
	case method != "" && codes.Code(failed.GetCode()) == codes.NotFound:
		return missingMethod(method)
	}
	return actorFailure(0, failed.GetMessage())
}

func oddAnswer(kind string) error {
	return &ActorError{Text: "actor host returned an unexpected response type for " + kind}
}

// send is for one message at a time, as gRPC asks.
func (s *ActorStream) send(question *actorQuestion) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	return s.messages.Send(question)
}

// CallActor asks for an invocation. Of the headers the application sees the first of each name.
func (s *ActorStream) CallActor(ctx context.Context, actorType, actorID, method string, req *Request) (*Response, error) {
	data, err := req.Body.Whole(maxStreamed)
	if err != nil {
		return nil, err
	}
	answer, err := s.ask(ctx, method, func(id string) *actorQuestion {
		return &actorQuestion{ResponseType: &runtimev1.SubscribeActorEventsResponseAlpha1_InvokeRequest{
			InvokeRequest: &runtimev1.SubscribeActorEventsResponseInvokeRequestAlpha1{Id: id, ActorType: actorType, ActorId: actorID,
				Method: method, Data: data, Metadata: firsts(req)}}}
	})
	if err != nil {
		return nil, err
	}
	said := answer.GetInvokeResponse()
	if said == nil {
		return nil, oddAnswer("invoke")
	}
	res := &Response{Status: 200, Body: Body{Bytes: said.GetData()}}
	for name, value := range said.GetMetadata() {
		if IsHeaderName(name) {
			res.Header = res.Header.With(name, value)
		}
	}
	if said.GetError() && !res.Header.Has(ActorErrorHeader) {
		res.Header = res.Header.With(ActorErrorHeader, "true")
	}
	return res, nil
}

// maxStreamed bounds, in bytes, what goes into one message: the bound of gRPC.
const maxStreamed = 1<<31 - 1

// firsts are the headers of a request, the first value of each, and its content type.
func firsts(req *Request) map[string]string {
	m := make(map[string]string, len(req.Header)+1)
	for _, f := range req.Header {
		if _, ok := m[f.Name]; !ok {
			m[f.Name] = f.Value
		}
	}
	if req.ContentType != "" {
		m["content-type"] = req.ContentType
	}
	return m
}

// FireActor asks for the callback.
func (s *ActorStream) FireActor(ctx context.Context, event *ActorEvent) (cancel bool, err error) {
	data, err := event.any()
	if err != nil {
		return false, err
	}
	answer, err := s.ask(ctx, "", func(id string) *actorQuestion {
		if event.Timer {
			return &actorQuestion{ResponseType: &runtimev1.SubscribeActorEventsResponseAlpha1_TimerRequest{
				TimerRequest: &runtimev1.SubscribeActorEventsResponseTimerRequestAlpha1{Id: id, ActorType: event.Type, ActorId: event.ID,
					Name: event.Name, DueTime: event.DueTime, Period: event.Period, Callback: event.Callback, Data: data}}}
		}
		return &actorQuestion{ResponseType: &runtimev1.SubscribeActorEventsResponseAlpha1_ReminderRequest{
			ReminderRequest: &runtimev1.SubscribeActorEventsResponseReminderRequestAlpha1{Id: id, ActorType: event.Type, ActorId: event.ID,
				Name: event.Name, DueTime: event.DueTime, Period: event.Period, Data: data}}}
	})
	if err != nil {
		return false, err
	}
	said, kind := answer.GetReminderResponse(), "reminder"
	if event.Timer {
		said, kind = answer.GetTimerResponse(), "timer"
	}
	if said == nil {
		return false, oddAnswer(kind)
	}
	return said.GetCancel(), nil
}

// any is the data as sidecars and applications exchange it: the bytes of the JSON text.
func (e *ActorEvent) any() (*anypb.Any, error) {
	if len(e.Data) == 0 {
		return nil, nil
	}
	return anypb.New(wrapperspb.Bytes(e.Data))
}

// DeactivateActor asks the application to let go of the actor.
func (s *ActorStream) DeactivateActor(ctx context.Context, actorType, actorID string) error {
	answer, err := s.ask(ctx, "", func(id string) *actorQuestion {
		return &actorQuestion{ResponseType: &runtimev1.SubscribeActorEventsResponseAlpha1_DeactivateRequest{
			DeactivateRequest: &runtimev1.SubscribeActorEventsResponseDeactivateRequestAlpha1{Id: id, ActorType: actorType, ActorId: actorID}}}
	})
	if err != nil {
		return err
	}
	if answer.GetDeactivateResponse() == nil {
		return oddAnswer("deactivate")
	}
	return nil
}
