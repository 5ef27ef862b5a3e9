package http

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// errTooLarge is Dapr's text for a body over --max-body-size.
var errTooLarge = errors.New("stream too large")

// errCallOver answers a reader that is still at the body when the call has ended.
var errCallOver = errors.New("the call has ended before its body was read")

const (
	// inMemory is the size up to which fasthttp has read a body of known length before the handler runs.
	inMemory = 8 << 10
	// firstBuffer is the most memory that a Content-Length alone can claim.
	firstBuffer = 1 << 20
	// keptBuffer is the largest body buffer that is kept for the next body.
	keptBuffer = 64 << 10
)

// limitedBody is the body of a request: the only place where bytes are counted. It may be read by one
// goroutine at a time, also by one that is not the handler's; Close makes that one end.
type limitedBody struct {
	conn *conn
	// source is the stream, for closing it.
	source io.Reader
	// length is what the header says, -1 for a chunked body.
	length int64
	limit  int64

	mu     sync.Mutex
	stream io.Reader
	count  int64
	err    error
	closed atomic.Bool
	// ended: nothing of the body is left to be read from the client.
	ended atomic.Bool
}

// reset makes it the body of the next call. A nil stream is an empty body.
func (b *limitedBody) reset(c *conn, stream io.Reader, length, limit int64) {
	b.conn, b.source, b.stream, b.length, b.limit = c, stream, stream, length, limit
	b.count, b.err = 0, nil
	b.closed.Store(false)
	b.ended.Store(b.whole())
	if stream == nil || length == 0 {
		b.length, b.err = 0, io.EOF
		b.ended.Store(true)
	}
}

// whole says that the body is in memory already.
func (b *limitedBody) whole() bool { return b.length >= 0 && b.length <= inMemory }

// over says that the body is known to be over the limit before a byte of it is read.
func (b *limitedBody) over() bool { return b.limit > 0 && b.length > b.limit }

// Read reads from the client. The error is errTooLarge over the limit and io.ErrUnexpectedEOF when the
// client stops short of what it announced.
func (b *limitedBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed.Load():
		return 0, errCallOver
	case b.err != nil:
		return 0, b.err
	case b.over():
		b.err = errTooLarge
		return 0, b.err
	case len(p) == 0:
		return 0, nil
	}
	n, err := b.stream.Read(p)
	b.count += int64(n)
	if b.limit > 0 && b.count > b.limit {
		n -= int(b.count - b.limit)
		b.count, err = b.limit, errTooLarge
	}
	b.err = b.settled(err)
	return n, b.err
}

func (b *limitedBody) settled(err error) error {
	if err == io.EOF && b.cutOff() {
		return io.ErrUnexpectedEOF
	}
	if err == nil && b.count == b.length {
		err = io.EOF
	}
	if err == io.EOF && !b.ended.Swap(true) && b.conn != nil {
		b.conn.bodyRead()
	}
	return err
}

// cutOff says that what looks like the end is none. fasthttp's reader of chunks does not tell a client that
// left between two chunks from the last chunk.
func (b *limitedBody) cutOff() bool {
	if b.length >= 0 {
		return b.count < b.length
	}
	return b.conn != nil && b.conn.brokeOff()
}

// Close ends the reading. When it returns nobody reads from the client any more, whoever called it.
func (b *limitedBody) Close() error {
	first := !b.closed.Swap(true)
	resume := func() {}
	if !b.mu.TryLock() {
		if first {
			resume = b.interrupt()
		}
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	b.stream = nil
	resume()
	return nil
}

// interrupt makes the read that is under way return, and gives what has to follow when it has.
func (b *limitedBody) interrupt() (resume func()) {
	if b.conn != nil {
		b.conn.interrupt()
		return b.conn.resume
	}
	if closer, ok := b.source.(io.Closer); ok {
		_ = closer.Close()
	}
	return func() {}
}

// buffers are what whole bodies are read into.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// readAll reads the body to its end into dst[:0].
func (b *limitedBody) readAll(dst []byte) ([]byte, error) {
	if b.over() {
		return nil, errTooLarge
	}
	if need := min(max(b.length, 0), firstBuffer) + 1; int64(cap(dst)) < need {
		dst = make([]byte, 0, need)
	}
	dst = dst[:0]
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := b.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// failed is what the last read of the body failed with.
func (b *limitedBody) failed() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}
