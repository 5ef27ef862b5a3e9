package channel

import (
	"fmt"
	"path"
	"strings"
)

// MethodError says why a method path cannot be used.
type MethodError struct{ Method string }

// Error names the path and the rule.
func (e *MethodError) Error() string {
	return fmt.Sprintf("method contains forbidden character: %q", e.Method)
}

// CanonicalMethod makes the one form of a method path that policy decides on and that dispatch uses:
// dot segments and doubled slashes resolved, no leading slash, a trailing slash kept. The argument is
// decoded already, once. What cannot stand in a path (#, ?, NUL, control characters) is refused with a
// *MethodError.
func CanonicalMethod(decoded string) (string, error) {
	clean := true
	for i := 0; i < len(decoded); i++ {
		switch c := decoded[i]; {
		case c < 0x20 || c == 0x7f || c == '#' || c == '?':
			return "", &MethodError{Method: decoded}
		case c == '.' || (c == '/' && (i == 0 || decoded[i-1] == '/')):
			clean = false
		}
	}
	if clean || decoded == "" {
		return decoded, nil
	}
	cleaned := strings.TrimPrefix(path.Clean("/"+decoded), "/")
	if strings.HasSuffix(decoded, "/") && cleaned != "" {
		cleaned += "/"
	}
	return cleaned, nil
}

const upperHex = "0123456789ABCDEF"

// EscapeMethod writes a canonical method as the path of a URL, without the leading slash. Every byte
// that may stand in a path as it is stays (RFC 3986: unreserved, sub-delims, ":", "@", "/", and "*").
func EscapeMethod(dst []byte, method string) []byte {
	for i := 0; i < len(method); i++ {
		if c := method[i]; standsInPath(c) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

func standsInPath(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("-._~!$&'()*+,;=:@/", c) >= 0
}
