package components

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/configuration"
	"github.com/daprd/daprd/pkg/crypto"
	"github.com/daprd/daprd/pkg/lock"
	"github.com/daprd/daprd/pkg/middleware"
	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/secrets"
	"github.com/daprd/daprd/pkg/state"
)

// The categories of components.
const (
	categoryState         = "state"
	categorySecretStores  = "secretstores"
	categoryPubSub        = "pubsub"
	categoryConfiguration = "configuration"
	categoryLock          = "lock"
	categoryCrypto        = "crypto"
	categoryMiddleware    = "middleware"
	categoryBindings      = "bindings"
)

// kind is how the components of one category are made and put into service: T is their contract, S what their block
// itself reads of a manifest.
type kind[T, S any] struct {
	registry *Registry[T]
	// settings come before the component is made: a manifest that the block cannot use connects to nothing.
	settings func(spec *Spec, c *config.Component) (S, error)
	add      func(name string, instance T, settings S) error
	// replace and remove wait for the work in flight on what they take out of service; their errors are those of its
	// closing.
	replace func(ctx context.Context, name string, instance T, settings S) error
	remove  func(ctx context.Context, name string) error
	// features are the capabilities of a component in service, for the metadata API.
	features func(name string) []string
	// unknown and failed are Dapr's lines for a type that does not exist and for an initialisation that failed.
	unknown, failed func(c *config.Component, err error) string
}

// plan is how one component is made.
type plan struct {
	make func(context.Context) (*made, error)
	// tell logs Dapr's line for a component that could not be made or put into service.
	tell func(error)
}

// made is a component that is not in service yet.
type made struct {
	// parts are the bare instances, for their abilities.
	parts           []any
	add             func() error
	replace, remove func(context.Context) error
	// features are its capabilities, once it is in service.
	features func() []string
}

// close closes what did not come into service.
func (m *made) close() error {
	var errs []error
	for _, part := range m.parts {
		errs = append(errs, shut(part))
	}
	return errors.Join(errs...)
}

// plan finds out how a component is made and put into service. The error is that of an unknown category or type: it
// is known before secrets are fetched or waited for.
func (l *Loader) plan(c *config.Component) (*plan, error) {
	switch c.Category() {
	case categoryState:
		return assemble(l, c, kind[state.Store, state.Settings]{
			registry: l.deps.Set.State,
			settings: func(spec *Spec, c *config.Component) (state.Settings, error) {
				settings, err := state.ParseSettings(spec.Properties, secretNames(c))
				if err != nil {
					return settings, err
				}
				return settings, l.deps.State.Admit(c.Meta.Name, settings)
			},
			add:      l.deps.State.Add,
			replace:  l.deps.State.Replace,
			remove:   l.deps.State.Remove,
			features: l.deps.State.Features,
			unknown:  line("error creating state store %[1]s (%[2]s/%[3]s): %[4]s"),
			failed:   line("error initializing state store %[1]s (%[2]s/%[3]s): %[4]s"),
		})
	case categorySecretStores:
		return assemble(l, c, kind[secrets.Store, struct{}]{
			registry: l.deps.Set.SecretStore,
			add:      plainly(l.deps.Secrets.Add),
			replace:  replacing(l.deps.Secrets.Replace),
			remove:   l.deps.Secrets.Remove,
			features: l.deps.Secrets.Features,
			unknown:  line("failed to create secret store %[2]s/%[3]s: %[4]s"),
			failed:   line("failed to init secret store %[2]s/%[3]s named %[1]s: %[4]s"),
		})
	case categoryPubSub:
		return assemble(l, c, kind[pubsub.Broker, pubsub.Settings]{
			registry: l.deps.Set.PubSub,
			settings: l.pubSubSettings,
			add:      l.deps.PubSub.Add,
			replace:  l.deps.PubSub.Replace,
			remove:   l.deps.PubSub.Remove,
			features: l.deps.PubSub.Features,
			unknown:  line("error creating pub sub %[1]s (%[2]s/%[3]s): %[4]s"),
			failed:   line("error initializing pub sub %[2]s/%[3]s: %[4]s"),
		})
	case categoryConfiguration:
		return assemble(l, c, kind[configuration.Store, struct{}]{
			registry: l.deps.Set.Configuration,
			add:      plainly(l.deps.Configuration.Add),
			replace:  replacing(l.deps.Configuration.Replace),
			remove:   l.deps.Configuration.Remove,
			unknown:  line("error creating configuration store %[1]s (%[2]s/%[3]s): %[4]s"),
			failed:   line("error initializing configuration store %[1]s (%[2]s/%[3]s): %[4]s"),
		})
	case categoryLock:
		return assemble(l, c, kind[lock.Store, lock.Settings]{
			registry: l.deps.Set.Lock,
			settings: ofProperties(lock.ParseSettings),
			add:      l.deps.Lock.Add,
			replace:  l.deps.Lock.Replace,
			remove:   l.deps.Lock.Remove,
			unknown:  line("error creating lock store %[1]s (%[2]s/%[3]s): %[4]s"),
			failed:   line("error initializing lock store %[1]s (%[2]s/%[3]s): %[4]s"),
		})
	case categoryCrypto:
		return assemble(l, c, kind[crypto.Provider, struct{}]{
			registry: l.deps.Set.Crypto,
			add:      plainly(l.deps.Crypto.Add),
			replace:  replacing(l.deps.Crypto.Replace),
			remove:   l.deps.Crypto.Remove,
			unknown:  line("error creating crypto provider %[1]s (%[2]s/%[3]s): %[4]s"),
			failed:   line("error initializing crypto provider %[1]s (%[2]s/%[3]s): %[4]s"),
		})
	case categoryMiddleware:
		return assemble(l, c, kind[middleware.Middleware, middleware.Settings]{
			registry: l.deps.Set.Middleware,
			settings: func(spec *Spec, _ *config.Component) (middleware.Settings, error) {
				return middleware.Settings{Type: spec.Type, Version: spec.Version}, nil
			},
			add: l.deps.Middleware.Add,
			replace: func(_ context.Context, name string, instance middleware.Middleware, settings middleware.Settings) error {
				l.deps.Middleware.Swap(name, instance, settings)
				return nil
			},
			remove: func(_ context.Context, name string) error {
				l.deps.Middleware.Remove(name)
				return nil
			},
			unknown: line("error creating HTTP middleware %[1]s (%[2]s/%[3]s): %[4]s"),
			failed:  line("error initializing HTTP middleware %[1]s (%[2]s/%[3]s): %[4]s"),
		})
	case categoryBindings:
		return l.planBinding(c)
	}
	return nil, incorrectType(c)
}

// line is a text about a component: its name, type, version, and what went wrong.
func line(format string) func(*config.Component, error) string {
	return func(c *config.Component, err error) string {
		return fmt.Sprintf(format, c.Meta.Name, c.Spec.Type, c.Spec.Version, err)
	}
}

// plainly is for blocks that read nothing of a manifest.
func plainly[T any](add func(string, T) error) func(string, T, struct{}) error {
	return func(name string, instance T, _ struct{}) error { return add(name, instance) }
}

func replacing[T any](replace func(context.Context, string, T) error) func(context.Context, string, T, struct{}) error {
	return func(ctx context.Context, name string, instance T, _ struct{}) error {
		return replace(ctx, name, instance)
	}
}

// ofProperties is for blocks that read the properties alone.
func ofProperties[S any](parse func(map[string]string) (S, error)) func(*Spec, *config.Component) (S, error) {
	return func(spec *Spec, _ *config.Component) (S, error) { return parse(spec.Properties) }
}

// pubSubSettings puts the topics of a component that mentions {namespace} into the namespace, as Dapr does.
func (l *Loader) pubSubSettings(spec *Spec, c *config.Component) (pubsub.Settings, error) {
	settings, err := pubsub.ParseSettings(spec.Properties)
	for _, p := range c.Spec.Metadata {
		if strings.Contains(string(p.Value), "{namespace}") {
			settings.TopicPrefix = l.deps.Templates.Namespace
		}
	}
	return settings, err
}

func assemble[T, S any](l *Loader, c *config.Component, k kind[T, S]) (*plan, error) {
	factory, err := k.registry.Factory(c.Spec.Type, c.Spec.Version)
	if err != nil {
		l.deps.Log.Warn(k.unknown(c, err))
		return nil, err
	}
	return &plan{
		make: func(ctx context.Context) (*made, error) { return produce(ctx, l, c, k, factory) },
		tell: func(err error) { l.deps.Log.Warn(k.failed(c, err)) },
	}, nil
}

// produce makes a component.
func produce[T, S any](ctx context.Context, l *Loader, c *config.Component, k kind[T, S], factory Factory[T]) (*made, error) {
	spec, err := l.resolve(ctx, c)
	if err != nil {
		return nil, err
	}
	var settings S
	if k.settings != nil {
		if settings, err = k.settings(spec, c); err != nil {
			return nil, err
		}
	}
	instance, err := build(ctx, l, c, spec, factory)
	if err != nil {
		return nil, err
	}
	name := c.Meta.Name
	m := &made{
		parts:    []any{instance},
		add:      func() error { return k.add(name, instance, settings) },
		replace:  func(ctx context.Context) error { return k.replace(ctx, name, instance, settings) },
		remove:   func(ctx context.Context) error { return k.remove(ctx, name) },
		features: func() []string { return nil },
	}
	if k.features != nil {
		m.features = func() []string { return k.features(name) }
	}
	return m, nil
}

// incorrectType tells a category that does not exist.
func incorrectType(c *config.Component) error {
	known := []string{categoryState, categorySecretStores, categoryPubSub, categoryConfiguration, categoryLock, categoryCrypto, categoryMiddleware,
		categoryBindings}
	for category := range later {
		known = append(known, category)
	}
	slices.Sort(known)
	similar := ""
	if near := config.Nearest(c.Category(), known); near != "" {
		similar = fmt.Sprintf("; did you mean %s?", near)
	}
	return fmt.Errorf("incorrect type %s: want <category>.<name> with a category of %s, in lower case%s",
		c.Spec.Type, strings.Join(known, ", "), similar)
}
