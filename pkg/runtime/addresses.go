package runtime

import (
	"net"
	"sync"
)

// addresses are where the servers listen.
type addresses struct {
	mu                            sync.Mutex
	http, grpc, internal, metrics net.Addr
}

func (a *addresses) set(which *net.Addr, address net.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	*which = address
}

// HTTPAddress is where the HTTP API listens, nil before it does.
func (r *Runtime) HTTPAddress() net.Addr { return r.addresses.get(&r.addresses.http) }

// GRPCAddress is where the gRPC API listens, nil before it does.
func (r *Runtime) GRPCAddress() net.Addr { return r.addresses.get(&r.addresses.grpc) }

// InternalAddress is where other sidecars call, nil before it listens.
func (r *Runtime) InternalAddress() net.Addr { return r.addresses.get(&r.addresses.internal) }

// MetricsAddress is where the metrics are, nil before they are served.
func (r *Runtime) MetricsAddress() net.Addr { return r.addresses.get(&r.addresses.metrics) }

func (a *addresses) get(which *net.Addr) net.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	return *which
}

// port is that of a bound TCP address: the one that the system chose where 0 was asked for.
func port(address net.Addr) int { return address.(*net.TCPAddr).Port }
