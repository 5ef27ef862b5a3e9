// Command sentry is the certificate authority of a mesh. It reads the command line, runs until a signal ends it, and
// decides the exit code: 0 at a signal, 1 when it could not start or go on, 2 for a command line that cannot be read.
package main

import (
	"context"
	"io"
	"os"

	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/sentry"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(arguments []string, stdout, stderr io.Writer) int {
	f, misuse := parse(arguments, os.Getenv)
	if misuse != nil {
		return misuse.Print(stdout, stderr)
	}
	return f.Run(stdout, stderr, func(logs *logging.Logs) (func(context.Context) error, error) {
		authority, err := sentry.New(f.cfg, sentry.Deps{Logs: logs})
		if err != nil {
			return nil, err
		}
		return authority.Run, nil
	})
}
