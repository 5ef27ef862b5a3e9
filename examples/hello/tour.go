package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// tour makes a few calls and tells what happened.
func tour(ctx context.Context, s *scene) error {
	frontend, greeter := s.frontend.sidecar, s.greeter.sidecar
	for range 2 {
		if err := ctx.Err(); err != nil {
			return err
		}
		text, err := get(frontend.url("/v1.0/invoke/frontend/method/hello/Ada"))
		if err != nil {
			return err
		}
		fmt.Printf("\nWe asked the app frontend for /hello/Ada.\n"+
			"  frontend asked its sidecar for the app greeter; the two sidecars found each other and passed the call on.\n"+
			"  greeter kept its count in SQLite through its sidecar and answered:\n    %s\n", strings.TrimSpace(text))
	}
	if err := s.order(ctx); err != nil {
		return err
	}
	kept, err := get(greeter.url("/v1.0/state/statestore/Ada"))
	if err != nil {
		return err
	}
	secret, err := get(greeter.url("/v1.0/secrets/secretstore/GREETING_LANGUAGE"))
	if err != nil {
		return err
	}
	fmt.Printf("\nIn greeter's state store the key Ada now holds %s.\nIts secret store answers for GREETING_LANGUAGE: %s\n", kept, secret)
	return nil
}

// order publishes a message and waits for what the greeter makes of it.
func (s *scene) order(ctx context.Context) error {
	if err := post(s.greeter.sidecar.url("/v1.0/publish/pubsub/greetings"), "Ada"); err != nil {
		return err
	}
	select {
	case text := <-s.ordered:
		fmt.Printf("\nWe published \"Ada\" to the topic greetings.\n"+
			"  greeter's sidecar put it into a CloudEvent and brought it to the app, which wrote:\n    %s\n", text)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// invitation is what to try next.
func (s *scene) invitation() string {
	f, g := s.frontend.sidecar, s.greeter.sidecar
	return fmt.Sprintf(`
Everything is running. Try in another terminal:

  curl %s                # frontend -> its sidecar -> greeter's sidecar -> greeter
  curl -X POST %s -d Bob    # call greeter yourself
  curl -X POST %s -d '[{"key":"colour","value":"green"}]'    # keep something
  curl %s                # and read it
  curl -X POST %s -d Bob    # publish a message: it is counted like a greeting
  curl %s                # what this sidecar is

Ctrl-C stops all of it.
`, f.url("/v1.0/invoke/frontend/method/hello/Grace"), f.url("/v1.0/invoke/greeter/method/greet"),
		g.url("/v1.0/state/statestore"), g.url("/v1.0/state/statestore/colour"), g.url("/v1.0/publish/pubsub/greetings"), g.url("/v1.0/metadata"))
}

func get(url string) (string, error) {
	response, err := http.Get(url)
	if err != nil {
		return "", err
	}
	return answer(url, response)
}

func call(url, body string) (string, error) {
	response, err := http.Post(url, "text/plain", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	return answer(url, response)
}

func post(url string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	response, err := http.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	_, err = answer(url, response)
	return err
}

// answer reads a response; anything but 2xx is an error that tells what was said.
func answer(url string, response *http.Response) (string, error) {
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode/100 != 2 {
		return "", fmt.Errorf("%s answered %s: %s", url, response.Status, body)
	}
	return string(body), nil
}
