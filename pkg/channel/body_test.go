package channel

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestWhole(t *testing.T) {
	stream := func(s string, length int64) Body { return Body{Stream: strings.NewReader(s), Length: length} }
	for name, test := range map[string]struct {
		body Body
		want string
		err  error
	}{
		"bytes":                 {Body{Bytes: []byte("12345")}, "12345", nil},
		"too many bytes":        {Body{Bytes: []byte("123456")}, "", &SizeError{6, 5}},
		"stream":                {stream("12345", -1), "12345", nil},
		"measured stream":       {stream("12345", 5), "12345", nil},
		"too long":              {stream("1234567", -1), "", &SizeError{6, 5}},
		"declared too long":     {stream("", 7), "", &SizeError{7, 5}},
		"shorter than declared": {stream("123", 5), "", io.ErrUnexpectedEOF},
		"withheld":              {Withhold(200, 7), "", nil},
		"none":                  {Body{}, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.body.Whole(5)
			if string(got) != test.want || !sameError(err, test.err) {
				t.Errorf("Whole = %q, %v; want %q, %v", got, err, test.want, test.err)
			}
		})
	}
}

func sameError(got, want error) bool {
	if large, ok := errors.AsType[*SizeError](want); ok {
		found, ok := errors.AsType[*SizeError](got)
		return ok && *found == *large
	}
	return got == want
}
