package channel

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"unsafe"

	"github.com/valyala/fasthttp"
)

// receive reads the head of the answer, past the 1xx ones.
func (x *exchange) receive() error {
	if _, err := x.reader.Peek(1); err != nil {
		return err
	}
	x.begun = true
	for range maxInterim {
		if err := x.readHead(); err != nil {
			return err
		}
		switch status := x.head.StatusCode(); {
		case status >= 200:
			return nil
		case status < 100:
			return errMalformed
		case status == 101:
			return errSwitched
		}
	}
	return errMalformed
}

// readHead reads one head.
func (x *exchange) readHead() error {
	err := x.head.Read(x.reader)
	if err == nil {
		return nil
	}
	if tooSmall(err) {
		x.reader = bufio.NewReaderSize(x.narrow, maxHead)
		if err = x.head.Read(x.reader); err == nil {
			return nil
		}
	}
	return headError(err)
}

func tooSmall(err error) bool {
	var small *fasthttp.ErrSmallBuffer
	return errors.As(err, &small)
}

// headError says what was wrong without quoting, as fasthttp does, what was read: it is the application's
// and may be secret.
func headError(err error) error {
	var broken *net.OpError
	switch {
	case tooSmall(err):
		return errHeadSize
	case errors.As(err, &broken):
		return broken
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	}
	return errMalformed
}

// answer makes the Response of the head that was read, and reads a small body whole.
func (x *exchange) answer(verb string) (*Response, error) {
	res := &Response{
		Status:      x.head.StatusCode(),
		ContentType: borrow(x.head.ContentType()),
		Header:      x.header(),
		Release:     x.release,
	}
	length := x.head.ContentLength()
	switch {
	case Bodyless(verb, res.Status):
		res.Body = Withhold(res.Status, x.declared())
		x.end(true)
	case length >= 0 && length <= wholeBody:
		body, err := x.whole(length)
		if err != nil {
			return nil, x.fail(err)
		}
		res.Body.Bytes = body
		x.end(true)
	default:
		x.stream = newDownload(x, length)
		res.Body = Body{Stream: x.stream, Length: int64(max(length, -1))}
	}
	return res, nil
}

// declared is the Content-Length, -1 without one. fasthttp counts an answer without body that names no length
// as one of length 0.
func (x *exchange) declared() int64 {
	if length := x.head.ContentLength(); length != 0 || len(x.head.Peek("Content-Length")) > 0 {
		return int64(length)
	}
	return -1
}

// whole gives the body from the read buffer where it is there already.
func (x *exchange) whole(length int) ([]byte, error) {
	if length <= x.reader.Buffered() {
		body, err := x.reader.Peek(length)
		_, _ = x.reader.Discard(length)
		return body, err
	}
	if cap(x.body) < length {
		x.body = make([]byte, length)
	}
	x.body = x.body[:length]
	_, err := io.ReadFull(x.reader, x.body)
	return x.body, unexpected(err)
}

// header lends out the headers of the answer that go on to the caller.
func (x *exchange) header() Header {
	fields, options := x.fields[:0], ""
	for name, value := range x.head.All() {
		name, value := borrow(name), borrow(value)
		if dropped(name) {
			if strings.EqualFold(name, "connection") {
				options = joined(options, value)
			}
			continue
		}
		fields = append(fields, Field{Name: name, Value: value})
	}
	x.fields, x.closing = fields, x.head.ConnectionClose()
	if options != "" && options != "close" {
		x.closing = x.closing || listed(options, "close")
		x.fields = withoutListed(fields, options)
	}
	return x.fields
}

func withoutListed(fields Header, options string) Header {
	kept := fields[:0]
	for _, f := range fields {
		if !listed(options, f.Name) {
			kept = append(kept, f)
		}
	}
	return kept
}

func borrow(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
