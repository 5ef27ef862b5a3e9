package configuration

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTextOnly: what is no UTF-8 cannot be sent in protobuf's strings, and must not keep the rest from being read: such
// parts of values are replaced, and items with such keys left out, by which nobody could ask for them.
func TestTextOnly(t *testing.T) {
	garbage := map[string]Item{"good": {Value: "1"}, "value": {Value: "a\xffb", Version: "\xc3", Metadata: map[string]string{"m": "\x80", "\xff": "x"}}, "\xfe": {Value: "2"}}
	clean := map[string]Item{"good": {Value: "1"}, "value": {Value: "a\ufffdb", Version: "\ufffd", Metadata: map[string]string{"m": "\ufffd", "\ufffd": "x"}}}
	store := steady(garbage)
	store.get = func(context.Context) (map[string]Item, error) { return garbage, nil }
	s := service(t, store, silent)
	got, err := s.Get(t.Context(), "settings", nil, nil)
	if diff := cmp.Diff(clean, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	changes := make(chan map[string]Item)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- s.Watch(ctx, "settings", nil, nil, func(string) error { return nil }, func(_ string, items map[string]Item) error {
			changes <- items
			return nil
		})
	}()
	for _, key := range []string{"good", "value"} {
		if diff := cmp.Diff(map[string]Item{key: clean[key]}, receive(t, changes, "change")); diff != "" {
			t.Error(diff)
		}
	}
	cancel()
	if err := receive(t, ended, "end"); err != nil {
		t.Error(err)
	}
	if garbage["\xfe"].Value != "2" {
		t.Error("the store's own map was changed")
	}
}
