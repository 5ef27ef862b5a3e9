package grpc

import (
	"strings"
	"unicode/utf8"
)

// validText is what a component gave as a string field can hold it: U+FFFD stands for what is no UTF-8, as in JSON over HTTP.
// Clients refuse a whole message for one such byte.
func validText(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// validTexts is validText for the keys and values of a map, which it does not change.
func validTexts(given map[string]string) map[string]string {
	valid := true
	for key, value := range given {
		valid = valid && utf8.ValidString(key) && utf8.ValidString(value)
	}
	if valid {
		return given
	}
	all := make(map[string]string, len(given))
	for key, value := range given {
		all[validText(key)] = validText(value)
	}
	return all
}
