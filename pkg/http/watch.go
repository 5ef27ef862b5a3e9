package http

import "time"

// begin makes the call's context known. bodyEnded says that nothing of the body is left on the wire.
func (c *conn) begin(ctx *callContext, bodyEnded bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.bodyEnded, c.wanted = ctx, bodyEnded, false
}

// want asks for ctx to be cancelled when the client goes away. While the body is being read its reader
// notices that; afterwards the connection is watched.
func (c *conn) want(ctx *callContext) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != ctx {
		return
	}
	c.wanted = true
	c.arm()
}

// bodyRead says that nothing of the body is left on the wire.
func (c *conn) bodyRead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bodyEnded = true
	c.arm()
}

func (c *conn) arm() {
	if !c.wanted || !c.bodyEnded || c.watch != unwatched || c.hasAhead || c.gone != nil {
		return
	}
	c.watch = armed
	if c.timer == nil {
		c.timer = time.AfterFunc(watchDelay, c.readAhead)
	} else {
		c.timer.Reset(watchDelay)
	}
}

// readAhead waits for the client's next byte or its end. It runs in a goroutine of its own, for which end
// waits.
func (c *conn) readAhead() {
	c.mu.Lock()
	if c.watch != armed {
		c.mu.Unlock()
		return
	}
	c.watch = reading
	ctx := c.current
	c.mu.Unlock()

	n, err := c.Conn.Read(c.ahead[:])

	c.mu.Lock()
	gone := n == 0 && !c.stopped
	c.hasAhead = n > 0
	if gone {
		c.gone = err
	}
	c.watch, c.stopped = unwatched, false
	c.watched.Broadcast()
	c.mu.Unlock()
	if gone && ctx != nil {
		ctx.cancel()
	}
}

// end is the end of the call: nobody reads ahead any more when it returns.
func (c *conn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.wanted = nil, false
	switch c.watch {
	case unwatched:
		return
	case armed:
		c.timer.Stop()
		c.watch = unwatched
		return
	}
	c.stopped = true
	_ = c.Conn.SetReadDeadline(past)
	for c.watch == reading {
		c.watched.Wait()
	}
	c.stopped = false
	_ = c.Conn.SetReadDeadline(time.Time{})
}

// interrupt makes a read of the body that is under way end at once, until resume.
func (c *conn) interrupt() { _ = c.Conn.SetReadDeadline(past) }

func (c *conn) resume() { _ = c.Conn.SetReadDeadline(time.Time{}) }
