package process

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/version"
)

// Process is what a command line asks for.
type Process struct {
	// Name is that of the part of the control plane, sentry for one.
	Name string
	// Version asks for the version, and for nothing else.
	Version bool

	LogLevel  string
	LogAsJSON bool
	// NotInUse are the flags whose feature is not here yet.
	NotInUse []string

	// New makes what runs until its context ends.
	New func(*logging.Logs) (func(context.Context) error, error)
}

// Run runs it until a signal, and gives the exit code. A second signal ends it at once.
func (p *Process) Run(stdout, stderr io.Writer) int {
	if p.Version {
		fmt.Fprintln(stdout, version.Version())
		return OK
	}
	logs, err := logging.New(logging.Options{Level: p.LogLevel, JSON: p.LogAsJSON, Version: version.Version(), Output: stdout})
	if err != nil {
		fmt.Fprintln(stderr, err)
		return Usage
	}
	log := logs.Scope("dapr." + p.Name)
	for _, name := range p.NotInUse {
		log.Warnf("%s has no effect: it is not here yet", name)
	}
	run, err := p.New(logs)
	if err == nil {
		err = untilSignal(run, logs)
	}
	if err != nil {
		log.Logf(logrus.FatalLevel, "Fatal error from %s: %s", p.Name, err)
		return Failure
	}
	return OK
}

func untilSignal(run func(context.Context) error, logs *logging.Logs) error {
	signals := make(chan os.Signal, 2)
	// They are not given back: one that comes when the work has ended, but the process has not, would kill it and take
	// the place of the exit code.
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	for {
		select {
		case err := <-done:
			return err
		case s := <-signals:
			if ctx.Err() != nil {
				return fmt.Errorf("received signal '%s' during shutdown; exiting immediately", s)
			}
			logs.Scope("dapr.signals").Infof("Received signal '%s'; beginning shutdown", s)
			cancel()
		}
	}
}
