package config

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Configuration is a resource of kind Configuration: what the sidecar does, beyond its flags.
type Configuration struct {
	Meta Meta              `yaml:"metadata"`
	Spec ConfigurationSpec `yaml:"spec"`
}

// ConfigurationSpec holds the parts that this sidecar knows; unknown keys are passed over.
type ConfigurationSpec struct {
	Metric         *MetricSpec        `yaml:"metric"`
	Metrics        *MetricSpec        `yaml:"metrics"` // wins over metric
	Secrets        SecretsSpec        `yaml:"secrets"`
	NameResolution NameResolutionSpec `yaml:"nameResolution"`
	Features       []Feature          `yaml:"features"`
	API            APISpec            `yaml:"api"`
	Components     ComponentsSpec     `yaml:"components"`
	Logging        LoggingSpec        `yaml:"logging"`
}

// MetricSpec says what is counted.
type MetricSpec struct {
	Enabled *bool `yaml:"enabled"`
	// LatencyBuckets are upper bounds in milliseconds.
	LatencyBuckets []float64 `yaml:"latencyDistributionBuckets"`
}

// Feature switches a preview feature.
type Feature struct {
	Name    string `yaml:"name"`
	Enabled bool   `yaml:"enabled"`
}

// SecretsSpec bounds what applications may read of secret stores.
type SecretsSpec struct {
	Scopes []SecretScope `yaml:"scopes"`
}

// SecretScope is the rule for one store. Stores without a rule are open.
type SecretScope struct {
	StoreName      string   `yaml:"storeName"`
	DefaultAccess  string   `yaml:"defaultAccess"`
	AllowedSecrets []string `yaml:"allowedSecrets"`
	DeniedSecrets  []string `yaml:"deniedSecrets"`
}

// Allowed decides on one secret: a list of allowed ones decides alone, then the denied ones, then the
// default, which is to allow.
func (s *SecretScope) Allowed(secret string) bool {
	if len(s.AllowedSecrets) > 0 {
		return slices.Contains(s.AllowedSecrets, secret)
	}
	if slices.Contains(s.DeniedSecrets, secret) {
		return false
	}
	return !strings.EqualFold(s.DefaultAccess, "deny")
}

// NameResolutionSpec chooses the resolver; an empty Component is the mode's default.
type NameResolutionSpec struct {
	Component     string         `yaml:"component"`
	Version       string         `yaml:"version"`
	Configuration map[string]any `yaml:"configuration"`
}

// APISpec bounds which APIs exist.
type APISpec struct {
	Allowed []APIRule `yaml:"allowed"`
	Denied  []APIRule `yaml:"denied"`
}

// APIRule names a group of the API: name "state", version "v1.0" (HTTP) or "v1" (gRPC).
type APIRule struct {
	Name     string `yaml:"name"`
	Version  string `yaml:"version"`
	Protocol string `yaml:"protocol"`
}

// ComponentsSpec refuses component types.
type ComponentsSpec struct {
	// Deny lists "type" or "type/version".
	Deny []string `yaml:"deny"`
}

// LoggingSpec is about the log of API calls.
type LoggingSpec struct {
	APILogging struct {
		Enabled          bool `yaml:"enabled"`
		ObfuscateURLs    bool `yaml:"obfuscateURLs"`
		OmitHealthChecks bool `yaml:"omitHealthChecks"`
	} `yaml:"apiLogging"`
}

// NoDefaultContentType is the feature that leaves calls to the application without a content type when
// their caller sent none.
const NoDefaultContentType = "ServiceInvocation.NoDefaultContentType"

// DefaultConfiguration is what holds without a file.
func DefaultConfiguration() *Configuration { return &Configuration{} }

// ReadConfiguration reads the files in order over one value: later ones win key by key. $VAR and ${VAR} in
// them are replaced by the environment's values first.
func ReadConfiguration(paths ...string) (*Configuration, error) {
	c := DefaultConfiguration()
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("error loading configuration: %w", err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("error loading configuration: %w", err)
		}
		if err := decode([]byte(os.ExpandEnv(string(text))), c); err != nil {
			return nil, fmt.Errorf("error loading configuration: %s: %w", path, err)
		}
	}
	return c, c.Validate()
}

// Validate checks what the decoding cannot.
func (c *Configuration) Validate() error {
	seen := map[string]bool{}
	for _, scope := range c.Spec.Secrets.Scopes {
		if seen[scope.StoreName] {
			return fmt.Errorf("error loading configuration: %s storeName is repeated in secrets configuration", scope.StoreName)
		}
		seen[scope.StoreName] = true
		switch strings.ToLower(scope.DefaultAccess) {
		case "", "allow", "deny":
		default:
			return fmt.Errorf("error loading configuration: defaultAccess %s can be either allow or deny (secret store %s)",
				scope.DefaultAccess, scope.StoreName)
		}
	}
	return nil
}

// FeatureEnabled says whether the feature is listed and on.
func (c *Configuration) FeatureEnabled(name string) bool {
	for _, f := range c.Spec.Features {
		if f.Name == name {
			return f.Enabled
		}
	}
	return false
}

// EnabledFeatures are the names of those that are on.
func (c *Configuration) EnabledFeatures() []string {
	var names []string
	for _, f := range c.Spec.Features {
		if f.Enabled {
			names = append(names, f.Name)
		}
	}
	return names
}

// MetricSettings are those of metrics, else of metric; unless they say otherwise metrics are on.
func (c *Configuration) MetricSettings() (enabled bool, buckets []float64) {
	spec := c.Spec.Metrics
	if spec == nil {
		spec = c.Spec.Metric
	}
	if spec == nil {
		return true, nil
	}
	return spec.Enabled == nil || *spec.Enabled, spec.LatencyBuckets
}

// Denied says whether a component type may not be loaded. Once the list is not empty, a component without
// a type or version is refused too.
func (c *ComponentsSpec) Denied(kind, version string) bool {
	if len(c.Deny) == 0 {
		return false
	}
	return kind == "" || version == "" || slices.Contains(c.Deny, kind) || slices.Contains(c.Deny, kind+"/"+version)
}

// Properties turns free-form configuration into properties as texts: texts as they are, anything else as
// JSON.
func Properties(free map[string]any) (map[string]string, error) {
	texts := make(map[string]string, len(free))
	for name, value := range free {
		if text, ok := value.(string); ok {
			texts[name] = text
			continue
		}
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("the value of %s has no JSON form: %w", name, err)
		}
		texts[name] = string(text)
	}
	return texts, nil
}
