package main

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/daprd/daprd/pkg/operator"
	"github.com/daprd/daprd/pkg/process"
)

const about = "operator tells the sidecars of a cluster of its components and other resources, and keeps the services by which they\n" +
	"find each other. The environment variable NAMESPACE is the control plane's namespace."

// flags are what the command line says.
type flags struct {
	set *pflag.FlagSet

	cfg     operator.Config
	asJSON  bool
	version bool
}

// parse reads the arguments without the program's name, and the environment through getenv.
func parse(arguments []string, getenv func(string) string) (*flags, *process.UsageError) {
	f := newFlags(getenv)
	if misuse := process.Parse(f.set, about, arguments); misuse != nil {
		return nil, misuse
	}
	for name, port := range map[string]int{"port": f.cfg.Port, "webhook-server-port": f.cfg.WebhookPort, "healthz-port": f.cfg.HealthPort, "metrics-port": f.cfg.MetricsPort} {
		if err := process.CheckPort(name, port); err != nil {
			return nil, process.Misuse(f.set, about, err)
		}
	}
	return f, nil
}

func newFlags(getenv func(string) string) *flags {
	f := &flags{set: process.NewFlagSet("operator")}
	s, c := f.set, &f.cfg
	c.Namespace, c.SentryAddress, c.TokenFile = getenv("NAMESPACE"), getenv("DAPR_SENTRY_ADDRESS"), getenv("DAPR_SENTRY_TOKEN_FILE")
	s.StringVar(&c.Configuration, "config", operator.DefaultConfiguration, "the name of the control plane's Configuration")
	s.StringVar(&c.WatchNamespace, "watch-namespace", "", "the only namespace whose resources are served; empty for all")
	s.StringVar(&c.AnchorsFile, "trust-anchors-file", operator.DefaultAnchorsFile, "the file with the roots that are trusted")
	s.StringVar(&c.Kubeconfig, "kubeconfig", getenv("KUBE_CONFIG"), "the file that tells of the API server, outside of its cluster; empty for ~/.kube/config")
	s.StringVar(&c.ListenAddress, "listen-address", "", "the address on which sidecars are served; empty for all interfaces")
	s.IntVar(&c.Port, "port", operator.DefaultPort, "the port on which sidecars are served")
	s.StringVar(&c.WebhookListenAddress, "webhook-server-listen-address", "", "the address of the conversion webhook; empty for all interfaces")
	s.IntVar(&c.WebhookPort, "webhook-server-port", operator.DefaultWebhookPort, "the port of the conversion webhook")
	s.BoolVar(&c.Alone, "disable-leader-election", false, "lead without asking other replicas")
	s.BoolVar(&c.WithoutServices, "disable-service-reconciler", false, "leave out the services of applications")
	s.BoolVar(&c.Rollouts, "enable-argo-rollout-service-reconciler", false, "keep services for Argo's Rollouts as well")
	s.Var(&c.Watchdog, "watch-interval", "how often pods are looked for that lack their sidecar, and deleted: 0 for never, once, or a duration")
	s.IntVar(&c.MaxRestarts, "max-pod-restarts-per-minute", operator.DefaultMaxRestarts, "how many of these are deleted in a minute")
	s.BoolVar(&c.PatchPods, "watchdog-can-patch-pod-labels", false, "label pods that have their sidecar, so that they are not looked at again")
	s.StringVar(&c.HealthListenAddress, "healthz-listen-address", "", "the address of /healthz; empty for all interfaces")
	s.IntVar(&c.HealthPort, "healthz-port", operator.DefaultHealthPort, "the port of /healthz")
	s.BoolVar(&c.EnableMetrics, "enable-metrics", true, "serve metrics for Prometheus")
	s.StringVar(&c.MetricsListenAddress, "metrics-listen-address", "0.0.0.0", "the address of the metrics")
	s.IntVar(&c.MetricsPort, "metrics-port", operator.DefaultMetricsPort, "the port of the metrics")
	s.StringVar(&c.LogLevel, "log-level", "info", "what is logged: debug, info, warn, error, fatal")
	s.BoolVar(&f.asJSON, "log-as-json", false, "log in JSON, one object a line")
	s.BoolVar(&f.version, "version", false, "print the version")
	f.unused()
	return f
}

// unused are flags of Dapr's that mean nothing here: what is seen of the cluster needs no more than the API server's word.
func (f *flags) unused() {
	f.set.Duration("cache-sync-period", time.Hour, "")
	f.set.String("certchain", "", "")
	for _, name := range []string{"cache-sync-period", "certchain"} {
		f.set.Lookup(name).Hidden = true
	}
}
