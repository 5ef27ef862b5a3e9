package components

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/daprd/daprd/pkg/config"
)

// later are the categories whose building block this daprd does not have yet. Their components are passed
// over with a warning, so that a manifest folder shared with Dapr goes on working.
var later = map[string]string{
	"conversation": "conversation", "workflow": "workflow",
}

// process makes the component, then those that waited for it. Each has an error of its own, and its own
// ignoreErrors.
func (l *Loader) process(ctx context.Context, c config.Component) error {
	loaded, err := l.processOne(ctx, &c)
	if err != nil {
		return l.failed(&c, err)
	}
	if loaded && c.Category() == categorySecretStores {
		return l.unpark(ctx, c.Meta.Name)
	}
	return nil
}

func (l *Loader) failed(c *config.Component, err error) error {
	if c.Meta.Name == "" {
		err = fmt.Errorf("process component error: %w; it is defined in %s", err, c.Origin)
	} else {
		err = fmt.Errorf("process component %s error: %w; component %s is defined in %s", c.Meta.Name, err, c, c.Origin)
	}
	if !c.Spec.IgnoreErrors {
		return err
	}
	l.deps.Log.Error(err)
	return nil
}

// unpark makes the components that waited for a secret store.
func (l *Loader) unpark(ctx context.Context, store string) error {
	waiting := l.parked[store]
	delete(l.parked, store)
	var errs []error
	for _, dependent := range waiting {
		delete(l.entries, dependent.Meta.Name)
		if err := l.process(ctx, dependent); err != nil {
			errs = append(errs, err)
		}
	}
	return inOneLine(errs)
}

// processOne says whether the component is in use now.
func (l *Loader) processOne(ctx context.Context, c *config.Component) (loaded bool, err error) {
	l.deps.Log.Debugf("loading component. name: %s, type: %s/%s", c.Meta.Name, c.Spec.Type, c.Spec.Version)
	if c.Fault != nil && !l.isDenied(c.Spec.Type, c.Spec.Version) {
		return false, c.Fault
	}
	if l.passedOver(c) {
		return false, nil
	}
	if err := l.checkName(c.Meta.Name); err != nil {
		return false, err
	}
	l.checkInitTimeout(c)
	plan, err := l.plan(c)
	if err != nil {
		l.deps.Counter.ComponentFailed(c.Spec.Type, "creation", c.Meta.Name)
		return false, err
	}
	if store := l.missingStore(c); store != "" {
		l.parked[store] = append(l.parked[store], *c)
		l.entries[c.Meta.Name] = &entry{component: *c, parked: store}
		return false, nil
	}
	m, err := plan.make(ctx)
	if err == nil {
		err = admit(m)
	}
	if err != nil {
		plan.tell(err)
		l.deps.Counter.ComponentFailed(c.Spec.Type, "init", c.Meta.Name)
		if c.Spec.IgnoreErrors && away(err) && ctx.Err() == nil {
			l.tryAgain(ctx, c, plan, err)
		}
		return false, err
	}
	l.serve(ctx, &entry{component: *c, made: m})
	return true, nil
}

// passedOver warns of components that are not for this sidecar.
func (l *Loader) passedOver(c *config.Component) bool {
	feature, unavailable := later[c.Category()]
	switch {
	case c.Meta.Name == "":
		l.deps.Log.Warnf("a component without metadata.name in %s is passed over: nothing could refer to it", c.Origin)
	case unavailable:
		l.deps.Log.Warnf("component %s (%s/%s) is passed over: this daprd does not have %s yet; calls of that API answer 501",
			c.Meta.Name, c.Spec.Type, c.Spec.Version, feature)
	case l.isDenied(c.Spec.Type, c.Spec.Version):
		l.deps.Log.Warnf("component '%s' cannot be loaded because components of type '%s' are not allowed", c.Meta.Name, c)
	default:
		return false
	}
	return true
}

// checkName refuses names that no path of the API can hold, and names in use: they are shared by all
// categories.
func (l *Loader) checkName(name string) error {
	if name == "." || name == ".." || strings.ContainsAny(name, "/%") {
		return fmt.Errorf(`metadata.name %q cannot stand in the path of an API call: want a name without "/" and "%%" that is not "." or ".."`, name)
	}
	if other, taken := l.entries[name]; taken {
		return fmt.Errorf("the name %s is in use by the component of %s: give each component a name of its own", name, other.component.Origin)
	}
	return nil
}

func (l *Loader) checkInitTimeout(c *config.Component) {
	text := c.Spec.InitTimeout
	if d, err := time.ParseDuration(text); text != "" && (err != nil || d <= 0) {
		l.deps.Log.Warnf("component %s: initTimeout %q is no duration like 30s; %s holds instead", c.Meta.Name, text, c.InitLimit())
	}
}
