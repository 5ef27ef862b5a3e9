package main

import (
	"github.com/spf13/pflag"

	"github.com/daprd/daprd/pkg/injector"
	"github.com/daprd/daprd/pkg/process"
)

const about = "injector is the webhook of a mesh in Kubernetes: it gives annotated pods their sidecar.\n" +
	"What the sidecars of an installation have in common is in the environment: SIDECAR_IMAGE and NAMESPACE at the least."

// flags are what the command line says.
type flags struct {
	set *pflag.FlagSet

	cfg     injector.Config
	asJSON  bool
	version bool
}

// parse reads the arguments without the program's name.
func parse(arguments []string, getenv func(string) string) (*flags, *process.UsageError) {
	f := newFlags(getenv)
	if misuse := process.Parse(f.set, about, arguments); misuse != nil {
		return nil, misuse
	}
	for name, port := range map[string]int{"port": f.cfg.Port, "healthz-port": f.cfg.HealthPort, "metrics-port": f.cfg.MetricsPort} {
		if err := process.CheckPort(name, port); err != nil {
			return nil, process.Misuse(f.set, about, err)
		}
	}
	return f, nil
}

func newFlags(getenv func(string) string) *flags {
	f := &flags{set: process.NewFlagSet("injector")}
	s, c := f.set, &f.cfg
	s.StringVar(&c.ListenAddress, "listen-address", "", "the address of the webhook; empty for all interfaces")
	s.IntVar(&c.Port, "port", injector.DefaultPort, "the port of the webhook")
	s.StringVar(&c.HealthListenAddress, "healthz-listen-address", "", "the address of /healthz; empty for all interfaces")
	s.IntVar(&c.HealthPort, "healthz-port", injector.DefaultHealthPort, "the port of /healthz")
	s.BoolVar(&c.EnableMetrics, "enable-metrics", true, "serve metrics for Prometheus")
	s.StringVar(&c.MetricsListenAddress, "metrics-listen-address", "0.0.0.0", "the address of the metrics")
	s.IntVar(&c.MetricsPort, "metrics-port", injector.DefaultMetricsPort, "the port of the metrics")
	s.BoolVar(&c.Mesh.SchedulerEnabled, "scheduler-enabled", true, "have sidecars look for a scheduler of jobs")
	s.StringVar(&c.Kubeconfig, "kubeconfig", getenv("KUBE_CONFIG"), "the file that tells of the API server, outside of its cluster; empty for ~/.kube/config")
	s.StringVar(&c.LogLevel, "log-level", "info", "what is logged: debug, info, warn, error, fatal")
	s.BoolVar(&f.asJSON, "log-as-json", false, "log in JSON, one object a line")
	s.BoolVar(&f.version, "version", false, "print the version")
	return f
}
