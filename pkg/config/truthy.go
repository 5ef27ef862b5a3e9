package config

import "strings"

// Truthy knows the words that Dapr takes for yes, in any case, with spaces around: 1, t, true, y, yes, on. Everything
// else is no.
func Truthy(text string) bool {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "1", "t", "true", "y", "yes", "on":
		return true
	}
	return false
}
