package election

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// layer is how the servers reach each other.
type layer struct {
	net.Listener
	own    address
	secure Secure
}

// newLayer listens at the port of an address: on its IP, or on all interfaces where it is a name, which may not be known
// to this machine.
func newLayer(ctx context.Context, own string, secure Secure) (*layer, error) {
	host, port, err := net.SplitHostPort(own)
	if err != nil {
		return nil, err
	}
	if net.ParseIP(host) == nil {
		host = ""
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("listen for the other servers: %w", err)
	}
	return &layer{listener, address(own), secure}, nil
}

// Dial is raft.StreamLayer's.
func (l *layer) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", string(to), timeout)
	if err != nil || l.secure == nil {
		return conn, err
	}
	return l.secure.Client(conn), nil
}

// Accept is net.Listener's.
func (l *layer) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil || l.secure == nil {
		return conn, err
	}
	return l.secure.Server(conn), nil
}

// Addr is where the others reach this server.
func (l *layer) Addr() net.Addr { return l.own }

type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }
