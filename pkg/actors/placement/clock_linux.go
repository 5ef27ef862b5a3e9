package placement

import (
	"time"

	"golang.org/x/sys/unix"
)

// uptime goes on while the machine sleeps, which Go's own clock does not.
func uptime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return time.Since(began)
	}
	return time.Duration(t.Nano())
}

var began = time.Now()
