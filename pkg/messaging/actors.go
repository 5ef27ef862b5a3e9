package messaging

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/nameresolution"
	internalsv1 "github.com/daprd/daprd/pkg/proto/internals/v1"
	"github.com/daprd/daprd/pkg/tracing"
)

// Actors takes the calls of actors that other sidecars bring. Errors are *apierr.Error.
type Actors interface {
	CallActor(ctx context.Context, actorType, actorID, method string, req *channel.Request) (*channel.Response, error)
	FireActor(ctx context.Context, event *channel.ActorEvent) error
}

const (
	callActor         = "CallActor"
	callActorReminder = "CallActorReminder"
	callActorMethod   = "/" + serviceName + "/" + callActor
	callEventMethod   = "/" + serviceName + "/" + callActorReminder

	requestActor = 4
	actorTypeOf  = 1
	actorIDOf    = 2
)

// actorName is dapr.proto.internals.v1.Actor.
type actorName struct{ kind, id string }

func (a *actorName) size() int { return textSize(a.kind) + textSize(a.id) }

func (a *actorName) append(dst []byte) []byte {
	dst = appendLength(dst, requestActor, a.size())
	return appendText(appendText(dst, actorTypeOf, a.kind), actorIDOf, a.id)
}

// readActorField is for the field actor of a request.
func (in *inbound) readActorField(field protowire.Number, value wireValue) error {
	switch field {
	case actorTypeOf:
		in.actor.kind = text(value.bytes)
	case actorIDOf:
		in.actor.id = text(value.bytes)
	}
	return nil
}

// CallActor calls a method of an actor at the sidecar that hosts it; appID is its application. The body of req has to be
// in memory. Errors are the status that the sidecar answered, or that of the connection: nothing is tried again here. The
// caller closes the Response.
func (d *Direct) CallActor(ctx context.Context, address, appID, actorType, actorID, method string, req *channel.Request) (*channel.Response, error) {
	to, err := d.peers.use(nameresolution.Target{AppID: appID, Namespace: d.self.Namespace}, address)
	if err != nil {
		return nil, err
	}
	req.Method = method
	if req.Verb == "" {
		req.Verb = "POST"
	}
	o := d.outgoing.Get().(*outgoing)
	o.req, o.begun = req, false
	o.header = d.forward(o.header, req.Header, appID)
	defer d.reuse(o)
	x := d.exchanges.take()
	x.peer = to
	ctx, x.cancel = context.WithCancel(withTrace(ctx, o.header))
	x.out = requestFrame{frame: frame{header: o.header, length: -1, unary: true, payload: req.Body.Bytes}, head: req, actor: actorName{actorType, actorID}}
	x.first.answer, x.first.unary = true, true
	err = to.conn().Invoke(ctx, callActorMethod, &x.out, &x.first)
	if err == nil {
		var res *channel.Response
		if res, err = x.response(); err == nil {
			res.Body.Bytes = x.first.data
			return res, nil
		}
	}
	d.failed(ctx, to, err)
	x.release()
	return nil, err
}

// FireActor tells an actor of a reminder or timer that is due, at the sidecar that hosts it. Errors are as in CallActor.
func (d *Direct) FireActor(ctx context.Context, address, appID string, event *channel.ActorEvent) error {
	message := &internalsv1.Reminder{ActorType: event.Type, ActorId: event.ID, Name: event.Name, Period: event.Period, DueTime: event.DueTime,
		IsTimer: event.Timer}
	if len(event.Data) > 0 {
		data, err := anypb.New(wrapperspb.Bytes(event.Data))
		if err != nil {
			return err
		}
		message.Data = data
	}
	if event.Callback != "" {
		// The message has no place for it, and Dapr's sidecars lose it.
		ctx = metadata.AppendToOutgoingContext(ctx, callbackKey, event.Callback)
	}
	to, err := d.peers.use(nameresolution.Target{AppID: appID, Namespace: d.self.Namespace}, address)
	if err != nil {
		return err
	}
	defer to.release()
	err = to.conn().Invoke(ctx, callEventMethod, message, &emptypb.Empty{})
	d.failed(ctx, to, err)
	return err
}

// callbackKey is the metadata with the method of a timer.
const callbackKey = "daprd-timer-callback"

// failed drops the connection when the sidecar cannot be reached.
func (d *Direct) failed(ctx context.Context, to *peer, err error) {
	if err != nil && ctx.Err() == nil && unreachable(err) {
		to.retire()
	}
}

// callActor serves a call of an actor's method.
func (c *Callee) callActor(_ any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
	s := &served{}
	s.first.unary = true
	if err := decode(&s.first); err != nil {
		return nil, err
	}
	handle := func(ctx context.Context, _ any) (any, error) { return c.serveActor(ctx, s) }
	if intercept == nil {
		return handle(ctx, s)
	}
	return intercept(ctx, &s.first, &grpc.UnaryServerInfo{Server: c, FullMethod: callActorMethod}, handle)
}

func (c *Callee) serveActor(ctx context.Context, s *served) (any, error) {
	if !s.first.hasMessage {
		return nil, errNoMessage
	}
	header := s.first.header.Without(destinationHeader)
	s.req = channel.Request{Query: s.first.query, Header: traced(ctx, header), ContentType: s.first.contentType,
		TypeURL: s.first.typeURL, Body: channel.Body{Bytes: s.first.data}}
	span := c.tracer.Start(tracing.Server, s.req.Header.Value(tracing.ParentHeader), s.req.Header.Value(tracing.StateHeader))
	if span != nil {
		within(&s.req, span)
		span.Actor(s.first.actor.kind, s.first.actor.id, s.first.method)
		span.API(tracing.GRPC, callActorMethod)
	}
	res, err := c.actors.CallActor(ctx, s.first.actor.kind, s.first.actor.id, s.first.method, &s.req)
	if err != nil {
		err = rowStatus(err)
		span.EndGRPC(status.Code(err), err.Error())
		return nil, err
	}
	defer res.Close()
	span.EndHTTP(res.Status)
	body, err := c.whole(res.Body)
	if err != nil {
		return nil, err
	}
	s.answer(res)
	s.out.unary, s.out.length, s.out.payload = true, -1, body
	return detached(&s.out)
}

// rowStatus is an error of a block as sidecars tell it one another.
func rowStatus(err error) error {
	var row *apierr.Error
	if errors.As(err, &row) {
		return status.Error(row.GRPC, row.Message)
	}
	return status.Error(codes.Internal, err.Error())
}

// callActorReminder serves a reminder or timer that is due.
func (c *Callee) callActorReminder(_ any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
	in := &internalsv1.Reminder{}
	if err := decode(in); err != nil {
		return nil, err
	}
	handle := func(ctx context.Context, _ any) (any, error) { return c.serveActorEvent(ctx, in) }
	if intercept == nil {
		return handle(ctx, in)
	}
	return intercept(ctx, in, &grpc.UnaryServerInfo{Server: c, FullMethod: callEventMethod}, handle)
}

func (c *Callee) serveActorEvent(ctx context.Context, in *internalsv1.Reminder) (any, error) {
	event := &channel.ActorEvent{Type: in.GetActorType(), ID: in.GetActorId(), Name: in.GetName(), DueTime: in.GetDueTime(), Period: in.GetPeriod(),
		Timer: in.GetIsTimer(), Data: in.GetData().GetValue()}
	var bytes wrapperspb.BytesValue
	if in.GetData().UnmarshalTo(&bytes) == nil {
		event.Data = bytes.GetValue()
	}
	if values := metadata.ValueFromIncomingContext(ctx, callbackKey); len(values) > 0 {
		event.Callback = values[0]
	}
	if err := c.actors.FireActor(ctx, event); err != nil {
		return nil, rowStatus(err)
	}
	return &emptypb.Empty{}, nil
}
