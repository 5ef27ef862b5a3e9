package runtime

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

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

func (r *Runtime) loadConfiguration(ctx context.Context) (ending, error) {
	end := ending{close: func(ctx context.Context) error {
		r.tracer.Close(ctx)
		return r.source.close()
	}}
	if len(r.cfg.ConfigFiles) == 0 {
		r.log.Info("loading default configuration")
	} else {
		if r.cfg.Mode == Kubernetes {
			r.log.Infof("Initializing the operator client (config: %s)", r.cfg.ConfigFiles[0])
		}
		if r.cfg.Mode == Kubernetes && len(r.cfg.ConfigFiles) > 1 {
			r.log.Warn("Multiple configurations are not supported in Kubernetes mode; only the first one will be loaded")
		}
		c, err := r.source.configuration(ctx)
		if err != nil {
			return end, err
		}
		r.configuration = c
	}
	if err := r.metrics.Configure(r.metricSettings()); err != nil {
		return end, fmt.Errorf("error loading configuration %s: spec.metrics: %w", strings.Join(r.cfg.ConfigFiles, ", "), err)
	}
	if err := r.tracer.Configure(r.configuration.Spec.Tracing, os.Getenv); err != nil {
		return end, fmt.Errorf("error loading configuration: %w", err)
	}
	r.secrets.Restrict(secrets.Scopes(r.configuration.Spec.Secrets.Scopes))
	r.controlAccess(&r.configuration.Spec.AccessControl)
	r.loader.Deny(r.configuration.Spec.Components.Denied)
	r.loader.Sandbox(r.configuration.Spec.WASM.StrictSandbox)
	for _, rule := range r.configuration.Spec.API.Idle() {
		r.log.Warnf("API access list: the rule of spec.api for %s in version %s has no effect: its protocol %q is neither http nor grpc", rule.Name, rule.Version, rule.Protocol)
	}
	for _, what := range append(r.configuration.NotInUse(), r.cfg.NotInUse...) {
		r.log.Warnf("the %s is accepted, but has no effect in this daprd yet", what)
	}
	return end, nil
}

// metricSettings are those of the Configuration. Without --enable-metrics nobody could read what is counted.
func (r *Runtime) metricSettings() metrics.Settings {
	spec := r.configuration.MetricSettings()
	settings := metrics.Settings{Enabled: spec.On() && r.cfg.EnableMetrics, Latency: spec.LatencyBuckets, Paths: spec.HTTP.PathMatching,
		HidePaths: !spec.HTTP.Increased(), HideVerbs: spec.HTTP.ExcludeVerbs}
	for _, rule := range spec.Rules {
		for _, label := range rule.Labels {
			for _, replacement := range slices.Sorted(maps.Keys(label.Regex)) {
				settings.Rules = append(settings.Rules, metrics.Rule{Family: rule.Name, Label: label.Name, Pattern: label.Regex[replacement], Replacement: replacement})
			}
		}
	}
	return settings
}
