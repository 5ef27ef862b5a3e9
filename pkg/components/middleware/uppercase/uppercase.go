// Package uppercase is the middleware that turns the letters of request bodies into capitals: an example, and a way to
// see that a pipeline is in use.
package uppercase

import (
	"context"
	"io"
	"net/http"
	"unicode"
	"unicode/utf8"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/middleware"
)

type uppercase struct{}

// New makes middleware.http.uppercase. It takes no settings.
func New(_ context.Context, spec *components.Spec) (middleware.Middleware, error) {
	if err := components.Decode(spec, &struct{}{}); err != nil {
		return nil, err
	}
	return uppercase{}, nil
}

// Wrap puts a reader around each request's body, which streams on.
func (uppercase) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = &capitals{Closer: r.Body, from: r.Body}
			// A capital may take more bytes than its small letter, or fewer.
			r.ContentLength = -1
			r.Header.Del("Content-Length")
		}
		next.ServeHTTP(w, r)
	})
}

// capitals reads text and gives its capitals. What is no UTF-8 stays as it is.
type capitals struct {
	io.Closer
	from io.Reader

	buffer [4 << 10]byte
	// rest is the beginning of a letter whose other bytes have not come yet.
	rest int
	out  []byte
	err  error
}

// Read gives what has come so far.
func (c *capitals) Read(p []byte) (int, error) {
	for len(c.out) == 0 && c.err == nil && len(p) > 0 {
		n, err := c.from.Read(c.buffer[c.rest:])
		c.err = err
		c.convert(c.buffer[:c.rest+n], err != nil)
	}
	if len(c.out) == 0 {
		return 0, c.err
	}
	n := copy(p, c.out)
	c.out = c.out[n:]
	return n, nil
}

func (c *capitals) convert(text []byte, last bool) {
	c.out = c.out[:0]
	for len(text) > 0 && (last || utf8.FullRune(text)) {
		letter, size := utf8.DecodeRune(text)
		if letter == utf8.RuneError && size == 1 {
			c.out = append(c.out, text[0])
		} else {
			c.out = utf8.AppendRune(c.out, unicode.ToUpper(letter))
		}
		text = text[size:]
	}
	c.rest = copy(c.buffer[:], text)
}
