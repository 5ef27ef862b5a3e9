package uppercase

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/daprd/daprd/pkg/components/componentstest"
)

func TestUppercase(t *testing.T) {
	m, err := New(t.Context(), componentstest.FromReadme(t, "middleware.http.uppercase"))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"": "", "hello, Ada 1": "HELLO, ADA 1", "grüße ɐ": "GRÜßE Ɐ", "a\xffb\xc3": "A\xffB\xc3", "\xe2\x82": "\xe2\x82", "€x": "€X",
		strings.Repeat("añ", 10_000): strings.Repeat("AÑ", 10_000),
	} {
		for name, from := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader, "data and end at once": iotest.DataErrReader,
		} {
			r := httptest.NewRequest("POST", "/", from(strings.NewReader(text)))
			m.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				got, err := io.ReadAll(r.Body)
				if err != nil || string(got) != want {
					t.Errorf("%s: %.20q became %.20q, %v", name, text, got, err)
				}
			})).ServeHTTP(httptest.NewRecorder(), r)
		}
	}
}
