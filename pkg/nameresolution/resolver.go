// Package nameresolution turns the id of an application into the addresses of
// its sidecars.
//
// It holds the contract that every resolver fulfils, and the decorators around
// one (Cache, Chain). The resolvers themselves are its sub-packages and
// components. The package must not know what the addresses are used for: no
// connections, no security, no transport.
package nameresolution

import (
	"context"
	"net"
	"strconv"
)

// DefaultNamespace is the namespace of a sidecar that was given none.
const DefaultNamespace = "default"

// Target is the application that a caller wants to reach.
type Target struct {
	AppID string
	// Namespace is empty for DefaultNamespace. Only resolvers whose directory
	// knows namespaces look at it; mDNS does not.
	Namespace string
	// Port is the caller's own internal gRPC port. Only the kubernetes resolver
	// uses it, since it assumes that all sidecars listen on the same one.
	Port int
}

// Announcement is what a sidecar tells others of itself.
type Announcement struct {
	AppID     string
	Namespace string
	// Host is an IP address (or a host name where the directory allows it)
	// under which other sidecars reach this one.
	Host string
	// Port is the internal gRPC port.
	Port       int
	HTTPPort   int
	AppPort    int
	InstanceID string
}

// Address is host:port of the internal gRPC server, an IPv6 host in brackets.
func (a Announcement) Address() string {
	return net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
}

// Resolver turns a target into addresses host:port, IPv6 hosts in brackets. It
// gives at least one address, or an error; a target that is nowhere to be found
// is a *NotFoundError. The slice is shared: callers do not change it.
type Resolver interface {
	Resolve(ctx context.Context, target Target) ([]string, error)
}

// Announcer is a resolver in whose directory a sidecar enters itself.
type Announcer interface {
	Announce(ctx context.Context, announcement Announcement) error
}

// Withdrawer is a resolver from whose directory a sidecar can take its own entry
// while it goes on resolving, as a sidecar that quiesces does.
type Withdrawer interface {
	Withdraw(ctx context.Context) error
}

// Forgetter is a resolver that remembers answers and can be told that an address
// did not serve, so that the next Resolve does not give it from memory.
type Forgetter interface {
	Forget(target Target, address string)
}

// NotFoundError says that no sidecar of the application is known.
type NotFoundError struct {
	AppID string
	// Text replaces the usual text where Dapr's resolver of that kind says it in
	// other words.
	Text string
}

// Error is the text of the original, which callers of its API see.
func (e *NotFoundError) Error() string {
	if e.Text != "" {
		return e.Text
	}
	return "couldn't find service: " + e.AppID
}
