package placement

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

const (
	// beat is how often the client notes that its process runs.
	beat = 500 * time.Millisecond
	// standstill is how long it may not have run and still trust its table: placement gives its actors to others when it
	// has not answered for 3 s (the least keepalive-timeout of Dapr's placement).
	standstill = 2500 * time.Millisecond
	// silenceRoom is what a placement that says how often it is heard may take longer.
	silenceRoom = 2 * time.Second
)

var errStoodStill = errors.New("this process stood still")

// pulse knows whether this process ran all the time, and whether placement was heard.
type pulse struct {
	// now is a clock that goes on while the machine sleeps, from any origin.
	now func() time.Duration
	// ran is when the process was last seen to run, heard when something came from placement.
	ran, heard atomic.Int64
	// every is how often placement is heard at least, 0 where it does not say.
	every atomic.Int64
}

func newPulse(now func() time.Duration) *pulse {
	p := &pulse{now: now}
	p.begin()
	return p
}

// begin forgets what was.
func (p *pulse) begin() {
	now := int64(p.now())
	p.every.Store(0)
	p.ran.Store(now)
	p.heard.Store(now)
}

// check says why the table cannot be trusted.
func (p *pulse) check() error {
	now := p.now()
	if gap := now - time.Duration(p.ran.Load()); gap > standstill {
		return fmt.Errorf("%w for %s, in which others may have been given its actors", errStoodStill, gap.Round(time.Millisecond))
	}
	if every := time.Duration(p.every.Load()); every > 0 {
		if gap := now - time.Duration(p.heard.Load()); gap > every+silenceRoom {
			return fmt.Errorf("placement was silent for %s, and is heard each %s while it lives", gap.Round(time.Millisecond), every)
		}
	}
	return nil
}

// watch notes that the process runs, until ctx ends or the table cannot be trusted any more.
func (p *pulse) watch(ctx context.Context) error {
	ticks := time.NewTicker(beat)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return nil
		}
		if err := p.check(); err != nil {
			return err
		}
		p.ran.Store(int64(p.now()))
	}
}

// listener is a connection that tells the pulse what is heard.
type listener struct {
	net.Conn
	pulse *pulse
}

func (l listener) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if n > 0 {
		l.pulse.heard.Store(int64(l.pulse.now()))
	}
	return n, err
}
