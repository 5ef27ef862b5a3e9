// Command sentry is the certificate authority of a mesh. It reads the command line, runs until a signal ends it, and
// decides the exit code: 0 at a signal, 1 when it could not start or go on, 2 for a command line that cannot be read.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/sentry"
	"github.com/daprd/daprd/pkg/version"
)

const (
	exitOK = iota
	exitFailure
	exitUsage
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(arguments []string, stdout, stderr io.Writer) int {
	f, err := parse(arguments, os.Getenv)
	if usage := new(usageError); errors.As(err, &usage) {
		if usage.cause == nil {
			fmt.Fprint(stdout, usage.usage)
			return exitOK
		}
		fmt.Fprint(stderr, usage.usage)
		fmt.Fprintln(stderr, usage.cause)
		return exitUsage
	}
	if f.version {
		fmt.Fprintln(stdout, version.Version())
		return exitOK
	}
	logs, err := logging.New(logging.Options{Level: f.cfg.LogLevel, JSON: f.asJSON, Version: version.Version(), Output: stdout})
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	if err := serve(f, logs); err != nil {
		logs.Scope("dapr.sentry").Logf(logrus.FatalLevel, "Fatal error from sentry: %s", err)
		return exitFailure
	}
	return exitOK
}

// serve runs the authority until a signal; a second one ends the process at once.
func serve(f *flags, logs *logging.Logs) error {
	for _, name := range f.notInUse {
		logs.Scope("dapr.sentry").Warnf("%s has no effect: it is not here yet", name)
	}
	authority, err := sentry.New(f.cfg, sentry.Deps{Logs: logs})
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- authority.Run(ctx) }()
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
