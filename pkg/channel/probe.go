package channel

import (
	"context"
	"net"
	"time"
)

// The pause between two tries at the application's port: short at first, since most applications come up
// together with their sidecar, and never so short for long that waiting costs processor time.
const (
	firstPause = 5 * time.Millisecond
	longPause  = 100 * time.Millisecond
)

// Await returns when something listens at address (host and port), or with ctx's error when ctx ends
// first. A try lasts as long as the system lets it, so that one is under way at any time at most.
func Await(ctx context.Context, address string) error {
	var dialer net.Dialer
	pause := firstPause
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		timer.Reset(pause)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		pause = next(pause)
	}
}

func next(pause time.Duration) time.Duration { return min(2*pause, longPause) }
