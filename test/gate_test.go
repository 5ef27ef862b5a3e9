package test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// gate is an application whose slow calls wait until it is opened.
type gate struct {
	opened chan struct{}
	once   sync.Once
	// entered has a value for each slow call that has reached the application.
	entered chan string

	mu   sync.Mutex
	seen map[string]bool
}

func newGate() *gate {
	return &gate{opened: make(chan struct{}), entered: make(chan string, 1024), seen: map[string]bool{}}
}

func (g *gate) open() { g.once.Do(func() { close(g.opened) }) }

// piece is one of the pieces of a streamed body, of which there are pieces.
var piece = strings.Repeat("0123456789abcdef", 1024)

const pieces = 32

// serve is the application. A call to slow answers when the gate is open, one to stream sends the second half
// of its answer then, upload takes a body and tells its length, anything else answers at once with its body.
func (g *gate) serve(w http.ResponseWriter, r *http.Request) {
	if id := r.Header.Get("Call"); id != "" {
		g.mu.Lock()
		g.seen[id] = true
		g.mu.Unlock()
	}
	switch r.URL.Path {
	case "/slow":
		g.wait(r)
		fmt.Fprint(w, "done")
	case "/stream":
		g.stream(w, r)
	case "/upload":
		g.entered <- r.URL.Path
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	case "/dapr/config":
		w.WriteHeader(http.StatusNotFound)
	default:
		_, _ = io.Copy(w, r.Body)
	}
}

func (g *gate) stream(w http.ResponseWriter, r *http.Request) {
	for i := range pieces {
		if i == pieces/2 {
			_ = http.NewResponseController(w).Flush()
			g.wait(r)
		}
		_, _ = io.WriteString(w, piece)
	}
}

func (g *gate) wait(r *http.Request) {
	g.entered <- r.URL.Path
	select {
	case <-g.opened:
	case <-r.Context().Done():
	case <-time.After(patience):
	}
}

// was says whether the call has reached the application.
func (g *gate) was(id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen[id]
}

// upload is a body that stops in the middle until the gate is open.
func (g *gate) upload() io.Reader {
	r, w := io.Pipe()
	go func() {
		for i := range pieces {
			if i == pieces/2 {
				<-g.opened
			}
			if _, err := io.WriteString(w, piece); err != nil {
				return
			}
		}
		w.Close()
	}()
	return r
}

// begin makes a call and returns when it has reached the application. What it returns waits for its end.
func (g *gate) begin(t *testing.T, call func(context.Context) error) (wait func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- call(ctx) }()
	var ended sync.Once
	var err error
	wait = func() error {
		ended.Do(func() { err = <-done })
		return err
	}
	t.Cleanup(func() {
		cancel()
		g.open() // Go's client waits for the read of the body that is under way
		_ = wait()
	})
	select {
	case <-g.entered:
	case err := <-done:
		done <- err
		t.Fatalf("the call ended before it reached the application: %v", err)
	case <-time.After(patience):
		t.Fatal("the call does not reach the application")
	}
	return wait
}

// call is begin for a call over HTTP.
func (g *gate) call(t *testing.T, url string) func(*testing.T) answer {
	t.Helper()
	return g.send(t, client(t), url, nil)
}

func (g *gate) send(t *testing.T, c *http.Client, url string, body io.Reader) func(*testing.T) answer {
	t.Helper()
	var got answer
	wait := g.begin(t, func(ctx context.Context) (err error) {
		got, err = try(ctx, c, http.MethodPost, url, body)
		return err
	})
	return func(t *testing.T) answer {
		t.Helper()
		if err := wait(); err != nil {
			t.Errorf("POST %s: %v", url, err)
		}
		return got
	}
}
