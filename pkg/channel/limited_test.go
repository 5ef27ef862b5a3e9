package channel

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"
)

func TestLimited(t *testing.T) {
	release := make(chan string)
	app := serveRaw(t, func(c *rawConn) {
		for {
			if _, err := c.request(); err != nil {
				return
			}
			c.say(<-release)
		}
	})
	channel := openTest(t, Settings{Address: app.address, MaxConcurrency: 1})
	call := func(ctx context.Context) (*Response, error) {
		return channel.Invoke(ctx, &Request{Verb: "GET", Method: "m"})
	}
	full := func(when string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
		defer cancel()
		if _, err := call(ctx); !errors.Is(err, context.DeadlineExceeded) || len(app.accepted) > 1 {
			t.Errorf("%s: %v, %d connections", when, err, len(app.accepted))
		}
	}
	const streamed = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
	for _, end := range []string{"read", "closed"} {
		go func() { release <- streamed }()
		res, err := call(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		full("while the answer streams")
		if end == "read" {
			if body, err := io.ReadAll(res.Body.Stream); err != nil || string(body) != "hi" {
				t.Error(string(body), err)
			}
		}
		res.Close()
		res.Close()
		for len(app.accepted) > 0 {
			<-app.accepted
		}
		// A whole answer gives its slot back at once.
		for range 2 {
			go func() { release <- okEmpty }()
			if _, err := call(testContext(t)); err != nil {
				t.Fatal(err)
			}
		}
		for len(app.accepted) > 0 {
			<-app.accepted
		}
	}
	// A failed call gives its slot back.
	for range 2 {
		go func() { release <- "no HTTP\r\n\r\n" }()
		if _, err := call(testContext(t)); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	}
}
