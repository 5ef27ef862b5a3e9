// Command operator tells the sidecars of a cluster of its resources, and keeps their services. It reads the command line,
// runs until a signal ends it, and decides the exit code: 0 at a signal, 1 when it could not start or go on, 2 for a command
// line that cannot be read.
package main

import (
	"context"
	"io"
	"os"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"

	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/operator"
)

func main() {
	klog.SetLogger(logr.Discard()) // the operator itself says what client-go would, once and in its own form
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(arguments []string, stdout, stderr io.Writer) int {
	f, misuse := parse(arguments, os.Getenv)
	if misuse != nil {
		return misuse.Print(stdout, stderr)
	}
	return f.Run(stdout, stderr, func(logs *logging.Logs) (func(context.Context) error, error) {
		made, err := operator.New(f.cfg, operator.Deps{Logs: logs})
		if err != nil {
			return nil, err
		}
		return made.Run, nil
	})
}
