package channel

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
)

// missed is a call that has no answer. begun says that the application may have seen it.
type missed struct {
	error
	begun bool
}

func (m *missed) Unwrap() error { return m.error }

// Unreached says whether an error of a call means that the application has seen nothing of it: nobody listens, it is
// known to be ill, or it had as many calls as it may.
func Unreached(err error) bool {
	var (
		call   *missed
		broken *net.OpError
	)
	switch {
	case errors.Is(err, ErrUnhealthy):
		return true
	case errors.As(err, &call):
		return !call.begun
	case errors.As(err, &broken):
		return broken.Op == "dial"
	}
	return false
}

// BrokenOff says whether an error of a call means that the connection ended before an answer came. Nobody knows then how
// far the application had come: it may have been killed, or it may have died of the call.
func BrokenOff(err error) bool {
	var (
		call   *missed
		broken *net.OpError
	)
	switch {
	case err == nil:
		return false
	case errors.As(err, &call):
		return call.begun
	case errors.As(err, &broken):
		return broken.Op != "dial" && !broken.Timeout()
	}
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed} {
		if errors.Is(err, end) {
			return true
		}
	}
	// The errors of net/http's HTTP/2 have no types.
	text := err.Error()
	return strings.Contains(text, "http2: client connection") || strings.Contains(text, "http2: server sent GOAWAY")
}
