package state

import (
	"strings"

	"github.com/daprd/daprd/pkg/apierr"
)

// separator stands between the prefix and the key that the app knows.
const separator = "||"

// The strategies for key prefixes; any other text is the prefix itself.
const (
	prefixAppID     = "appid"
	prefixName      = "name"
	prefixNone      = "none"
	prefixNamespace = "namespace"
)

// prefix is what stands before every key of a store, the separator included.
func (s *Service) prefix(store, strategy string) string {
	switch strategy {
	case prefixNone:
		return ""
	case prefixName:
		return store + separator
	case prefixNamespace:
		if s.deps.Namespace != "" {
			return s.deps.Namespace + "." + s.deps.AppID + separator
		}
		return s.appPrefix()
	case "", prefixAppID:
		return s.appPrefix()
	default:
		return strategy + separator
	}
}

func (s *Service) appPrefix() string {
	if s.deps.AppID == "" {
		return ""
	}
	return s.deps.AppID + separator
}

// checkKey refuses a key that would be split at the wrong place.
func checkKey(store, key string) error {
	if !strings.Contains(key, separator) {
		return nil
	}
	e := apierr.StateIllegalKey.New(key)
	return e.WithResource("state", store, "").WithViolation(key, e.Message)
}

// plainKey is the key as the app knows it: the second part of a stored key. Prefixes of other apps and
// stores go as well, since a query finds their documents too.
func plainKey(stored string) string {
	_, rest, found := strings.Cut(stored, separator)
	if !found {
		return stored
	}
	key, _, _ := strings.Cut(rest, separator)
	return key
}
