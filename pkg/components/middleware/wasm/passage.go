package wasm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/daprd/daprd/pkg/middleware"
)

// maxBuffered is the most of a body that is held for a guest that wants to see it: 64 MiB.
const maxBuffered = 64 << 20

type passageKey struct{}

// passage is one request on its way through a guest.
type passage struct {
	// context is the request's own.
	context context.Context
	body    *replay
	// passed says that the guest let it pass, failed that it failed before that, broken that what is behind broke off.
	passed, failed, broken bool
}

// pass goes on behind the guest, with the request's own context and a whole body.
func (p *passage) pass(next http.Handler, w http.ResponseWriter, r *http.Request) {
	p.passed = true
	defer func() {
		if cause := recover(); cause != nil {
			// The host library makes an error for the guest of it, which may overlook it.
			p.broken = true
			panic(cause)
		}
	}()
	// What a guest wrote is a bytes.Buffer; else it is our body, which the host library may have wrapped, several times
	// when an instance starts during the call.
	if _, written := r.Body.(io.WriterTo); written {
		r.ContentLength = -1
		r.Header.Del("Content-Length")
	} else {
		p.body.rewind(r)
	}
	if own, ok := w.(*shy); ok {
		w = own.ResponseWriter
	} else {
		w = &bounded{ResponseWriter: w}
	}
	next.ServeHTTP(w, r.WithContext(p.context))
}

// replay is a request's body that remembers what was read of it, so that it is whole behind the guest: the buffer of the
// host library keeps the last piece only. It never gives data and an end at once, since that fills the buffer.
type replay struct {
	from  io.ReadCloser
	read  bytes.Buffer
	ended error
}

var errBodySize = errors.New("the body is larger than the 64 MiB that a guest can see of it")

// Read reads on, and remembers.
func (b *replay) Read(p []byte) (int, error) {
	if b.ended != nil || b.from == nil {
		return 0, b.end()
	}
	n, err := b.from.Read(p)
	if b.read.Write(p[:n]); b.read.Len() > maxBuffered {
		err = errBodySize
	}
	b.ended = err
	if n > 0 {
		return n, nil
	}
	return 0, err
}

func (b *replay) end() error {
	if b.ended == nil {
		return io.EOF
	}
	return b.ended
}

// Close does nothing: what is behind the guest reads on.
func (b *replay) Close() error { return nil }

// rewind gives the request its body back as if nobody had read of it.
func (b *replay) rewind(r *http.Request) {
	switch {
	case b.read.Len() == 0 && b.ended == nil:
		r.Body = b.from
	case errors.Is(b.ended, io.EOF):
		middleware.Replace(r, b.read.Bytes())
	default:
		rest := io.Reader(failing{b.ended})
		if b.ended == nil {
			rest = b.from
		}
		r.Body = &joined{Reader: io.MultiReader(bytes.NewReader(b.read.Bytes()), rest), Closer: b.from}
	}
}

type joined struct {
	io.Reader
	io.Closer
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// failed is the answer where a guest failed.
const failed = "the middleware's guest failed; the sidecar's log has the details"

// shy is the writer that the guest answers with. It keeps the trace of a guest's failure out of the answer, where the
// host library writes it.
type shy struct {
	http.ResponseWriter
	log     *logger
	passage *passage
	status  int
}

// WriteHeader remembers the status.
func (s *shy) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Write writes what the guest answers.
func (s *shy) Write(p []byte) (int, error) {
	if s.status == http.StatusInternalServerError && !s.passage.passed && isFailure(string(p)) {
		s.passage.failed = true
		s.log.Errorf("the guest failed: %s", p)
		_, err := io.WriteString(s.ResponseWriter, failed)
		return len(p), err
	}
	return s.ResponseWriter.Write(p)
}

// Unwrap lets flushes through.
func (s *shy) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func isFailure(text string) bool {
	return strings.Contains(text, "wasm stack trace:") || strings.HasPrefix(text, "wasm:") || strings.HasPrefix(text, "module closed")
}

// bounded is the writer of an answer that the host library holds in memory until the guest has seen it.
type bounded struct {
	http.ResponseWriter
	size int
}

// WriteHeader drops the length, as Write does: the guest may change it.
func (b *bounded) WriteHeader(status int) {
	b.Header().Del("Content-Length")
	b.ResponseWriter.WriteHeader(status)
}

// Write breaks the call off when it is too much.
func (b *bounded) Write(p []byte) (int, error) {
	if b.size += len(p); b.size > maxBuffered {
		panic(http.ErrAbortHandler)
	}
	b.Header().Del("Content-Length")
	return b.ResponseWriter.Write(p)
}
