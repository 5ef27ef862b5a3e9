package components

import (
	"context"
	"slices"
	"strings"
	"time"
)

// How a component in service is watched: every few seconds, more often while it is in doubt, and each question has an
// end.
const (
	watchEvery = 5 * time.Second
	doubtEvery = time.Second
	pingLimit  = 3 * time.Second
)

// Pinger is a component that can say whether its server answers. A component that has it is watched while it is in
// service.
type Pinger interface {
	// Ping asks the server for a sign of life. The error names the address.
	Ping(ctx context.Context) error
}

// Outage is a component that cannot be used now.
type Outage struct {
	// Component is its name.
	Component string
	Since     time.Time
	Cause     string
	// Never says that it has not been up yet.
	Never bool
}

// String is "unavailable since 2026-01-02T15:04:05Z: cause".
func (o Outage) String() string {
	state := "unavailable since "
	if o.Never {
		state = "not up yet, tried since "
	}
	return state + o.Since.UTC().Format(time.RFC3339) + ": " + o.Cause
}

// Outages are the components that cannot be used now, in the order of their names.
func (l *Loader) Outages() []Outage {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Outage, 0, len(l.outages))
	for _, o := range l.outages {
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b Outage) int { return strings.Compare(a.Component, b.Component) })
	return all
}

// out notes an outage, unless ctx ended: then nobody speaks for the component any more.
func (l *Loader) out(ctx context.Context, o Outage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() == nil {
		l.outages[o.Component] = o
	}
}

func (l *Loader) back(ctx context.Context, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() == nil {
		delete(l.outages, name)
	}
}

// watch begins to watch a component in service, if it can be.
func (l *Loader) watch(ctx context.Context, e *entry) {
	var pingers []Pinger
	for _, part := range e.made.parts {
		if p, ok := part.(Pinger); ok {
			pingers = append(pingers, p)
		}
	}
	if len(pingers) == 0 {
		return
	}
	ctx, e.stop = context.WithCancel(ctx)
	l.background.Go(func() { l.attend(ctx, e, pingers) })
}

// attend tells of the component's server what changes: that it is away, once two questions in a row had no answer, and
// that it is back.
func (l *Loader) attend(ctx context.Context, e *entry, pingers []Pinger) {
	var (
		c     = &e.component
		since time.Time
		told  bool
	)
	for pace := watchEvery; pause(ctx, pace); {
		asked := time.Now()
		err := ping(ctx, pingers)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && since.IsZero():
			since, pace = asked, doubtEvery
			continue
		case err != nil:
			l.out(ctx, Outage{Component: c.Meta.Name, Since: since, Cause: err.Error()})
			if !told {
				told = true
				l.deps.Log.Warnf("component %s does not answer: %s; calls to it fail until it is back", c, err)
			}
			continue
		case told:
			l.back(ctx, c.Meta.Name)
			l.deps.Log.Infof("component %s is back after %s", c, time.Since(since).Round(time.Millisecond))
		}
		since, told, pace = time.Time{}, false, watchEvery
	}
}

func ping(ctx context.Context, pingers []Pinger) error {
	ctx, cancel := context.WithTimeout(ctx, pingLimit)
	defer cancel()
	for _, p := range pingers {
		if err := p.Ping(ctx); err != nil {
			return err
		}
	}
	return nil
}
