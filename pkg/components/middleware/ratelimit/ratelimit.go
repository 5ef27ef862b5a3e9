// Package ratelimit is the middleware that bounds how many requests a caller may make.
package ratelimit

import (
	"context"
	"errors"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strings"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/middleware"
)

// maxCallers is the most callers that are remembered. Of one that is forgotten the count begins anew.
const maxCallers = 10_000

type settings struct {
	// MaxRequestsPerSecond is for each caller; as many may come at once.
	MaxRequestsPerSecond float64 `metadata:"maxRequestsPerSecond" default:"100"`
}

type limit struct {
	perSecond rate.Limit
	burst     int
	callers   *lru.Cache[netip.Prefix, *rate.Limiter]
}

// New makes middleware.http.ratelimit.
func New(_ context.Context, spec *components.Spec) (middleware.Middleware, error) {
	var s settings
	if err := components.Decode(spec, &s); err != nil {
		return nil, err
	}
	if s.MaxRequestsPerSecond <= 0 {
		return nil, errors.New("metadata property maxRequestsPerSecond is not usable: want a number above 0")
	}
	callers, err := lru.New[netip.Prefix, *rate.Limiter](maxCallers)
	if err != nil {
		return nil, err
	}
	burst := math.Ceil(min(s.MaxRequestsPerSecond, math.MaxInt32))
	return &limit{perSecond: rate.Limit(s.MaxRequestsPerSecond), burst: int(burst), callers: callers}, nil
}

// Wrap answers 429 to callers that are over the limit.
func (l *limit) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !l.bucket(caller(r)).Allow() {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "You have reached maximum request limit.", http.StatusTooManyRequests)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (l *limit) bucket(caller netip.Prefix) *rate.Limiter {
	if bucket, ok := l.callers.Get(caller); ok {
		return bucket
	}
	bucket := rate.NewLimiter(l.perSecond, l.burst)
	if earlier, ok, _ := l.callers.PeekOrAdd(caller, bucket); ok {
		return earlier
	}
	return bucket
}

// caller is who is counted as one: the address of the connection, or of the client before a proxy on this machine or in a
// private network, which the proxy writes at the end of X-Forwarded-For (or into X-Real-IP). Of IPv6, where one client
// has many addresses, a /64 is one caller. Callers without an address, over a socket file, are one.
func caller(r *http.Request) netip.Prefix {
	peer := parse(r.RemoteAddr)
	if peer.IsValid() && !peer.IsLoopback() && !peer.IsPrivate() {
		return network(peer)
	}
	forwarded := r.Header.Values("X-Forwarded-For")
	if len(forwarded) > 0 {
		list := forwarded[len(forwarded)-1]
		if client := parse(list[strings.LastIndexByte(list, ',')+1:]); client.IsValid() {
			return network(client)
		}
	}
	if client := parse(r.Header.Get("X-Real-Ip")); client.IsValid() {
		return network(client)
	}
	return network(peer)
}

// parse reads an address with or without a port.
func parse(text string) netip.Addr {
	text = strings.TrimSpace(text)
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	address, _ := netip.ParseAddr(text)
	return address.Unmap().WithZone("")
}

func network(address netip.Addr) netip.Prefix {
	bits := address.BitLen()
	if address.Is6() {
		bits = 64
	}
	prefix, _ := address.Prefix(bits)
	return prefix
}
