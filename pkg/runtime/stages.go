package runtime

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/metrics"
	"github.com/daprd/daprd/pkg/secrets"
	"github.com/daprd/daprd/pkg/version"
)

// table is the start-up, in the order of Dapr's start-up trace.
var table = []stage{
	{"metrics", (*Runtime).exportMetrics},
	{"configuration", (*Runtime).loadConfiguration},
	{"resiliency", (*Runtime).loadResiliency},
	{"security", (*Runtime).establishSecurity},
	{"name resolution", (*Runtime).openResolver},
	{"components", (*Runtime).loadComponents},
	{"grpc api", (*Runtime).serveGRPC},
	{"http api", (*Runtime).serveHTTP},
	{"internal grpc", (*Runtime).serveInternal},
	{"app port", (*Runtime).awaitApp},
	{"app channel", (*Runtime).openChannel},
	{"direct messaging", (*Runtime).openMessaging},
	{"actors", (*Runtime).startActors},
}

// Announce writes the first lines of the log: they come before anything can fail.
func Announce(logs *logging.Logs, level string) {
	log := logs.Scope("dapr.runtime")
	log.Infof("starting Dapr Runtime -- version %s -- commit %s", version.Version(), version.Commit())
	log.Infof("log level set to: %s", level)
}

// exportMetrics opens the metrics server; what is counted is known after the Configuration.
func (r *Runtime) exportMetrics(ctx context.Context) (ending, error) {
	if !r.cfg.EnableMetrics {
		return ending{}, nil
	}
	exporter, err := metrics.Listen(ctx, net.JoinHostPort(r.cfg.MetricsListenAddress, strconv.Itoa(r.cfg.MetricsPort)), r.metrics)
	if err != nil {
		return ending{}, fmt.Errorf("%w; --metrics-port chooses another port, --enable-metrics=false does without", err)
	}
	r.addresses.set(&r.addresses.metrics, exporter.Address())
	r.deps.Logs.Scope("dapr.metrics").Infof("metrics server started on :%d/", r.cfg.MetricsPort)
	return ending{close: exporter.Close}, nil
}

func (r *Runtime) loadConfiguration(context.Context) (ending, error) {
	if len(r.cfg.ConfigFiles) == 0 {
		r.log.Info("loading default configuration")
	} else {
		c, err := config.ReadConfiguration(r.cfg.ConfigFiles...)
		if err != nil {
			return ending{}, err
		}
		r.configuration = c
	}
	enabled, buckets := r.configuration.MetricSettings()
	r.metrics.Configure(metrics.Settings{Enabled: enabled, Latency: buckets})
	r.secrets.Restrict(secrets.Scopes(r.configuration.Spec.Secrets.Scopes))
	r.loader.Deny(r.configuration.Spec.Components.Denied)
	for _, flag := range r.cfg.NotInUse {
		r.log.Warnf("the flag %s is accepted, but has no effect in this daprd yet", flag)
	}
	return ending{}, nil
}

func (r *Runtime) loadResiliency(context.Context) (ending, error) {
	r.log.Debug("Resiliency is not enabled.")
	return ending{}, nil
}

func (r *Runtime) establishSecurity(context.Context) (ending, error) {
	r.log.Infof("%s mode configured", r.cfg.Mode)
	r.log.Infof("app id: %s", r.cfg.AppID)
	if r.cfg.Mode == Kubernetes {
		return ending{}, errors.New("kubernetes mode is not supported by this daprd yet: run it with --mode standalone")
	}
	r.log.Info("mTLS is disabled. Skipping certificate request and tls validation")
	return ending{}, nil
}

// loadComponents starts the loader and gives it every manifest: secret stores first, since others refer to
// them, else in the order of the files.
func (r *Runtime) loadComponents(ctx context.Context) (ending, error) {
	var wait sync.WaitGroup
	loading, stop := context.WithCancel(context.WithoutCancel(ctx))
	wait.Go(func() { r.loader.Run(loading) })
	end := ending{close: func(context.Context) error {
		stop()
		wait.Wait()
		return errors.Join(r.state.Close(), r.secrets.Close())
	}}
	r.log.Info("loading components")
	resources, err := config.ReadFolders(r.cfg.ResourcesPaths...)
	if err != nil {
		return end, fmt.Errorf("failed to load components: %w", err)
	}
	for _, warning := range resources.Warnings {
		r.deps.Logs.Scope("dapr.runtime.components").Warn(warning)
	}
	found := r.authorised(resources.Components)
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
	return end, r.openEndpoints(ctx, resources.HTTPEndpoints)
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

// startActors tells why there are none: the lines of the trace.
func (r *Runtime) startActors(context.Context) (ending, error) {
	if _, ok := r.state.ActorStore(); !ok {
		r.log.Warn("failed to init actors: no actor state store defined")
	} else {
		r.log.Warn("failed to init actors: this daprd does not have actors yet")
	}
	return ending{}, nil
}
