package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// secured measures the remote call between sidecars that know each other by certificates of a sentry of this row's own.
func (s *suite) secured(ctx context.Context) (err error) {
	const name = "invoke with mTLS: HTTP, sidecar, sidecar, HTTP"
	if !s.wanted(name) {
		return nil
	}
	if _, err := os.Stat(s.sentry); err != nil {
		fmt.Printf("%-44s left out: %v; build it with `make build`\n", name, err)
		return nil
	}
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	trust := filepath.Join(s.dir, "trust")
	if err := os.Mkdir(trust, 0o700); err != nil {
		return err
	}
	port := func(name string, n int) string { return fmt.Sprintf("--%s=%d", name, n) }
	authority, err := start(exec.Command(s.sentry, "--issuer-credentials", trust, "--listen-address=127.0.0.1",
		port("port", ports[0]), port("healthz-port", ports[1]), port("metrics-port", ports[2])))
	if err != nil {
		return err
	}
	defer authority.stop()
	for status(fmt.Sprintf("http://127.0.0.1:%d/healthz", ports[1])) != http.StatusOK {
		select {
		case <-authority.done:
			return errors.New("sentry ended while it started")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	if err := os.Setenv("DAPR_TRUST_ANCHORS_FILE", filepath.Join(trust, "ca.crt")); err != nil {
		return err
	}
	var pair [2]*sidecar
	for i, app := range []int{s.echo.port, 0} {
		pair[i], err = startSidecar(ctx, s.daprd, s.dir, fmt.Sprintf("secure%d", i), app, "--enable-mtls", fmt.Sprintf("--sentry-address=127.0.0.1:%d", ports[0]))
		if err != nil {
			return err
		}
		defer pair[i].stop()
	}
	return s.row(ctx, scenario{name, s.load("POST", pair[1].url("/v1.0/invoke/secure0/method/echo"), bodySize), pair[:], "7.5"})
}
