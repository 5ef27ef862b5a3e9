package nameformat_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/nameresolution"
	"github.com/daprd/daprd/pkg/nameresolution/nameformat"
)

func TestResolve(t *testing.T) {
	for format, want := range map[string]string{
		"service-{appid}.example.org":      "service-cart.example.org:50002",
		"service-{appid}.example.org:6000": "service-cart.example.org:6000",
		"[fd00::1]:{appid}":                "[fd00::1]:cart",
	} {
		r, err := nameformat.New(format)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Resolve(t.Context(), nameresolution.Target{AppID: "cart", Port: 50002})
		if diff := cmp.Diff([]string{want}, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", format, err, diff)
		}
	}
}

func TestFormatsThatCannotBeUsed(t *testing.T) {
	for _, format := range []string{"", "one-for-all"} {
		if _, err := nameformat.New(format); err == nil {
			t.Errorf("%q is taken", format)
		}
	}
}
