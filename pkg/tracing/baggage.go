package tracing

import (
	"fmt"
	"net/url"
	"strings"
)

// The bounds of W3C Baggage.
const (
	longestBaggage = 8192
	mostMembers    = 180
)

// CheckBaggage says what is wrong with the value of a baggage header (W3C Baggage): "key=value;property, …".
func CheckBaggage(value string) error {
	if value == "" {
		return nil
	}
	if len(value) > longestBaggage {
		return fmt.Errorf("baggage string too large: %d bytes, at most %d", len(value), longestBaggage)
	}
	members := strings.Split(value, ",")
	if len(members) > mostMembers {
		return fmt.Errorf("too many list-members in baggage-string: %d, at most %d", len(members), mostMembers)
	}
	for _, member := range members {
		pair, properties, some := strings.Cut(member, ";")
		key, value, ok := strings.Cut(pair, "=")
		if !ok || !isToken(blankless(key)) || !isBaggageValue(blankless(value)) {
			return fmt.Errorf("invalid baggage list-member: %q", member)
		}
		if some && !areProperties(properties) {
			return fmt.Errorf("invalid baggage list-member property: %q", properties)
		}
	}
	return nil
}

// areProperties: each is a key, or a key and a value.
func areProperties(properties string) bool {
	for property := range strings.SplitSeq(properties, ";") {
		key, value, _ := strings.Cut(property, "=")
		if !isToken(blankless(key)) || !isBaggageValue(blankless(value)) {
			return false
		}
	}
	return true
}

func blankless(s string) string { return strings.Trim(s, " \t") }

// isToken says whether s is a name by RFC 9110.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		return !letter && (r > '~' || !strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	})
}

// isBaggageValue wants printable characters of ASCII without blank, quote, comma, semicolon and backslash, and escapes
// that can be read.
func isBaggageValue(s string) bool {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`",;\`, r) }) {
		return false
	}
	_, err := url.PathUnescape(s)
	return err == nil
}
