package placement

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"
)

// Server is a placement server to try.
type Server struct {
	// Address is host and port, or the path of a socket.
	Address string
	// Unix says that it is a path.
	Unix        bool
	Credentials credentials.TransportCredentials
}

func (s Server) network() string {
	if s.Unix {
		return "unix"
	}
	return "tcp"
}

// Servers gives the placement servers in the order in which they are to be tried. last says that all of them have had
// their turn: a pause follows before the next.
type Servers interface {
	Next(ctx context.Context) (s Server, last bool, err error)
}

// Addresses are Servers that somebody named: only the leader among them takes streams.
type Addresses struct {
	list        []string
	credentials credentials.TransportCredentials
	resolve     func(ctx context.Context, host string) ([]string, error)
	waiting     []Server
}

// NewAddresses reads a list with commas (--placement-host-address), and starts anywhere in it. Names of hosts are
// resolved each time, and all their addresses tried.
func NewAddresses(list string, creds credentials.TransportCredentials) (*Addresses, error) {
	a := &Addresses{credentials: creds, resolve: net.DefaultResolver.LookupHost}
	for _, address := range strings.Split(list, ",") {
		if address = strings.TrimSpace(address); address == "" {
			continue
		}
		if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" {
			return nil, fmt.Errorf("--placement-host-address: %q is no host and port (want host:port)", address)
		}
		a.list = append(a.list, address)
	}
	if len(a.list) == 0 {
		return nil, errors.New("--placement-host-address names no placement server")
	}
	n := rand.IntN(len(a.list))
	a.list = append(a.list[n:], a.list[:n]...)
	return a, nil
}

// Next is Servers'.
func (a *Addresses) Next(ctx context.Context) (s Server, last bool, err error) {
	if len(a.waiting) == 0 {
		for _, address := range a.list {
			for _, each := range a.resolved(ctx, address) {
				a.waiting = append(a.waiting, Server{Address: each, Credentials: a.credentials})
			}
		}
	}
	s, a.waiting = a.waiting[0], a.waiting[1:]
	return s, len(a.waiting) == 0, nil
}

// resolved are the addresses that a name stands for, the name itself where it cannot be resolved: dialing tells why.
func (a *Addresses) resolved(ctx context.Context, address string) []string {
	host, port, _ := net.SplitHostPort(address)
	if net.ParseIP(host) != nil {
		return []string{address}
	}
	found, err := a.resolve(ctx, host)
	if err != nil || len(found) == 0 {
		return []string{address}
	}
	all := make([]string, len(found))
	for i, ip := range found {
		all[i] = net.JoinHostPort(ip, port)
	}
	return all
}

// rest pauses, and gives the next pause.
func (c *Client) rest(ctx context.Context, pause time.Duration) time.Duration {
	timer := time.NewTimer(pause + rand.N(pause/2))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return min(2*pause, longestPause)
}
