package operator

import (
	"context"
	"net"
	"sync"

	"google.golang.org/grpc/peer"
)

// connections are those of the sidecars, so that one can be ended that does not read: a stream waits in its sending for
// the other side, and only the end of its connection ends that.
type connections struct {
	net.Listener

	mu   sync.Mutex
	open map[string]net.Conn
}

func newConnections(l net.Listener) *connections {
	return &connections{Listener: l, open: map[string]net.Conn{}}
}

// Accept is the listener's.
func (c *connections) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	address := conn.RemoteAddr().String()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[address] = conn
	return &connection{Conn: conn, forget: func() { c.forget(address, conn) }}, nil
}

func (c *connections) forget(address string, conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[address] == conn {
		delete(c.open, address)
	}
}

// cutter ends the connection that a call came by.
func (c *connections) cutter(ctx context.Context) func() {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return func() {}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	conn := c.open[p.Addr.String()]
	return func() {
		if conn != nil {
			_ = conn.Close()
		}
	}
}

// connection tells when it is closed.
type connection struct {
	net.Conn
	forget func()
}

func (c *connection) Close() error {
	c.forget()
	return c.Conn.Close()
}
