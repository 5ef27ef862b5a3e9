package config

import (
	"fmt"
	"slices"
	"strings"
)

// SecretsSpec bounds what applications may read of secret stores.
type SecretsSpec struct {
	Scopes []SecretScope `yaml:"scopes"`
}

// SecretScope is the rule for one store. Stores without a rule are open.
type SecretScope struct {
	StoreName string `yaml:"storeName"`
	// DefaultAccess is allow (also when empty) or deny, in any case.
	DefaultAccess  string   `yaml:"defaultAccess"`
	AllowedSecrets []string `yaml:"allowedSecrets"`
	DeniedSecrets  []string `yaml:"deniedSecrets"`
}

// Allowed decides on one secret: a list of allowed ones decides alone, then the denied ones, then the
// default.
func (s *SecretScope) Allowed(secret string) bool {
	if len(s.AllowedSecrets) > 0 {
		return slices.Contains(s.AllowedSecrets, secret)
	}
	if slices.Contains(s.DeniedSecrets, secret) {
		return false
	}
	return !strings.EqualFold(s.DefaultAccess, "deny")
}

func (s *SecretsSpec) validate() error {
	seen := map[string]bool{}
	for _, scope := range s.Scopes {
		if seen[scope.StoreName] {
			return fmt.Errorf("%s storeName is repeated in secrets configuration: keep one entry of spec.secrets.scopes for it", scope.StoreName)
		}
		seen[scope.StoreName] = true
		switch strings.ToLower(scope.DefaultAccess) {
		case "", "allow", "deny":
		default:
			return fmt.Errorf("defaultAccess %s can be either allow or deny (spec.secrets.scopes, storeName %s)", scope.DefaultAccess, scope.StoreName)
		}
	}
	return nil
}
