package http

import (
	"context"
	"sync"
	"time"
)

// callContext is the context of one call on an HTTP/1.1 connection. It ends when the client goes away, when
// the connection is cut, and with the call. Watching for the client begins only when somebody asks for Done,
// so that calls that never wait cost nothing.
type callContext struct {
	conn *conn

	mu    sync.Mutex
	done  chan struct{}
	err   error
	after []*afterFunc
}

type afterFunc struct{ run func() }

// Deadline is none: the API has no bound on the time of a call.
func (c *callContext) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value is always nil.
func (c *callContext) Value(any) any { return nil }

// Err is context.Canceled once the call has ended or the client has gone.
func (c *callContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Done is closed when Err is no longer nil.
func (c *callContext) Done() <-chan struct{} {
	c.mu.Lock()
	first := c.done == nil
	if first {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	done, over := c.done, c.err != nil
	c.mu.Unlock()
	if first && !over {
		c.conn.want(c)
	}
	return done
}

// AfterFunc is what package context looks for in a parent: with it a child needs no goroutine.
func (c *callContext) AfterFunc(f func()) (stop func() bool) {
	entry := &afterFunc{run: f}
	c.mu.Lock()
	over := c.err != nil
	if !over {
		c.after = append(c.after, entry)
	}
	c.mu.Unlock()
	if over {
		go f()
		return func() bool { return false }
	}
	c.conn.want(c)
	return func() bool { return c.forget(entry) }
}

func (c *callContext) forget(entry *afterFunc) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, e := range c.after {
		if e == entry {
			c.after = append(c.after[:i], c.after[i+1:]...)
			return true
		}
	}
	return false
}

func (c *callContext) cancel() {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = context.Canceled
	if c.done != nil {
		close(c.done)
	}
	after := c.after
	c.after = nil
	c.mu.Unlock()
	for _, e := range after {
		go e.run()
	}
}
