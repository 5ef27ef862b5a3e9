package secrets

import "github.com/daprd/daprd/pkg/config"

// Scope decides which secrets of a store the application may read.
type Scope interface {
	// Allowed says whether the store's secret may be read.
	Allowed(store, secret string) bool
}

// Scopes are the rules of the Configuration as a Scope. A store without a rule is open.
type Scopes []config.SecretScope

// Allowed asks the store's rule.
func (s Scopes) Allowed(store, secret string) bool {
	for i := range s {
		if s[i].StoreName == store {
			return s[i].Allowed(secret)
		}
	}
	return true
}
