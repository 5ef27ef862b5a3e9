package config

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Environment gives the value of a variable that an envRef names, "" for one that is not set. Variables of
// the sidecar itself are refused, since they hold its tokens and keys, and those that DAPR_ENV_KEYS, where it
// is set, does not list (names with spaces between them).
func Environment(name string) (string, error) {
	upper := strings.ToUpper(name)
	keys := os.Getenv("DAPR_ENV_KEYS")
	switch {
	case name == "":
		return "", fmt.Errorf("an envRef must name an environment variable")
	case strings.Contains(name, " "), upper == "APP_API_TOKEN", strings.HasPrefix(upper, "DAPR_"):
		return "", fmt.Errorf("the environment variable %q is not allowed in an envRef: APP_API_TOKEN, DAPR_* and names with a space are not", name)
	case keys != "" && !slices.Contains(strings.Fields(keys), name):
		return "", fmt.Errorf("the environment variable %q is not allowed in an envRef: DAPR_ENV_KEYS does not list it", name)
	}
	return os.Getenv(name), nil
}
