package middleware

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
)

// whole is a request's body that is in memory.
type whole struct {
	*bytes.Reader
	bytes []byte
}

// Close does nothing.
func (whole) Close() error { return nil }

// Replace makes body the request's body, and closes the old one.
func Replace(r *http.Request, body []byte) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
	r.Body, r.ContentLength = whole{bytes.NewReader(body), body}, int64(len(body))
	r.GetBody = func() (io.ReadCloser, error) { return whole{bytes.NewReader(body), body}, nil }
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
}

// Length is the size of the request's body as far as it can be relied on: a middleware that put another body in the
// place of original may have left the old length there. -1 is an unknown one.
func Length(r *http.Request, original io.ReadCloser) int64 {
	switch body := r.Body.(type) {
	case nil:
		return 0
	case interface{ Len() int }:
		return int64(body.Len())
	}
	switch r.Body {
	case http.NoBody:
		return 0
	case original:
		return r.ContentLength
	}
	return -1
}

// Whole gives the request's body where Replace set it and nobody has read of it.
func Whole(r *http.Request) (body []byte, ok bool) {
	replaced, ok := r.Body.(whole)
	if !ok || int64(replaced.Len()) != replaced.Size() {
		return nil, false
	}
	return replaced.bytes, true
}
