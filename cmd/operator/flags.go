package main

import (
	"github.com/daprd/daprd/pkg/operator"
	"github.com/daprd/daprd/pkg/process"
)

var about = process.About{Name: "operator", Title: "Operator", EndTitle: "Operator",
	Purpose: "operator tells the sidecars of a cluster of its components and other resources, and keeps the services by which they\n" +
		"find each other. The environment variable NAMESPACE is the control plane's namespace."}

// flags are what the command line says.
type flags struct {
	*process.CommandLine
	cfg operator.Config
}

// parse reads the arguments without the program's name, and the environment through getenv.
func parse(arguments []string, getenv func(string) string) (*flags, *process.UsageError) {
	f := newFlags(getenv)
	return f, f.Parse(arguments)
}

func newFlags(getenv func(string) string) *flags {
	f := new(flags)
	f.CommandLine = process.NewCommandLine(about, &f.cfg.Observed)
	s, c := f.CommandLine, &f.cfg
	c.Namespace, c.SentryAddress, c.TokenFile = getenv("NAMESPACE"), getenv("DAPR_SENTRY_ADDRESS"), getenv("DAPR_SENTRY_TOKEN_FILE")
	s.StringVar(&c.Configuration, "config", operator.DefaultConfiguration, "the name of the control plane's Configuration")
	s.StringVar(&c.WatchNamespace, "watch-namespace", "", "the only namespace whose resources are served; empty for all")
	s.StringVar(&c.AnchorsFile, "trust-anchors-file", operator.DefaultAnchorsFile, "the file with the roots that are trusted")
	s.KubeconfigVar(&c.Kubeconfig, getenv)
	s.StringVar(&c.ListenAddress, "listen-address", "", "the address on which sidecars are served; empty for all interfaces")
	s.PortVar(&c.Port, "port", operator.DefaultPort, "the port on which sidecars are served")
	s.StringVar(&c.WebhookListenAddress, "webhook-server-listen-address", "", "the address of the conversion webhook; empty for all interfaces")
	s.PortVar(&c.WebhookPort, "webhook-server-port", operator.DefaultWebhookPort, "the port of the conversion webhook")
	s.BoolVar(&c.Alone, "disable-leader-election", false, "lead without asking other replicas")
	s.BoolVar(&c.WithoutServices, "disable-service-reconciler", false, "leave out the services of applications")
	s.BoolVar(&c.Rollouts, "enable-argo-rollout-service-reconciler", false, "keep services for Argo's Rollouts as well")
	s.Var(&c.Watchdog, "watch-interval", "how often pods are looked for that lack their sidecar, and deleted: 0 for never, once, or a duration")
	s.IntVar(&c.MaxRestarts, "max-pod-restarts-per-minute", operator.DefaultMaxRestarts, "how many of these are deleted in a minute")
	s.BoolVar(&c.PatchPods, "watchdog-can-patch-pod-labels", false, "label pods that have their sidecar, so that they are not looked at again")
	s.Needless("cache-sync-period", "certchain") // what is seen of the cluster needs no more than the API server's word
	return f
}
