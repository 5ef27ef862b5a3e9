package channel

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/security"
)

// Conn is the way on which gRPC calls of any service are proxied to app. It adds the app token in place
// of any that the caller sent. An application that speaks no gRPC answers each call Unavailable there.
// It ends with app; the caller does not close it.
func Conn(app App) grpc.ClientConnInterface {
	if proxied, ok := app.(interface {
		Conn() grpc.ClientConnInterface
	}); ok {
		return proxied.Conn()
	}
	return refusing{protocol: "no protocol that is known"}
}

// refusing is the connection to an application that speaks no gRPC.
type refusing struct{ protocol string }

func (r refusing) err() error {
	return status.Errorf(codes.Unavailable,
		"connection error: desc = \"the app speaks %s, not gRPC: set --app-protocol grpc if it does\"", r.protocol)
}

func (r refusing) Invoke(context.Context, string, any, any, ...grpc.CallOption) error { return r.err() }

func (r refusing) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, r.err()
}

// proxied puts the app token into every call.
type proxied struct {
	conn  *grpc.ClientConn
	token security.Token
}

func (p proxied) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return p.conn.Invoke(p.withToken(ctx), method, args, reply, opts...)
}

func (p proxied) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return p.conn.NewStream(p.withToken(ctx), desc, method, opts...)
}

func (p proxied) withToken(ctx context.Context) context.Context {
	md, _ := metadata.FromOutgoingContext(ctx)
	if md == nil {
		md = metadata.MD{}
	}
	md.Delete(tokenHeader)
	if p.token.Required() {
		md.Set(tokenHeader, p.token.Reveal())
	}
	return metadata.NewOutgoingContext(ctx, md)
}
