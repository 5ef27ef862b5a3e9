package security

import (
	"crypto/subtle"
	"fmt"
	"io"
)

// Token is a shared secret that a caller must show (DAPR_API_TOKEN) or that the sidecar shows to the
// application (APP_API_TOKEN). The zero Token asks for nothing. It never prints its value.
type Token struct{ value string }

// NewToken keeps value; "" makes the zero Token.
func NewToken(value string) Token { return Token{value: value} }

// Required says whether callers must show the token.
func (t Token) Required() bool { return t.value != "" }

// Matches compares in constant time. A zero Token matches anything.
func (t Token) Matches(shown string) bool {
	return t.value == "" || subtle.ConstantTimeCompare([]byte(t.value), []byte(shown)) == 1
}

// Reveal is the value itself, for sending it.
func (t Token) Reveal() string { return t.value }

// String hides the value from logs and errors.
func (t Token) String() string {
	if t.value == "" {
		return ""
	}
	return "***"
}

// GoString hides the value as String does.
func (t Token) GoString() string { return t.String() }

// Format hides the value from every verb of fmt, %d and %x too.
func (t Token) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, t.String()) }
