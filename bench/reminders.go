package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// registered is how many reminders fire.
const registered = 100_000

// reminders registers very many reminders that are due at once, each of another actor, and waits until all have fired.
func (s *suite) reminders(ctx context.Context) error {
	if !strings.Contains("reminders", s.only) {
		return nil
	}
	host, err := startSidecar(ctx, s.daprd, s.dir, "reminded", s.echo.port)
	if err != nil {
		return err
	}
	defer host.stop()
	sender := newSender(s.connections)
	began, failures := time.Now(), make([]error, s.connections)
	var wait sync.WaitGroup
	for worker := range s.connections {
		wait.Go(func() {
			for n := worker; n < registered && failures[worker] == nil; n += s.connections {
				url := host.url(fmt.Sprintf("/v1.0/actors/%s/reminded-%d/reminders/r", actorType, n))
				failures[worker] = sender.send("POST", url, "application/json", []byte(`{"dueTime":"0s","data":1}`))
			}
		})
	}
	wait.Wait()
	if err := errors.Join(failures...); err != nil {
		return fmt.Errorf("register a reminder: %w", err)
	}
	created := time.Since(began)
	for fired := 0; fired < registered; {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d reminders have fired: %w", fired, registered, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
		if fired, err = s.fired(); err != nil {
			return err
		}
	}
	fmt.Printf("\n%d reminders registered: %.0f/s; registered and fired: %.0f/s\n", registered, registered/created.Seconds(), registered/time.Since(began).Seconds())
	return nil
}

// fired asks the application how many reminders it was told of.
func (s *suite) fired() (int, error) {
	response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", s.echo.port, firedPath))
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(text))
}
