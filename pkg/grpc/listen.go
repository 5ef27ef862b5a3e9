package grpc

import (
	"context"
	"net"

	"github.com/daprd/daprd/pkg/listen"
)

// Listen binds the API to port on each of the addresses; none, or an empty one, means all interfaces. An
// address that cannot be bound is a warning; that none can be bound is an error.
func (s *Server) Listen(ctx context.Context, addresses []string, port int) error {
	bound, err := listen.TCP(ctx, addresses, port, s.log)
	for _, l := range bound {
		s.add(l)
	}
	return err
}

// ListenUnix binds the API to a socket file. What a dead process left at path is removed.
func (s *Server) ListenUnix(ctx context.Context, path string) error {
	l, err := listen.Unix(ctx, path)
	if err != nil {
		return err
	}
	s.add(l)
	return nil
}

// Addresses are where the server listens, in the order in which they were bound.
func (s *Server) Addresses() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return listen.Addresses(s.listeners)
}

// add keeps a listener and writes the lines of the start-up trace, once for each as Dapr 1.7 does.
func (s *Server) add(l net.Listener) {
	s.mu.Lock()
	s.listeners = append(s.listeners, l)
	s.mu.Unlock()
	if len(s.config.Allowed) > 0 || len(s.config.Denied) > 0 {
		s.log.Info("enabled API access list on gRPC server")
	}
	if s.config.Token.Required() {
		s.log.Info("enabled token authentication on gRPC server")
	}
	if !s.config.NoTracing {
		s.log.Info("enabled gRPC tracing middleware")
	}
	if s.observed {
		s.log.Info("enabled gRPC metrics middleware")
	}
}
