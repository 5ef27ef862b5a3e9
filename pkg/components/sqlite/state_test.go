package sqlite

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	logrustest "github.com/sirupsen/logrus/hooks/test"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/nameresolution"
	"github.com/daprd/daprd/pkg/state"
	"github.com/daprd/daprd/pkg/state/statetest"
)

var (
	_ components.Factory[state.Store]             = NewState
	_ components.Factory[nameresolution.Resolver] = NewResolver
)

func openState(t testing.TB, properties map[string]string) *stateStore {
	t.Helper()
	store, err := NewState(t.Context(), componentstest.Spec("state.sqlite", properties))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.(io.Closer).Close(); err != nil {
			t.Error(err)
		}
	})
	return store.(*stateStore)
}

func openFile(t testing.TB) *stateStore {
	return openState(t, map[string]string{"connectionString": filepath.Join(t.TempDir(), "state.db")})
}

func put(t testing.TB, store state.Store, key, value string) {
	t.Helper()
	if err := store.Set(t.Context(), &state.SetRequest{Key: key, Value: []byte(value)}); err != nil {
		t.Fatal(err)
	}
}

func value(t testing.TB, store state.Store, key string) string {
	t.Helper()
	item, err := store.Get(t.Context(), &state.GetRequest{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return string(item.Value)
}

func TestStateConformance(t *testing.T) {
	cases := map[string]map[string]string{
		"WAL":       {"connectionString": filepath.Join(t.TempDir(), "wal.db")},
		"journal":   {"connectionString": filepath.Join(t.TempDir(), "journal.db"), "disableWAL": "true"},
		"in memory": {"url": ":memory:"},
	}
	for name, properties := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := openState(t, properties)
			statetest.Run(t, func(*testing.T) state.Store { return store }, statetest.Options{})
		})
	}
}

func TestStateReadmeManifest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	store, err := NewState(t.Context(), componentstest.FromReadme(t, "state.sqlite", "state.db", path))
	if err != nil {
		t.Fatal(err)
	}
	defer store.(io.Closer).Close()
	put(t, store, "k", "v")
	if got := value(t, store, "k"); got != "v" {
		t.Errorf("got %q", got)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

// loadState is a database that Dapr left.
func loadState(t *testing.T, dump string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "captured.db")
	text, err := os.ReadFile("testdata/" + dump)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	execute(t, db, string(text))
	return path
}

func TestStateTablesAreThoseOfDapr(t *testing.T) {
	captured, err := sql.Open("sqlite", loadState(t, "state-empty-1.18.3.sql"))
	if err != nil {
		t.Fatal(err)
	}
	defer captured.Close()
	want := describe(t, captured)
	if len(want) < 8 {
		t.Fatalf("the capture describes only %q", want)
	}
	log, hook := logrustest.NewNullLogger()
	spec := componentstest.Spec("state.sqlite", map[string]string{"url": filepath.Join(t.TempDir(), "own.db"), "cleanupInterval": "1h"})
	spec.Log = log
	store, err := NewState(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer store.(io.Closer).Close()
	if diff := cmp.Diff(want, describe(t, store.(*stateStore).db.DB)); diff != "" {
		t.Errorf("tables differ (-dapr +own):\n%s", diff)
	}
	var lines []string
	for _, entry := range hook.AllEntries() {
		lines = append(lines, entry.Message)
	}
	wantLines := []string{"Creating metadata table 'metadata' if it doesn't exist", "Performing migration 1",
		"Creating state table 'state'", "Schedule expired data clean up every 1h0m0s"}
	if diff := cmp.Diff(wantLines, lines); diff != "" {
		t.Error(diff)
	}
}

func TestReadsWhatDaprWrote(t *testing.T) {
	store := openState(t, map[string]string{"connectionString": loadState(t, "state-1.18.3.sql")})
	want := []state.Item{
		{Key: "myapp||z", Value: []byte("null"), ETag: "fb066b07-0d21-4108-9f78-3964ea6ba704", Found: true},
		{Key: "myapp||o", Value: []byte(`{"a":"\u003cx\u003e"}`), ETag: "28d0c778-32c3-43c2-a268-9906a4e3cbae", Found: true},
		{Key: "myapp||gt", Value: []byte("hello"), ETag: "cb2042c5-c86a-4c2c-8d05-4f71d1474306", Found: true},
		{Key: "myapp||gj", Value: []byte(`{ "a" : 1 }`), ETag: "6d058a7d-6706-4929-abb4-547747f841e1", Found: true},
		{Key: "myapp||gb", Value: []byte{0, 1, 0xff, 0xfe}, ETag: "261d261e-6bde-4bf6-93d2-e3b9e3be7aa4", Found: true},
		{Key: "myapp||ge", Value: []byte{}, ETag: "96d7d611-824f-43f2-b009-10ebed1414dd", Found: true},
		{Key: "myapp||t", Value: []byte(`"v2"`), ETag: "cbc53f76-8ff7-48d8-8185-b3aee9482eab", Found: true},
		{Key: "myapp||t1", Value: []byte(`{"x":1}`), ETag: "d78a422d-bd8d-4c20-bdd6-4433e747ec35", Found: true},
		{Key: "myapp||n"},
	}
	reqs := make([]state.GetRequest, len(want))
	for i := range want {
		reqs[i].Key = want[i].Key
		got, err := store.Get(t.Context(), &reqs[i])
		if diff := cmp.Diff(&want[i], got); diff != "" || err != nil {
			t.Error(diff, err)
		}
	}
	all, err := store.BulkGet(t.Context(), reqs)
	if diff := cmp.Diff(want, all); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for i := range want[:8] {
		if err := store.Set(t.Context(), &state.SetRequest{Key: want[i].Key, Value: []byte("x"), ETag: &want[i].ETag}); err != nil {
			t.Error(err)
		}
	}
}

// row is one of the table, times as texts relative to now.
type row struct {
	Value    string
	Type     string
	Binary   int
	Lifetime string
}

func TestWritesRowsOfDapr(t *testing.T) {
	store := openFile(t)
	wrong := "no tag"
	cases := map[string]struct {
		req  state.SetRequest
		want row
	}{
		"text in JSON":  {state.SetRequest{Value: []byte(`"hello"`), JSON: true}, row{`"hello"`, "text", 0, ""}},
		"number":        {state.SetRequest{Value: []byte(`42`), JSON: true}, row{`42`, "text", 0, ""}},
		"null":          {state.SetRequest{Value: []byte(`null`), JSON: true}, row{`null`, "text", 0, ""}},
		"as sent":       {state.SetRequest{Value: []byte(`{"b": 1,  "a":"<x>"}`), JSON: true}, row{`{"b": 1,  "a":"<x>"}`, "text", 0, ""}},
		"bytes":         {state.SetRequest{Value: []byte("hello")}, row{"aGVsbG8=", "text", 1, ""}},
		"JSON in bytes": {state.SetRequest{Value: []byte(`{ "a" : 1 }`)}, row{"eyAiYSIgOiAxIH0=", "text", 1, ""}},
		"binary":        {state.SetRequest{Value: []byte{0, 1, 0xff, 0xfe}}, row{"AAH//g==", "text", 1, ""}},
		"empty":         {state.SetRequest{}, row{"", "text", 1, ""}},
		"a minute":      {state.SetRequest{Value: []byte(`1`), JSON: true, Metadata: map[string]string{"ttlInSeconds": "60"}}, row{"1", "text", 0, "60"}},
		"for ever":      {state.SetRequest{Value: []byte(`1`), JSON: true, Metadata: map[string]string{"ttlInSeconds": "-1"}}, row{"1", "text", 0, ""}},
	}
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	moment := regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$`)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.req.Key = name
			// The same row is made by each of the statements that write.
			first := c.req
			first.Concurrency = state.FirstWrite
			check := func(how string, req state.SetRequest) string {
				if err := store.Set(t.Context(), &req); err != nil {
					t.Fatalf("%s: %v", how, err)
				}
				var got row
				var tag, updated string
				var expires sql.NullString
				err := store.db.QueryRowContext(t.Context(), `SELECT value, typeof(value), is_binary, etag, update_time||'', expiration_time||'',
ifnull(unixepoch(expiration_time) - unixepoch(update_time), '') FROM state WHERE key = ?`, name).
					Scan(&got.Value, &got.Type, &got.Binary, &tag, &updated, &expires, &got.Lifetime)
				if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
					t.Errorf("%s: %s %v", how, diff, err)
				}
				if !uuid.MatchString(tag) || !moment.MatchString(updated) || (expires.Valid && !moment.MatchString(expires.String)) {
					t.Errorf("%s: etag %q, update_time %q, expiration_time %q", how, tag, updated, expires.String)
				}
				return tag
			}
			check("first", first)
			tag := check("over it", c.req)
			tagged := c.req
			tagged.ETag = &tag
			check("by its tag", tagged)
			tagged.ETag = &wrong
			err := store.Set(t.Context(), &tagged)
			if want := "possible etag mismatch. error from state store"; errorText(err) != want {
				t.Errorf("error %v, want %s", err, want)
			}
		})
	}
}

func TestStateSettings(t *testing.T) {
	file := func() string { return filepath.Join(t.TempDir(), "state.db") }
	cases := map[string]struct {
		properties map[string]string
		want       string
	}{
		"no file":        {nil, "metadata property connectionString is missing"},
		"short timeout":  {map[string]string{"url": file(), "timeout": "900ms"}, "metadata property timeout: invalid value for 'timeout': must be greater than 1s"},
		"timeout":        {map[string]string{"url": file(), "timeoutInSeconds": "soon"}, "metadata property timeout: "},
		"table":          {map[string]string{"url": file(), "tableName": "a b"}, "metadata property tableName: invalid identifier: a b"},
		"metadata table": {map[string]string{"url": file(), "metadataTableName": "a;b"}, "metadata property metadataTableName: invalid identifier: a;b"},
		"pragma":         {map[string]string{"url": file() + "?_pragma=busy_timeout(1)"}, "found forbidden option '_pragma=busy_timeout' in the connection string"},
		"no folder":      {map[string]string{"url": "/nowhere/at/all.db"}, "open SQLite database /nowhere/at/all.db"},
		"read-only":      {map[string]string{"url": "file:" + loadState(t, "state-empty-1.18.3.sql") + "?mode=ro"}, ""},
		"all": {map[string]string{"URL": file(), "timeoutInSeconds": "2", "busyTimeout": "100ms", "disableWAL": "true", "tableName": "mine",
			"metadataTableName": "also_mine", "cleanupIntervalInSeconds": "60"}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			store, err := NewState(t.Context(), componentstest.Spec("state.sqlite", c.properties))
			if err == nil {
				err = store.(io.Closer).Close()
			}
			if (c.want == "") != (err == nil) || !strings.Contains(errorText(err), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestStateSettingsAreUsed(t *testing.T) {
	store := openState(t, map[string]string{"url": filepath.Join(t.TempDir(), "a.db"), "tableName": "mine", "metadataTableName": "also_mine",
		"timeoutInSeconds": "3", "busyTimeout": "1500ms", "cleanupInterval": "5m"})
	put(t, store, "k", "v")
	if n := count(t, store.db, "mine"); n != 1 {
		t.Errorf("%d rows in the table", n)
	}
	if n := count(t, store.db, "also_mine"); n != 1 {
		t.Errorf("%d rows in the metadata table", n)
	}
	if s := store.settings; s.Timeout != 3*time.Second || s.BusyTimeout != 1500*time.Millisecond || s.CleanupInterval != 5*time.Minute || s.DisableWAL {
		t.Errorf("settings %+v", s)
	}
	if diff := cmp.Diff([]state.Feature{"ETAG", "TRANSACTIONAL", "TTL"}, store.Features()); diff != "" {
		t.Error(diff)
	}
}

func TestTimeToLiveErrors(t *testing.T) {
	store := openFile(t)
	for text, want := range map[string]string{
		"abc": `error parsing TTL: incorrect value for metadata 'ttlInSeconds': strconv.ParseInt: parsing "abc": invalid syntax`,
		"-2":  "error parsing TTL: incorrect value for metadata 'ttlInSeconds': must be -1 or greater",
	} {
		err := store.Set(t.Context(), &state.SetRequest{Key: "k", Metadata: map[string]string{"ttlInSeconds": text}})
		if errorText(err) != want {
			t.Errorf("%s: error %v, want %s", text, err, want)
		}
	}
}

func TestStateCleanup(t *testing.T) {
	store := openState(t, map[string]string{"url": filepath.Join(t.TempDir(), "a.db"), "cleanupInterval": "1h"})
	put(t, store, "stays", "v")
	put(t, store, "later", "v")
	put(t, store, "gone", "v")
	execute(t, store.db.DB, "UPDATE state SET expiration_time = datetime('now', '+1 hour') WHERE key = 'later'")
	execute(t, store.db.DB, "UPDATE state SET expiration_time = datetime('now', '-2 seconds') WHERE key = 'gone'")
	if removed, ran, err := store.db.cleanUp(t.Context(), store.cleanup()); removed != 1 || !ran || err != nil {
		t.Errorf("removed %d, ran %v, %v", removed, ran, err)
	}
	if _, ran, err := store.db.cleanUp(t.Context(), store.cleanup()); ran || err != nil {
		t.Errorf("cleaned up twice within the interval: %v", err)
	}
	var at string
	if err := store.db.QueryRowContext(t.Context(), "SELECT value FROM metadata WHERE key = 'last-cleanup'").Scan(&at); err != nil || len(at) != 19 {
		t.Errorf("last-cleanup %q, %v", at, err)
	}
	if n := count(t, store.db, "state"); n != 2 {
		t.Errorf("%d rows", n)
	}
}

// Deleting by the tag of a row that expired and is still there works, as in Dapr.
func TestExpiredRows(t *testing.T) {
	store := openFile(t)
	put(t, store, "k", "v")
	item, err := store.Get(t.Context(), &state.GetRequest{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	execute(t, store.db.DB, "UPDATE state SET expiration_time = datetime('now', '-1 seconds')")
	_, refused := state.IsETag(store.Set(t.Context(), &state.SetRequest{Key: "k", ETag: &item.ETag}))
	if !refused {
		t.Error("an expired row is written by its tag")
	}
	items, err := store.BulkGet(t.Context(), []state.GetRequest{{Key: "k"}})
	if err != nil || items[0].Found {
		t.Errorf("bulk get of an expired row: %+v, %v", items, err)
	}
	if err := store.Delete(t.Context(), &state.DeleteRequest{Key: "k", ETag: &item.ETag}); err != nil {
		t.Error(err)
	}
	if n := count(t, store.db, "state"); n != 0 {
		t.Errorf("%d rows", n)
	}
}

func TestValuesOutliveTheProcess(t *testing.T) {
	properties := map[string]string{"connectionString": filepath.Join(t.TempDir(), "state.db")}
	store, err := NewState(t.Context(), componentstest.Spec("state.sqlite", properties))
	if err != nil {
		t.Fatal(err)
	}
	put(t, store, "k", "v")
	if err := store.(io.Closer).Close(); err != nil {
		t.Fatal(err)
	}
	if got := value(t, openState(t, properties), "k"); got != "v" {
		t.Errorf("got %q", got)
	}
}

func TestManyKeysAtOnce(t *testing.T) {
	store := openFile(t)
	const n = 2*keysAtOnce + 7
	ops, reqs := make([]state.Operation, n), make([]state.GetRequest, n)
	for i := range n {
		reqs[i].Key = strconv.Itoa(i)
		ops[i].Set = &state.SetRequest{Key: reqs[i].Key, Value: []byte(reqs[i].Key)}
	}
	if err := store.Transact(t.Context(), ops, nil); err != nil {
		t.Fatal(err)
	}
	items, err := store.BulkGet(t.Context(), reqs)
	if err != nil {
		t.Fatal(err)
	}
	for i, item := range items {
		if string(item.Value) != strconv.Itoa(i) {
			t.Fatalf("item %d: %+v", i, item)
		}
	}
}

// Readers see what was committed, at once, while somebody writes.
func TestReadersDoNotWaitForWriters(t *testing.T) {
	store := openFile(t)
	put(t, store, "k", "before")
	err := store.db.transact(t.Context(), func(tx *sql.Tx) error {
		result, err := tx.ExecContext(t.Context(), "UPDATE state SET value = '1', is_binary = 0")
		if err != nil {
			return err
		}
		if n, _ := result.RowsAffected(); n != 1 {
			return fmt.Errorf("%d rows", n)
		}
		var readers sync.WaitGroup
		for range 16 {
			readers.Go(func() {
				item, err := store.Get(t.Context(), &state.GetRequest{Key: "k"})
				if err != nil || string(item.Value) != "before" {
					t.Errorf("got %v, %v", item, err)
				}
			})
		}
		readers.Wait()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := value(t, store, "k"); got != "1" {
		t.Errorf("got %q after the commit", got)
	}
}

// Another process that keeps the lock is waited for, and then named.
func TestLockOfAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	store := openState(t, map[string]string{"url": path, "busyTimeout": "50ms"})
	patient := openState(t, map[string]string{"url": path, "busyTimeout": "20s"})
	locked, release := make(chan struct{}), make(chan struct{})
	var other sync.WaitGroup
	other.Go(func() {
		if err := openTest(t, databaseConfig{ConnectionString: path}).transact(t.Context(), func(*sql.Tx) error {
			close(locked)
			<-release
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	<-locked
	set := &state.SetRequest{Key: "k", Value: []byte("v")}
	for name, err := range map[string]error{
		"set":         store.Set(t.Context(), set),
		"transaction": store.Transact(t.Context(), []state.Operation{{Set: set}, {Set: set}}, nil),
	} {
		want := "in SQLite database " + path + ": another process held its lock longer than busyTimeout (50ms)"
		if !strings.Contains(errorText(err), want) {
			t.Errorf("%s: error %v, want %s", name, err, want)
		}
	}
	waiting := make(chan error, 1)
	go func() { waiting <- patient.Set(t.Context(), set) }()
	close(release)
	if err := <-waiting; err != nil {
		t.Error(err)
	}
	other.Wait()
}

// The child of TestTwoProcesses counts in the database that it is given.
func TestCountingChild(t *testing.T) {
	path := os.Getenv("SQLITE_TEST_COUNTER")
	if path == "" {
		t.Skip("runs as the child of TestTwoProcesses")
	}
	countUp(t, openState(t, map[string]string{"url": path, "busyTimeout": "20s"}))
}

const increments = 100

func countUp(t *testing.T, store state.Store) {
	for done := 0; done < increments; {
		item, err := store.Get(t.Context(), &state.GetRequest{Key: "counter"})
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.Atoi(string(item.Value))
		err = store.Set(t.Context(), &state.SetRequest{Key: "counter", Value: strconv.AppendInt(nil, int64(n+1), 10),
			ETag: &item.ETag, Concurrency: state.FirstWrite})
		if _, refused := state.IsETag(err); refused {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		done++
	}
}

// Two processes on one file lose nothing of each other's.
func TestTwoProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCountingChild$", "-test.v")
	child.Env = append(os.Environ(), "SQLITE_TEST_COUNTER="+path)
	var output strings.Builder
	child.Stdout, child.Stderr = &output, &output
	store := openState(t, map[string]string{"url": path, "busyTimeout": "20s"})
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	countUp(t, store)
	if err := child.Wait(); err != nil || !strings.Contains(output.String(), "--- PASS") {
		t.Fatalf("child: %v\n%s", err, &output)
	}
	if got := value(t, store, "counter"); got != strconv.Itoa(2*increments) {
		t.Errorf("counter %s, want %d", got, 2*increments)
	}
}

func TestBrokenRows(t *testing.T) {
	store := openFile(t)
	execute(t, store.db.DB, "INSERT INTO state (key, value, is_binary, etag) VALUES ('k', 'no base64!', 1, 'e')")
	_, err := store.Get(t.Context(), &state.GetRequest{Key: "k"})
	if err == nil || !strings.Contains(err.Error(), "read key k in SQLite database "+store.db.source.path+": the value is marked as binary and is no base64") {
		t.Errorf("error %v", err)
	}
}

func TestForeignTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	execute(t, db, "CREATE TABLE state (id INTEGER)")
	_, err = NewState(t.Context(), componentstest.Spec("state.sqlite", map[string]string{"url": path}))
	if err == nil || !strings.Contains(err.Error(), "table state is not the state table that is expected") {
		t.Errorf("error %v", err)
	}
}

func TestNewResolver(t *testing.T) {
	spec := componentstest.Spec("sqlite", map[string]string{"url": filepath.Join(t.TempDir(), "nr.db"), "timeoutInSeconds": "2",
		"busyTimeout": "1s", "updateInterval": "10", "cleanupIntervalInSeconds": "0", "tableName": "mine", "disableWAL": "yes"})
	resolver, err := NewResolver(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	r := resolver.(*Resolver)
	defer r.Close()
	want := ResolverConfig{ConnectionString: spec.Properties["url"], BusyTimeout: time.Second, DisableWAL: true, Timeout: 2 * time.Second,
		TableName: "mine", MetadataTableName: "metadata", UpdateInterval: 10 * time.Second}
	if diff := cmp.Diff(want, r.cfg); diff != "" {
		t.Error(diff)
	}
	for name, properties := range map[string]map[string]string{"missing": nil, "timeout": {"url": "a", "timeout": "x"}, "short": {"url": "a", "timeout": "1ms"}} {
		resolver, err := NewResolver(t.Context(), componentstest.Spec("sqlite", properties))
		if err == nil || resolver != nil {
			t.Errorf("%s: %v, %v", name, resolver, err)
		}
	}
}

func BenchmarkState(b *testing.B) {
	store := openFile(b)
	content := make([]byte, 1024)
	keys := make([]string, 1024)
	ops := make([]state.Operation, len(keys))
	for i := range keys {
		keys[i] = fmt.Sprintf("app||key-%d", i)
		ops[i].Set = &state.SetRequest{Key: keys[i], Value: content}
	}
	if err := store.Transact(b.Context(), ops, nil); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		run  func(key string) error
	}{
		{"get", func(key string) error {
			item, err := store.Get(b.Context(), &state.GetRequest{Key: key})
			if err == nil && !item.Found {
				err = errors.New("not found")
			}
			return err
		}},
		{"set", func(key string) error {
			return store.Set(b.Context(), &state.SetRequest{Key: key, Value: content})
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if err := c.run(keys[i%len(keys)]); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
