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

// Run makes the part by begin, runs it until a signal, and gives the exit code. A second signal ends it at once.
func (c *CommandLine) Run(stdout, stderr io.Writer, begin func(*logging.Logs) (run func(context.Context) error, err error)) int {
	if c.version {
		fmt.Fprintln(stdout, version.Version())
		return OK
	}
	logs, err := logging.New(logging.Options{Level: c.level, JSON: c.asJSON, Version: version.Version(), Output: stdout})
	if err != nil {
		fmt.Fprintln(stderr, err)
		return Usage
	}
	log := logs.Scope("dapr." + c.about.Name)
	log.Infof("Starting Dapr %s -- version %s -- commit %s", c.about.Title, version.Version(), version.Commit())
	log.Infof("Log level set to: %s", c.level)
	for _, name := range c.needless {
		if c.Changed(name) {
			log.Warnf("--%s has no effect: there is nothing here that needs it", name)
		}
	}
	run, err := begin(logs)
	if err == nil {
		err = untilSignal(run, logs)
	}
	if err != nil {
		log.Logf(logrus.FatalLevel, "Fatal error from %s: %s", c.about.Name, err)
		return Failure
	}
	log.Infof("%s shut down gracefully", c.about.EndTitle)
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
