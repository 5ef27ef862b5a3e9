// Package localenv is the secret store of the sidecar's own environment variables.
package localenv

import (
	"context"
	"os"
	"strings"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/secrets"
)

type settings struct {
	// Prefix is put before names that are read, and taken off in bulk.
	Prefix string `metadata:"prefix"`
}

type store struct{ prefix string }

// NewSecretStore makes secretstores.local.env.
func NewSecretStore(_ context.Context, spec *components.Spec) (secrets.Store, error) {
	var s settings
	if err := components.Decode(spec, &s); err != nil {
		return nil, err
	}
	return &store{prefix: s.Prefix}, nil
}

// Secret is the value of a variable; one that is not set, or that belongs to the sidecar, is empty.
func (s *store) Secret(_ context.Context, name string, _ map[string]string) (map[string]string, error) {
	variable := s.prefix + name
	if reserved(variable) {
		return map[string]string{name: ""}, nil
	}
	return map[string]string{name: os.Getenv(variable)}, nil
}

// All are the variables with the prefix.
func (s *store) All(context.Context, map[string]string) (map[string]map[string]string, error) {
	all := map[string]map[string]string{}
	for _, pair := range os.Environ() {
		variable, value, _ := strings.Cut(pair, "=")
		name, ok := strings.CutPrefix(variable, s.prefix)
		if ok && name != "" && !reserved(variable) { // Windows has variables without a name
			all[name] = map[string]string{name: value}
		}
	}
	return all, nil
}

// reserved are the variables that hold the sidecar's own tokens and settings.
func reserved(variable string) bool {
	upper := strings.ToUpper(variable)
	return upper == "APP_API_TOKEN" || strings.HasPrefix(upper, "DAPR_")
}
