package redis

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	logrustest "github.com/sirupsen/logrus/hooks/test"

	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/state"
)

// startDocuments runs a server whose HSET and HGET go by the names JSON.SET and JSON.GET: for one path they
// do what those do, so that the scripts run on a real server though the module cannot be had.
func startDocuments(t *testing.T) *redistest.Server {
	return redistest.Start(t, "--rename-command", "HSET", "JSON.SET", "--rename-command", "HGET", "JSON.GET")
}

var asJSON = map[string]string{"contentType": "application/json"}

func putDocument(t *testing.T, store *stateStore, key, value string) error {
	return store.Set(t.Context(), &state.SetRequest{Key: key, Value: []byte(value), Metadata: asJSON})
}

func TestDocuments(t *testing.T) {
	server := startDocuments(t)
	store, db := openState(t, server.Address), direct(t, server.Address)
	document := func(key string) string {
		text, err := db.Do(t.Context(), "JSON.GET", key, ".").Text()
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		return text
	}
	want := []state.Feature{"ETAG", "TRANSACTIONAL", "TTL", "QUERY_API"}
	if diff := cmp.Diff(want, store.Features()); diff != "" {
		t.Error(diff)
	}

	for i, want := range []string{`{"data":{ "a":1 },"version":1}`, `{"data":[2],"version":2}`} {
		if err := putDocument(t, store, "k", []string{`{ "a":1 }`, `[2]`}[i]); err != nil {
			t.Fatal(err)
		}
		if got := document("k"); got != want {
			t.Errorf("document %s, want %s", got, want)
		}
	}
	reqs := []state.GetRequest{{Key: "k", Metadata: asJSON}, {Key: "none", Metadata: asJSON}}
	items, err := store.BulkGet(t.Context(), reqs)
	if err != nil {
		t.Fatal(err)
	}
	wantItems := []state.Item{{Key: "k", Value: []byte("[2]"), ETag: "2", Found: true}, {Key: "none"}}
	if diff := cmp.Diff(wantItems, items); diff != "" {
		t.Error(diff)
	}
	single, err := store.Get(t.Context(), &reqs[0])
	if diff := cmp.Diff(&wantItems[0], single); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestDocumentTags(t *testing.T) {
	store := openState(t, startDocuments(t).Address)
	write := func(value, tag string, rule state.Concurrency) error {
		return store.Set(t.Context(), &state.SetRequest{Key: "k", Value: []byte(value), ETag: &tag, Concurrency: rule, Metadata: asJSON})
	}
	remove := func(tag string) error {
		return store.Delete(t.Context(), &state.DeleteRequest{Key: "k", ETag: &tag, Metadata: asJSON})
	}
	steps := []struct {
		name string
		do   func() error
		want string // the value after it
		err  string
	}{
		{"first write", func() error { return write("1", "", state.FirstWrite) }, "1", ""},
		{"again", func() error { return write("2", "", state.FirstWrite) }, "1", "failed to set key k: it exists, with etag 1"},
		{"without a tag", func() error { return write("2", "", "") }, "1", "failed to set key k: it exists, with etag 1"},
		{"wrong tag", func() error { return write("2", "7", "") }, "1", "possible etag mismatch"},
		{"right tag", func() error { return write("2", "1", "") }, "2", ""},
		{"still guarded", func() error { return write("3", "", "") }, "2", "failed to set key k: it exists, with etag 2"},
		{"delete by a wrong tag", func() error { return remove("1") }, "2", "possible etag mismatch"},
		{"delete by the right tag", func() error { return remove("2") }, "", ""},
		{"delete what is gone", func() error { return remove("2") }, "", ""},
		{"a tag where nothing is", func() error { return write("4", "9", "") }, "4", ""},
		{"no JSON", func() error { return write(`1,"version":99`, "", "") }, "4", "contentType is application/json, but the value is not JSON"},
		{"nothing", func() error { return write("", "", "") }, "4", "contentType is application/json, but the value is not JSON"},
	}
	for _, step := range steps {
		err := step.do()
		if (step.err == "") != (err == nil) || !strings.Contains(errorText(err), step.err) {
			t.Errorf("%s: error %v, want %q", step.name, err, step.err)
		}
		item, err := store.Get(t.Context(), &state.GetRequest{Key: "k", Metadata: asJSON})
		if err != nil || string(item.Value) != step.want {
			t.Errorf("%s: %v, %v; want %q", step.name, item, err, step.want)
		}
	}
}

func TestDocumentTimeToLiveAndTransaction(t *testing.T) {
	server := startDocuments(t)
	store, db := openState(t, server.Address), direct(t, server.Address)
	ops := []state.Operation{
		{Set: &state.SetRequest{Key: "item", Value: []byte("1"), Metadata: map[string]string{"contentType": "application/json", "ttlInSeconds": "60"}}},
		{Set: &state.SetRequest{Key: "gone", Value: []byte("1")}},
		{Delete: &state.DeleteRequest{Key: "gone"}},
	}
	if err := store.Transact(t.Context(), ops, asJSON); err != nil {
		t.Fatal(err)
	}
	if ttl := db.TTL(t.Context(), "item").Val().Seconds(); ttl < 50 || ttl > 60 {
		t.Errorf("TTL %v", ttl)
	}
	if n := db.Exists(t.Context(), "gone").Val(); n != 0 {
		t.Error("the deleted document is there")
	}
	if err := store.Set(t.Context(), &state.SetRequest{Key: "item", Value: []byte("2"),
		Metadata: map[string]string{"contentType": "application/json", "ttlInSeconds": "0"}}); err != nil {
		t.Fatal(err)
	}
	if ttl := db.TTL(t.Context(), "item").Val(); ttl != -1 {
		t.Errorf("TTL %v, want none", ttl)
	}
}

// Keys of other types are replaced; documents of other programs are never taken for an item.
func TestForeignDocuments(t *testing.T) {
	server := startDocuments(t)
	store, db, ctx := openState(t, server.Address), direct(t, server.Address), t.Context()
	if err := errors.Join(db.Set(ctx, "text", "x", 0).Err(),
		db.Do(ctx, "JSON.SET", "other", ".", `{"a":1}`).Err(), db.Do(ctx, "JSON.SET", "list", ".", `[1]`).Err(), db.Do(ctx, "JSON.SET", "no data", ".", `{"version":1}`).Err()); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"text", "other", "list", "no data"} {
		if item, err := store.Get(ctx, &state.GetRequest{Key: key, Metadata: asJSON}); err == nil {
			t.Errorf("%s is read as %+v", key, item)
		}
		if err := putDocument(t, store, key, `"mine"`); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		item, err := store.Get(ctx, &state.GetRequest{Key: key, Metadata: asJSON})
		if err != nil || string(item.Value) != `"mine"` {
			t.Errorf("%s: %v, %v", key, item, err)
		}
	}
	// This client may not look (ACLs know the command by its first name): that must not cost the value.
	if err := errors.Join(db.Set(ctx, "kept", "x", 0).Err(), db.Do(ctx, "ACL", "SETUSER", "blind", "on", "nopass", "~*", "+@all", "-hget").Err()); err != nil {
		t.Fatal(err)
	}
	blind := openState(t, server.Address, "redisUsername", "blind", "redisPassword", "any")
	if err := putDocument(t, blind, "kept", "1"); err == nil {
		t.Error("written without a look at what is there")
	}
	if got := db.Get(ctx, "kept").Val(); got != "x" {
		t.Errorf("the value is %q", got)
	}
}

// Without the module the content type changes nothing, and queries say what is missing.
func TestWithoutModule(t *testing.T) {
	log, hook := logrustest.NewNullLogger()
	manifest := spec(redistest.Start(t).Address, "queryIndexes", `[{"name":"n","indexes":[{"key":"a","type":"TEXT"}]}]`)
	manifest.Log = log
	opened, err := NewState(t.Context(), manifest)
	if err != nil {
		t.Fatal(err)
	}
	store := opened.(*stateStore)
	defer store.Close()
	if entry := hook.LastEntry(); entry == nil || !strings.Contains(entry.Message, "queryIndexes has no effect: redis-json server support is required") {
		t.Errorf("warning %v", entry)
	}
	if err := putDocument(t, store, "k", "any text"); err != nil {
		t.Fatal(err)
	}
	if item, err := store.Get(t.Context(), &state.GetRequest{Key: "k"}); err != nil || string(item.Value) != "any text" {
		t.Errorf("got %v, %v", item, err)
	}
	_, err = store.Query(t.Context(), &state.Query{}, nil)
	if want := "redis-json server support is required for query capability"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("query: %v, want %s", err, want)
	}
}
