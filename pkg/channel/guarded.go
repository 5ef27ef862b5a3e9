package channel

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// guarded is a request's body that net/http may still read when the answer is closed; settle makes sure
// that it does not read on.
type guarded struct {
	body   io.Reader
	closer io.Closer
	waits  bool

	reading sync.Mutex
	closed  atomic.Bool
	failure atomic.Pointer[error]
}

var errUploadClosed = errors.New("the request's body was closed")

func newGuarded(body Body) *guarded {
	g := &guarded{body: body.Reader()}
	g.closer, g.waits = body.Stream.(io.Closer)
	g.waits = g.waits || body.Stream == nil
	return g
}

func (g *guarded) Read(p []byte) (int, error) {
	g.reading.Lock()
	defer g.reading.Unlock()
	if g.closed.Load() {
		return 0, errUploadClosed
	}
	n, err := g.body.Read(p)
	if err != nil && err != io.EOF {
		g.failure.CompareAndSwap(nil, &err)
	}
	return n, err
}

// Close is net/http's way to say that it reads no more.
func (g *guarded) Close() error { return nil }

// settle lets no further read begin, and ends the one under way where the stream can be closed.
func (g *guarded) settle() {
	g.closed.Store(true)
	if g.closer != nil {
		_ = g.closer.Close()
	}
	if g.waits {
		g.reading.Lock()
		defer g.reading.Unlock()
	}
}

// reason prefers what was wrong with the request's body over what followed from it.
func (g *guarded) reason(err error) error {
	if failure := g.failure.Load(); failure != nil {
		return *failure
	}
	return err
}
