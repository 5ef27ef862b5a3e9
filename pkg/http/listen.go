package http

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/daprd/daprd/pkg/listen"
)

// lastCalls is how long a listener still takes connections that the system had accepted already when the
// sidecar began to drain.
const lastCalls = 5 * time.Millisecond

type listener struct {
	net.Listener
	public bool
}

// Listen binds the API to port on each of the addresses; none, or an empty one, means all interfaces. An
// address that cannot be bound is a warning; that none can be bound is an error.
func (s *Server) Listen(ctx context.Context, addresses []string, port int) error {
	return s.listen(ctx, addresses, port, false)
}

// ListenPublic binds the public port, which answers health and metadata only, without token, CORS and API
// log. An empty address means all interfaces.
func (s *Server) ListenPublic(ctx context.Context, address string, port int) error {
	return s.listen(ctx, []string{address}, port, true)
}

// ListenUnix binds the API to a socket file. What a dead process left at path is removed.
func (s *Server) ListenUnix(ctx context.Context, path string) error {
	l, err := listen.Unix(ctx, path)
	if err != nil {
		return err
	}
	s.announce(false)
	s.add(l, false)
	return nil
}

// Addresses are where the server listens, in the order in which they were bound.
func (s *Server) Addresses() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return listen.Addresses(s.listeners)
}

func (s *Server) listen(ctx context.Context, addresses []string, port int, public bool) error {
	s.announce(public)
	bound, err := listen.TCP(ctx, addresses, port, s.log)
	for _, l := range bound {
		s.add(l, public)
	}
	return err
}

// announce writes the lines of the start-up trace.
func (s *Server) announce(public bool) {
	if !public {
		if s.origins != nil {
			s.log.Info("enabled cors http middleware")
		}
		if s.config.Token.Required() {
			s.log.Info("enabled token authentication on http server")
		}
	}
	if s.observer != nil {
		s.log.Info("enabled metrics http middleware")
	}
	if !s.config.NoTracing {
		s.log.Info("enabled tracing http middleware")
	}
}

func (s *Server) add(l net.Listener, public bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners = append(s.listeners, listener{Listener: l, public: public})
}

// accept takes connections until the listener is closed, or, when draining, until none is waiting.
func (s *Server) accept(l listener) {
	var pause time.Duration
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.take(c, l.public)
		case errors.Is(err, net.ErrClosed):
			return
		case s.draining.Load():
			_ = l.Close()
			return
		default:
			// Out of file descriptors, mostly: it passes, and a server that gave up would not come back.
			pause = min(max(2*pause, time.Millisecond), time.Second)
			s.log.Warnf("http server: accept on %s: %s; trying again in %s", l.Addr(), err, pause)
			time.Sleep(pause)
		}
	}
}

// stopAccepting lets every listener take the connections that are waiting already, and then end.
func (s *Server) stopAccepting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.listeners {
		d, ok := l.Listener.(interface{ SetDeadline(t time.Time) error })
		if !ok || d.SetDeadline(time.Now().Add(lastCalls)) != nil {
			_ = l.Close()
		}
	}
}

func (s *Server) take(nc net.Conn, public bool) {
	c := newConn(nc, s, public)
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.serving.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.serving.Done()
		defer s.forget(c)
		s.handle(c)
	}()
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// handle looks at the first bytes of a connection and gives it to the server that speaks its protocol.
func (s *Server) handle(c *conn) {
	isHTTP2, err := c.peekPreface()
	switch {
	case err != nil:
		_ = c.Conn.Close()
	case isHTTP2 && !s.config.DisableHTTP2:
		s.http2.handle(c)
	default:
		for {
			_ = s.http1.ServeConn(c)
			if !c.isParked() {
				return
			}
			if !c.unpark() {
				_ = c.Conn.Close()
				return
			}
		}
	}
}
