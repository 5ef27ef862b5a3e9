//go:build unix

package channel

import (
	"net"
	"syscall"
)

// probe looks into a socket without waiting.
type probe struct {
	conn syscall.RawConn
	look func(fd uintptr) bool
	err  error
}

func (p *probe) silent(raw net.Conn) bool {
	if p.conn == nil && !p.attach(raw) {
		return true
	}
	return p.conn.Read(p.look) == nil && (p.err == syscall.EAGAIN || p.err == syscall.EWOULDBLOCK)
}

func (p *probe) attach(raw net.Conn) bool {
	socket, ok := raw.(syscall.Conn)
	if !ok {
		return false
	}
	conn, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	p.conn = conn
	p.look = func(fd uintptr) bool {
		var one [1]byte
		_, _, p.err = syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	}
	return true
}
