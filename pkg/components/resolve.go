package components

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/secrets"
)

// missingStore is the secret store that a component has to wait for, "" for none. One that refers to secrets
// without naming a store does not wait: Dapr starts it with the properties as they stand.
func (l *Loader) missingStore(c *config.Component) string {
	if !slices.ContainsFunc(c.Spec.Metadata, func(p config.Property) bool { return p.SecretKeyRef.Name != "" && !p.Given }) {
		return ""
	}
	store := c.Auth.SecretStore
	if _, ok := l.deps.Secrets.Store(store); ok {
		return ""
	}
	l.deps.Log.Warnf("component %s references a secret store that isn't loaded: %s", c.Meta.Name, store)
	if store == "" {
		l.deps.Log.Warnf("component %s: its secretKeyRefs are not resolved: name their secret store in auth.secretStore", c.Meta.Name)
	}
	return store
}

// resolve makes a Spec of a manifest: templates, environment and secrets are filled in. What comes from the
// environment or a secret is taken as it is: placeholders in it stay.
func (l *Loader) resolve(ctx context.Context, c *config.Component) (*Spec, error) {
	ctx, cancel := context.WithTimeout(ctx, c.InitLimit())
	defer cancel()
	spec := &Spec{
		Name: c.Meta.Name, Type: c.Spec.Type, Version: c.Spec.Version,
		Properties: make(map[string]string, len(c.Spec.Metadata)),
		AppID:      l.deps.Templates.AppID, Namespace: l.deps.Templates.Namespace,
		MaxBodySize: l.deps.MaxBodySize, StrictSandbox: l.strictSandbox,
		Log: l.deps.ComponentLog.WithField("component", c.String()),
	}
	references := references{loader: l, component: c, fetched: map[string]map[string]string{}}
	references.store, _ = l.deps.Secrets.Store(c.Auth.SecretStore)
	spellings := map[string]string{}
	for _, p := range c.Spec.Metadata {
		value, err := references.value(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("metadata property %s: %w", p.Name, err)
		}
		// Names match in any case: of several spellings the last one holds, as of equal names.
		folded := strings.ToLower(p.Name)
		delete(spec.Properties, spellings[folded])
		spellings[folded] = p.Name
		spec.Properties[p.Name] = value
		if p.SecretKeyRef.Name != "" || p.EnvRef != "" {
			spec.Withheld = append(spec.Withheld, p.Name)
		}
	}
	return spec, nil
}

// references finds the values that the properties of one component refer to.
type references struct {
	loader    *Loader
	component *config.Component
	store     secrets.Store // nil without one
	// fetched are the secrets by name, so that each is read once; nil for one that could not be read.
	fetched map[string]map[string]string
}

func (r *references) value(ctx context.Context, p config.Property) (string, error) {
	switch {
	case p.Given:
		return string(p.Value), nil
	case p.SecretKeyRef.Name != "":
		return r.secret(ctx, p), nil
	case p.EnvRef != "":
		value, err := config.Environment(p.EnvRef)
		if err != nil {
			r.loader.deps.Log.Warnf("Component %s references an env variable that isn't allowed: %s; the property %s stays empty",
				r.component.Meta.Name, p.EnvRef, p.Name)
		}
		return value, nil
	}
	return r.loader.deps.Templates.Fill(string(p.Value))
}

// secret reads the value that a property refers to. A failure is logged and leaves the property as it
// stands: Dapr starts the component all the same, and some work without.
func (r *references) secret(ctx context.Context, p config.Property) string {
	if r.store == nil {
		return string(p.Value)
	}
	name, key := p.SecretKeyRef.Name, p.SecretKeyRef.Key
	if key == "" {
		key = name
	}
	values, known := r.fetched[name]
	if !known {
		values = r.fetch(ctx, name)
	}
	value, ok := values[key]
	switch {
	case ok:
		return config.Unquote(value)
	case values != nil:
		r.loader.deps.Log.Errorf("error getting secret: the secret %s of secret store %s has no key %s (component %s, property %s)",
			name, r.component.Auth.SecretStore, key, r.component.Meta.Name, p.Name)
	}
	return string(p.Value)
}

func (r *references) fetch(ctx context.Context, name string) map[string]string {
	values, err := r.store.Secret(ctx, name, map[string]string{"namespace": r.component.Meta.Namespace})
	if err != nil {
		r.loader.deps.Log.Errorf("error getting secret: %s (component %s, secret %s of secret store %s)",
			err, r.component.Meta.Name, name, r.component.Auth.SecretStore)
		values = nil
	} else if values == nil {
		values = map[string]string{}
	}
	r.fetched[name] = values
	return values
}

// secretNames maps properties to the secrets that they refer to.
func secretNames(c *config.Component) map[string]string {
	names := map[string]string{}
	for _, p := range c.Spec.Metadata {
		if p.SecretKeyRef.Name != "" {
			names[p.Name] = p.SecretKeyRef.Name
		}
	}
	return names
}
