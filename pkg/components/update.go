package components

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/daprd/daprd/pkg/config"
)

// drainLimit bounds how long the work in flight on an instance that was replaced or removed is waited for, before it
// is closed.
const drainLimit = 30 * time.Second

// Update has a component made anew in place of the one of its name, or for the first time. When it cannot be made,
// whatever was in service under the name stays, and the error says why; one whose server is away for the first time is
// tried again in the background, whatever ignoreErrors says. What is in flight ends on the old instance. Components
// that refer to a secret store that changed are made anew too.
func (l *Loader) Update(ctx context.Context, component config.Component) error {
	// The loader does not wait for servers that are away, as at the start: others may have changed too.
	component.Spec.IgnoreErrors = true
	return l.ask(ctx, func(ctx context.Context) error { return l.update(ctx, component) })
}

// Remove takes a component out of service and closes it when the work in flight is done. A name that is not in use is
// no error.
func (l *Loader) Remove(ctx context.Context, name string) error {
	return l.ask(ctx, func(ctx context.Context) error {
		l.remove(ctx, name)
		return nil
	})
}

func (l *Loader) update(ctx context.Context, c config.Component) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("component %s, defined in %s: %w", &c, c.Origin, err)
		}
	}()
	e, known := l.entries[c.Meta.Name]
	if !known || e.made == nil {
		return l.begin(ctx, c, e)
	}
	if err := l.refusal(&c); err != nil {
		return err
	}
	if err := l.exchange(ctx, e, &c); err != nil {
		return err
	}
	if c.Category() == categorySecretStores {
		return l.refresh(ctx, c.Meta.Name)
	}
	return nil
}

// begin makes a component that is not in service.
func (l *Loader) begin(ctx context.Context, c config.Component, e *entry) error {
	if e != nil {
		l.forget(e)
	}
	loaded, err := l.processOne(ctx, &c)
	if err == nil && loaded && c.Category() == categorySecretStores {
		err = l.unpark(ctx, c.Meta.Name)
	}
	return err
}

// refusal is why a component cannot take the place of another, as far as its manifest tells.
func (l *Loader) refusal(c *config.Component) error {
	switch {
	case c.Fault != nil:
		return c.Fault
	case l.isDenied(c.Spec.Type, c.Spec.Version):
		return errors.New("components of its type are not allowed (spec.components.deny of the Configuration)")
	case later[c.Category()] != "":
		return fmt.Errorf("this daprd does not have %s yet", later[c.Category()])
	}
	if store := l.missingStore(c); store != "" {
		return fmt.Errorf("its secret store %s is not loaded", store)
	}
	return nil
}

// exchange makes the new component before the old one goes.
func (l *Loader) exchange(ctx context.Context, e *entry, c *config.Component) error {
	l.checkInitTimeout(c)
	plan, err := l.plan(c)
	if err != nil {
		l.deps.Counter.ComponentFailed(c.Spec.Type, "creation", c.Meta.Name)
		return err
	}
	m, err := plan.make(ctx)
	if err != nil {
		l.deps.Counter.ComponentFailed(c.Spec.Type, "init", c.Meta.Name)
		return err
	}
	old := &e.component
	bound, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	if old.Category() != c.Category() {
		if err := admit(m); err != nil {
			return err
		}
		l.forget(e)
		l.closed(old, e.made.remove(bound))
	} else {
		l.forget(e)
		l.closed(old, m.replace(bound))
	}
	l.serve(ctx, &entry{component: *c, made: m})
	return nil
}

// closed tells when an instance that is out of service did not close well: nobody can do anything about it.
func (l *Loader) closed(c *config.Component, err error) {
	if err != nil {
		l.deps.Log.Warnf("error closing the component %s, which is out of service: %s", c, err)
	}
}

// refresh makes the components anew whose secrets are in a store that changed.
func (l *Loader) refresh(ctx context.Context, store string) error {
	errs := []error{l.unpark(ctx, store)}
	for _, loaded := range l.Loaded() {
		c := loaded.Component
		refers := slices.ContainsFunc(c.Spec.Metadata, func(p config.Property) bool { return p.SecretKeyRef.Name != "" })
		if !refers || c.Auth.SecretStore != store {
			continue
		}
		l.deps.Log.Infof("component %s is loaded anew: its secret store %s has changed", &c, store)
		c.Spec.IgnoreErrors = true
		if err := l.update(ctx, c); err != nil {
			errs = append(errs, err)
		}
	}
	return inOneLine(slices.DeleteFunc(errs, func(err error) bool { return err == nil }))
}

func (l *Loader) remove(ctx context.Context, name string) {
	e, known := l.entries[name]
	if !known {
		return
	}
	l.forget(e)
	if e.made == nil {
		return
	}
	l.mu.Lock()
	l.loaded = slices.DeleteFunc(l.loaded, func(c Loaded) bool { return c.Meta.Name == name })
	l.mu.Unlock()
	bound, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	l.closed(&e.component, e.made.remove(bound))
}
