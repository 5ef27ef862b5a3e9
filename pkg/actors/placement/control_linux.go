package placement

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lost is how long what was sent may stay without an answer of the other machine.
const lost = 2 * time.Second

// control has the connection end when the other machine does not answer, also while nothing is sent.
func control(network, _ string, conn syscall.RawConn) error {
	if network == "unix" {
		return nil
	}
	var failed error
	err := conn.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(lost/time.Millisecond))
	})
	return errors.Join(err, failed)
}
