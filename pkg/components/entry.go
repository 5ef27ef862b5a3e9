package components

import (
	"context"
	"errors"
	"slices"

	"github.com/daprd/daprd/pkg/config"
)

// entry is what is known of a component whose name is in use: it is in service, it waits for its secret store, or it is
// tried again in the background.
type entry struct {
	component config.Component
	// made is nil while it is not in service.
	made *made
	// parked is the secret store that it waits for, "" for none.
	parked string
	// stop ends what goes on for it in the background; nil where nothing does.
	stop context.CancelFunc
}

// admit puts a component into service; one that its block does not take is closed.
func admit(m *made) error {
	if err := m.add(); err != nil {
		return errors.Join(err, m.close())
	}
	return nil
}

// serve notes a component that is in service now.
func (l *Loader) serve(ctx context.Context, e *entry) {
	c := &e.component
	l.entries[c.Meta.Name] = e
	l.keep(Loaded{*c, e.made.features()})
	l.deps.Log.Infof("component loaded. name: %s, type: %s/%s", c.Meta.Name, c.Spec.Type, c.Spec.Version)
	l.deps.Counter.ComponentLoaded(c.Spec.Type)
	l.watch(ctx, e)
}

// keep lists a component that is in service, in the place of the one of its name.
func (l *Loader) keep(c Loaded) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.IndexFunc(l.loaded, func(other Loaded) bool { return other.Meta.Name == c.Meta.Name }); i >= 0 {
		l.loaded[i] = c
		return
	}
	l.loaded = append(l.loaded, c)
}

// forget takes a name out of use: what goes on for it in the background ends, and nobody waits for it.
func (l *Loader) forget(e *entry) {
	name := e.component.Meta.Name
	if e.stop != nil {
		e.stop()
	}
	if e.parked != "" {
		l.parked[e.parked] = slices.DeleteFunc(l.parked[e.parked], func(c config.Component) bool { return c.Meta.Name == name })
	}
	delete(l.entries, name)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.outages, name)
}
