package messaging

import (
	"slices"
	"strings"

	"github.com/daprd/daprd/pkg/channel"
)

// Headers that a calling sidecar adds. The spelling is Dapr's.
const (
	forwardedForHeader    = "X-Forwarded-For"
	forwardedHostHeader   = "X-Forwarded-Host"
	forwardedHeader       = "Forwarded"
	destinationHeader     = "destination-app-id"
	CallerAppIDHeader     = "dapr-caller-app-id"
	CallerNamespaceHeader = "dapr-caller-namespace"
	CalleeAppIDHeader     = "dapr-callee-app-id"
	// AppIDHeader names the target of a call in the API and, towards sidecars of Dapr 1.7, of a proxied one.
	AppIDHeader = "dapr-app-id"
)

// addedFields is how many headers forwarded adds.
const addedFields = 7

// forward gives h as it leaves for another sidecar, in dst: grouped, with the caller's and the callee's
// names. What a client says in the identity headers itself does not pass: applications decide by them who
// called. The other forwarding headers keep their earlier values, as proxies do.
func (d *Direct) forward(dst, h channel.Header, callee string) channel.Header {
	s := &d.self
	dst = slices.Grow(dst[:0], len(h)+addedFields)
	for _, f := range h {
		if !isIdentity(f.Name) {
			dst = append(dst, f)
		}
	}
	dst = append(dst,
		channel.Field{Name: forwardedForHeader, Value: s.HostIP},
		channel.Field{Name: forwardedHostHeader, Value: s.HostName},
		channel.Field{Name: forwardedHeader, Value: d.forwarded},
		channel.Field{Name: destinationHeader, Value: callee},
		channel.Field{Name: CallerAppIDHeader, Value: s.AppID},
		channel.Field{Name: CallerNamespaceHeader, Value: s.Namespace},
		channel.Field{Name: CalleeAppIDHeader, Value: callee},
	)
	return group(dst)
}

// isIdentity says whether only a sidecar may set the header.
func isIdentity(name string) bool {
	switch len(name) {
	case len(CallerAppIDHeader): // as long as the callee's and the destination's
		return strings.EqualFold(name, CallerAppIDHeader) || strings.EqualFold(name, CalleeAppIDHeader) ||
			strings.EqualFold(name, destinationHeader)
	case len(CallerNamespaceHeader):
		return strings.EqualFold(name, CallerNamespaceHeader)
	}
	return false
}

func (s *Self) forwardedValue() string {
	ip := s.HostIP
	if strings.Contains(ip, ":") {
		ip = `"[` + ip + `]"`
	}
	return "for=" + ip + ";by=" + ip + ";host=" + s.HostName
}

// smallHeader is how many headers are compared each with each; more are sorted.
const smallHeader = 64

// group brings fields of one name next to each other, in place: the wire has one entry a name. The order
// of the values of a name stays.
func group(h channel.Header) channel.Header {
	if len(h) > smallHeader {
		slices.SortStableFunc(h, func(a, b channel.Field) int {
			return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
		})
		return h
	}
	for i := 1; i < len(h); i++ {
		last := lastOf(h[:i], h[i].Name)
		if last < 0 || last == i-1 {
			continue
		}
		field := h[i]
		copy(h[last+2:i+1], h[last+1:i])
		h[last+1] = field
	}
	return h
}

func lastOf(h channel.Header, name string) int {
	for i := len(h) - 1; i >= 0; i-- {
		if sameName(h[i].Name, name) {
			return i
		}
	}
	return -1
}
