package http

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// watchDelay is the age from which on a call that waits for somebody is watched for its client's going
	// away. Faster calls pay nothing for it.
	watchDelay = 5 * time.Millisecond
	// lingerTime is how long a connection with an unread body is read on, so that the answer is not lost in
	// the reset that unread data would cause; net/http uses the same.
	lingerTime = 500 * time.Millisecond
)

// preface starts every HTTP/2 connection with prior knowledge (RFC 9113, 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// past is a deadline that ends a read at once.
var past = time.Unix(1, 0)

// conn is a client's connection. It tells idle from busy, bounds the time for a header, and while a call
// waits it reads one byte ahead to notice that the client has gone; the byte goes to the next reader.
type conn struct {
	net.Conn
	server *Server
	public bool
	// call is the one call that an HTTP/1.1 connection has at a time.
	call call
	// closed is closed by Close; only there for connections that were handed to net/http.
	closed chan struct{}

	cork cork

	first       [len(preface)]byte
	peeked, got int

	mu sync.Mutex
	// watched is signalled when a read ahead has ended.
	watched sync.Cond
	// busy: at least one byte of a request was read that is not answered yet.
	busy, draining bool
	// inHeader: the header of the request is not whole yet; limited: its deadline is set.
	inHeader, limited bool
	// linger: a part of the request is unread.
	linger bool

	// served: fasthttp has the connection and its buffers for it. looks counts how often it was found idle.
	served bool
	park   park
	looks  int

	watch     watch
	wanted    bool
	current   *callContext
	bodyEnded bool
	timer     *time.Timer
	ahead     [1]byte
	hasAhead  bool
	stopped   bool
	gone      error
	// starved: more of a request was asked for than the client had sent when it left.
	starved bool
}

// watch is the state of the reading ahead.
type watch int

const (
	unwatched watch = iota
	armed
	reading
)

func newConn(c net.Conn, s *Server, public bool) *conn {
	wrapped := &conn{Conn: c, server: s, public: public}
	wrapped.watched.L = &wrapped.mu
	return wrapped
}

func (c *conn) state() *call { return &c.call }

// peekPreface reads until it is clear whether the client speaks HTTP/2. What it read is read again by Read.
func (c *conn) peekPreface() (bool, error) {
	for c.got < len(preface) {
		n, err := c.read(c.first[c.got:])
		c.got += n
		if string(c.first[:c.got]) != preface[:c.got] {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// Read gives what was read ahead, else reads from the client.
func (c *conn) Read(p []byte) (int, error) {
	if c.peeked < c.got {
		n := copy(p, c.first[c.peeked:c.got])
		c.peeked += n
		return n, nil
	}
	return c.read(p)
}

func (c *conn) read(p []byte) (int, error) {
	if n, err := c.beforeRead(p); n > 0 || err != nil {
		return n, err
	}
	n, err := c.Conn.Read(p)
	return c.afterRead(n, err)
}

func (c *conn) beforeRead(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.hasAhead && len(p) > 0:
		c.hasAhead = false
		p[0] = c.ahead[0]
		return 1, nil
	case c.gone != nil:
		c.starved = true
		return 0, c.gone
	case !c.busy && c.draining:
		return 0, io.EOF
	case c.inHeader && !c.limited:
		c.limited = true
		return 0, c.Conn.SetReadDeadline(time.Now().Add(c.server.headerTime))
	}
	return 0, nil
}

func (c *conn) afterRead(n int, err error) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy {
		c.starved = c.starved || n == 0 && err == io.EOF
		return n, err
	}
	if n == 0 {
		return n, c.idleEnd(err)
	}
	c.busy, c.inHeader, c.looks = true, true, 0
	if c.draining || c.park == parking {
		c.park = unparked
		err = c.Conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

// brokeOff says that the client left before the request that is being read was whole.
func (c *conn) brokeOff() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.starved
}

// idleEnd is what a read that brought nothing while idle ended with; the deadlines of drain and park are the
// end of the connection for its reader.
func (c *conn) idleEnd(err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	switch {
	case c.draining:
		return io.EOF
	case c.park == parking:
		c.park = parked
		return io.EOF
	}
	return err
}

// SetReadDeadline is how fasthttp says that the header is read (see newHTTP1); the time does not count.
// Only net/http means what it says.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed != nil {
		return c.Conn.SetReadDeadline(t)
	}
	return c.headerRead()
}

func (c *conn) headerRead() error {
	c.inHeader = false
	if !c.limited {
		return nil
	}
	c.limited = false
	return c.Conn.SetReadDeadline(time.Time{})
}

// handOver gives the connection to net/http, which looks after its deadlines and idleness itself. closed is
// closed when net/http is done.
func (c *conn) handOver() (closed <-chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy, c.closed = true, make(chan struct{})
	return c.closed, c.headerRead()
}

// changed is fasthttp's report of where a connection is.
func changed(nc net.Conn, state fasthttp.ConnState) {
	c := nc.(*conn)
	if state == fasthttp.StateIdle && c.corkOut() != nil {
		// The next read says so, too.
		_ = c.Conn.Close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case fasthttp.StateIdle:
		// A byte that was read ahead is the first of the next request.
		c.busy, c.inHeader = c.hasAhead, c.hasAhead
	case fasthttp.StateActive:
		// Maybe a pipelined request that came with the last one; it is not to meet the deadline of an idle read.
		if !c.busy && (c.draining || c.park == parking) {
			c.park = unparked
			_ = c.Conn.SetReadDeadline(time.Time{})
		}
		c.busy, c.inHeader, c.served = true, true, true
	}
}

// drain ends the connection as soon as it is idle.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	if !c.busy {
		_ = c.Conn.SetReadDeadline(past)
	}
}

// cut ends the connection and the call on it.
func (c *conn) cut() {
	c.mu.Lock()
	current := c.current
	c.linger = false
	c.mu.Unlock()
	if current != nil {
		current.cancel()
	}
	_ = c.Conn.Close()
}

// lingering says that a part of the request stays unread, so that the connection has to end.
func (c *conn) lingering() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.linger = true
}

// Close ends the connection. With an unread body it first says so and reads on for a moment.
func (c *conn) Close() error {
	_ = c.corkOut()
	if c.isParked() {
		return nil
	}
	c.mu.Lock()
	linger := c.linger
	c.mu.Unlock()
	if linger {
		c.readOn()
	}
	if c.closed != nil {
		select {
		case <-c.closed:
		default:
			close(c.closed)
		}
	}
	return c.Conn.Close()
}

func (c *conn) readOn() {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.Conn.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.Copy(io.Discard, c.Conn)
}
