package components

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/secrets"
	"github.com/daprd/daprd/pkg/state"
)

// The categories whose building block is here.
const (
	categoryState        = "state"
	categorySecretStores = "secretstores"
)

// assembly finds out how a component is made and put into service. The error is that of an unknown category
// or type: it is known before secrets are fetched or waited for.
func (l *Loader) assembly(c *config.Component) (func(context.Context) error, error) {
	switch c.Category() {
	case categoryState:
		factory, err := l.deps.Set.State.Factory(c.Spec.Type, c.Spec.Version)
		if err != nil {
			l.deps.Log.Warnf("error creating state store %s (%s/%s): %s", c.Meta.Name, c.Spec.Type, c.Spec.Version, err)
			return nil, err
		}
		return func(ctx context.Context) error { return l.addState(ctx, c, factory) }, nil
	case categorySecretStores:
		factory, err := l.deps.Set.SecretStore.Factory(c.Spec.Type, c.Spec.Version)
		if err != nil {
			l.deps.Log.Warnf("failed to create secret store %s/%s: %s", c.Spec.Type, c.Spec.Version, err)
			return nil, err
		}
		return func(ctx context.Context) error { return l.addSecretStore(ctx, c, factory) }, nil
	}
	return nil, incorrectType(c)
}

// incorrectType tells a category that does not exist.
func incorrectType(c *config.Component) error {
	known := []string{categoryState, categorySecretStores}
	for category := range later {
		known = append(known, category)
	}
	slices.Sort(known)
	similar := ""
	if near := nearest(c.Category(), known); near != "" {
		similar = fmt.Sprintf("; did you mean %s?", near)
	}
	return fmt.Errorf("incorrect type %s: want <category>.<name> with a category of %s, in lower case%s",
		c.Spec.Type, strings.Join(known, ", "), similar)
}

func (l *Loader) addState(ctx context.Context, c *config.Component, factory Factory[state.Store]) (err error) {
	defer func() {
		if err != nil {
			l.deps.Log.Warnf("error initializing state store %s (%s/%s): %s", c.Meta.Name, c.Spec.Type, c.Spec.Version, err)
		}
	}()
	spec, err := l.resolve(ctx, c)
	if err != nil {
		return err
	}
	settings, err := state.ParseSettings(spec.Properties, secretNames(c))
	if err != nil {
		return err
	}
	store, err := build(ctx, l, c, spec, factory)
	if err != nil {
		return err
	}
	if err := l.deps.State.Add(c.Meta.Name, store, settings); err != nil {
		return errors.Join(err, shut(store))
	}
	return nil
}

func (l *Loader) addSecretStore(ctx context.Context, c *config.Component, factory Factory[secrets.Store]) (err error) {
	defer func() {
		if err != nil {
			l.deps.Log.Warnf("failed to init secret store %s/%s named %s: %s", c.Spec.Type, c.Spec.Version, c.Meta.Name, err)
		}
	}()
	spec, err := l.resolve(ctx, c)
	if err != nil {
		return err
	}
	store, err := build(ctx, l, c, spec, factory)
	if err != nil {
		return err
	}
	if err := l.deps.Secrets.Add(c.Meta.Name, store); err != nil {
		return errors.Join(err, shut(store))
	}
	return nil
}
