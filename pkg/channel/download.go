package channel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
)

// The framing of an answer that has no Content-Length, as fasthttp counts it.
const (
	chunked    = -1
	untilClose = -2
)

// maxTrailer bounds the lines after the last chunk, which are dropped.
const maxTrailer = 16 << 10

var errReadAfterClose = errors.New("read of an answer after it was closed")

// download is the body of an answer as it comes. It gives what has arrived without waiting for more.
type download struct {
	x       *exchange
	chunks  io.Reader
	framing int
	left    int64
	// got are the bytes that were read.
	got int64
	err error
}

func newDownload(x *exchange, length int) *download {
	d := &download{x: x, framing: min(length, 0), left: int64(length)}
	if length == chunked {
		d.chunks = httputil.NewChunkedReader(x.reader)
	}
	return d
}

// Read gives io.EOF at the end of a complete body only. A body cut off by the application is
// io.ErrUnexpectedEOF, one that was cancelled context.Canceled.
func (d *download) Read(p []byte) (int, error) {
	if d.err != nil || d.x == nil {
		return 0, d.outcome()
	}
	n, err := d.read(p)
	d.got += int64(n)
	if err != nil {
		d.finish(err)
		if n > 0 {
			return n, nil
		}
	}
	return n, d.err
}

func (d *download) outcome() error {
	if d.err != nil {
		return d.err
	}
	return errReadAfterClose
}

func (d *download) read(p []byte) (int, error) {
	switch d.framing {
	case chunked:
		n, err := d.chunks.Read(p)
		if err == io.EOF {
			err = d.trailer()
		}
		return n, err
	case untilClose:
		return d.x.reader.Read(p)
	}
	if d.left == 0 {
		return 0, io.EOF
	}
	n, err := d.x.reader.Read(p[:min(int64(len(p)), d.left)])
	d.left -= int64(n)
	if d.left == 0 {
		return n, io.EOF
	}
	return n, unexpected(err)
}

// trailer reads past the lines after the last chunk.
func (d *download) trailer() error {
	for size := 0; size < maxTrailer; {
		line, err := d.x.reader.ReadSlice('\n')
		size += len(line)
		switch {
		case err == bufio.ErrBufferFull:
		case err != nil:
			return unexpected(err)
		case len(line) <= 2:
			return io.EOF
		}
	}
	return errMalformed
}

// finish gives the connection back and keeps the reason.
func (d *download) finish(err error) {
	if err == io.EOF {
		d.err = io.EOF
		d.x.end(true)
		return
	}
	failure := d.x.uploadFailure()
	d.x.end(false)
	switch {
	case failure != nil:
		d.err = failure
	case errors.Is(err, net.ErrClosed):
		d.err = context.Canceled
	case err == io.ErrUnexpectedEOF:
		d.err = err
	default:
		d.err = fmt.Errorf("%w: read the app's answer: %v", io.ErrUnexpectedEOF, err)
	}
}
