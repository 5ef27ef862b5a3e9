package grpc

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip" // peers and their clients may send compressed messages
	"google.golang.org/grpc/keepalive"

	"github.com/daprd/daprd/pkg/messaging"
	"github.com/daprd/daprd/pkg/proto/wire"
	"github.com/daprd/daprd/pkg/tracing"
)

// The liveness settings of the internal port (Dapr 1.18).
const (
	internalPing        = 10 * time.Second
	internalPingTimeout = 5 * time.Second
	// internalMinPing is how often clients may ping; those of Dapr do every 10 s.
	internalMinPing = 8 * time.Second
)

// Goroutines with a grown stack wait for calls: that saves a tenth of the processor time of a call. Their
// number is bounded, for they hold 8 KiB each.
const (
	workersPerProcessor = 16
	maxWorkers          = 64
)

// InternalDeps are what the server for other sidecars works with.
type InternalDeps struct {
	Callee *messaging.Callee
	// Proxy passes on the calls that the Callee does not know.
	Proxy *Proxy
	// Credentials are those of mTLS; nil is plaintext.
	Credentials credentials.TransportCredentials
	// MaxBodySize bounds, in bytes, the bodies that come in one message; 0 and less is no bound.
	MaxBodySize int64
	// Tracer makes the spans of the proxied calls; nil makes none. The Callee makes its own.
	Tracer *tracing.Tracer
	// Options are added last: interceptors, for instance.
	Options []grpc.ServerOption
}

// Internal is the gRPC server for other sidecars (port 50002).
type Internal struct{ server *grpc.Server }

// NewInternal makes the server; it does not listen yet.
func NewInternal(deps InternalDeps) *Internal {
	limit := messaging.MessageLimit(deps.MaxBodySize)
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(wire.Codec{}),
		grpc.MaxRecvMsgSize(limit),
		grpc.StaticStreamWindowSize(messaging.StreamWindow),
		grpc.StaticConnWindowSize(messaging.ConnWindow),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: internalPing, Timeout: internalPingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: internalMinPing, PermitWithoutStream: true}),
		grpc.NumStreamWorkers(uint32(min(workersPerProcessor*runtime.GOMAXPROCS(0), maxWorkers))),
		grpc.UnknownServiceHandler(spanned(deps.Tracer, deps.Proxy.ServePeer)),
	}
	if deps.Credentials != nil {
		options = append(options, grpc.Creds(deps.Credentials))
	}
	server := grpc.NewServer(append(options, deps.Options...)...)
	server.RegisterService(deps.Callee.ServiceDesc(), deps.Callee)
	return &Internal{server: server}
}

// Serve takes calls from listener until the server is quiesced or stopped.
func (s *Internal) Serve(listener net.Listener) error {
	if err := s.server.Serve(listener); err != nil {
		return fmt.Errorf("serve sidecars on %s: %w", listener.Addr(), err)
	}
	return nil
}

// Quiesce stops accepting, tells peers to go elsewhere (GOAWAY) and waits for the calls in flight. When
// ctx ends first the rest is cut off, and its error is returned.
func (s *Internal) Quiesce(ctx context.Context) error {
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		s.server.GracefulStop()
	}()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		s.server.Stop()
		<-drained
		return fmt.Errorf("drain calls of other sidecars: %w", ctx.Err())
	}
}

// Stop ends the server and its calls at once, and waits for them.
func (s *Internal) Stop() { s.server.Stop() }
