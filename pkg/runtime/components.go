package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/daprd/daprd/pkg/config"
)

// loadComponents starts the loader and gives it every manifest: secret stores first, since others refer to
// them, else in the order of the files.
func (r *Runtime) loadComponents(ctx context.Context) (ending, error) {
	var wait sync.WaitGroup
	loading, stop := context.WithCancel(context.WithoutCancel(ctx))
	wait.Go(func() { r.loader.Run(loading) })
	end := ending{settle: r.endSubscriptions, close: func(ctx context.Context) error {
		stop()
		wait.Wait()
		return errors.Join(r.outbox.Close(ctx), r.bindings.Close(), r.pubsub.Close(), r.state.Close(), r.settings.Close(), r.locks.Close(), r.crypto.Close(), r.middleware.Close(), r.secrets.Close())
	}}
	if discover := r.deps.Components.Discover; discover != nil {
		discover(ctx, r.cfg.SocketsFolder, r.deps.Logs.Scope("dapr.runtime"))
	}
	resources, err := r.resources(ctx)
	if err != nil {
		return end, fmt.Errorf("failed to load components: %w", err)
	}
	found := r.authorised(resources.Components)
	if err := r.loadSecretStore(ctx, found); err != nil {
		return end, err
	}
	r.log.Info("loading components")
	for _, warning := range resources.Warnings {
		r.deps.Logs.Scope("dapr.runtime.components").Warn(warning)
	}
	for i := range found {
		r.log.Debugf("found component. name: %s, type: %s/%s", found[i].Meta.Name, found[i].Spec.Type, found[i].Spec.Version)
	}
	slices.SortStableFunc(found, func(a, b config.Component) int {
		return strings.Compare(rank(&a), rank(&b))
	})
	r.log.Info("waiting for all outstanding components to be processed")
	for _, component := range found {
		if err := r.loader.Load(ctx, component); err != nil {
			r.log.Warn("process component error daprd process will exited, gracefully to stop")
			return end, err
		}
	}
	r.log.Info("all outstanding components processed")
	if err := r.setPipelines(r.configuration.Spec, found); err != nil {
		return end, err
	}
	r.openEndpoints(ctx, r.endpointsOf(resources))
	r.declare(r.subscriptionsOf(resources))
	return end, nil
}

// endSubscriptions ends what is brought to callers that hold a stream open, and to the application, unasked.
func (r *Runtime) endSubscriptions(ctx context.Context) error {
	ctx, cancel := leaving(ctx)
	defer cancel()
	return errors.Join(r.pubsub.Drain(ctx), r.settings.Drain(ctx))
}

// rank puts secret stores before the others.
func rank(c *config.Component) string {
	if c.Category() == "secretstores" {
		return "0"
	}
	return "1"
}

func (r *Runtime) authorised(found []config.Component) (mine []config.Component) {
	for _, c := range found {
		if config.Authorised(c.Meta, c.Scopes, r.cfg.AppID, r.cfg.Namespace) {
			mine = append(mine, c)
		}
	}
	return mine
}

// subscriptionsOf are the Subscription resources that are for this sidecar.
func (r *Runtime) subscriptionsOf(resources *config.Resources) (mine []config.Subscription) {
	for _, s := range resources.Subscriptions {
		if config.Authorised(s.Meta, s.Scopes, r.cfg.AppID, r.cfg.Namespace) {
			mine = append(mine, s)
		}
	}
	return mine
}

// declare has the topics of Subscription resources delivered.
func (r *Runtime) declare(subscriptions []config.Subscription) {
	topics := make([]config.TopicSubscription, len(subscriptions))
	for i := range subscriptions {
		topics[i] = subscriptions[i].TopicSubscription
	}
	r.pubsub.Declare(topics)
}
