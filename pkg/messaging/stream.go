package messaging

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/channel"
)

// The errors of proxied calls, which Dapr answers with the code Unknown.
var (
	errProxyNotReady = errors.New("failed to proxy request: proxy not initialized; daprd startup may be incomplete")
	errProxyNoApp    = status.Error(codes.Unavailable,
		`connection error: desc = "this sidecar has no app (yet): the app channel is not initialized; set --app-port"`)
)

// Stream is a gRPC call of any service on its way to an application.
type Stream struct {
	grpc.ClientStream
	done func(error)
}

// Done ends the call's use of its connection; err is what the call ended with. The context of the stream
// must be cancelled, or the stream read to its end, as gRPC demands.
func (s *Stream) Done(err error) { s.done(err) }

// Open opens a call of the gRPC method (its full name, with the slash in front) at the application that
// target names: beside this sidecar, or behind another one. Nothing was sent when it fails, and another
// sidecar of the application has been tried then. Metadata is that of ctx.
func (d *Direct) Open(ctx context.Context, target Target, method string, options ...grpc.CallOption) (*Stream, error) {
	if target.Local {
		return d.openLocal(ctx, method, options)
	}
	return d.openRemote(ctx, target, method, options)
}

func (d *Direct) openLocal(ctx context.Context, method string, options []grpc.CallOption) (*Stream, error) {
	app, ok := d.app.Load()
	if !ok {
		return nil, errProxyNoApp
	}
	stream, err := channel.Conn(app).NewStream(ctx, &proxiedCall, method, options...)
	if err != nil {
		return nil, err
	}
	return &Stream{ClientStream: stream, done: func(error) {}}, nil
}

// proxiedCall fits every kind of call, since gRPC has them alike on the wire.
var proxiedCall = grpc.StreamDesc{ServerStreams: true, ClientStreams: true}

func (d *Direct) openRemote(ctx context.Context, target Target, method string, options []grpc.CallOption) (*Stream, error) {
	resolver, ok := d.resolver.Load()
	if !ok {
		return nil, errProxyNotReady
	}
	addresses, err := resolver.Resolve(ctx, target.Target)
	if err != nil {
		return nil, err
	}
	var tried []string
	for {
		address := d.pick(target.Target, addresses, tried)
		stream, err := d.openAt(ctx, target, address, method, options)
		if err == nil || ctx.Err() != nil || !unreachable(err) {
			return stream, err
		}
		forget(resolver, target.Target, address)
		// With one address only, it is tried once more, over a new connection.
		if tried = append(tried, address); len(tried) >= max(2, min(len(addresses), addressesPerRound)) {
			return nil, err
		}
	}
}

func (d *Direct) openAt(ctx context.Context, target Target, address, method string, options []grpc.CallOption) (*Stream, error) {
	to, err := d.peers.use(target.Target, address)
	if err != nil {
		return nil, err
	}
	sent := d.sent(target.AppID, Streaming)
	stream, err := to.newStream(ctx, &proxiedCall, method, options...)
	if err != nil {
		sent.answered(ctx, 0, err)
		if ctx.Err() == nil && unreachable(err) {
			to.retire()
		}
		to.release()
		return nil, err
	}
	return &Stream{ClientStream: stream, done: func(err error) {
		sent.answered(ctx, int(codes.OK), err)
		d.opened(to, target, err)
	}}, nil
}

// opened ends the use of a connection, and forgets an address at which another application's sidecar
// listens.
func (d *Direct) opened(to *peer, target Target, err error) {
	if isMisled(err) {
		if resolver, ok := d.resolver.Load(); ok {
			forget(resolver, target.Target, to.key.address)
		}
		to.retire()
	}
	to.release()
}

const misledText = "the sidecar at this address is that of "

// Misled is the answer to a call that was meant for another application: its caller remembers an address
// at which another sidecar listens by now. Unavailable makes it look the address up again.
func Misled(own, meant string) error {
	return status.Errorf(codes.Unavailable, misledText+"%s, not of %s: the caller's address of it is out of date", own, meant)
}

func isMisled(err error) bool {
	return status.Code(err) == codes.Unavailable && strings.HasPrefix(status.Convert(err).Message(), misledText)
}
