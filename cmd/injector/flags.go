package main

import (
	"github.com/daprd/daprd/pkg/injector"
	"github.com/daprd/daprd/pkg/process"
)

var about = process.About{Name: "injector", Title: "Sidecar Injector", EndTitle: "Sidecar injector",
	Purpose: "injector is the webhook of a mesh in Kubernetes: it gives annotated pods their sidecar.\n" +
		"What the sidecars of an installation have in common is in the environment: SIDECAR_IMAGE and NAMESPACE at the least."}

// flags are what the command line says.
type flags struct {
	*process.CommandLine
	cfg injector.Config
}

// parse reads the arguments without the program's name.
func parse(arguments []string, getenv func(string) string) (*flags, *process.UsageError) {
	f := newFlags(getenv)
	return f, f.Parse(arguments)
}

func newFlags(getenv func(string) string) *flags {
	f := new(flags)
	f.CommandLine = process.NewCommandLine(about, &f.cfg.Observed)
	s, c := f.CommandLine, &f.cfg
	s.StringVar(&c.ListenAddress, "listen-address", "", "the address of the webhook; empty for all interfaces")
	s.PortVar(&c.Port, "port", injector.DefaultPort, "the port of the webhook")
	s.BoolVar(&c.Mesh.SchedulerEnabled, "scheduler-enabled", true, "have sidecars look for a scheduler of jobs")
	s.KubeconfigVar(&c.Kubeconfig, getenv)
	return f
}
