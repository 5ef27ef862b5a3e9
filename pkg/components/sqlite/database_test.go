package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	logrustest "github.com/sirupsen/logrus/hooks/test"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func quiet() logrus.FieldLogger {
	log, _ := logrustest.NewNullLogger()
	return log
}

func openTest(t *testing.T, cfg databaseConfig) *database {
	t.Helper()
	db, err := openDatabase(t.Context(), cfg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestDataSource(t *testing.T) {
	const wal = "_pragma=busy_timeout%282000%29&_pragma=journal_mode%28WAL%29&_txlock=immediate"
	cases := map[string]struct {
		in       string
		wal      bool // disableWAL
		dsn      string
		inMemory bool
		warnings int
		err      string
	}{
		"path":              {in: "a/b.db", dsn: "file:a/b.db?" + wal},
		"uri":               {in: "file:b.db", dsn: "file:b.db?" + wal},
		"uri upper case":    {in: "FILE:b.db", dsn: "file:b.db?" + wal},
		"options kept":      {in: "file:b.db?nolock=1&_pragma=synchronous(1)", dsn: "file:b.db?_pragma=synchronous%281%29&" + wal + "&nolock=1"},
		"memory":            {in: ":memory:", inMemory: true, dsn: "file::memory:?_pragma=busy_timeout%282000%29&_pragma=journal_mode%28MEMORY%29&_txlock=immediate&cache=shared"},
		"memory uri":        {in: "file::MEMORY:", inMemory: true, dsn: "file::memory:?_pragma=busy_timeout%282000%29&_pragma=journal_mode%28MEMORY%29&_txlock=immediate&cache=shared"},
		"no WAL":            {in: "b.db", wal: true, dsn: "file:b.db?_pragma=busy_timeout%282000%29&_pragma=journal_mode%28DELETE%29&_txlock=immediate"},
		"read only":         {in: "file:b.db?mode=ro", dsn: "file:b.db?_pragma=busy_timeout%282000%29&_pragma=journal_mode%28DELETE%29&_txlock=immediate&mode=ro"},
		"other lock":        {in: "file:b.db?_txlock=deferred", warnings: 1, dsn: strings.Replace("file:b.db?"+wal, "immediate", "deferred", 1)},
		"driver shorthand":  {in: "file:b.db?_journal_mode=OFF", warnings: 1, dsn: "file:b.db?" + wal},
		"missing":           {in: "", err: "missing connection string"},
		"only options":      {in: "file:?x=1", err: "connection string names no file; write a path or :memory:"},
		"busy pragma":       {in: "file:b.db?_pragma=busy_timeout(1)", err: "found forbidden option '_pragma=busy_timeout' in the connection string"},
		"journal pragma":    {in: "b.db?_pragma=Journal_Mode%3DOFF", err: "found forbidden option '_pragma=journal_mode' in the connection string"},
		"foreign pragma":    {in: "b.db?_pragma=foreign_keys(1)", err: "found forbidden option '_pragma=foreign_keys' in the connection string"},
		"hidden pragma":     {in: "b.db?_pragma=synchronous(1)%3Bpragma%20journal_mode(OFF)", err: "an option '_pragma' in the connection string holds more than one statement; write one option for each"},
		"unreadable option": {in: "b.db?a=%zz", err: `options of the connection string: invalid URL escape "%zz"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := databaseConfig{ConnectionString: tc.in, BusyTimeout: 2*time.Second + time.Microsecond, DisableWAL: tc.wal}.dataSource()
			if text := errorText(err); text != tc.err {
				t.Fatalf("error %q, want %q", text, tc.err)
			}
			if got.dsn != tc.dsn || got.inMemory != tc.inMemory || len(got.warnings) != tc.warnings {
				t.Errorf("got %+v, want %+v", got, tc)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestOpenDatabaseSettings(t *testing.T) {
	dir := t.TempDir()
	cases := map[string]struct {
		cfg           databaseConfig
		journal       string
		busy          int
		maxConnection int
	}{
		"WAL":    {databaseConfig{ConnectionString: filepath.Join(dir, "a.db"), BusyTimeout: 2 * time.Second}, "wal", 2000, 0},
		"delete": {databaseConfig{ConnectionString: filepath.Join(dir, "b.db"), DisableWAL: true}, "delete", 0, 0},
		"memory": {databaseConfig{ConnectionString: ":memory:", BusyTimeout: time.Second}, "memory", 1000, 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			db := openTest(t, tc.cfg)
			var journal string
			var busy int
			if err := errors.Join(
				db.QueryRowContext(t.Context(), "PRAGMA journal_mode").Scan(&journal),
				db.QueryRowContext(t.Context(), "PRAGMA busy_timeout").Scan(&busy),
			); err != nil {
				t.Fatal(err)
			}
			if journal != tc.journal || busy != tc.busy || db.Stats().MaxOpenConnections != tc.maxConnection {
				t.Errorf("journal %s, busy %d, connections %d; want %+v", journal, busy, db.Stats().MaxOpenConnections, tc)
			}
		})
	}
}

func TestOpenDatabaseNamesFile(t *testing.T) {
	_, err := openDatabase(t.Context(), databaseConfig{ConnectionString: "/nowhere/at/all.db"}, quiet())
	if err == nil || !strings.Contains(err.Error(), "/nowhere/at/all.db") {
		t.Errorf("error %v does not name the file", err)
	}
}

func TestTransactTakesWriteLockAtStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	db := openTest(t, databaseConfig{ConnectionString: path})
	other := openTest(t, databaseConfig{ConnectionString: path})
	err := db.transact(t.Context(), func(*sql.Tx) error {
		return other.transact(t.Context(), func(*sql.Tx) error { return nil })
	})
	if err == nil || !strings.Contains(err.Error(), "locked") {
		t.Errorf("a second writer began while a transaction was open: %v", err)
	}
}

func TestTransactRollsBack(t *testing.T) {
	db := openTest(t, databaseConfig{ConnectionString: ":memory:"})
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE rolled (a)"); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("cause")
	err := db.transact(t.Context(), func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(t.Context(), "INSERT INTO rolled VALUES (1)"); err != nil {
			return err
		}
		return cause
	})
	if !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
	if n := count(t, db, "rolled"); n != 0 {
		t.Errorf("%d rows stayed", n)
	}
}

func count(t *testing.T, db *database, table string) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestMigrateConcurrently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	var mu sync.Mutex
	steps := 0
	m := migration{metadataTable: "metadata", key: "migrations", steps: []func(context.Context, executor) error{
		func(ctx context.Context, db executor) error {
			mu.Lock()
			steps++
			mu.Unlock()
			_, err := db.ExecContext(ctx, "CREATE TABLE one (a)")
			return err
		},
	}}
	var group sync.WaitGroup
	for range 4 {
		db := openTest(t, databaseConfig{ConnectionString: path, BusyTimeout: 10 * time.Second})
		group.Go(func() {
			if err := db.migrate(t.Context(), m, quiet()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if steps != 1 {
		t.Errorf("%d processes did the step, want 1", steps)
	}
}

func TestMigrate(t *testing.T) {
	table := func(name string) func(context.Context, executor) error {
		return func(ctx context.Context, db executor) error {
			_, err := db.ExecContext(ctx, "CREATE TABLE "+name+" (a)")
			return err
		}
	}
	failing := func(context.Context, executor) error { return errors.New("no") }
	type step = func(context.Context, executor) error
	cases := map[string]struct {
		before string
		steps  []step
		after  string
		err    string
	}{
		"new":        {"", []step{table("one"), table("two")}, "2", ""},
		"one step":   {"1", []step{failing, table("two")}, "2", ""},
		"up to date": {"2", []step{failing, failing}, "2", ""},
		"newer":      {"7", []step{failing}, "7", ""},
		"failing":    {"1", []step{table("one"), table("two"), failing}, "1", "migration 3: no"},
		"unreadable": {"x", []step{failing}, "x", `row migrations of table meta is no number: "x"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			db := openTest(t, databaseConfig{ConnectionString: filepath.Join(t.TempDir(), "a.db")})
			m := migration{metadataTable: "meta", key: "migrations", steps: tc.steps}
			if tc.before != "" {
				if err := m.createMetadata(t.Context(), db); err != nil {
					t.Fatal(err)
				}
				if _, err := db.ExecContext(t.Context(), "INSERT INTO meta VALUES ('migrations', ?)", tc.before); err != nil {
					t.Fatal(err)
				}
			}
			if got := errorText(db.migrate(t.Context(), m, quiet())); got != tc.err {
				t.Fatalf("error %q, want %q", got, tc.err)
			}
			var after string
			if err := db.QueryRowContext(t.Context(), "SELECT value FROM meta WHERE key='migrations'").Scan(&after); err != nil {
				t.Fatal(err)
			}
			if after != tc.after {
				t.Errorf("migrations = %s, want %s", after, tc.after)
			}
		})
	}
}

func TestMigrateReadOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	m := migration{metadataTable: "metadata", key: "migrations", steps: []func(context.Context, executor) error{
		func(context.Context, executor) error { return nil },
	}}
	writable := openTest(t, databaseConfig{ConnectionString: path, DisableWAL: true})
	readOnly := openTest(t, databaseConfig{ConnectionString: "file:" + path + "?mode=ro", DisableWAL: true})
	if err := readOnly.migrate(t.Context(), m, quiet()); err == nil {
		t.Error("a read-only database without tables was accepted")
	}
	if err := writable.migrate(t.Context(), m, quiet()); err != nil {
		t.Fatal(err)
	}
	if err := readOnly.migrate(t.Context(), m, quiet()); err != nil {
		t.Errorf("up-to-date read-only database: %v", err)
	}
}

func TestCleanUpOncePerInterval(t *testing.T) {
	db := openTest(t, databaseConfig{ConnectionString: ":memory:"})
	m := migration{metadataTable: "metadata", key: "migrations"}
	if err := db.migrate(t.Context(), m, quiet()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE old (a); INSERT INTO old VALUES (1), (2), (9)"); err != nil {
		t.Fatal(err)
	}
	c := cleanup{interval: time.Hour, metadataTable: "metadata", key: "last-cleanup", remove: "DELETE FROM old WHERE a < ?", args: []any{5}}
	type outcome struct {
		Removed int64
		Ran     bool
	}
	steps := []struct {
		name string
		last string // moves the last clean-up into the past
		want outcome
	}{
		{"first", "", outcome{2, true}},
		{"same interval", "", outcome{0, false}},
		{"just before", "UPDATE metadata SET value = datetime('now', '-3590 seconds')", outcome{0, false}},
		{"next interval", "UPDATE metadata SET value = datetime('now', '-3600 seconds')", outcome{0, true}},
	}
	for _, step := range steps {
		if step.last != "" {
			if _, err := db.ExecContext(t.Context(), step.last); err != nil {
				t.Fatal(err)
			}
		}
		removed, ran, err := db.cleanUp(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, outcome{removed, ran}); diff != "" {
			t.Errorf("%s: %s", step.name, diff)
		}
	}
}

func TestScheduleCleanup(t *testing.T) {
	db := openTest(t, databaseConfig{ConnectionString: ":memory:"})
	if err := db.migrate(t.Context(), migration{metadataTable: "metadata", key: "migrations"}, quiet()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE old (a)"); err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	lines := make(lineHook, 16)
	log.AddHook(lines)
	log.SetOutput(lines)
	j := db.scheduleCleanup(cleanup{interval: 10 * time.Millisecond, metadataTable: "metadata", key: "last-cleanup", remove: "DELETE FROM old"}, log)
	for _, want := range []string{"Schedule expired data clean up every 10ms", "Removed 0 expired rows"} {
		select {
		case got := <-lines:
			if got != want {
				t.Errorf("line %q, want %q", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no line %q", want)
		}
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// lineHook passes on the messages that fit, and is a log's output that writes
// nothing.
type lineHook chan string

func (h lineHook) Levels() []logrus.Level      { return logrus.AllLevels }
func (h lineHook) Write(p []byte) (int, error) { return len(p), nil }
func (h lineHook) Fire(entry *logrus.Entry) error {
	select {
	case h <- entry.Message:
	default:
	}
	return nil
}

func TestCheckIdentifier(t *testing.T) {
	for name, want := range map[string]string{
		"state": "", "A_9": "", "9": "",
		"": "invalid identifier: ", "a b": "invalid identifier: a b", "a;b": "invalid identifier: a;b", "ä": "invalid identifier: ä",
	} {
		if got := errorText(checkIdentifier(name)); got != want {
			t.Errorf("%q: error %q, want %q", name, got, want)
		}
	}
}
