//go:build !linux

package placement

import "time"

// uptime stands still while the machine sleeps.
func uptime() time.Duration { return time.Since(began) }

var began = time.Now()
