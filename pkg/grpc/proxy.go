package grpc

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/messaging"
	"github.com/daprd/daprd/pkg/proto/wire"
	"github.com/daprd/daprd/pkg/resiliency"
)

// apiTokenHeader is the secret between an application and its sidecar; it goes nowhere else.
const apiTokenHeader = "dapr-api-token"

var errNoProxyTarget = errors.New("failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found")

// ProxyDeps are what proxying works with.
type ProxyDeps struct {
	Self   messaging.Self
	Direct *messaging.Direct
	// Policy is asked for every call that goes to the application beside this sidecar.
	Policy messaging.Policy
	// Observer is told of the calls that other sidecars send; nil observes nothing.
	Observer messaging.Observer
}

// Proxy passes calls of services that this sidecar does not know on to the application that their
// metadata names. The messages are not looked at.
type Proxy struct {
	self     messaging.Self
	direct   *messaging.Direct
	policy   messaging.Policy
	observer messaging.Observer
	uploads  sync.WaitGroup
}

// NewProxy makes a proxy for both servers.
func NewProxy(deps ProxyDeps) *Proxy {
	return &Proxy{self: deps.Self, direct: deps.Direct, policy: deps.Policy, observer: deps.Observer}
}

// Wait waits for what is left of calls that are over. The servers are stopped before.
func (p *Proxy) Wait() { p.uploads.Wait() }

// Serve is the grpc.StreamHandler of the API server: the call goes to the application that it names,
// wherever that is.
func (p *Proxy) Serve(_ any, stream grpc.ServerStream) error {
	md, target, err := p.addressee(stream.Context())
	if err != nil {
		return err
	}
	guard := p.direct.Guard(target)
	if target.Local {
		return p.toApp(stream, md, target, guard)
	}
	return p.relay(stream, target, p.toPeer(md, target), guard)
}

// ServePeer is the grpc.StreamHandler of the internal server: the call was sent to the application beside
// this sidecar, and goes nowhere else.
func (p *Proxy) ServePeer(_ any, stream grpc.ServerStream) error {
	if p.observer == nil {
		return p.servePeer(stream)
	}
	caller := first(metadata.ValueFromIncomingContext(stream.Context(), messaging.CallerAppIDHeader))
	p.observer.InvocationReceived(caller)
	err := p.servePeer(stream)
	p.observer.InvocationReplied(caller, int(status.Code(err)))
	return err
}

func (p *Proxy) servePeer(stream grpc.ServerStream) error {
	md, target, err := p.addressee(stream.Context())
	if err != nil {
		return err
	}
	if target.AppID != p.self.AppID {
		return messaging.Misled(p.self.AppID, target.AppID)
	}
	target.Local = true
	return p.toApp(stream, md, target, nil) // the policies are the caller's
}

// addressee is the application that the call is for.
func (p *Proxy) addressee(ctx context.Context) (metadata.MD, messaging.Target, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	for _, name := range []string{messaging.CalleeAppIDHeader, messaging.AppIDHeader} {
		if values := md[name]; len(values) > 0 && values[0] != "" {
			target, err := p.direct.Target(values[0])
			return md, target, err
		}
	}
	return nil, messaging.Target{}, errNoProxyTarget
}

func (p *Proxy) toApp(stream grpc.ServerStream, md metadata.MD, target messaging.Target, guard *resiliency.Guard) error {
	full, _ := grpc.MethodFromServerStream(stream)
	method, err := proxiedMethod(full)
	if err != nil {
		return err
	}
	if err := p.policy.Allow(stream.Context(), method, ""); err != nil {
		return err
	}
	out := passedOn(md)
	delete(out, messaging.AppIDHeader)
	return p.relay(stream, target, out, guard)
}

// proxiedMethod is the full name of a method as policy sees it, which is the one that is called: a name that
// servers could read in another way (doubled slashes, dot segments, escapes) is refused.
func proxiedMethod(full string) (string, error) {
	method := strings.TrimPrefix(full, "/")
	canonical, err := channel.CanonicalMethod(method)
	if err == nil && (canonical != method || strings.Contains(method, "%")) {
		err = &channel.MethodError{Method: full}
	}
	if err != nil {
		return "", status.Errorf(codes.InvalidArgument, "invalid method: %v", err)
	}
	return method, nil
}

// toPeer names caller and callee. Sidecars of Dapr 1.7 look for the callee under the older name.
func (p *Proxy) toPeer(md metadata.MD, target messaging.Target) metadata.MD {
	out := passedOn(md)
	out[messaging.AppIDHeader] = []string{target.AppID}
	out[messaging.CalleeAppIDHeader] = []string{target.AppID}
	out[messaging.CallerAppIDHeader] = []string{p.self.AppID}
	out[messaging.CallerNamespaceHeader] = []string{p.self.Namespace}
	return out
}

// passedOn is the metadata without what belongs to one connection.
func passedOn(md metadata.MD) metadata.MD {
	out := make(metadata.MD, len(md)+4)
	for name, values := range md {
		if !ofConnection(name) {
			out[name] = values
		}
	}
	return out
}

func ofConnection(name string) bool {
	switch name {
	case apiTokenHeader, "content-type", "user-agent", "te", "connection",
		"grpc-accept-encoding", "grpc-encoding", "grpc-timeout", "grpc-message-type", "grpc-status", "grpc-message":
		return true
	}
	return strings.HasPrefix(name, ":")
}

// relay passes messages on in both directions until the application has answered.
func (p *Proxy) relay(from grpc.ServerStream, target messaging.Target, md metadata.MD, guard *resiliency.Guard) error {
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(from.Context(), md))
	defer cancel()
	full, _ := grpc.MethodFromServerStream(from)
	open := func(ctx context.Context) (*messaging.Stream, error) {
		return p.direct.Open(ctx, target, full, grpc.ForceCodecV2(wire.Codec{}), grpc.CallContentSubtype(subtype(from.Context())))
	}
	if guard != nil {
		return p.guarded(ctx, cancel, from, guard, open)
	}
	to, err := open(ctx)
	if err != nil {
		return err
	}
	return p.pass(from, to, cancel)
}

// pass passes on what both sides send until the call is over.
func (p *Proxy) pass(from grpc.ServerStream, to *messaging.Stream, cancel context.CancelFunc) (err error) {
	defer func() { to.Done(err) }()
	// It ends when this call does: gRPC ends the stream that it reads from then.
	p.uploads.Go(func() { upload(from, to, cancel) })
	return download(from, to)
}

// subtype is what the client says its messages are written in.
func subtype(ctx context.Context) string {
	values := metadata.ValueFromIncomingContext(ctx, "content-type")
	if len(values) == 0 {
		return wire.Codec{}.Name()
	}
	_, subtype, ok := strings.Cut(values[0], "+")
	if !ok || subtype == "" {
		return wire.Codec{}.Name()
	}
	subtype, _, _ = strings.Cut(subtype, ";")
	return subtype
}

func upload(from grpc.ServerStream, to grpc.ClientStream, cancel context.CancelFunc) {
	var frame wire.Frame
	defer frame.Free()
	for {
		switch err := from.RecvMsg(&frame); {
		case err == io.EOF:
			_ = to.CloseSend()
			return
		case err != nil:
			cancel()
			return
		}
		// The reason of a failure is what download receives.
		if err := to.SendMsg(&frame); err != nil {
			return
		}
	}
}

func download(from grpc.ServerStream, to grpc.ClientStream) error {
	if header, err := to.Header(); err == nil {
		if err := sendHeader(from, header); err != nil {
			return err
		}
	}
	return receive(from, to)
}

func sendHeader(from grpc.ServerStream, header metadata.MD) error {
	if len(header) == 0 {
		return nil
	}
	return from.SendHeader(answered(header))
}

// receive passes on the messages of the answer, and its end.
func receive(from grpc.ServerStream, to grpc.ClientStream) error {
	var frame wire.Frame
	defer frame.Free()
	for {
		if err := to.RecvMsg(&frame); err != nil {
			from.SetTrailer(answered(to.Trailer()))
			if err == io.EOF {
				return nil
			}
			return err
		}
		if err := from.SendMsg(&frame); err != nil {
			return err
		}
	}
}

// answered is what an application's metadata is to the client: all but the content type, which the server
// writes itself.
func answered(md metadata.MD) metadata.MD {
	out := make(metadata.MD, len(md))
	for name, values := range md {
		if name != "content-type" {
			out[name] = values
		}
	}
	return out
}
