package http

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/valyala/fasthttp"
)

// http2Server serves HTTP/2 connections with prior knowledge through net/http, in front of the same
// handlers.
type http2Server struct {
	server *http.Server
	queue  *connQueue
	// serving is the goroutine that takes connections from the queue.
	serving sync.WaitGroup
}

func newHTTP2(s *Server) *http2Server {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	h := &http2Server{queue: newConnQueue()}
	h.server = &http.Server{
		Handler:           http.HandlerFunc(s.serveHTTP2),
		Protocols:         protocols,
		ReadHeaderTimeout: headerTimeout,
		MaxHeaderBytes:    s.config.ReadBufferSize,
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	return h
}

// connKey finds the connection of a request.
type connKey struct{}

func (h *http2Server) start() {
	h.serving.Add(1)
	go func() {
		defer h.serving.Done()
		_ = h.server.Serve(h.queue)
	}()
}

// handle gives a connection to net/http and waits until it is closed.
func (h *http2Server) handle(c *conn) {
	closed, err := c.handOver()
	if err != nil || !h.queue.put(c) {
		_ = c.Conn.Close()
		return
	}
	<-closed
}

// quiesce sends GOAWAY, and waits for the calls in flight or the end of ctx.
func (h *http2Server) quiesce(ctx context.Context) error { return h.server.Shutdown(ctx) }

func (h *http2Server) close() error {
	err := h.server.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	_ = h.queue.Close()
	h.serving.Wait()
	return err
}

// connQueue is the listener from which net/http takes the connections that turned out to be HTTP/2.
type connQueue struct {
	conns chan net.Conn
	once  sync.Once
	ended chan struct{}
}

func newConnQueue() *connQueue {
	return &connQueue{conns: make(chan net.Conn), ended: make(chan struct{})}
}

func (q *connQueue) put(c net.Conn) bool {
	select {
	case q.conns <- c:
		return true
	case <-q.ended:
		return false
	}
}

// Accept waits for the next connection.
func (q *connQueue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.ended:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (q *connQueue) Close() error {
	q.once.Do(func() { close(q.ended) })
	return nil
}

// Addr is nowhere in particular.
func (q *connQueue) Addr() net.Addr { return &net.UnixAddr{Name: "http2", Net: "queue"} }

// stream carries one call over HTTP/2. It stands where fasthttp expects the connection.
type stream struct {
	net.Conn
	call call
}

func (s *stream) state() *call { return &s.call }

// serveHTTP2 runs the handlers on a request of net/http.
func (s *Server) serveHTTP2(w http.ResponseWriter, r *http.Request) {
	c, _ := r.Context().Value(connKey{}).(*conn)
	carrier := &stream{Conn: c}
	carrier.call.parent, carrier.call.public = r.Context(), c.public
	ctx := new(fasthttp.RequestCtx)
	ctx.Init2(carrier, quiet{s.log}, true)
	ctx.Response.Header.SetNoDefaultContentType(true)
	if !fill(&ctx.Request, r, r.RequestURI, r.ContentLength) {
		http.Error(w, "400 Bad Request", http.StatusBadRequest)
		return
	}
	s.serve(ctx)
	if err := send(w, &ctx.Response, r.Method == http.MethodHead); err != nil {
		// The stream is reset, so that the client sees that something is missing.
		panic(http.ErrAbortHandler)
	}
}

// fill makes a request of fasthttp. length is that of the body, -1 where it is unknown.
func fill(to *fasthttp.Request, r *http.Request, uri string, length int64) bool {
	host := r.Host
	if host == "" {
		host = "localhost" // HTTP/1.0 needs none; nobody reads it
	}
	to.Header.SetMethod(r.Method)
	to.SetRequestURI(uri)
	to.Header.SetHost(host)
	var raw strings.Builder
	for name, values := range r.Header {
		for _, value := range values {
			raw.WriteString(name + ": " + oneLine.Replace(value) + "\r\n")
		}
	}
	// The handlers read headers in order, which fasthttp gives only for what it has parsed.
	head := r.Method + " " + uri + " HTTP/1.1\r\nHost: " + host + "\r\n" + raw.String() + "\r\n"
	if err := to.Header.Read(bufio.NewReaderSize(strings.NewReader(head), len(head)+1)); err != nil {
		return false
	}
	if r.Body != nil && r.Body != http.NoBody {
		to.SetBodyStream(r.Body, int(length))
	} else {
		to.Header.SetContentLength(0)
	}
	return true
}

// oneLine keeps a value that a middleware set from becoming several headers.
var oneLine = strings.NewReplacer("\r", " ", "\n", " ")

// send writes an answer of fasthttp.
func send(w http.ResponseWriter, from *fasthttp.Response, head bool) error {
	header := w.Header()
	for key, value := range from.Header.All() {
		switch name := string(key); name {
		case "Connection", "Transfer-Encoding", "Content-Length":
		default:
			header.Add(name, string(value))
		}
	}
	if header.Get("Content-Type") == "" {
		// net/http would guess one.
		header["Content-Type"] = nil
	}
	body := from.BodyStream()
	if body == nil {
		if length := from.Header.Peek("Content-Length"); from.SkipBody && len(length) > 0 {
			header.Set("Content-Length", string(length))
		}
		w.WriteHeader(from.StatusCode())
		if head || len(from.Body()) == 0 {
			return nil
		}
		_, err := w.Write(from.Body())
		return err
	}
	return sendStream(w, from, body)
}

func sendStream(w http.ResponseWriter, from *fasthttp.Response, body io.Reader) error {
	if n := from.Header.ContentLength(); n >= 0 {
		w.Header().Set("Content-Length", string(from.Header.Peek("Content-Length")))
	}
	w.WriteHeader(from.StatusCode())
	controller := http.NewResponseController(w)
	if from.ImmediateHeaderFlush {
		_ = controller.Flush()
	}
	buffer := copyBuffers.Get().(*[copySize]byte)
	defer copyBuffers.Put(buffer)
	err := copyFlushing(w, controller, body, buffer[:])
	return errors.Join(err, from.CloseBodyStream())
}

func copyFlushing(w io.Writer, controller *http.ResponseController, body io.Reader, buffer []byte) error {
	for {
		n, err := body.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return err
			}
			// A middleware that holds the answer back on purpose has no Flush.
			if err := controller.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
