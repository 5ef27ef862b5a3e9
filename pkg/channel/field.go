package channel

import "strings"

// HTTPName is the name under which a header of a call, of whatever origin, reaches an HTTP application or
// an HTTP caller; ok is false for those that do not: hop-by-hop ones, the length and the content type
// (which have fields of their own), binary metadata, and what sidecars tell one another. What gRPC keeps
// for itself (grpc-…, :authority) gets the prefix dapr-.
func HTTPName(name string) (string, bool) {
	if name == "" || dropped(name) {
		return "", false
	}
	switch {
	case name[0] == ':':
		return prefix + name[1:], true
	case hasGRPCPrefix(name):
		return prefix + name, true
	}
	return name, true
}

const prefix = "dapr-"

// dropped is asked for every header of every call, so it looks at the length first.
func dropped(name string) bool {
	return hopByHop(name) || ownField(name) || binary(name)
}

// ownField says whether the header is told otherwise: Request and Response have fields for it, or the
// connection has.
func ownField(name string) bool {
	switch len(name) {
	case 4:
		return strings.EqualFold(name, "host")
	case 12:
		return strings.EqualFold(name, "content-type")
	case 14:
		return strings.EqualFold(name, "content-length")
	case 18:
		return strings.EqualFold(name, "destination-app-id")
	}
	return false
}

func hopByHop(name string) bool {
	switch len(name) {
	case 2:
		return strings.EqualFold(name, "te")
	case 7:
		return strings.EqualFold(name, "trailer") || strings.EqualFold(name, "upgrade")
	case 10:
		return strings.EqualFold(name, "connection") || strings.EqualFold(name, "keep-alive")
	case 14:
		return strings.EqualFold(name, "http2-settings")
	case 16:
		return strings.EqualFold(name, "proxy-connection")
	case 17:
		return strings.EqualFold(name, "transfer-encoding")
	case 18:
		return strings.EqualFold(name, "proxy-authenticate")
	case 19:
		return strings.EqualFold(name, "proxy-authorization")
	}
	return false
}

// binary says whether gRPC would carry the value as base64.
func binary(name string) bool {
	return len(name) > 4 && name[len(name)-4] == '-' && strings.EqualFold(name[len(name)-3:], "bin")
}

func hasGRPCPrefix(name string) bool {
	return len(name) > 5 && name[4] == '-' && strings.EqualFold(name[:4], "grpc")
}

// connectionOptions gives the values of all Connection headers, which name further hop-by-hop headers.
func connectionOptions(h Header) string {
	options := ""
	for i := range h {
		if len(h[i].Name) == 10 && strings.EqualFold(h[i].Name, "connection") {
			options = joined(options, h[i].Value)
		}
	}
	return options
}

func joined(options, more string) string {
	if options == "" {
		return more
	}
	return options + "," + more
}

// listed says whether a comma-separated list holds name.
func listed(list, name string) bool {
	for list != "" {
		var option string
		option, list, _ = strings.Cut(list, ",")
		if strings.EqualFold(strings.Trim(option, " \t"), name) {
			return true
		}
	}
	return false
}

// GRPCName is the name under which a header of a call reaches a gRPC application or a gRPC caller, in
// lower case; ok is false for those that do not. The permanent headers of HTTP, which stand in canonical
// case when they come from HTTP, get the prefix dapr-; a gRPC caller's own key of that name is in lower
// case and stays.
func GRPCName(name string) (string, bool) {
	if name == "" || name[0] == ':' || strings.EqualFold(name, "destination-app-id") {
		return "", false
	}
	lower := strings.ToLower(name)
	switch {
	case permanent(name):
		return prefix + lower, true
	case lower == "content-type", lower == "user-agent", lower == "te", lower == "grpc-timeout", lower == "grpc-encoding",
		lower == "grpc-accept-encoding", lower == "grpc-message-type", lower == "grpc-status", lower == "grpc-message",
		lower == "grpc-status-details-bin", lower == "connection", lower == "content-length", lower == "transfer-encoding",
		lower == "keep-alive", lower == "proxy-connection", lower == "upgrade", lower == "host":
		// The transport's own: gRPC writes them itself, or HTTP/2 forbids them.
		return "", false
	}
	return lower, true
}

// permanent are the headers that grpc-gateway and Dapr call so (service invocation reference, 4.2).
func permanent(name string) bool {
	switch name {
	case "Accept", "Accept-Charset", "Accept-Language", "Accept-Ranges", "Connection", "Keep-Alive", "Proxy-Connection",
		"Transfer-Encoding", "Upgrade", "Cache-Control", "Content-Type", "Content-Length", "Cookie", "Date", "Expect", "From",
		"Host", "If-Match", "If-Modified-Since", "If-None-Match", "If-Schedule-Tag-Match", "If-Unmodified-Since", "Max-Forwards",
		"Origin", "Pragma", "Referer", "Via", "Warning":
		return true
	}
	return false
}
