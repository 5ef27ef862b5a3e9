package grpc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// errNowhere is Dapr's text.
var errNowhere = errors.New("could not listen on any endpoint")

// Listen binds the API to port on each of the addresses; none, or an empty one, means all interfaces. An
// address that cannot be bound is a warning; that none can be bound is an error.
func (s *Server) Listen(ctx context.Context, addresses []string, port int) error {
	if len(addresses) == 0 {
		addresses = []string{""}
	}
	var failures []error
	for _, address := range addresses {
		endpoint := join(address, port)
		var config net.ListenConfig
		l, err := config.Listen(ctx, "tcp", endpoint)
		if err != nil {
			failures = append(failures, err)
			s.log.Warnf("Failed to listen on %s with error: %s", endpoint, err)
			continue
		}
		s.add(l)
	}
	if len(failures) == len(addresses) {
		return fmt.Errorf("%w: %w", errNowhere, errors.Join(failures...))
	}
	return nil
}

// ListenUnix binds the API to a socket file. What a dead process left at path is removed.
func (s *Server) ListenUnix(ctx context.Context, path string) error {
	if err := removeSocket(path); err != nil {
		return err
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("listen on unix socket %s: %w", path, err)
	}
	s.add(l)
	return nil
}

// Addresses are where the server listens, in the order in which they were bound.
func (s *Server) Addresses() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	addresses := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		addresses[i] = l.Addr()
	}
	return addresses
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

// join makes an endpoint; an IPv6 address may come with its brackets, as the injector writes it.
func join(address string, port int) string {
	address = strings.TrimSpace(address)
	address = strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
	return net.JoinHostPort(address, strconv.Itoa(port))
}

// removeSocket removes a socket file that nobody serves. Anything else at path stays, and so does a socket
// that somebody answers on; binding then fails and says so.
func removeSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("unix socket %s: %w", path, err)
	case info.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("unix socket %s: there is a file of that name which is no socket; remove it or choose another folder", path)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = c.Close()
		return nil
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("unix socket %s: %w", path, err)
	}
	return nil
}
