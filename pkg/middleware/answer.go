package middleware

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
)

// maxWhole is up to which size an answer is held until the chain returns, so that it leaves in one piece with its
// length. One that is flushed, or larger, streams.
const maxWhole = 32 << 10

// Answer is what came out of a chain.
type Answer struct {
	Status int
	// Header belongs to the receiver; Content-Length stands in Length only.
	Header http.Header
	// Bytes is the whole body when Stream is nil.
	Bytes []byte
	// Stream gives the body; a read fails with io.ErrUnexpectedEOF when the chain broke off.
	Stream io.Reader
	// Length is the Content-Length that was declared, or that of Bytes; -1 where it is unknown. An answer that has no
	// body (to HEAD, 204, 304) may declare one.
	Length int64

	cancel context.CancelFunc
	pipe   *io.PipeReader
	over   chan struct{}
}

// Close ends the request's context and waits until the chain has returned. It may be called more than once.
func (a *Answer) Close() error {
	a.cancel()
	if a.pipe != nil {
		_ = a.pipe.CloseWithError(errClosed)
	}
	<-a.over
	return nil
}

var errClosed = errors.New("the answer is not wanted any more")

// writer is the ResponseWriter of a chain.
type writer struct {
	header   http.Header
	bodyless bool // whatever is written
	answered chan head

	status int
	length int64
	sent   http.Header
	whole  []byte
	pipe   *io.PipeWriter
}

// head is an answer as far as it is there when it is first shown.
type head struct {
	status int
	header http.Header
	whole  []byte
	stream *stream
	length int64
	err    error
}

func newWriter(method string) *writer {
	return &writer{header: http.Header{}, bodyless: method == http.MethodHead, answered: make(chan head, 1), length: -1}
}

// Header is what WriteHeader sends.
func (w *writer) Header() http.Header { return w.header }

// WriteHeader fixes status and headers. Informational statuses are not passed on.
func (w *writer) WriteHeader(status int) {
	if w.status != 0 || status >= 100 && status < 200 {
		return
	}
	if w.status = status; status < 100 || status > 999 {
		w.status = http.StatusInternalServerError // the middleware's mistake
	}
	w.bodyless = w.bodyless || status == http.StatusNoContent || status == http.StatusNotModified
	if length, err := strconv.ParseInt(w.header.Get("Content-Length"), 10, 64); err == nil && length >= 0 {
		w.length = length
	}
	w.sent = make(http.Header, len(w.header))
	for name, values := range w.header {
		if name != "Content-Length" {
			w.sent[name] = slices.Clone(values)
		}
	}
}

// Write sends a piece of the body.
func (w *writer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	switch {
	case w.bodyless:
		return len(p), nil
	case w.pipe != nil:
		return w.pipe.Write(p)
	case len(w.whole)+len(p) <= maxWhole:
		w.whole = append(w.whole, p...)
		return len(p), nil
	}
	w.show()
	return w.pipe.Write(p)
}

// Flush lets the head leave, and the body with it as far as it is there.
func (w *writer) Flush() {
	w.WriteHeader(http.StatusOK)
	if w.pipe == nil && !w.bodyless {
		w.show()
	}
}

// show gives the head away while the chain goes on.
func (w *writer) show() {
	reader, pipe := io.Pipe()
	w.pipe = pipe
	w.answered <- head{status: w.status, header: w.sent, stream: &stream{start: w.whole, pipe: reader}, length: w.length}
}

// finish ends the answer when the chain has returned.
func (w *writer) finish(err error) {
	switch {
	case w.pipe != nil && err != nil:
		_ = w.pipe.CloseWithError(io.ErrUnexpectedEOF)
		return
	case w.pipe != nil:
		_ = w.pipe.Close()
		return
	}
	w.WriteHeader(http.StatusOK)
	if !w.bodyless {
		w.length = int64(len(w.whole))
	}
	w.answered <- head{status: w.status, header: w.sent, whole: w.whole, length: w.length, err: err}
}

// stream is a body of which the beginning is there already.
type stream struct {
	start []byte
	pipe  *io.PipeReader
}

// Read gives the next piece as it comes.
func (s *stream) Read(p []byte) (int, error) {
	if len(s.start) > 0 {
		n := copy(p, s.start)
		s.start = s.start[n:]
		return n, nil
	}
	return s.pipe.Read(p)
}
