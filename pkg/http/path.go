package http

import (
	"bytes"
	"net/url"
	"path"
	"strings"
)

// errEscape is what a malformed percent escape anywhere in the path gives.
type errEscape struct{}

func (errEscape) Error() string { return "malformed percent escape in the path" }

// cleanPath makes the path that routes are matched on: still escaped, doubled slashes and dot segments
// resolved, a trailing slash kept. The URL of an invocation target ("/v1.0/invoke/http://host/method/x")
// keeps its two slashes. The result is p itself where there is nothing to do.
func cleanPath(p string) (string, error) {
	if !validEscapes(p) {
		return "", errEscape{}
	}
	if isClean(p) {
		return p, nil
	}
	if target, rest, ok := cutTargetURL(p); ok {
		return target + strings.TrimPrefix(clean(rest), "/"), nil
	}
	return clean(p), nil
}

func clean(p string) string {
	cleaned := path.Clean("/" + p)
	if strings.HasSuffix(p, "/") && cleaned != "/" {
		cleaned += "/"
	}
	return cleaned
}

// isClean says that a path has neither an empty nor a dot segment.
func isClean(p string) bool {
	if p == "" || p[0] != '/' {
		return false
	}
	for i := 1; i < len(p); i++ {
		if p[i-1] == '/' && (p[i] == '/' || p[i] == '.') {
			return false
		}
	}
	return true
}

func validEscapes(p string) bool {
	for i := 0; i < len(p); i++ {
		if p[i] != '%' {
			continue
		}
		if i+2 >= len(p) || !isHex(p[i+1]) || !isHex(p[i+2]) {
			return false
		}
		i += 2
	}
	return true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

const invokePrefix = "/v1.0/invoke/"

// cutTargetURL splits the path of an invocation behind the "//" of its target's URL.
func cutTargetURL(p string) (before, after string, ok bool) {
	rest, ok := strings.CutPrefix(p, invokePrefix)
	if !ok {
		return "", "", false
	}
	for _, scheme := range []string{"http://", "https://"} {
		if strings.HasPrefix(rest, scheme) {
			n := len(invokePrefix) + len(scheme)
			return p[:n], p[n:], true
		}
	}
	return "", "", false
}

// originPath is the path of a request line: of an absolute URL, as proxies send it, only its path; nil for
// what is no path at all.
func originPath(uri []byte) []byte {
	if i := bytes.IndexByte(uri, '?'); i >= 0 {
		uri = uri[:i]
	}
	if len(uri) > 0 && uri[0] == '/' {
		return uri
	}
	if i := bytes.Index(uri, []byte("://")); i > 0 && bytes.IndexByte(uri[:i], '/') < 0 {
		rest := uri[i+3:]
		if j := bytes.IndexByte(rest, '/'); j >= 0 {
			return rest[j:]
		}
		return []byte("/")
	}
	return nil
}

// originQuery is the query of a request line as it was sent.
func originQuery(uri []byte) []byte {
	if i := bytes.IndexByte(uri, '?'); i >= 0 {
		return uri[i+1:]
	}
	return nil
}

// unescape decodes a path parameter as Dapr does, by the rules of a query: %2F is a slash, + is a space.
func unescape(parameter string) string {
	if strings.IndexByte(parameter, '%') < 0 && strings.IndexByte(parameter, '+') < 0 {
		return parameter
	}
	if decoded, err := url.QueryUnescape(parameter); err == nil {
		return decoded
	}
	return parameter
}

// decodePath decodes the path of an invocation, where + stays.
func decodePath(p string) string {
	if strings.IndexByte(p, '%') < 0 {
		return p
	}
	if decoded, err := url.PathUnescape(p); err == nil {
		return decoded
	}
	return p
}
