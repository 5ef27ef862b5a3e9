// Package listen binds the sidecar's servers to addresses and socket files. It must not know what is served
// there.
package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/sirupsen/logrus"
)

// errNowhere is Dapr's text.
var errNowhere = errors.New("could not listen on any endpoint")

// TCP binds port on each of the addresses; none, or an empty one, means all interfaces. An address that
// cannot be bound is a warning; that none can be bound is an error.
func TCP(ctx context.Context, addresses []string, port int, log logrus.FieldLogger) ([]net.Listener, error) {
	if len(addresses) == 0 {
		addresses = []string{""}
	}
	var (
		bound    []net.Listener
		failures []error
		config   net.ListenConfig
	)
	for _, address := range addresses {
		endpoint := Endpoint(address, port)
		l, err := config.Listen(ctx, "tcp", endpoint)
		if err != nil {
			failures = append(failures, err)
			log.Warnf("Failed to listen on %s with error: %s", endpoint, err)
			continue
		}
		bound = append(bound, l)
	}
	if len(bound) == 0 {
		return nil, fmt.Errorf("%w: %w", errNowhere, errors.Join(failures...))
	}
	return bound, nil
}

// Endpoint joins an address and a port; an IPv6 address may come with its brackets, as the injector writes it.
func Endpoint(address string, port int) string {
	address = strings.TrimSpace(address)
	address = strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
	return net.JoinHostPort(address, strconv.Itoa(port))
}

// Addresses are those of the listeners, in their order.
func Addresses[L net.Listener](listeners []L) []net.Addr {
	addresses := make([]net.Addr, len(listeners))
	for i, l := range listeners {
		addresses[i] = l.Addr()
	}
	return addresses
}
