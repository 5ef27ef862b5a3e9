package messaging

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/daprd/daprd/pkg/channel"
)

// chunks are buffers for reading streams.
var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

var errLongBody = errors.New("the body is longer than the length that it declared")

// upload sends a body that does not fit into the first message, beside the receiving of the answer. A
// peer never sees the end of a body that broke off: then the call is cancelled.
type upload struct {
	stream grpc.ClientStream
	body   channel.Body
	cancel context.CancelFunc
	seq    uint64
	done   chan struct{}
	err    atomic.Pointer[error]
}

func newUpload(stream grpc.ClientStream, body channel.Body, cancel context.CancelFunc) *upload {
	return &upload{stream: stream, body: body, cancel: cancel, done: make(chan struct{})}
}

func (u *upload) run() {
	defer close(u.done)
	switch err := u.send(); err {
	case nil:
		_ = u.stream.CloseSend()
	case errStreamEnded:
	default:
		u.err.Store(&err)
		u.cancel()
	}
}

// errStreamEnded stands for an error that the receiving side gets.
var errStreamEnded = errors.New("the stream has ended")

func (u *upload) send() error {
	if u.body.Stream == nil {
		return u.sendBytes()
	}
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	return u.sendStream(chunk[:])
}

func (u *upload) sendBytes() error {
	u.seq = 1
	for rest := u.body.Bytes[chunkSize:]; len(rest) > 0; {
		n := min(len(rest), chunkSize)
		if err := u.payload(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

func (u *upload) sendStream(chunk []byte) error {
	left := u.body.Length
	for {
		n, err := u.body.Stream.Read(chunk)
		if u.body.Length >= 0 {
			if left -= int64(n); left < 0 {
				return errLongBody
			}
		}
		if n > 0 {
			if err := u.payload(chunk[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF && left > 0:
			return io.ErrUnexpectedEOF
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

func (u *upload) payload(data []byte) error {
	next := requestFrame{frame: frame{payload: data, seq: u.seq}}
	u.seq++
	if err := u.stream.SendMsg(&next); err != nil {
		return errStreamEnded
	}
	return nil
}

// failure is what was wrong with the body, nil if nothing was.
func (u *upload) failure() error {
	if err := u.err.Load(); err != nil {
		return *err
	}
	return nil
}

// settle ends the upload of a call that is cancelled already, and waits for it where that is possible: a
// stream that can be closed is closed. It says whether the upload has ended.
func (u *upload) settle() bool {
	select {
	case <-u.done:
		return true
	default:
	}
	if u.body.Stream != nil {
		closer, ok := u.body.Stream.(io.Closer)
		if !ok {
			return false
		}
		_ = closer.Close()
	}
	<-u.done
	return true
}
