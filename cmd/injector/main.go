// Command injector is the webhook that gives annotated pods of Kubernetes their sidecar. It reads the command line and the
// environment, runs until a signal ends it, and decides the exit code: 0 at a signal, 1 when it could not start or go on, 2
// for a command line that cannot be read.
package main

import (
	"context"
	"io"
	"os"

	"github.com/daprd/daprd/pkg/injector"
	"github.com/daprd/daprd/pkg/logging"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(arguments []string, stdout, stderr io.Writer) int {
	f, misuse := parse(arguments, os.Getenv)
	if misuse != nil {
		return misuse.Print(stdout, stderr)
	}
	return f.Run(stdout, stderr, func(logs *logging.Logs) (func(context.Context) error, error) {
		if err := f.environment(os.Getenv, resolvConf); err != nil {
			return nil, err
		}
		made, err := injector.New(f.cfg, injector.Deps{Logs: logs})
		if err != nil {
			return nil, err
		}
		return made.Run, nil
	})
}
