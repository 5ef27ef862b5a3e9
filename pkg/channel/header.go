package channel

import (
	"bytes"
	"io"
	"strings"
)

// Value is the first value of the header name, "" if there is none.
func (h Header) Value(name string) string {
	for i := range h {
		if strings.EqualFold(h[i].Name, name) {
			return h[i].Value
		}
	}
	return ""
}

// Has says whether the header name is there.
func (h Header) Has(name string) bool {
	for i := range h {
		if strings.EqualFold(h[i].Name, name) {
			return true
		}
	}
	return false
}

// With is the list with one header more at its end.
func (h Header) With(name, value string) Header { return append(h, Field{Name: name, Value: value}) }

// Without is the list without the header name, in place.
func (h Header) Without(name string) Header {
	kept := h[:0]
	for _, f := range h {
		if !strings.EqualFold(f.Name, name) {
			kept = append(kept, f)
		}
	}
	return kept
}

func newBytesReader(b []byte) io.Reader { return bytes.NewReader(b) }
