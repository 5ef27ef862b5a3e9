package channel

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

// Bounds of the connections that wait for their next call. Servers close theirs after 5 s (Node.js) and
// more, so a longer age would only keep dead ones.
const (
	maxIdle     = 256
	maxIdleAge  = 30 * time.Second
	dialTimeout = 10 * time.Second
	// freshFor is how long a connection is taken to be alive without a look: a peer that closes idle
	// connections does so after seconds.
	freshFor = time.Millisecond
)

var errClosed = errors.New("the app channel is closed")

// pool keeps the connections to one address. The one used last is used next, so that those not needed
// grow old and go.
type pool struct {
	address string
	tls     *tls.Config
	dialer  net.Dialer

	mu     sync.Mutex
	idle   []*conn
	open   map[*conn]struct{}
	prune  *time.Timer
	closed bool
}

func newPool(address string, config *tls.Config) *pool {
	return &pool{address: address, tls: config, dialer: net.Dialer{Timeout: dialTimeout}, open: map[*conn]struct{}{}}
}

// take gives an idle connection, or a new one where there is none. At one that was not used just now it
// looks, whether the application has closed it.
func (p *pool) take(ctx context.Context) (*conn, error) {
	now := time.Now()
	for {
		c := p.pop()
		if c == nil {
			return p.dial(ctx)
		}
		if age := now.Sub(c.since); age < freshFor || (age < maxIdleAge && c.alive()) {
			c.reused = true
			return c, nil
		}
		c.close()
	}
}

func (p *pool) pop() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.idle) - 1
	if last < 0 {
		return nil
	}
	c := p.idle[last]
	p.idle[last] = nil
	p.idle = p.idle[:last]
	return c
}

// put takes back a connection whose answer was read to its last byte.
func (p *pool) put(c *conn) {
	c.since = time.Now()
	p.mu.Lock()
	if p.closed || len(p.idle) == maxIdle {
		p.mu.Unlock()
		c.close()
		return
	}
	p.idle = append(p.idle, c)
	if p.prune == nil {
		p.prune = time.AfterFunc(maxIdleAge, p.pruneOld)
	}
	p.mu.Unlock()
}

// pruneOld closes what was idle too long, and comes again while there is anything idle.
func (p *pool) pruneOld() {
	p.mu.Lock()
	horizon, old := time.Now().Add(-maxIdleAge), 0
	for old < len(p.idle) && p.idle[old].since.Before(horizon) {
		old++
	}
	gone := append([]*conn(nil), p.idle[:old]...)
	kept := copy(p.idle, p.idle[old:])
	clear(p.idle[kept:])
	p.idle = p.idle[:kept]
	p.prune = nil
	if kept > 0 && !p.closed {
		p.prune = time.AfterFunc(maxIdleAge, p.pruneOld)
	}
	p.mu.Unlock()
	for _, c := range gone {
		c.close()
	}
}

func (p *pool) dial(ctx context.Context) (*conn, error) {
	raw, err := p.dialer.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, raw: raw, pool: p}
	c.abort = c.close
	if !p.register(c) {
		_ = raw.Close()
		return nil, errClosed
	}
	if p.tls == nil {
		return c, nil
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	secure := tls.Client(raw, p.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		c.close()
		return nil, err
	}
	c.Conn = secure
	return c, nil
}

func (p *pool) register(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.open[c] = struct{}{}
	}
	return !p.closed
}

func (p *pool) forget(c *conn) {
	p.mu.Lock()
	delete(p.open, c)
	p.mu.Unlock()
}

// close ends every connection, those in use as well.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	if p.prune != nil {
		p.prune.Stop()
	}
	p.idle = nil
	open := make([]*conn, 0, len(p.open))
	for c := range p.open {
		open = append(open, c)
	}
	p.mu.Unlock()
	for _, c := range open {
		c.close()
	}
}

// conn is a connection to the application. It holds no buffer: an idle one costs little.
type conn struct {
	net.Conn
	raw    net.Conn
	pool   *pool
	probe  probe
	abort  func()
	since  time.Time
	reused bool
}

// close ends the connection at once, without TLS's farewell, which could wait for the peer. It may be
// called at any time and again.
func (c *conn) close() {
	_ = c.raw.Close()
	c.pool.forget(c)
}

// alive says whether the idle connection is still open and silent. What an application sends unasked
// (HTTP/1.1 knows only 408) belongs to no call.
func (c *conn) alive() bool { return c.probe.silent(c.raw) }
