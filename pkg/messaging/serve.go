package messaging

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/ready"
	"github.com/daprd/daprd/pkg/tracing"
)

// Policy decides which calls from other sidecars reach the application.
type Policy interface {
	// Allow gives nil, or the gRPC status that the caller is to see. The method is the canonical path, or
	// the full name of a proxied gRPC method, whose verb is ""; a call without a verb has NONE. Who calls is in ctx.
	Allow(ctx context.Context, method, verb string) error
}

// CalleeDeps are what the server's side of service invocation works with.
type CalleeDeps struct {
	// AppID names the application beside this sidecar.
	AppID string
	// App is that application, once there is one.
	App    *ready.Slot[channel.App]
	Policy Policy
	// MaxBodySize bounds, in bytes, the answers that go out in one message, to sidecars that take no stream; 0 and less is
	// no bound.
	MaxBodySize int64
	// Observer is told of every call; nil observes nothing.
	Observer Observer
	// Tracer makes the spans of the calls; nil makes none.
	Tracer *tracing.Tracer
	// Actors takes the calls of actors.
	Actors Actors
}

// Callee serves the calls that other sidecars bring for the application beside this one.
type Callee struct {
	appID    string
	app      *ready.Slot[channel.App]
	policy   Policy
	observer Observer
	tracer   *tracing.Tracer
	actors   Actors
	limit    int64
	served   sync.Pool
}

// NewCallee makes the server's side of service invocation.
func NewCallee(deps CalleeDeps) *Callee {
	c := &Callee{appID: deps.AppID, app: deps.App, policy: deps.Policy, observer: deps.Observer, tracer: deps.Tracer,
		actors: deps.Actors, limit: int64(MessageLimit(deps.MaxBodySize))}
	c.served.New = func() any { return &served{} }
	return c
}

// ServiceDesc is what a gRPC server with the codec of package wire registers, with any value as the
// implementation.
func (c *Callee) ServiceDesc() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: serviceName,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			{MethodName: callLocal, Handler: c.callLocal},
			{MethodName: callActor, Handler: c.callActor},
			{MethodName: callActorReminder, Handler: c.callActorReminder},
		},
		Streams: []grpc.StreamDesc{
			{StreamName: callLocalStream, Handler: c.callLocalStream, ServerStreams: true, ClientStreams: true},
			{StreamName: "CallActorStream", ServerStreams: true, Handler: func(any, grpc.ServerStream) error {
				return errActorStream
			}},
		},
		Metadata: "dapr/proto/internals/v1/invocation.proto",
	}
}

var (
	errActorStream  = status.Error(codes.Unimplemented, "this daprd does not have workflows yet: CallActorStream is not implemented")
	errNoAppChannel = status.Error(codes.Internal, "app channel is not initialized")
	errNoMessage    = status.Error(codes.InvalidArgument, "parsing InternalInvokeRequest error: field Message is nil")
	errNoRequest    = status.Error(codes.InvalidArgument,
		"parsing InternalInvokeRequest error: request does not contain the required fields in the leading chunk")
	errLongRequest = status.Error(codes.InvalidArgument, "the body is longer than its Content-Length")
)

// served is one call while it is served, with the memory that it borrows.
type served struct {
	first inbound
	req   channel.Request
	body  requestBody
	out   responseFrame
}

// callLocal serves the call of a sidecar that sends the whole body in its only message.
func (c *Callee) callLocal(_ any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
	s := &served{}
	s.first.unary = true
	if err := decode(&s.first); err != nil {
		return nil, err
	}
	handle := func(ctx context.Context, _ any) (any, error) { return c.serveUnary(ctx, s) }
	if intercept == nil {
		return handle(ctx, s)
	}
	return intercept(ctx, &s.first, &grpc.UnaryServerInfo{Server: c, FullMethod: callUnaryMethod}, handle)
}

func (c *Callee) serveUnary(ctx context.Context, s *served) (any, error) {
	res, err := c.counted(ctx, s, channel.Body{Bytes: s.first.data})
	if err != nil {
		return nil, err
	}
	defer res.Close()
	body, err := c.whole(res.Body)
	if err != nil {
		return nil, err
	}
	s.answer(res)
	s.out.unary = true
	if !res.Body.Withheld {
		s.out.length = -1
	}
	// The answer is written after this returns, when what it borrows is gone.
	s.out.payload = body
	return detached(&s.out)
}

// whole reads an answer that goes out in one message.
func (c *Callee) whole(body channel.Body) ([]byte, error) {
	data, err := body.Whole(c.limit)
	if _, ok := errors.AsType[*channel.SizeError](err); ok {
		return nil, status.Errorf(codes.ResourceExhausted, errLargeAnswer, c.limit)
	}
	if err != nil {
		return nil, appFailure(err)
	}
	return data, nil
}

const errLargeAnswer = "the application's answer is larger than %d bytes, the most that fits into the one message of CallLocal: " +
	"upgrade the calling sidecar to one that takes streamed answers, or raise --max-body-size of this one"

// detached is the frame in its wire form.
func detached(f *responseFrame) (any, error) {
	b, err := f.MarshalWire(make([]byte, 0, f.SizeWire()))
	return &wireBytes{b}, err
}

// wireBytes is a message that is written already.
type wireBytes struct{ b []byte }

func (w *wireBytes) SizeWire() int                          { return len(w.b) }
func (w *wireBytes) MarshalWire(dst []byte) ([]byte, error) { return append(dst, w.b...), nil }
func (w *wireBytes) UnmarshalWire([]byte) error             { return errOnlyWritten }

// callLocalStream serves a call whose bodies come and go in pieces.
func (c *Callee) callLocalStream(_ any, stream grpc.ServerStream) error {
	s := c.served.Get().(*served)
	if err := stream.RecvMsg(&s.first); err != nil {
		if err == io.EOF {
			return errNoRequest
		}
		return err
	}
	if !s.first.hasHead || !s.first.hasMessage {
		return errNoRequest
	}
	body, err := s.requestBody(stream)
	if err != nil {
		return err
	}
	res, err := c.counted(stream.Context(), s, body)
	if err != nil {
		return err
	}
	s.answer(res)
	err = s.send(stream, res)
	res.Close()
	// A streamed body may still be read by whoever sends it to the application, until gRPC ends it.
	if body.Stream == nil {
		s.out, s.req, s.body = responseFrame{}, channel.Request{}, requestBody{next: s.body.next}
		c.served.Put(s)
	}
	return err
}

// counted tells the observer of the call.
func (c *Callee) counted(ctx context.Context, s *served, body channel.Body) (*channel.Response, error) {
	app := c.received(s.first.header)
	res, err := c.invoke(ctx, s, body)
	c.replied(app, res, err)
	return res, err
}

// invoke checks the call as every caller of Dapr expects it, in this order, and makes it.
func (c *Callee) invoke(ctx context.Context, s *served, body channel.Body) (*channel.Response, error) {
	app, ok := c.app.Load()
	if !ok {
		return nil, errNoAppChannel
	}
	if !s.first.hasMessage {
		return nil, errNoMessage
	}
	if err := c.addressed(s.first.header); err != nil {
		return nil, err
	}
	method, err := channel.CanonicalMethod(s.first.method)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, errNoMethod, err)
	}
	if err := c.policy.Allow(ctx, method, cmp.Or(s.first.verb, noVerb)); err != nil {
		return nil, err
	}
	if s.first.version != versionOne {
		return nil, status.Errorf(codes.Unimplemented, "Unsupported spec version: %d", s.first.version)
	}
	s.req = channel.Request{
		Verb:        s.first.verb,
		Method:      method,
		Query:       s.first.query,
		Header:      traced(ctx, s.first.header),
		ContentType: s.first.contentType,
		TypeURL:     s.first.typeURL,
		Body:        body,
	}
	res, err := c.spanned(ctx, app, &s.req)
	if err != nil {
		return nil, appFailure(err)
	}
	return res, nil
}

// addressed refuses a call that was meant for another application.
func (c *Callee) addressed(h channel.Header) error {
	meant := ""
	for _, f := range h {
		if sameName(f.Name, destinationHeader) {
			if meant = f.Value; meant == c.appID {
				return nil
			}
		}
	}
	if meant == "" {
		return nil
	}
	return Misled(c.appID, meant)
}

// errUnhealthy is the one text that the original does not put the prefix in front of.
const errUnhealthy = "app is not in a healthy state"

func appFailure(err error) error {
	if st, ok := status.FromError(err); ok && st.Code() == codes.Internal && st.Message() == errUnhealthy {
		return err
	}
	return status.Errorf(codes.Internal, "error invoking app channel: %s", err)
}

// answer prepares the first message.
func (s *served) answer(res *channel.Response) {
	s.out = responseFrame{
		frame:   frame{header: group(res.Header), length: res.Body.Declared()},
		head:    res,
		trailer: group(res.Trailer),
	}
}

// send sends the answer. That of an application that breaks off in the middle ends with an error, so that
// the caller's client sees it break off, too.
func (s *served) send(stream grpc.ServerStream, res *channel.Response) error {
	if res.Body.Stream != nil {
		return s.sendStream(stream, res.Body)
	}
	rest := res.Body.Bytes
	for {
		n := min(len(rest), chunkSize)
		s.out.payload, rest = rest[:n], rest[n:]
		if err := stream.SendMsg(&s.out); err != nil {
			return err
		}
		if len(rest) == 0 {
			return nil
		}
		s.next()
	}
}

func (s *served) sendStream(stream grpc.ServerStream, body channel.Body) error {
	// The head does not wait for the body: events may be far apart.
	if err := stream.SendMsg(&s.out); err != nil {
		return err
	}
	s.out.head = nil
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	for {
		n, err := body.Stream.Read(chunk[:])
		if n > 0 {
			s.out.payload = chunk[:n]
			if err := stream.SendMsg(&s.out); err != nil {
				return err
			}
			s.next()
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return appFailure(err)
		}
	}
}

func (s *served) next() {
	s.out.head = nil
	s.out.seq++
}
