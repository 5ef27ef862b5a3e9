package reminders

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzPage reads any bytes as a page: it ends, and what it could read is written and read the same.
func FuzzPage(f *testing.F) {
	p := page{Entries: []pageEntry{{"actor-1", "reminder", 0x89abcdef01234567, 1764345600000}, {"a b\n", "", 1, 0}}}
	f.Add(p.encode())
	f.Add((&page{Branch: "89abcdef01234567"}).encode())
	f.Add([]byte("89abcdef01234567 1764345600000 7 18446744073709551615 actor-1reminder\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		var first, second page
		if first.decode(text) != nil {
			return
		}
		if err := second.decode(first.encode()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, second); diff != "" {
			t.Error(diff)
		}
	})
}

// TestPageForm: the form is what docs/reminders.md says, and stays readable by later versions.
func TestPageForm(t *testing.T) {
	want := page{Entries: []pageEntry{{"actor-1", "reminder", 0x89abcdef01234567, 1764345600000}, {"a\n ", "", 1, 0}}}
	const text = "89abcdef01234567 1764345600000 7 8 actor-1reminder\n0000000000000001 0 3 0 a\n \n"
	if got := string(want.encode()); got != text {
		t.Errorf("%q", got)
	}
	var got page
	if err := got.decode([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, broken := range []string{text[:10], text[:len(text)-1], "branch 1", "x", "0000000000000001 0 3 0 a\n x", "g000000000000001 0 0 0 \n"} {
		if err := new(page).decode([]byte(broken)); err == nil {
			t.Errorf("%q is read", broken)
		}
	}
}

// TestKeys: keys stay readable by later versions.
func TestKeys(t *testing.T) {
	l := layout{"ns", "T"}
	at := positionOf("alice", "r") // 12857628797765604516 is b26f7944d8a6d4a4 in hexadecimal
	p := root(at.shard()).child("0000000000000001", at.digit(0)).child("0000000000000002", at.digit(1))
	for want, got := range map[string]string{
		"daprd-reminders||ns||T||index":                              l.index(),
		"daprd-reminders||{b2}||ns||T":                               l.partition(at.shard()),
		"daprd-reminders||{b2}||ns||T||page||b2||":                   l.page(root(at.shard())),
		"daprd-reminders||{b2}||ns||T||page||b26f||0000000000000002": l.page(p),
		"daprd-reminders||{b2}||ns||T||record||00000000000000ff":     l.record(at.shard(), 255),
		"daprd-reminders||{b2}||ns||T||track||ffffffffffffffff":      l.track(at.shard(), 1<<64-1),
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
