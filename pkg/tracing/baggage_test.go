package tracing

import (
	"strings"
	"testing"
)

func TestCheckBaggage(t *testing.T) {
	for value, valid := range map[string]bool{
		"":                                  true,
		"k=v":                               true,
		"k=v,l=w;p;q=r , m= x ":             true,
		"k=":                                true,
		"k=a=b":                             true,
		"k=%20%C3%A4":                       true,
		"k":                                 false,
		"=v":                                false,
		"k=v,":                              false,
		"k=v w":                             false,
		"k=%2":                              false,
		"k=ä":                               false,
		`k="v"`:                             false,
		"k v=w":                             false,
		"k=v;":                              false,
		"k=v;p q":                           false,
		"k=" + strings.Repeat("v", 8190):    true,
		"k=" + strings.Repeat("v", 8191):    false,
		strings.Repeat("k=v,", 179) + "k=v": true,
		strings.Repeat("k=v,", 180) + "k=v": false,
	} {
		if err := CheckBaggage(value); (err == nil) != valid {
			t.Errorf("%.40q: %v", value, err)
		}
	}
}

// FuzzCheckBaggage: what passes can be a header, and is a list of what passes by itself.
func FuzzCheckBaggage(f *testing.F) {
	for _, seed := range []string{"", "k=v", "k=v;p=q;r,l=%41", "=", ";", ",", "k=\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if CheckBaggage(value) != nil || value == "" {
			return
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r != '\t' && (r < ' ' || r > '~') }) {
			t.Errorf("%q passes", value)
		}
		for member := range strings.SplitSeq(value, ",") {
			if err := CheckBaggage(member); err != nil || member == "" {
				t.Errorf("%q passes with its member %q: %v", value, member, err)
			}
		}
	})
}
