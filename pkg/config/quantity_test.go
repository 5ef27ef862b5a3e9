package config

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
)

var quantities = []string{"4Mi", "0", "-1", "4", "4Ki", "1Gi", "1Ti", "1Pi", "7Ei", "1k", "1M", "1G", "1T", "1P", "9E", "0.3k", "1.1k", "0.1Gi", "4000001m", "5u", "5n",
	"1e3", "1E3", "1e-3", "1.5", "-1.5", "-1.5Ki", ".5", "1.", "+3", "1.Ki", "9223372036854775807", "0001", "1e18", "0.000000001Gi"}

func TestParseQuantity(t *testing.T) {
	for _, text := range quantities {
		want := resource.MustParse(text)
		if got, err := ParseQuantity(text); err != nil || got != want.Value() {
			t.Errorf("%s is %d, %v; want %d", text, got, err, want.Value())
		}
	}
}

func TestUnusableQuantities(t *testing.T) {
	for text, want := range map[string]string{
		"": "is no size", "Mi": "is no size", "4X": "is no size", "4MB": "is no size", "4mi": "is no size", "4K": "is no size", " 4": "is no size", "4 Mi": "is no size",
		"four": "is no size", ".": "is no size", "0x10": "is no size", "1e": "is no size", "1e1000": "is no size", "1_000": "is no size", "--4": "is no size",
		"8Ei": "is too large", "9223372036854775808": "is too large", "1e99": "is too large", strings.Repeat("9", 80): "is too large", strings.Repeat("9", 81): "is no size", "inf": "is no size",
	} {
		_, err := ParseQuantity(text)
		if want == "" && err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

// FuzzQuantity holds against Kubernetes' reader what it can read and represent.
func FuzzQuantity(f *testing.F) {
	for _, text := range quantities {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseQuantity(text)
		if len(text) > 20 {
			return
		}
		want, wantErr := resource.ParseQuantity(text)
		if err == nil && wantErr != nil {
			t.Errorf("%q is %d, but no quantity: %v", text, got, wantErr)
		}
		// Kubernetes caps what is too large, has no more digits than nano, and rounds negative fractions in its
		// own ways.
		if err == nil && got < 1<<53 && got >= 0 && want.Value() != got {
			t.Errorf("%q is %d, want %d", text, got, want.Value())
		}
	})
}
