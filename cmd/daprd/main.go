// Command daprd is the sidecar. It reads the command line, runs until a signal or a caller ends it, and
// decides the exit code: 0 when everything was drained, 1 when it was not or could not start, 2 for a
// command line that cannot be read.
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

	"github.com/daprd/daprd/pkg/components/catalogue"
	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/runtime"
	"github.com/daprd/daprd/pkg/version"
)

const (
	exitOK = iota
	exitFailure
	exitUsage
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(arguments []string, stdout, stderr io.Writer) int {
	cfg, what, err := parse(arguments, os.Getenv, stderr)
	if usage := new(usageError); errors.As(err, &usage) {
		return printUsage(usage, stdout, stderr)
	}
	switch what {
	case actionVersion:
		fmt.Fprintln(stdout, version.Version())
		return exitOK
	case actionBuildInfo:
		fmt.Fprintf(stdout, "Version: %s\nGit Commit: %s\nGit Version: %s\n", version.Version(), version.Commit(), version.Version())
		return exitOK
	case actionWait:
		if err == nil {
			wait(context.Background(), cfg.HTTPPort, stderr)
		}
		return exitOK
	}
	return serve(cfg, err, stdout)
}

func printUsage(usage *usageError, stdout, stderr io.Writer) int {
	if usage.cause == nil {
		fmt.Fprint(stdout, usage.usage)
		return exitOK
	}
	fmt.Fprint(stderr, usage.usage)
	fmt.Fprintln(stderr, usage.cause)
	return exitUsage
}

// serve runs the sidecar; parsed is what was wrong with the values of flags.
func serve(cfg runtime.Config, parsed error, stdout io.Writer) int {
	if cfg.LogFile != "" {
		file, err := os.OpenFile(cfg.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			fmt.Fprintf(stdout, "open the log file: %v; --log-file names it\n", err)
			return exitFailure
		}
		defer file.Close()
		stdout = file
	}
	logs, err := logging.New(logging.Options{Level: cfg.LogLevel, JSON: cfg.LogAsJSON, AppID: cfg.AppID, Version: version.Version(), Output: stdout})
	if err != nil {
		parsed = errors.Join(parsed, err)
		logs, _ = logging.New(logging.Options{JSON: cfg.LogAsJSON, AppID: cfg.AppID, Version: version.Version(), Output: stdout})
	}
	if parsed != nil {
		return fail(logs, parsed)
	}
	runtime.Announce(logs, cfg.LogLevel)
	if cfg.HostAddress == "" {
		cfg.HostAddress = runtime.DetectHost(context.Background())
	}
	if err := export(cfg); err != nil {
		return fail(logs, err)
	}
	return live(cfg, logs)
}

// live runs the sidecar, once more after each SIGHUP.
func live(cfg runtime.Config, logs *logging.Logs) int {
	signals := make(chan os.Signal, 2)
	// They are not given back: one that comes when the sidecar has ended, but the process has not, would kill it
	// and take the place of the exit code.
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	for {
		sidecar, err := runtime.New(cfg, runtime.Deps{Components: catalogue.All(), Logs: logs})
		if err != nil {
			return fail(logs, err)
		}
		again, code := once(sidecar, logs, signals)
		if !again || code != exitOK {
			return code
		}
	}
}

// once runs the sidecar until a signal ends it; again says that it was SIGHUP, which asks for a new start.
func once(sidecar *runtime.Runtime, logs *logging.Logs, signals <-chan os.Signal) (again bool, code int) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- sidecar.Run(ctx) }()
	log := logs.Scope("dapr.signals")
	for ending := false; ; {
		select {
		case err := <-done:
			if err != nil {
				return false, fail(logs, err)
			}
			return again, exitOK
		case s := <-signals:
			hangup := s == syscall.SIGHUP
			switch {
			case !ending && hangup:
				log.Infof("Received signal '%s'; restarting", s)
			case !ending:
				log.Infof("Received signal '%s'; beginning shutdown", s)
			case again && hangup:
				log.Infof("Received signal '%s'; the restart is under way", s)
			case again:
				log.Infof("Received signal '%s'; shutting down instead of restarting", s)
			default:
				log.Logf(logrus.FatalLevel, "Received signal '%s' during shutdown; exiting immediately", s)
				return false, exitFailure
			}
			ending, again = true, hangup
			cancel()
		}
	}
}

// fail writes err at the level that log collectors look for; Logf, unlike Fatalf, leaves the end to main.
func fail(logs *logging.Logs, err error) int {
	log := logs.Scope("dapr.runtime")
	switch {
	case errors.Is(err, runtime.ErrForced):
		log.Warn("Force shutdown requested, exiting immediately without graceful shutdown")
	case errors.Is(err, runtime.ErrGrace):
		log.Logf(logrus.FatalLevel, "Graceful shutdown timeout exceeded, forcing shutdown: %s", err)
	default:
		log.Logf(logrus.FatalLevel, "Fatal error from runtime: %s", err)
	}
	return exitFailure
}
