//go:build !linux

package placement

import "syscall"

// control leaves it to the keep-alive of the connection to find that the other machine does not answer.
func control(string, string, syscall.RawConn) error { return nil }
