package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// pace is how long --wait takes for what.
type pace struct {
	total   time.Duration
	request time.Duration
	pause   time.Duration // between two requests
	notice  time.Duration // between two lines about what is missing
}

// daprPace is Dapr's.
func daprPace() pace {
	return pace{total: 60 * time.Second, request: 500 * time.Millisecond, pause: 100 * time.Millisecond, notice: time.Second}
}

// wait polls the outbound health of the sidecar on port until it answers 204, for at most a minute or until
// ctx ends, and tells on stderr how it goes. Its caller ends with exit code 0 in every case, as Dapr's does.
func wait(ctx context.Context, port int, stderr io.Writer) { waitAt(ctx, daprPace(), port, stderr) }

func waitAt(ctx context.Context, pace pace, port int, stderr io.Writer) {
	ctx, cancel := context.WithTimeout(ctx, pace.total)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{}, Timeout: pace.request}
	defer client.CloseIdleConnections()
	url := fmt.Sprintf("http://localhost:%d/v1.0/healthz/outbound", port)
	fmt.Fprintf(stderr, "Waiting for Dapr to be outbound ready (timeout: %d seconds): url=%s\n", int(pace.total.Seconds()), url)
	var told time.Time
	for {
		err := outbound(ctx, client, url)
		if err == nil {
			fmt.Fprintln(stderr, "Dapr is outbound ready!")
			return
		}
		if time.Since(told) >= pace.notice {
			told = time.Now()
			fmt.Fprintf(stderr, "Dapr outbound NOT ready yet: %v\n", err)
		}
		select {
		case <-ctx.Done():
			fmt.Fprintf(stderr, "timeout waiting for Dapr to become outbound ready. Last error: %v\n", err)
			return
		case <-time.After(pace.pause):
		}
	}
}

func outbound(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		return fmt.Errorf("HTTP status code %d", response.StatusCode)
	}
	return nil
}
