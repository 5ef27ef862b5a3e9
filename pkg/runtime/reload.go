package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/secrets"
)

// DefaultReconcileInterval is how often the resources are read again although no change was seen, as in Dapr 1.18.
const DefaultReconcileInterval = time.Minute

// reloader puts changes of the resources and the Configuration into effect. It compares contents: what did not
// change is not touched. A change that cannot be made is refused, and tried again at the next interval.
type reloader struct {
	*Runtime
	log *logrus.Entry

	// components are those in effect by name, refused what cannot be put into effect, by name too.
	components, refused map[string]config.Component
	endpoints           []config.HTTPEndpoint
	resiliencies        []config.Resiliency
	subscriptions       []config.Subscription
	configuration       *config.Configuration
	// outer and inner are the pipelines in effect.
	outer, inner config.PipelineSpec
	// secretsChanged says that a secret store has changed since the endpoints were made.
	secretsChanged bool
	// told are the last words about each thing, so that they are not said at every interval.
	told map[string]string
}

// watchResources begins to put changes into effect.
func (r *Runtime) watchResources(ctx context.Context) (ending, error) {
	if r.cfg.Mode == Standalone && len(r.cfg.ResourcesPaths)+len(r.cfg.ConfigFiles) == 0 {
		return ending{}, nil
	}
	l := r.newReloader(ctx)
	interval := r.cfg.ReconcileInterval
	if interval <= 0 {
		interval = DefaultReconcileInterval
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	changes := r.source.watch(running, l.log, interval)
	l.log.Info("Hot reloading enabled. Daprd will reload 'Component', 'Subscription', 'HTTPEndpoint', 'Resiliency' and 'Configuration' " +
		"resources when they are added, updated or deleted.")
	over := make(chan struct{})
	go func() {
		defer close(over)
		for running.Err() == nil {
			changed := changes.next(running, interval)
			if running.Err() == nil {
				l.reload(running, !changed)
			}
		}
	}()
	return ending{withdraw: stop, close: func(context.Context) error {
		stop()
		<-over
		return changes.stop()
	}}, nil
}

func (r *Runtime) newReloader(ctx context.Context) *reloader {
	l := &reloader{Runtime: r, log: r.deps.Logs.Scope("dapr.runtime.hotreload"), components: map[string]config.Component{},
		refused: map[string]config.Component{}, told: map[string]string{}, configuration: r.configuration,
		outer: r.configuration.Spec.HTTPPipeline, inner: r.configuration.Spec.AppHTTPPipeline}
	// An error has ended the start.
	if resources, err := r.resources(ctx); err == nil {
		for _, c := range r.authorised(resources.Components) {
			l.components[c.Meta.Name] = c
		}
		l.endpoints, l.resiliencies, l.subscriptions = r.endpointsOf(resources), r.resiliencies(resources), r.subscriptionsOf(resources)
	}
	return l
}

// reload puts into effect what has changed; again says that refused changes are tried again.
func (l *reloader) reload(ctx context.Context, again bool) {
	l.reloadConfiguration(ctx)
	resources, err := l.source.resources(ctx)
	if !l.settled("resources", "the resources are not reloaded, what is in effect stays: %s", err) {
		return
	}
	for _, file := range resources.Unreadable {
		l.once("file "+file, "a part of %s cannot be read: what was read in it before stays", file)
	}
	for _, warning := range resources.Warnings {
		l.once("warning "+warning, "%s", warning)
	}
	found := l.authorised(resources.Components)
	l.reloadComponents(ctx, found, resources.Unreadable, again)
	l.reloadPipelines(found)
	l.reloadResiliencies(resources)
	l.reloadEndpoints(ctx, resources)
	l.reloadSubscriptions(resources)
}

// settled logs an error once; without one what was said before may be said again.
func (l *reloader) settled(what, format string, err error) bool {
	switch {
	case err == nil:
		delete(l.told, what)
		return true
	case errors.Is(err, errAway):
		return false
	}
	if text := fmt.Sprintf(format, err); l.told[what] != text {
		l.told[what] = text
		l.log.Error(text)
	}
	return false
}

// once warns of something that has not been said yet.
func (l *reloader) once(what, format string, args ...any) {
	if text := fmt.Sprintf(format, args...); l.told[what] != text {
		l.told[what] = text
		l.log.Warn(text)
	}
}

func (l *reloader) reloadComponents(ctx context.Context, found []config.Component, unreadable []string, again bool) {
	slices.SortStableFunc(found, func(a, b config.Component) int { return strings.Compare(rank(&a), rank(&b)) })
	wanted := make(map[string]bool, len(found))
	for i := range found {
		wanted[found[i].Meta.Name] = true
	}
	for name, c := range l.components {
		if wanted[name] || slices.Contains(unreadable, c.Origin.File) {
			continue
		}
		if l.settled("component "+name, "%s", l.loader.Remove(ctx, name)) {
			l.log.Infof("component deleted: %s", &c)
			delete(l.components, name)
		}
	}
	for name := range l.refused {
		if !wanted[name] {
			delete(l.refused, name)
			delete(l.told, "component "+name)
		}
	}
	for i := range found {
		l.reloadComponent(ctx, &found[i], again)
	}
}

func (l *reloader) reloadComponent(ctx context.Context, c *config.Component, again bool) {
	name := c.Meta.Name
	before, known := l.components[name]
	refused, isRefused := l.refused[name]
	switch {
	case name == "" || ctx.Err() != nil:
		return
	case known && before.Same(c):
		l.components[name] = *c // its place may be another
		delete(l.refused, name)
		return
	case isRefused && refused.Same(c) && !again:
		return
	}
	format := "the change of a component is refused, the one before stays: %s"
	if !known {
		format = "a new component is not in effect: %s"
	}
	if err := l.loader.Update(ctx, *c); !l.settled("component "+name, format, err) {
		l.refused[name] = *c
		return
	}
	delete(l.refused, name)
	l.components[name] = *c
	l.secretsChanged = l.secretsChanged || rank(c) == "0"
	if known {
		l.log.Infof("component updated: %s", c)
	} else {
		l.log.Infof("component created: %s", c)
	}
}

func (l *reloader) reloadResiliencies(resources *config.Resources) {
	found := l.Runtime.resiliencies(resources)
	for _, before := range l.resiliencies {
		if slices.Contains(resources.Unreadable, before.Origin.File) && !slices.ContainsFunc(found, func(r config.Resiliency) bool { return r.Meta.Name == before.Meta.Name }) {
			found = append(found, before)
		}
	}
	if slices.EqualFunc(found, l.resiliencies, func(a, b config.Resiliency) bool { return a.Same(&b) }) {
		return
	}
	l.resiliencies = found
	if l.settled("resiliency", "the changes of the Resiliency resources are refused, what was in force stays: %s", l.heed(found)) {
		l.log.Infof("resiliency resources in force: %s", cmp.Or(strings.Join(l.policies.Names(), ", "), "none"))
	}
}

func (l *reloader) reloadEndpoints(ctx context.Context, resources *config.Resources) {
	found := l.endpointsOf(resources)
	for _, before := range l.endpoints {
		if slices.Contains(resources.Unreadable, before.Origin.File) && !slices.ContainsFunc(found, func(e config.HTTPEndpoint) bool { return e.Meta.Name == before.Meta.Name }) {
			found = append(found, before)
		}
	}
	if !l.secretsChanged && slices.EqualFunc(found, l.endpoints, func(a, b config.HTTPEndpoint) bool { return a.Same(&b) }) {
		return
	}
	l.endpoints, l.secretsChanged = found, false
	l.openEndpoints(ctx, found)
	l.log.Infof("HTTPEndpoints in use: %s", strings.Join(l.endpointNames(), ", "))
}

// reloadSubscriptions follows the Subscription resources. Of one that cannot be used what was in force before stays.
func (l *reloader) reloadSubscriptions(resources *config.Resources) {
	var found []config.Subscription
	for _, s := range l.subscriptionsOf(resources) {
		before := slices.IndexFunc(l.subscriptions, func(b config.Subscription) bool { return b.Meta.Name == s.Meta.Name })
		switch {
		case l.settled("subscription "+s.Meta.Name, "the change of a subscription is refused, the one before stays: "+s.Origin.String()+": %s", pubsub.Check(s.TopicSubscription)):
			found = append(found, s)
		case before >= 0:
			found = append(found, l.subscriptions[before])
		}
	}
	for _, before := range l.subscriptions {
		if slices.Contains(resources.Unreadable, before.Origin.File) && !slices.ContainsFunc(found, func(s config.Subscription) bool { return s.Meta.Name == before.Meta.Name }) {
			found = append(found, before)
		}
	}
	if slices.EqualFunc(found, l.subscriptions, func(a, b config.Subscription) bool { return a.Same(&b) }) {
		return
	}
	l.subscriptions = found
	l.declare(found)
	l.log.Infof("subscriptions of resources in force: %d", len(found))
}

// inPlace are the parts of the Configuration's spec that a running sidecar can follow.
func inPlace() []string {
	return []string{"secrets", "components", "httpPipeline", "appHttpPipeline", "accessControl"}
}

// reloadConfiguration puts the parts into effect that can be, and names those that cannot: nobody is restarted behind
// their back.
func (l *reloader) reloadConfiguration(ctx context.Context) {
	if len(l.cfg.ConfigFiles) == 0 {
		return
	}
	next, err := l.source.configuration(ctx)
	if !l.settled("configuration", "the change of the Configuration is refused, the one before stays: %s", err) {
		return
	}
	changed := l.configuration.Changed(next)
	if len(changed) == 0 {
		return
	}
	domain := l.configuration.Spec.AccessControl.TrustDomain
	l.configuration = next
	if slices.Contains(changed, "accessControl") {
		l.controlAccess(&next.Spec.AccessControl)
	}
	l.secrets.Restrict(secrets.Scopes(next.Spec.Secrets.Scopes))
	l.loader.Deny(next.Spec.Components.Denied)
	var followed, rest []string
	for _, key := range changed {
		if slices.Contains(inPlace(), key) {
			followed = append(followed, "spec."+key)
		} else {
			rest = append(rest, "spec."+key)
		}
	}
	if l.cfg.MTLS.Enabled && domain != next.Spec.AccessControl.TrustDomain {
		rest = append(rest, "spec.accessControl.trustDomain") // it is in the certificate
	}
	if len(followed) > 0 {
		l.log.Infof("the Configuration has changed: %s in effect now", strings.Join(followed, ", "))
	}
	if len(rest) > 0 {
		l.log.Warnf("the Configuration has changed in %s: that needs a restart of the sidecar, until then the values of its start hold",
			strings.Join(rest, ", "))
	}
}

// reloadPipelines follows the Configuration's pipelines, whose components may have come with the same change.
func (l *reloader) reloadPipelines(found []config.Component) {
	outer, inner := l.configuration.Spec.HTTPPipeline, l.configuration.Spec.AppHTTPPipeline
	if reflect.DeepEqual(outer, l.outer) && reflect.DeepEqual(inner, l.inner) {
		return
	}
	err := l.setPipelines(l.configuration.Spec, found)
	if l.settled("pipelines", "the change of the Configuration's pipelines is refused, those before stay: %s", err) {
		l.outer, l.inner = outer, inner
	}
}
