// Command bench measures daprd beside a direct call: requests a second, latencies, processor time and
// memory of the sidecars, for each scenario of the budgets (docs/performance.md). It starts the real
// binary, applications and clients, each a process of its own, so that the operating system's
// accounting tells them apart.
//
// Figures hold for one run on one machine; the ratio to the direct call is what counts.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	role := flag.String("role", "", "internal: the part that this process plays (echo, streaming-echo, client, publisher)")
	daprd := flag.String("daprd", "bin/daprd", "the daprd binary")
	sentry := flag.String("sentry", "bin/sentry", "the sentry binary")
	placement := flag.String("placement", "bin/placement", "the placement binary")
	duration := flag.Duration("duration", 5*time.Second, "how long each scenario runs")
	connections := flag.Int("connections", 16, "client connections")
	only := flag.String("only", "", "run the scenarios whose name contains this")
	profile := flag.String("profile", "", "folder for processor profiles of the sidecars, one a scenario")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch *role {
	case "echo":
		err = echo(ctx, false)
	case "streaming-echo":
		err = echo(ctx, true)
	case "client":
		err = client(*duration, *connections)
	case "publisher":
		err = publisher(ctx, *duration, *connections)
	default:
		err = (&suite{daprd: *daprd, sentry: *sentry, placement: *placement, duration: *duration, connections: *connections, only: *only, profiles: *profile}).run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
