package channel

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
)

// Body is a payload: Bytes when it is whole and in memory, else Stream. The zero Body is an empty one.
type Body struct {
	// Bytes is the whole payload when Stream is nil.
	Bytes []byte
	// Stream gives the payload; it is read by one goroutine at a time. The Stream of a Request may still
	// be read when Invoke has returned. If it is an io.Closer, it may be closed when no more of it is
	// needed, also while a Read is under way, which then has to return soon; after Response.Close (or after
	// an Invoke without a Response) it is read no longer. Of another Stream a Read that is under way then is
	// not waited for.
	Stream io.Reader
	// Length is the number of bytes in Stream, -1 where unknown (a chunked body). Of a withheld body it is
	// what the answer's Content-Length says, -1 where it has none. Else it has no meaning.
	Length int64
	// Withheld says that the body of an answer stays away, whatever length it has: see Withhold.
	Withheld bool
}

// Size is the number of bytes that come, -1 where unknown.
func (b Body) Size() int64 {
	if b.Stream == nil {
		return int64(len(b.Bytes))
	}
	return b.Length
}

// Reader reads the payload from its beginning (bytes) or from where the stream stands.
func (b Body) Reader() io.Reader {
	if b.Stream != nil {
		return b.Stream
	}
	return bytes.NewReader(b.Bytes)
}

// Declared is the length that a header tells of the body, -1 where there is none to tell.
func (b Body) Declared() int64 {
	if b.Withheld {
		return b.Length
	}
	return b.Size()
}

// SizeError is a body that has to be in memory as a whole and is too large for that.
type SizeError struct {
	// Size is the number of bytes as far as it is known; it is above Limit.
	Size, Limit int64
}

// Error names both.
func (e *SizeError) Error() string {
	return fmt.Sprintf("the body has %d bytes, which is more than the limit of %d", e.Size, e.Limit)
}

// Whole reads the payload into memory, for a peer that takes it as one message; Bytes are given as they are.
// More than limit bytes are a *SizeError, fewer than a stream's Length io.ErrUnexpectedEOF.
func (b Body) Whole(limit int64) ([]byte, error) {
	if size := b.Size(); size > limit {
		return nil, &SizeError{Size: size, Limit: limit}
	}
	if b.Stream == nil {
		return b.Bytes, nil
	}
	var data bytes.Buffer
	if b.Length > 0 {
		data.Grow(int(min(b.Length, wholeBody)))
	}
	n, err := data.ReadFrom(io.LimitReader(b.Stream, limit+1))
	switch {
	case err != nil:
		return nil, err
	case n > limit:
		return nil, &SizeError{Size: n, Limit: limit}
	case n < b.Length:
		return nil, io.ErrUnexpectedEOF
	}
	return data.Bytes(), nil
}

// Bodyless says whether an HTTP answer with that status to that verb has no body, whatever its headers say
// (RFC 9110, 6.4.1).
func Bodyless(verb string, status int) bool {
	return verb == http.MethodHead || status < http.StatusOK || status == http.StatusNoContent || status == http.StatusNotModified
}

// Withhold is the body of such an answer. length is that of its Content-Length, negative without one: an
// answer to HEAD, and 304, may tell what a GET would bring; 1xx and 204 may not (RFC 9110, 8.6).
func Withhold(status int, length int64) Body {
	if status < http.StatusOK || status == http.StatusNoContent {
		return Body{}
	}
	return Body{Withheld: true, Length: max(length, -1)}
}
