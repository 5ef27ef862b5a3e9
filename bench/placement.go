package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"time"

	"github.com/daprd/daprd/bench/crowd"
)

// meshed is how many sidecars dissemination has, rounds how many times their table changes.
const (
	meshed = 500
	rounds = 20
)

// dissemination changes the table of very many sidecars, and looks at how long a change takes to be in force everywhere,
// and at the placement service's processor time for it.
func (s *suite) dissemination(ctx context.Context) (err error) {
	if !strings.Contains("dissemination", s.only) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(address)
	server, err := start(exec.CommandContext(ctx, s.placement, "--listen-address", "127.0.0.1", "--port", port,
		"--healthz-listen-address", "127.0.0.1", "--healthz-port", "0", "--enable-metrics=false", "--log-level", "error"))
	if err != nil {
		return fmt.Errorf("start placement: %w", err)
	}
	defer server.stop()
	all, err := crowd.Gather(ctx, address, meshed)
	for ; err != nil; all, err = crowd.Gather(ctx, address, meshed) { // until it listens and leads
		if ctx.Err() != nil {
			return fmt.Errorf("%d sidecars join placement: %w", meshed, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	defer all.Close()
	used := server.processor()
	began := time.Now()
	for range rounds {
		if err := all.Round(ctx); err != nil {
			return fmt.Errorf("change the table: %w", err)
		}
	}
	elapsed := time.Since(began)
	used = server.processor() - used
	fmt.Printf("\ndissemination to %d sidecars: %d ms a change until the last one has it, %d ms of placement's processor time\n",
		meshed, elapsed.Milliseconds()/rounds, used.Milliseconds()/rounds)
	return nil
}
