package http

import (
	"time"
)

// parkTime is how often connections are looked at: one that was idle at two looks gives its buffers back,
// some 14 KiB, and waits for its next request with next to nothing.
const parkTime = 5 * time.Second

// park is where an idle connection is on its way out of fasthttp's hands.
type park int

const (
	unparked park = iota
	parking
	parked
)

// parkIdle looks after idle connections until the server is closed.
func (s *Server) parkIdle() {
	ticker := time.NewTicker(s.parkTime)
	defer ticker.Stop()
	for {
		select {
		case <-s.closed:
			return
		case <-ticker.C:
		}
		s.mu.Lock()
		for c := range s.conns {
			c.parkIfIdle()
		}
		s.mu.Unlock()
	}
}

// parkIfIdle makes fasthttp's read end as if the client had gone, when it is idle for the second time.
func (c *conn) parkIfIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy || !c.served || c.draining || c.park != unparked {
		return
	}
	if c.looks++; c.looks < 2 {
		return
	}
	c.park = parking
	_ = c.Conn.SetReadDeadline(past)
}

// isParked says whether fasthttp gave the connection back only because it was idle.
func (c *conn) isParked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.park == parked
}

// unpark waits for the first byte of the next request. It says false when there will be none.
func (c *conn) unpark() bool {
	c.mu.Lock()
	c.park, c.looks = unparked, 0
	draining := c.draining
	if !draining {
		_ = c.Conn.SetReadDeadline(time.Time{})
	}
	c.served = false
	c.mu.Unlock()
	if draining {
		return false
	}
	n, _ := c.read(c.first[:1])
	c.peeked, c.got = 0, n
	return n > 0
}
