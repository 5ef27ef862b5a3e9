package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestWaitUntilReady(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n := asked.Add(1); {
		case r.URL.Path != "/v1.0/healthz/outbound":
			w.WriteHeader(http.StatusNotFound)
		case n == 1:
			w.WriteHeader(http.StatusInternalServerError)
		case n == 2:
			w.WriteHeader(http.StatusOK) // exactly 204 counts
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	defer server.Close()
	port := strconv.Itoa(server.Listener.Addr().(*net.TCPAddr).Port)
	var stdout, stderr bytes.Buffer
	if code := run([]string{"--wait", "--dapr-http-port", port, "--max-body-size", "nonsense"}, &stdout, &stderr); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	want := "Waiting for Dapr to be outbound ready (timeout: 60 seconds): url=http://localhost:" + port + "/v1.0/healthz/outbound\n" +
		"Dapr outbound NOT ready yet: HTTP status code 500\n" +
		"Dapr is outbound ready!\n"
	if stderr.String() != want {
		t.Errorf("stderr:\n%s\nwant:\n%s", stderr.String(), want)
	}
	if asked.Load() != 3 || stdout.Len() != 0 {
		t.Errorf("asked %d times, stdout %q", asked.Load(), stdout.String())
	}
}

func TestWaitGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer server.Close()
	var stderr bytes.Buffer
	// The second line tells that the first answer came: then the time is up.
	wait(ctx, server.Listener.Addr().(*net.TCPAddr).Port, &cancelling{&stderr, "NOT ready yet", cancel})
	last := lastLine(stderr.String())
	if !strings.HasPrefix(last, "timeout waiting for Dapr to become outbound ready. Last error: HTTP status code 500") {
		t.Errorf("last line %q", last)
	}
}

// TestWaitIsBounded: nobody listens, or somebody never answers.
func TestWaitIsBounded(t *testing.T) {
	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer silent.Close()
	defer close(release)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for name, test := range map[string]struct {
		address net.Addr
		want    string
	}{
		"nobody": {gone.Addr(), "refused"},
		"silent": {silent.Listener.Addr(), "exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			quick := pace{total: 200 * time.Millisecond, request: 10 * time.Millisecond, pause: time.Millisecond, notice: time.Hour}
			waitAt(context.Background(), quick, test.address.(*net.TCPAddr).Port, &stderr)
			lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
			if len(lines) != 3 || !strings.HasPrefix(lines[1], "Dapr outbound NOT ready yet: ") || !strings.Contains(lines[1], test.want) ||
				!strings.HasPrefix(lines[2], "timeout waiting for Dapr to become outbound ready. Last error: ") {
				t.Errorf("stderr:\n%s", stderr.String())
			}
		})
	}
}

// TestDaprPace is what scripts around Dapr count on.
func TestDaprPace(t *testing.T) {
	if got := daprPace(); got != (pace{time.Minute, 500 * time.Millisecond, 100 * time.Millisecond, time.Second}) {
		t.Errorf("%+v", got)
	}
}

// cancelling cancels when a text is written.
type cancelling struct {
	buffer *bytes.Buffer
	text   string
	cancel context.CancelFunc
}

func (c *cancelling) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(c.text)) {
		c.cancel()
	}
	return c.buffer.Write(p)
}
