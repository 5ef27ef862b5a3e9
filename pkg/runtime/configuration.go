package runtime

import (
	"context"
	"fmt"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/listen"
	"github.com/daprd/daprd/pkg/metrics"
	"github.com/daprd/daprd/pkg/secrets"
)

// exportMetrics opens the metrics server; what is counted is known after the Configuration.
func (r *Runtime) exportMetrics(ctx context.Context) (ending, error) {
	if !r.cfg.EnableMetrics {
		return ending{}, nil
	}
	exporter, err := metrics.Listen(ctx, listen.Endpoint(r.cfg.MetricsListenAddress, r.cfg.MetricsPort), r.metrics)
	if err != nil {
		return ending{}, fmt.Errorf("%w; --metrics-port chooses another port, --enable-metrics=false does without", err)
	}
	r.addresses.set(&r.addresses.metrics, exporter.Address())
	r.deps.Logs.Scope("dapr.metrics").Infof("metrics server started on :%d/", port(exporter.Address()))
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
	r.controlAccess(&r.configuration.Spec.AccessControl)
	r.loader.Deny(r.configuration.Spec.Components.Denied)
	r.loader.Sandbox(r.configuration.Spec.WASM.StrictSandbox)
	for _, what := range append(r.configuration.NotInUse(), r.cfg.NotInUse...) {
		r.log.Warnf("the %s is accepted, but has no effect in this daprd yet", what)
	}
	return ending{}, nil
}
