package jsontext_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/daprd/daprd/pkg/jsontext"
)

// FuzzScan holds the scanner against encoding/json.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{`{}`, `[]`, `null`, `"a\u00e9\n"`, `-0.1e+5`, `01`, `1.`, `{"a":[1,{"b":null}],"c":"d"}`, `[1,]`, `{"a"}`, "\"\x01\"", `"\ud800"`, ` true `, `tru`, `[[[[`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s := jsontext.Scan(text)
		value := s.Value()
		if got, want := s.End(), json.Valid(text); got != want {
			t.Fatalf("%q: %v, encoding/json says %v", text, got, want)
		}
		if s.End() && strings.TrimSpace(string(value)) != strings.Trim(string(text), " \t\r\n") {
			t.Fatalf("%q gave %q", text, value)
		}
	})
}
