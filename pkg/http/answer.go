package http

import (
	"bufio"
	"io"
	"sync"

	"github.com/daprd/daprd/pkg/channel"
)

// copySize is the most that is read of a streamed answer at once.
const copySize = 32 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// answerBody is an answer that is written when the handler has returned. It holds the application's
// response until then and ends the call. A read that fails makes fasthttp close the connection without the
// end of the body, so that the client sees that something is missing.
type answerBody struct {
	call     *call
	response *channel.Response
	body     channel.Body
	// start was read to find the content type.
	start  []byte
	sent   int64
	closed bool
}

func newAnswer(c *call, response *channel.Response, body channel.Body) *answerBody {
	return &answerBody{call: c, response: response, body: body}
}

// peek is the beginning of the body.
func (a *answerBody) peek() []byte {
	if a.body.Stream == nil {
		return a.body.Bytes[:min(len(a.body.Bytes), sniffed)]
	}
	start := make([]byte, sniffed)
	n, err := a.body.Stream.Read(start)
	for n == 0 && err == nil {
		n, err = a.body.Stream.Read(start)
	}
	if err != nil {
		a.body.Stream = failing{err}
	}
	a.start = start[:n]
	return a.start
}

// failing is a stream that has ended.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// Read gives the body; the HTTP/2 side and fasthttp's fallbacks use it.
func (a *answerBody) Read(p []byte) (int, error) {
	n, err := a.read(p)
	a.sent += int64(n)
	return n, err
}

func (a *answerBody) read(p []byte) (int, error) {
	if len(a.start) > 0 {
		n := copy(p, a.start)
		a.start = a.start[n:]
		return n, nil
	}
	if a.body.Stream != nil {
		return a.body.Stream.Read(p)
	}
	if len(a.body.Bytes) == 0 {
		return 0, io.EOF
	}
	n := copy(p, a.body.Bytes)
	a.body.Bytes = a.body.Bytes[n:]
	return n, nil
}

// SupportsBodyWriteTo makes fasthttp use WriteTo.
func (a *answerBody) SupportsBodyWriteTo() bool { return true }

// WriteTo writes the body, each piece as it comes.
func (a *answerBody) WriteTo(w io.Writer) (int64, error) {
	if a.body.Stream == nil {
		n, err := w.Write(a.body.Bytes)
		a.sent += int64(n)
		return int64(n), err
	}
	buffer := copyBuffers.Get().(*[copySize]byte)
	defer copyBuffers.Put(buffer)
	for {
		n, err := a.Read(buffer[:])
		if n > 0 {
			if err := a.write(w, buffer[:n]); err != nil {
				return a.sent, err
			}
		}
		if err == io.EOF {
			return a.sent, nil
		}
		if err != nil {
			return a.sent, err
		}
	}
}

// write flushes every piece but the last, after which the server does.
func (a *answerBody) write(w io.Writer, p []byte) error {
	if _, err := w.Write(p); err != nil {
		return err
	}
	if b, ok := w.(*bufio.Writer); ok && a.sent != a.body.Length {
		return b.Flush()
	}
	return nil
}

// Close frees the response and ends the call.
func (a *answerBody) Close() error {
	if a.closed {
		return nil
	}
	a.closed = true
	c := a.call
	// The request's body may still be on its way to the application, which has answered early.
	_ = c.body.Close()
	a.response.Close()
	if c.answer == a {
		c.end(a.sent)
	}
	return nil
}
