// Package grpc is the gRPC side of the sidecar: the API for the application, and the port for other
// sidecars. It decodes a call, makes one call on a building block and encodes the answer. It holds no meaning
// of its own: what a call does is the block's matter, and an error is a row of apierr that errors.go makes a
// status of. It must not know components, nor which protocol the application speaks.
package grpc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	reflectionservice "google.golang.org/grpc/reflection"

	"github.com/daprd/daprd/pkg/api"
	"github.com/daprd/daprd/pkg/messaging"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/proto/wire"
	"github.com/daprd/daprd/pkg/security"
	"github.com/daprd/daprd/pkg/tracing"
)

// The liveness settings of the API port (Dapr 1.18).
const (
	idleTimeout = 3 * time.Minute
	ping        = 10 * time.Second
	pingTimeout = 5 * time.Second
	// minPing is how often clients may ping, also without calls.
	minPing = 8 * time.Second
)

// headerFloor is the least bound of a header list, in bytes: what Dapr 1.18 really takes by default, since
// it shifts its 4 KiB once too often. Calls that worked there work here.
const headerFloor = 4 << 20

// Config is what users say of the server.
type Config struct {
	// MaxBodySize is the most bytes of a message, received or sent; 0 and less is no limit.
	MaxBodySize int64
	// ReadBufferSize is the most bytes of a call's metadata; less than 4 MiB is 4 MiB.
	ReadBufferSize int64
	// Token is DAPR_API_TOKEN.
	Token security.Token
	// Allowed and Denied are spec.api of the Configuration, the rules of the protocol grpc.
	Allowed, Denied []Rule
	// NoTracing leaves out the trace headers of answers, as Dapr does with a sampling rate of "0".
	NoTracing bool
}

// Observer is told of every unary call when it is answered: the seam of the metrics. Method is a full name
// from a bounded set; received and sent are the bytes of the messages.
type Observer interface {
	GRPCServed(method string, code codes.Code, received, sent int, elapsed time.Duration)
}

// Deps are what the server needs from the sidecar around it.
type Deps struct {
	Blocks api.Blocks
	// Proxy takes the calls of all methods that the sidecar does not have itself.
	Proxy grpc.StreamHandler
	Log   logrus.FieldLogger
	// APILog takes a line for every call of the API; nil switches the API log off.
	APILog logrus.FieldLogger
	// Observer is told of every unary call; nil observes nothing.
	Observer Observer
	// Tracer makes the spans of the calls; nil makes none.
	Tracer *tracing.Tracer
}

// Server is the gRPC API. Listen or ListenUnix come first, then Serve, Quiesce and Close, each once.
type Server struct {
	config   Config
	log      logrus.FieldLogger
	observed bool
	unknown  []string
	server   *grpc.Server
	// reflected is the server's reflection service.
	reflected *reflections

	mu        sync.Mutex
	listeners []net.Listener
	served    bool
	serving   sync.WaitGroup
	draining  sync.WaitGroup
}

// New makes a server that listens nowhere yet.
func New(config Config, deps Deps) *Server {
	table := groups()
	access, unknown := newAccessList(table, config.Allowed, config.Denied)
	gate := &gate{
		access:   access,
		unserved: unserved(table),
		token:    config.Token,
		observer: deps.Observer,
		tracer:   deps.Tracer,
		log:      deps.Log,
		apiLog:   deps.APILog,
	}
	if !config.NoTracing {
		gate.untraced = zeroHeader()
	}
	s := &Server{
		config:   config,
		log:      deps.Log,
		observed: deps.Observer != nil,
		unknown:  unknown,
		server:   grpc.NewServer(options(config, gate, deps.Proxy)...),
	}
	runtimev1.RegisterDaprServer(s.server, newHandlers(config, deps.Blocks, deps.Log))
	s.reflected = newReflections(s.server)
	reflectionservice.Register(s.reflected)
	return s
}

func options(config Config, gate *gate, proxy grpc.StreamHandler) []grpc.ServerOption {
	limit := messageLimit(config.MaxBodySize)
	all := []grpc.ServerOption{
		grpc.ForceServerCodecV2(wire.Codec{}),
		grpc.MaxRecvMsgSize(limit),
		grpc.MaxSendMsgSize(limit),
		grpc.MaxHeaderListSize(uint32(min(max(config.ReadBufferSize, headerFloor), math.MaxInt32))),
		// With fixed windows gRPC sends no pings to measure the connection.
		grpc.StaticStreamWindowSize(messaging.StreamWindow),
		grpc.StaticConnWindowSize(messaging.ConnWindow),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleTimeout, Time: ping, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.NumStreamWorkers(uint32(workersPerProcessor * runtime.GOMAXPROCS(0))),
		grpc.WaitForHandlers(true),
		grpc.UnaryInterceptor(gate.unary),
		grpc.StreamInterceptor(gate.stream),
	}
	if proxy != nil {
		all = append(all, grpc.UnknownServiceHandler(proxy))
	}
	return all
}

func messageLimit(maxBody int64) int {
	if maxBody <= 0 || maxBody > math.MaxInt32 {
		return math.MaxInt32
	}
	return int(maxBody)
}

// Serve starts to answer on every address that has been bound, and returns.
func (s *Server) Serve() {
	for _, name := range s.unknown {
		s.log.Warnf("API access list: the Configuration's spec.api names the gRPC API %q, which does not exist: it selects nothing (state.v1 is one that does)", name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served = true
	for _, l := range s.listeners {
		s.serving.Go(func() {
			if err := s.server.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
				s.log.Errorf("gRPC API: serve on %s: %s", l.Addr(), err)
			}
		})
	}
}

// Quiesce stops accepting, tells clients to go elsewhere (GOAWAY) and waits for the calls in flight, but for
// the streams of reflection, which end. When ctx ends first its error says so; Close cuts the rest.
func (s *Server) Quiesce(ctx context.Context) error {
	s.reflected.end()
	drained := make(chan struct{})
	s.draining.Go(func() {
		defer close(drained)
		s.server.GracefulStop()
	})
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("gRPC calls are still in flight: %w", context.Cause(ctx))
	}
}

// Close cuts what is left and waits until nothing of the server runs any more. When ctx ends first its
// error says so.
func (s *Server) Close(ctx context.Context) error {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		s.server.Stop()
		s.closeUnserved()
		s.serving.Wait()
		s.draining.Wait()
		s.reflected.wait()
	}()
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("gRPC handlers do not end: %w", context.Cause(ctx))
	}
}

func (s *Server) closeUnserved() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.served {
		return
	}
	for _, l := range s.listeners {
		_ = l.Close()
	}
}
