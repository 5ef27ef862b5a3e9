package channel

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// rawApp is an application without any HTTP library: a test sees the exact bytes and answers with them.
type rawApp struct {
	address  string
	listener net.Listener
	accepted chan struct{}
	serving  sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

// serveRaw runs serve for each connection until the test ends.
func serveRaw(t testing.TB, serve func(c *rawConn)) *rawApp {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &rawApp{address: listener.Addr().String(), listener: listener, accepted: make(chan struct{}, 1000)}
	a.serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			a.mu.Lock()
			a.conns = append(a.conns, conn)
			a.mu.Unlock()
			a.accepted <- struct{}{}
			a.serving.Go(func() {
				defer conn.Close()
				serve(&rawConn{Conn: conn, r: bufio.NewReader(conn)})
			})
		}
	})
	t.Cleanup(a.close)
	return a
}

func (a *rawApp) close() {
	_ = a.listener.Close()
	a.mu.Lock()
	for _, c := range a.conns {
		_ = c.Close()
	}
	a.mu.Unlock()
	a.serving.Wait()
}

type rawConn struct {
	net.Conn
	r *bufio.Reader
}

// rawRequest is what an application received, in wire order and case.
type rawRequest struct {
	line    string
	headers [][2]string
	framing string
	body    []byte
}

func (r *rawRequest) value(name string) string {
	for _, h := range r.headers {
		if h[0] == name {
			return h[1]
		}
	}
	return ""
}

// head reads up to the empty line.
func (c *rawConn) head() (*rawRequest, error) {
	req := &rawRequest{}
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		line = strings.TrimSuffix(line, "\r\n")
		if line == "" {
			return req, nil
		}
		if req.line == "" {
			req.line = line
			continue
		}
		name, value, _ := strings.Cut(line, ": ")
		req.headers = append(req.headers, [2]string{name, value})
	}
}

// request reads a whole request.
func (c *rawConn) request() (*rawRequest, error) {
	req, err := c.head()
	if err != nil {
		return nil, err
	}
	var body io.Reader = strings.NewReader("")
	if length := req.value("Content-Length"); length != "" {
		n, err := strconv.Atoi(length)
		if err != nil {
			return nil, err
		}
		req.framing, body = "length", io.LimitReader(c.r, int64(n))
	} else if req.value("Transfer-Encoding") == "chunked" {
		req.framing, body = "chunked", httputil.NewChunkedReader(c.r)
	}
	req.body, err = io.ReadAll(body)
	if req.framing == "chunked" && err == nil {
		_, err = c.r.ReadString('\n')
	}
	return req, err
}

func (c *rawConn) say(text string) { _, _ = io.WriteString(c, text) }

// answerAll answers every request of a connection with text, and gives each request to got.
func answerAll(text string, got chan<- *rawRequest) func(c *rawConn) {
	return func(c *rawConn) {
		for {
			req, err := c.request()
			if err != nil {
				return
			}
			if got != nil {
				got <- req
			}
			c.say(text)
		}
	}
}

func openTest(t testing.TB, settings Settings) App {
	t.Helper()
	if strings.HasPrefix(t.Name(), "TestThroughAPipeline/") && settings.Pipeline == nil {
		settings.Pipeline = pipelineOf(t, func(next http.Handler) http.Handler { return next })
	}
	app, err := Open(settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := app.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return app
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func readBody(t testing.TB, res *Response) string {
	t.Helper()
	body, err := io.ReadAll(res.Body.Reader())
	if err != nil {
		t.Errorf("read the answer: %v", err)
	}
	return string(body)
}

// await receives with a deadline, so that a missing event fails instead of hanging.
func await[T any](t testing.TB, from <-chan T, what string) (value T) {
	t.Helper()
	select {
	case value = <-from:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s did not happen within 10 s", what)
	}
	return value
}

const okEmpty = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

// pattern is a body that shows where bytes were lost or swapped.
func pattern(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*7 + i/256)
	}
	return b
}

func samePattern(b []byte) bool { return bytes.Equal(b, pattern(len(b))) }

func canonical(name string) string { return http.CanonicalHeaderKey(name) }
