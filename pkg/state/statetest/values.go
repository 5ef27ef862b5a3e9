package statetest

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/daprd/daprd/pkg/state"
)

// wrongTag is a tag that no store gives to a first write, and that every store could have given.
const wrongTag = "77"

func (f *fixture) values() {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	cases := []struct {
		name  string
		value []byte
		json  bool
	}{
		{"text", []byte("hello"), false},
		{"every byte", all, false},
		{"empty", []byte{}, false},
		{"zero bytes", []byte{0, 0, 0}, false},
		{"bytes that look like base64", []byte("AAECAwQ="), false},
		{"JSON as bytes", []byte(`{"a":1}`), false},
		{"1 MiB", bytes.Repeat(all, 4096), false},
		{"JSON string", []byte(`"hello"`), true},
		{"JSON with odd spaces and order", []byte("{ \"b\" : 1,\n\t\"a\": [1, 2 ,{\"z\":null}],  \"b\":2}"), true},
		{"JSON with escapes", []byte(`"<a href=\"x\">&\u00e9é中\u2028</a>\/"`), true},
		{"JSON number that no float holds", []byte("12345678901234567890123.4500"), true},
		{"JSON null", []byte("null"), true},
		{"JSON false", []byte("false"), true},
		{"JSON empty string", []byte(`""`), true},
	}
	for _, c := range cases {
		key := f.key(strings.ReplaceAll(c.name, " ", "-"))
		f.set(&state.SetRequest{Key: key, Value: c.value, JSON: c.json})
		item := f.get(key)
		if !item.Found || !bytes.Equal(item.Value, c.value) {
			f.Errorf("%s: got %.100q (found %v), want %.100q", c.name, item.Value, item.Found, c.value)
		}
	}
}

func (f *fixture) ownership() {
	key, value := f.key("k"), []byte("mine")
	f.set(&state.SetRequest{Key: key, Value: value})
	copy(value, "your")
	f.wantValue(key, "mine")

	transactor, ok := f.store.(state.Transactor)
	if !ok {
		return
	}
	value = []byte("mine")
	ops := []state.Operation{{Set: &state.SetRequest{Key: key, Value: value}}}
	if err := transactor.Transact(f.ctx, ops, nil); err != nil {
		f.Fatal(err)
	}
	copy(value, "your")
	f.wantValue(key, "mine")
}

func (f *fixture) absent() {
	key := f.key("none")
	f.wantAbsent(key)
	f.put(key, "")
	if !f.get(key).Found {
		f.Error("an empty value counts as absent")
	}
}

func (f *fixture) oddKeys() {
	long := strings.Repeat("k", 512)
	for _, name := range []string{"a/b:c d", "é中", "'; DROP TABLE state; --", "%_*?[x]\\", `"{}`, "\x01", "Case", "case", long} {
		key := f.key(name)
		f.put(key, "value of "+name)
	}
	for _, name := range []string{"a/b:c d", "é中", "'; DROP TABLE state; --", "%_*?[x]\\", `"{}`, "\x01", "Case", "case", long} {
		f.wantValue(f.key(name), "value of "+name)
	}
}

func (f *fixture) tagsChange() {
	key := f.key("k")
	seen := make(map[string]bool)
	for range 3 {
		f.put(key, "same")
		tag := f.get(key).ETag
		if tag == "" || seen[tag] {
			f.Fatalf("tag %q after another write, seen before: %v", tag, seen)
		}
		if again := f.get(key).ETag; again != tag {
			f.Fatalf("tag %q and then %q without a write between", tag, again)
		}
		seen[tag] = true
	}
}

func (f *fixture) tagsGuardSet() {
	key := f.key("k")
	f.put(key, "1")
	stale := f.get(key).ETag
	f.set(&state.SetRequest{Key: key, Value: []byte("2"), ETag: &stale})
	f.wantValue(key, "2")
	for _, rule := range []state.Concurrency{"", state.FirstWrite} {
		err := f.store.Set(f.ctx, &state.SetRequest{Key: key, Value: []byte("3"), ETag: &stale, Concurrency: rule})
		f.wantTagError(err, state.ETagMismatch)
		f.wantValue(key, "2")
	}
	empty := ""
	f.set(&state.SetRequest{Key: key, Value: []byte("4"), ETag: &empty})
	f.wantValue(key, "4")
}

func (f *fixture) tagsGuardDelete() {
	key := f.key("k")
	f.put(key, "1")
	stale := f.get(key).ETag
	f.put(key, "2")
	f.wantTagError(f.store.Delete(f.ctx, &state.DeleteRequest{Key: key, ETag: &stale}), state.ETagMismatch)
	f.wantValue(key, "2")
	current := f.get(key).ETag
	if err := f.store.Delete(f.ctx, &state.DeleteRequest{Key: key, ETag: &current}); err != nil {
		f.Fatal(err)
	}
	f.wantAbsent(key)
}

func (f *fixture) tagsOnAbsent() {
	tag := wrongTag
	set := f.store.Set(f.ctx, &state.SetRequest{Key: f.key("set"), Value: []byte("v"), ETag: &tag})
	remove := f.store.Delete(f.ctx, &state.DeleteRequest{Key: f.key("delete"), ETag: &tag})
	if f.options.ETagOnAbsent {
		if err := errors.Join(set, remove); err != nil {
			f.Fatal(err)
		}
		f.wantValue(f.key("set"), "v")
		return
	}
	f.wantTagError(set, state.ETagMismatch)
	f.wantTagError(remove, state.ETagMismatch)
	f.wantAbsent(f.key("set"))
}

func (f *fixture) malformedTags() {
	key, tag, want := f.key("k"), "no tag of this store", state.ETagMismatch
	if f.options.NumericETags {
		want = state.ETagInvalid
	}
	f.put(key, "v")
	f.wantTagError(f.store.Set(f.ctx, &state.SetRequest{Key: key, Value: []byte("w"), ETag: &tag}), want)
	f.wantValue(key, "v")
}

func (f *fixture) firstWrite() {
	key := f.key("k")
	first := &state.SetRequest{Key: key, Value: []byte("1"), Concurrency: state.FirstWrite}
	f.set(first)
	err := f.store.Set(f.ctx, &state.SetRequest{Key: key, Value: []byte("2"), Concurrency: state.FirstWrite})
	if err == nil {
		f.Fatal("a second first write is accepted")
	}
	if !f.options.FirstWriteIsPlain {
		f.wantTagError(err, state.ETagMismatch)
	}
	f.wantValue(key, "1")

	tag := f.get(key).ETag
	f.set(&state.SetRequest{Key: key, Value: []byte("3"), ETag: &tag, Concurrency: state.FirstWrite})
	f.wantValue(key, "3")

	err = f.store.Set(f.ctx, &state.SetRequest{Key: key, Value: []byte("4")})
	if f.options.FirstWriteSticks != (err != nil) {
		f.Errorf("a write without a tag after a first write: %v", err)
	}
	if err := f.store.Delete(f.ctx, &state.DeleteRequest{Key: key}); err != nil {
		f.Fatal(err)
	}
	f.set(first)
	f.wantValue(key, "1")
}

func (f *fixture) lastWrite() {
	key := f.key("k")
	for _, value := range []string{"1", "2", "3"} {
		f.set(&state.SetRequest{Key: key, Value: []byte(value), Concurrency: state.LastWrite, Consistency: state.Strong})
		f.wantValue(key, value)
	}
	f.set(&state.SetRequest{Key: key, Value: []byte("4"), Consistency: state.Eventual})
	f.wantValue(key, "4")
}

func (f *fixture) unknownRules() {
	key := f.key("k")
	cases := []struct {
		name string
		req  state.SetRequest
		want string
	}{
		{"concurrency", state.SetRequest{Key: key, Value: []byte("v"), Concurrency: "x"}, "unrecognized concurrency model 'x'"},
		{"consistency", state.SetRequest{Key: key, Value: []byte("v"), Consistency: "x"}, "unrecognized consistency model 'x'"},
	}
	for _, c := range cases {
		if err := f.store.Set(f.ctx, &c.req); err == nil || !strings.Contains(err.Error(), c.want) {
			f.Errorf("%s: error %v, want %s", c.name, err, c.want)
		}
		f.wantAbsent(key)
	}
	f.put(key, "v")
	item, err := f.store.Get(f.ctx, &state.GetRequest{Key: key, Consistency: "x"})
	if err != nil || string(item.Value) != "v" {
		f.Errorf("get with an unknown consistency: %v, %v; want it ignored", item, err)
	}
}

func (f *fixture) delete() {
	key := f.key("k")
	f.put(key, "v")
	for range 2 {
		if err := f.store.Delete(f.ctx, &state.DeleteRequest{Key: key}); err != nil {
			f.Fatal(err)
		}
		f.wantAbsent(key)
	}
	f.put(key, "again")
	f.wantValue(key, "again")
	empty := ""
	if err := f.store.Delete(f.ctx, &state.DeleteRequest{Key: key, ETag: &empty}); err != nil {
		f.Fatalf("delete with an empty tag, which is none: %v", err)
	}
	f.wantAbsent(key)
}

func (f *fixture) bulkGet() {
	bulk, ok := f.store.(state.BulkGetter)
	if !ok {
		f.Skip("the store has no call for many keys")
	}
	names := []string{"c", "none", "a", "b", "a", "empty"}
	reqs := make([]state.GetRequest, len(names))
	for i, name := range names {
		reqs[i] = state.GetRequest{Key: f.key(name)}
		if name != "none" && name != "empty" {
			f.put(f.key(name), "value of "+name)
		}
	}
	f.put(f.key("empty"), "")
	items, err := bulk.BulkGet(f.ctx, reqs)
	if err != nil {
		f.Fatal(err)
	}
	if len(items) != len(reqs) {
		f.Fatalf("%d items for %d keys", len(items), len(reqs))
	}
	for i, item := range items {
		want := f.get(reqs[i].Key)
		if item.Key != reqs[i].Key || item.Err != nil || item.Found != want.Found ||
			!bytes.Equal(item.Value, want.Value) || item.ETag != want.ETag {
			f.Errorf("item %d: %+v, want what get gives: %+v", i, item, want)
		}
	}
	if items, err := bulk.BulkGet(f.ctx, nil); err != nil || len(items) != 0 {
		f.Errorf("no keys: %v, %v", items, err)
	}
}

func (f *fixture) cancelled() {
	key := f.key("k")
	f.put(key, "before")
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	failures := map[string]error{
		"set":    f.store.Set(ctx, &state.SetRequest{Key: key, Value: []byte("after")}),
		"delete": f.store.Delete(ctx, &state.DeleteRequest{Key: key}),
	}
	_, failures["get"] = f.store.Get(ctx, &state.GetRequest{Key: key})
	if transactor, ok := f.store.(state.Transactor); ok {
		ops := []state.Operation{{Delete: &state.DeleteRequest{Key: key}}}
		failures["transaction"] = transactor.Transact(ctx, ops, nil)
	}
	for name, err := range failures {
		if !errors.Is(err, context.Canceled) {
			f.Errorf("%s: error %v, want context.Canceled", name, err)
		}
	}
	f.wantValue(key, "before")
}
