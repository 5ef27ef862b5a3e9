package messaging

import (
	"errors"
	"io"
	"sync"
)

var errAttemptOver = errors.New("the attempt has ended before its body was read")

// sentBody lends the stream of a request to one attempt: as long as nobody read of it, another attempt can have
// it. A nil one is a body that is in memory.
type sentBody struct {
	stream io.Reader

	mu sync.Mutex
	// begun: somebody has read. over: nobody may begin any more. settled: this was the last attempt.
	begun, over, settled, closed bool
}

// sentOnce wraps a stream; it can be closed if the stream can.
func sentOnce(stream io.Reader) (*sentBody, io.Reader) {
	if stream == nil {
		return nil, nil
	}
	b := &sentBody{stream: stream}
	if _, ok := stream.(io.Closer); ok {
		return b, closingBody{b}
	}
	return b, b
}

// Read reads the stream, unless the attempt is over.
func (b *sentBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.over {
		b.mu.Unlock()
		return 0, errAttemptOver
	}
	b.begun = true
	b.mu.Unlock()
	return b.stream.Read(p)
}

// untouched says whether another attempt can have the stream, and takes it from this one then.
func (b *sentBody) untouched() bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.begun {
		b.over = true
	}
	return !b.begun
}

// settle says that no other attempt follows: what the attempt did not close itself is closed when it does.
func (b *sentBody) settle() {
	if b == nil {
		return
	}
	b.mu.Lock()
	b.settled = true
	end := b.over
	b.mu.Unlock()
	if end {
		b.end()
	}
}

// end closes the stream once.
func (b *sentBody) end() {
	b.mu.Lock()
	closed := b.closed
	b.closed = true
	b.mu.Unlock()
	if closer, ok := b.stream.(io.Closer); ok && !closed {
		_ = closer.Close()
	}
}

// closingBody is a sentBody whose stream can be closed.
type closingBody struct{ *sentBody }

// Close ends the attempt's use, and the stream itself if nobody else can have it.
func (b closingBody) Close() error {
	b.mu.Lock()
	b.over = true
	end := b.begun || b.settled
	b.mu.Unlock()
	if end {
		b.end()
	}
	return nil
}
