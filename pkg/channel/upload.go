package channel

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// pieceSize is how much of a streamed body is read and written at once.
	pieceSize = 32 << 10
	// sizeRoom is for a chunk's size in front of it, and the line end behind.
	sizeRoom = 8
	// lastWriteGrace is how long an answered call waits for the last piece of its request, which is
	// nearly always written already, before it gives the connection up.
	lastWriteGrace = 50 * time.Millisecond
)

var pieces = sync.Pool{New: func() any { return new([sizeRoom + pieceSize + 2]byte) }}

// upload is a request's body on its way to the application, beside the reading of the answer. It never
// makes a body look complete that is not: then the connection is closed.
type upload struct {
	conn   *conn
	body   io.Reader
	stream io.Closer
	left   int64
	// waits says whether the end can be waited for: what is in memory, and streams that can be closed.
	waits  bool
	last   atomic.Bool
	failed atomic.Bool
	done   chan struct{}
	// Valid once done is closed.
	complete bool
	err      error
}

func newUpload(c *conn, body Body) *upload {
	u := &upload{conn: c, body: body.Stream, left: body.Size(), done: make(chan struct{})}
	if body.Stream == nil {
		u.body, u.waits = bytes.NewReader(body.Bytes), true
	} else if closer, ok := body.Stream.(io.Closer); ok {
		u.stream, u.waits = closer, true
	}
	return u
}

func (u *upload) run() {
	defer close(u.done)
	piece := pieces.Get().(*[sizeRoom + pieceSize + 2]byte)
	defer pieces.Put(piece)
	var err error
	if u.left < 0 {
		err = u.writeChunks(piece)
	} else {
		err = u.writeMeasured(piece)
	}
	if err != nil {
		u.err = err
		u.failed.Store(true)
		u.conn.close()
	}
}

// writeMeasured gives only the errors of the body itself; those of the connection show where the answer
// is read, which may have come before.
func (u *upload) writeMeasured(piece *[sizeRoom + pieceSize + 2]byte) error {
	for u.left > 0 {
		n, err := u.body.Read(piece[:min(u.left, pieceSize)])
		u.left -= int64(n)
		if u.left == 0 {
			u.last.Store(true)
		}
		if n > 0 {
			if _, broken := u.conn.Write(piece[:n]); broken != nil {
				return nil
			}
		}
		if err != nil && u.left > 0 {
			return unexpected(err)
		}
	}
	u.complete = true
	return nil
}

func (u *upload) writeChunks(piece *[sizeRoom + pieceSize + 2]byte) error {
	for {
		n, err := u.body.Read(piece[sizeRoom : sizeRoom+pieceSize])
		if err == io.EOF {
			u.last.Store(true)
		}
		if n > 0 {
			if _, broken := u.conn.Write(chunk(piece, n)); broken != nil {
				return nil
			}
		}
		switch {
		case err == io.EOF:
			_, broken := u.conn.Write(lastChunk)
			u.complete = broken == nil
			return nil
		case err != nil:
			return err
		}
	}
}

var lastChunk = []byte("0\r\n\r\n")

// chunk puts the size in front of the n bytes in piece and the line end behind them.
func chunk(piece *[sizeRoom + pieceSize + 2]byte, n int) []byte {
	const lowerHex = "0123456789abcdef"
	piece[sizeRoom+n], piece[sizeRoom+n+1] = '\r', '\n'
	start := sizeRoom - 2
	piece[start], piece[start+1] = '\r', '\n'
	for size := n; size > 0; size >>= 4 {
		start--
		piece[start] = lowerHex[size&15]
	}
	return piece[start : sizeRoom+n+2]
}

// failure is what was wrong with the body, nil if nothing was.
func (u *upload) failure() error {
	if !u.failed.Load() {
		return nil
	}
	<-u.done
	return u.err
}

// finished says whether the whole body was written.
func (u *upload) finished() bool {
	select {
	case <-u.done:
		return u.complete
	default:
	}
	if !u.last.Load() {
		return false
	}
	_ = u.conn.SetWriteDeadline(time.Now().Add(lastWriteGrace))
	<-u.done
	_ = u.conn.SetWriteDeadline(time.Time{})
	return u.complete
}

// cancel makes the upload end; its connection is closed already.
func (u *upload) cancel() {
	if u.stream != nil {
		_ = u.stream.Close()
	}
}

// settle waits for the end where the body cannot hold it up.
func (u *upload) settle() {
	if u.waits {
		<-u.done
	}
}
