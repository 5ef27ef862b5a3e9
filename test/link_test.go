package test

import (
	"net"
	"strings"
	"sync"
	"testing"
)

// link is a way between two processes that can be cut as a cable is: what is sent falls silent, and nobody is told.
type link struct {
	address string

	mu    sync.Mutex
	to    string
	cut   chan struct{} // closed while the link is cut
	conns map[net.Conn]struct{}
	work  sync.WaitGroup
}

// newLink leads to an address, "" for nowhere: who comes is turned away.
func newLink(t *testing.T, to string) *link {
	t.Helper()
	return newLinkAt(t, here.address, to)
}

// newLinkAt begins at an IP.
func newLinkAt(t *testing.T, ip, to string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	l := &link{address: listener.Addr().String(), to: to, cut: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	l.work.Go(func() { l.accept(listener) })
	t.Cleanup(func() {
		listener.Close()
		l.drop()
		l.work.Wait()
	})
	return l
}

func (l *link) accept(listener net.Listener) {
	for {
		from, err := listener.Accept()
		if err != nil {
			return
		}
		l.mu.Lock()
		there := l.to
		l.mu.Unlock()
		to, err := net.Dial("tcp", there)
		if err != nil {
			from.Close()
			continue
		}
		l.mu.Lock()
		l.conns[from], l.conns[to] = struct{}{}, struct{}{}
		l.mu.Unlock()
		l.work.Go(func() { l.carry(from, to) })
		l.work.Go(func() { l.carry(to, from) })
	}
}

// carry copies until an end closes; what comes while the link is cut is lost.
func (l *link) carry(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if l.silent() {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (l *link) silent() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.cut:
		return true
	default:
		return false
	}
}

// fall cuts the link.
func (l *link) fall() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.cut)
}

// heal lets new connections through; the old ones have lost bytes and end.
func (l *link) heal() {
	l.mu.Lock()
	l.cut = make(chan struct{})
	l.mu.Unlock()
	l.drop()
}

// lead has new connections go to another address; the old ones stay.
func (l *link) lead(to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to = to
}

func (l *link) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.conns {
		conn.Close()
	}
	clear(l.conns)
}

// links are the ways from one process to several.
type links []*link

// addresses are where they begin, with commas between them.
func (l links) addresses() string {
	var all []string
	for _, one := range l {
		all = append(all, one.address)
	}
	return strings.Join(all, ",")
}

// fall cuts all of them.
func (l links) fall() {
	for _, one := range l {
		one.fall()
	}
}

// heal lets new connections through all of them.
func (l links) heal() {
	for _, one := range l {
		one.heal()
	}
}
