package http

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// corkTime is how long the first pieces of a streamed answer of unknown length are held together. Short
	// answers, which most are, leave in one write instead of four; a stream loses at most this much, once.
	corkTime = time.Millisecond
	// corkSize is the most that is held.
	corkSize = 16 << 10
)

// cork holds back what is written to a connection for a moment.
type cork struct {
	in atomic.Bool

	mu    sync.Mutex
	held  []byte
	timer *time.Timer
}

// corkIn begins to hold back what is written, until corkTime has passed or the answer is complete.
func (c *conn) corkIn() {
	c.cork.mu.Lock()
	defer c.cork.mu.Unlock()
	c.cork.in.Store(true)
	if c.cork.timer == nil {
		c.cork.timer = time.AfterFunc(corkTime, func() { _ = c.corkOut() })
	} else {
		c.cork.timer.Reset(corkTime)
	}
}

// corkOut writes what was held back and holds back no more.
func (c *conn) corkOut() error {
	if !c.cork.in.Load() {
		return nil
	}
	c.cork.mu.Lock()
	defer c.cork.mu.Unlock()
	if !c.cork.in.Load() {
		return nil
	}
	c.cork.timer.Stop()
	err := c.writeHeld()
	c.cork.held = nil
	c.cork.in.Store(false)
	return err
}

func (c *conn) writeHeld() error {
	if len(c.cork.held) == 0 {
		return nil
	}
	_, err := c.Conn.Write(c.cork.held)
	c.cork.held = c.cork.held[:0]
	return err
}

// Write writes to the client, or holds p back for a moment.
func (c *conn) Write(p []byte) (int, error) {
	if !c.cork.in.Load() {
		return c.Conn.Write(p)
	}
	c.cork.mu.Lock()
	defer c.cork.mu.Unlock()
	if !c.cork.in.Load() {
		return c.Conn.Write(p)
	}
	if len(c.cork.held)+len(p) > corkSize {
		if err := c.writeHeld(); err != nil {
			return 0, err
		}
		return c.Conn.Write(p)
	}
	c.cork.held = append(c.cork.held, p...)
	return len(p), nil
}
