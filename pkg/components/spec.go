// Package components turns manifests into running components: the registries of types, the decoding of
// metadata, the loader that initialises over a channel. It knows the contracts of the blocks, and no
// technology.
package components

import (
	"context"

	"github.com/sirupsen/logrus"
)

// Spec is a manifest that is ready for its component: templates, environment and secrets are resolved.
type Spec struct {
	// Name is metadata.name.
	Name string
	// Type is spec.type, "state.redis".
	Type string
	// Version is spec.version as written.
	Version string
	// Properties are the values of spec.metadata by name as written. Decode reads them; names match in any
	// case. Values may be secrets: they never reach a log or an error.
	Properties map[string]string
	// Withheld are the names, as in Properties, of those whose values came from a secret or the environment: no
	// text shows them, whatever the property is.
	Withheld []string
	// AppID and Namespace are those of the sidecar.
	AppID, Namespace string
	// MaxBodySize is the sidecar's bound on bodies in bytes (--max-body-size); 0 and less is none.
	MaxBodySize int64
	// StrictSandbox is spec.wasm.strictSandbox of the Configuration.
	StrictSandbox bool
	// Log is the component's own logger (scope dapr.contrib).
	Log logrus.FieldLogger
}

// Factory makes and initialises a component: it connects, checks and returns a usable instance, or an error
// that names the field or the server. ctx ends at the component's initTimeout; an instance must not keep
// it. An instance that holds anything implements io.Closer.
type Factory[T any] func(ctx context.Context, spec *Spec) (T, error)
