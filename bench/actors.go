package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// activated is how many actors are active at the end of activation.
const activated = 100_000

// activation calls very many actors once each, and looks at how long that took and how far the memory of their sidecar
// grew.
func (s *suite) activation(ctx context.Context) error {
	if !strings.Contains("activation", s.only) {
		return nil
	}
	host, err := startSidecar(ctx, s.daprd, s.dir, "host", s.echo.port)
	if err != nil {
		return err
	}
	defer host.stop()
	sender := newSender(s.connections)
	call := func(n int) error {
		return sender.send("POST", host.url(fmt.Sprintf("/v1.0/actors/%s/actor-%d/method/echo", actorType, n)), "application/json", nil)
	}
	for n := range 1000 { // connections and buffers
		if err := call(n); err != nil {
			return fmt.Errorf("call an actor: %w", err)
		}
	}
	before, _ := host.memory()
	began, failures := time.Now(), make([]error, s.connections)
	var wait sync.WaitGroup
	for worker := range s.connections {
		wait.Go(func() {
			for n := worker; n < activated && failures[worker] == nil; n += s.connections {
				failures[worker] = call(n)
			}
		})
	}
	wait.Wait()
	if err := errors.Join(failures...); err != nil {
		return fmt.Errorf("activate actors: %w", err)
	}
	elapsed := time.Since(began)
	after, _ := host.memory()
	fmt.Printf("\n%d actors activated: %.0f/s, %.1f MiB above before   budget 100 MiB\n", activated, activated/elapsed.Seconds(), mib(after-before))
	return nil
}
