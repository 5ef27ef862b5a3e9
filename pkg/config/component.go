package config

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// DefaultInitTimeout bounds the initialisation of a component that names no usable time of its own.
const DefaultInitTimeout = 5 * time.Second

// Component is a resource of kind Component.
type Component struct {
	Meta Meta          `yaml:"metadata"`
	Spec ComponentSpec `yaml:"spec"`
	Auth struct {
		SecretStore string `yaml:"secretStore"`
	} `yaml:"auth"`
	Scopes []string `yaml:"scopes"`
	Origin Origin   `yaml:"-"`
}

// ComponentSpec is what a component is and how it is set up.
type ComponentSpec struct {
	// Type is "<category>.<name>".
	Type string `yaml:"type"`
	// Version is as written; "", v0 and v1 mean the same.
	Version      string `yaml:"version"`
	IgnoreErrors bool   `yaml:"ignoreErrors"`
	// InitTimeout is a Go duration; see InitLimit.
	InitTimeout string     `yaml:"initTimeout"`
	Metadata    []Property `yaml:"metadata"`
}

// Property is one entry of spec.metadata.
type Property struct {
	Name         string       `yaml:"name"`
	Value        Value        `yaml:"value"`
	SecretKeyRef SecretKeyRef `yaml:"secretKeyRef"`
	// EnvRef names an environment variable that holds the value.
	EnvRef string `yaml:"envRef"`
}

// SecretKeyRef names a secret that holds the value. An empty Key means the key of the secret's own name.
type SecretKeyRef struct {
	Name string `yaml:"name"`
	Key  string `yaml:"key"`
}

// Value is a YAML value as text: a string as it is, anything else as its JSON text. A string that is itself
// quoted in Go syntax loses its quotes, as in Dapr.
type Value string

// UnmarshalYAML makes the text.
func (v *Value) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode && node.ShortTag() == "!!str" {
		*v = Value(Unquote(node.Value))
		return nil
	}
	if node.Kind == yaml.ScalarNode && node.ShortTag() != "!!null" {
		*v = Value(node.Value)
		return nil
	}
	var any any
	if err := node.Decode(&any); err != nil {
		return err
	}
	if any == nil {
		return nil
	}
	text, err := json.Marshal(any)
	if err != nil {
		return fmt.Errorf("line %d: a metadata value must have a JSON form: %w", node.Line, err)
	}
	*v = Value(text)
	return nil
}

// Unquote takes the quotes off a text that is quoted in Go syntax; other texts stay. Secret values go
// through it too.
func Unquote(text string) string {
	if len(text) >= 2 && strings.HasPrefix(text, `"`) {
		if unquoted, err := strconv.Unquote(text); err == nil {
			return unquoted
		}
	}
	return text
}

// Category is the part of the type before the first dot.
func (c *Component) Category() string {
	category, _, _ := strings.Cut(c.Spec.Type, ".")
	return category
}

// InitLimit is the time that the initialisation may take: InitTimeout, or DefaultInitTimeout where that is
// empty or no duration.
func (c *Component) InitLimit() time.Duration {
	if d, err := time.ParseDuration(c.Spec.InitTimeout); err == nil && d > 0 {
		return d
	}
	return DefaultInitTimeout
}

// String is "name (type/version)".
func (c *Component) String() string {
	return fmt.Sprintf("%s (%s/%s)", c.Meta.Name, c.Spec.Type, c.Spec.Version)
}
