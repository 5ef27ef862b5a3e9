package tracing_test

import (
	"encoding/base64"
	"testing"

	"github.com/daprd/daprd/pkg/tracing"
)

func TestBinary(t *testing.T) {
	for name, test := range map[string]struct {
		parent, binary string
	}{
		// As Dapr 1.18 sends it.
		"zero": {tracing.ZeroParent, "AAAAAAAAAAAAAAAAAAAAAAAAAQAAAAAAAAAAAgA="},
		"sampled": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			"AAAK92UZFs1D3YRI6yEcgDGcAbeta3FpIDMxAgE="},
		"other version": {"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", ""},
		"no hex":        {"00-0af7651916cd43dd8448eb211c80319x-b7ad6b7169203331-01", ""},
		"empty":         {"", ""},
		"wrong dashes":  {"00-0af7651916cd43dd8448eb211c80319c0b7ad6b7169203331-01", ""},
	} {
		t.Run(name, func(t *testing.T) {
			binary, ok := tracing.Binary(test.parent)
			if got := base64.StdEncoding.EncodeToString([]byte(binary)); got != test.binary || ok != (test.binary != "") {
				t.Fatalf("Binary(%q) = %s, %t", test.parent, got, ok)
			}
			if !ok {
				return
			}
			if parent, ok := tracing.Parent(binary); parent != test.parent || !ok {
				t.Errorf("Parent = %q, %t", parent, ok)
			}
		})
	}
}

func FuzzParent(f *testing.F) {
	zero, _ := tracing.Binary(tracing.ZeroParent)
	f.Add(zero)
	f.Add("")
	f.Add(zero[:28])
	f.Fuzz(func(t *testing.T, binary string) {
		parent, ok := tracing.Parent(binary)
		if !ok {
			return
		}
		if again, ok := tracing.Binary(parent); !ok || again != binary {
			t.Errorf("%q became %q", binary, again)
		}
	})
}
