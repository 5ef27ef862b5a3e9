package config

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// DefaultInitTimeout bounds the initialisation of a component that names no usable time of its own, as in
// Dapr.
const DefaultInitTimeout = 5 * time.Second

// Component is a resource of kind Component.
type Component struct {
	Meta Meta          `yaml:"metadata"`
	Spec ComponentSpec `yaml:"spec"`
	Auth Auth          `yaml:"auth"`
	// Scopes are the app ids that may use it; empty for all.
	Scopes []string `yaml:"scopes"`
	Origin Origin   `yaml:"-"`
	// Fault is what makes it unusable, nil for nothing: it does not have the form of a component, or lacks what
	// every component has. The other fields hold what could be read.
	Fault error `yaml:"-"`
}

// Auth names where the secretKeyRefs of a resource are read.
type Auth struct {
	// SecretStore is the name of a component.
	SecretStore string `yaml:"secretStore"`
}

// ComponentSpec is what a component is and how it is set up.
type ComponentSpec struct {
	// Type is "<category>.<name>".
	Type string `yaml:"type"`
	// Version is as written; "", v0 and v1 mean the same.
	Version string `yaml:"version"`
	// IgnoreErrors lets the sidecar go on without the component when it cannot be made.
	IgnoreErrors bool `yaml:"ignoreErrors"`
	// InitTimeout is a Go duration; see InitLimit.
	InitTimeout string     `yaml:"initTimeout"`
	Metadata    []Property `yaml:"metadata"`
}

// Property is one entry of spec.metadata, or of an HTTPEndpoint's headers. Its value is Value unless a
// SecretKeyRef or EnvRef names another place.
type Property struct {
	Name         string       `yaml:"name"`
	Value        Value        `yaml:"value"`
	SecretKeyRef SecretKeyRef `yaml:"secretKeyRef"`
	// EnvRef names an environment variable that holds the value.
	EnvRef string `yaml:"envRef"`
	// Given says that Value is what SecretKeyRef refers to: it was looked up by who gave the resource.
	Given bool `yaml:"-"`
}

// SecretKeyRef names a secret that holds the value. An empty Key means the key of the secret's own name.
type SecretKeyRef struct {
	Name string `yaml:"name"`
	Key  string `yaml:"key"`
}

// check wants what every component has.
func (c *Component) check() error {
	switch {
	case c.Meta.Name == "":
		return errors.New("metadata.name is missing: calls of the API and other resources refer to a component by its name")
	case c.Spec.Type == "":
		return errors.New("spec.type is missing: want <category>.<name>, state.redis for one")
	}
	return nil
}

// Category is the part of the type before the first dot.
func (c *Component) Category() string {
	category, _, _ := strings.Cut(c.Spec.Type, ".")
	return category
}

// InitLimit is the time that the initialisation may take: InitTimeout, or DefaultInitTimeout where that is
// empty or no positive duration.
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
