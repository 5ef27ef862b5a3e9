package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	logrustest "github.com/sirupsen/logrus/hooks/test"

	"github.com/daprd/daprd/pkg/nameresolution"
)

func resolverConfig(path string) ResolverConfig {
	cfg := DefaultResolverConfig()
	cfg.ConnectionString = path
	return cfg
}

func openResolver(t *testing.T, path string) (*Resolver, *logrustest.Hook) {
	t.Helper()
	log, hook := logrustest.NewNullLogger()
	r, err := OpenResolver(t.Context(), resolverConfig(path), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, hook
}

func execute(t testing.TB, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

// describe gives what the tables mean: columns, and indexes with their columns.
func describe(t *testing.T, db *sql.DB) []string {
	t.Helper()
	var out []string
	for _, query := range []string{
		`SELECT 'column '||m.name||' '||c.cid||' '||c.name||' '||c.type||' '||c."notnull"||' '||ifnull(c.dflt_value,'-')||' '||c.pk
FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type='table' ORDER BY 1`,
		`SELECT 'index '||m.name||' '||i.name||' '||i."unique"||' '||i.origin||' '||i.partial||' '||x.seqno||' '||x.name
FROM sqlite_master m JOIN pragma_index_list(m.name) i JOIN pragma_index_info(i.name) x WHERE m.type='table' ORDER BY 1`,
		`SELECT 'metadata '||key||' '||value FROM metadata ORDER BY 1`,
	} {
		rows, err := db.QueryContext(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := scanAddresses(rows)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, lines...)
	}
	return out
}

func load(t *testing.T, path string) *sql.DB {
	t.Helper()
	dump, err := os.ReadFile("testdata/nameresolution-one-sidecar-1.18.3.sql")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	execute(t, db, string(dump))
	return db
}

func TestTablesAreThoseOfDapr(t *testing.T) {
	captured := load(t, filepath.Join(t.TempDir(), "captured.db"))
	r, hook := openResolver(t, filepath.Join(t.TempDir(), "own.db"))
	want := describe(t, captured)
	if len(want) < 10 {
		t.Fatalf("the capture describes only %q", want)
	}
	if diff := cmp.Diff(want, describe(t, r.db.DB)); diff != "" {
		t.Errorf("tables differ (-dapr +own):\n%s", diff)
	}
	var lines []string
	for _, entry := range hook.AllEntries() {
		lines = append(lines, entry.Message)
	}
	wantLines := []string{
		"Configuring SQLite name resolution with path " + r.db.source.path,
		"Creating metadata table 'metadata' if it doesn't exist",
		"Performing migration 1",
		"Creating hosts table 'hosts'",
		"Schedule expired data clean up every 1h0m0s",
	}
	if diff := cmp.Diff(wantLines, lines); diff != "" {
		t.Errorf("log differs:\n%s", diff)
	}
}

func TestResolveInDatabaseOfDapr(t *testing.T) {
	path := filepath.Join(t.TempDir(), "captured.db")
	dapr := load(t, path)
	r, _ := openResolver(t, path)
	target := nameresolution.Target{AppID: "app1", Namespace: "any"}

	var notFound *nameresolution.NotFoundError
	_, err := r.Resolve(t.Context(), target)
	if !errors.As(err, &notFound) || err.Error() != "no host found with the given ID" {
		t.Errorf("an entry that was not renewed was found: %v", err)
	}
	execute(t, dapr, "UPDATE hosts SET last_update = unixepoch() - 3")
	got, err := r.Resolve(t.Context(), target)
	if err != nil || !slices.Equal(got, []string{"127.0.0.1:50002"}) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestAnnounceWritesRowOfDapr(t *testing.T) {
	path := filepath.Join(t.TempDir(), "own.db")
	r, _ := openResolver(t, path)
	execute(t, r.db.DB, "INSERT INTO hosts VALUES ('left behind', '[::1]:50002', 'dead', '', 0)")
	announcement := nameresolution.Announcement{AppID: "app1", Namespace: "default", Host: "::1", Port: 50002}
	if err := r.Announce(t.Context(), announcement); err != nil {
		t.Fatal(err)
	}
	var id, address, app, namespace string
	var age int
	row := r.db.QueryRowContext(t.Context(), "SELECT registration_id, address, app_id, namespace, unixepoch() - last_update FROM hosts")
	if err := row.Scan(&id, &address, &app, &namespace, &age); err != nil {
		t.Fatal(err)
	}
	if len(id) != 36 || address != "[::1]:50002" || app != "app1" || namespace != "" || age > 2 {
		t.Errorf("row %q %q %q %q, age %d", id, address, app, namespace, age)
	}
	if n := count(t, r.db, "hosts"); n != 1 {
		t.Errorf("%d rows, want the one that replaced the dead one", n)
	}
	if err := r.Withdraw(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, r.db, "hosts"); n != 0 {
		t.Errorf("%d rows after withdrawal", n)
	}
}

func TestReplicasAreAllFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "own.db")
	a, _ := openResolver(t, path)
	b, _ := openResolver(t, path)
	for port, r := range map[int]*Resolver{1: a, 2: b} {
		if err := r.Announce(t.Context(), nameresolution.Announcement{AppID: "app", Host: "127.0.0.1", Port: port}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := a.Resolve(t.Context(), nameresolution.Target{AppID: "app"})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"127.0.0.1:1", "127.0.0.1:2"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestRenew(t *testing.T) {
	own := registration{id: "own", address: "127.0.0.1:1", appID: "app"}
	cases := map[string]struct {
		row     string
		renewed bool
		id      string
		line    string
	}{
		"alive":      {"INSERT INTO hosts VALUES ('own', '127.0.0.1:1', 'app', '', 5)", true, "own", ""},
		"cleaned up": {"SELECT 1", true, "own", ""},
		"replaced": {"INSERT INTO hosts VALUES ('other', '127.0.0.1:1', 'other', '', unixepoch())", false, "other",
			"Host registration lost: address 127.0.0.1:1 is registered by another sidecar; give each sidecar that uses this database an address and internal gRPC port of its own"},
		"broken table": {"DROP TABLE hosts", true, "", "Failed to update host registration: SQL logic error: no such table: hosts (1)"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r, hook := openResolver(t, filepath.Join(t.TempDir(), "own.db"))
			execute(t, r.db.DB, tc.row)
			hook.Reset()
			if got := r.renew(t.Context(), own); got != tc.renewed {
				t.Errorf("renew = %v", got)
			}
			var line string
			if entry := hook.LastEntry(); entry != nil {
				line = entry.Message
			}
			if line != tc.line {
				t.Errorf("line %q, want %q", line, tc.line)
			}
			if tc.id == "" {
				return
			}
			var id string
			var age int
			if err := r.db.QueryRowContext(t.Context(), "SELECT registration_id, unixepoch()-last_update FROM hosts").Scan(&id, &age); err != nil {
				t.Fatal(err)
			}
			if id != tc.id || age > 2 {
				t.Errorf("row of %s, age %d; want %s", id, age, tc.id)
			}
		})
	}
}

func TestRenewEndsWithContext(t *testing.T) {
	r, hook := openResolver(t, filepath.Join(t.TempDir(), "own.db"))
	hook.Reset()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r.renew(ctx, registration{id: "own"}) || len(hook.AllEntries()) != 0 {
		t.Errorf("a renewal that was ended is reported: %v", hook.LastEntry())
	}
}

func TestCleanupDeletesDeadHosts(t *testing.T) {
	r, _ := openResolver(t, filepath.Join(t.TempDir(), "own.db"))
	execute(t, r.db.DB, "INSERT INTO hosts VALUES ('a', 'a', 'app', '', unixepoch()-60), ('b', 'b', 'app', '', unixepoch())")
	removed, ran, err := r.db.cleanUp(t.Context(), r.cleanup())
	if err != nil || removed != 1 || !ran {
		t.Errorf("removed %d, ran %v, %v", removed, ran, err)
	}
}

func TestInMemoryIsWarnedOf(t *testing.T) {
	_, hook := openResolver(t, ":memory:")
	for _, entry := range hook.AllEntries() {
		if entry.Level == logrus.WarnLevel && entry.Message == "Configuring name resolution with an in-memory SQLite database. Service invocation across different apps will not work." {
			return
		}
	}
	t.Error("no warning")
}

func TestResolverConfig(t *testing.T) {
	cases := map[string]struct {
		change func(*ResolverConfig)
		err    string
	}{
		"default":          {func(*ResolverConfig) {}, ""},
		"no connection":    {func(c *ResolverConfig) { c.ConnectionString = "" }, "missing connection string"},
		"short timeout":    {func(c *ResolverConfig) { c.Timeout = time.Second - 1 }, "invalid value for 'timeout': must be greater than 1s"},
		"fractions":        {func(c *ResolverConfig) { c.UpdateInterval = 5500 * time.Millisecond }, "update interval must not contain fractions of seconds"},
		"too close":        {func(c *ResolverConfig) { c.Timeout = 4500 * time.Millisecond }, "update interval must be at least 1s greater than timeout"},
		"least":            {func(c *ResolverConfig) { c.Timeout = 4 * time.Second }, ""},
		"table":            {func(c *ResolverConfig) { c.TableName = "a-b" }, "invalid identifier: a-b"},
		"table of details": {func(c *ResolverConfig) { c.MetadataTableName = "a b" }, "invalid identifier: a b"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			cfg := resolverConfig("a.db")
			tc.change(&cfg)
			if got := errorText(cfg.check()); got != tc.err {
				t.Errorf("error %q, want %q", got, tc.err)
			}
		})
	}
}
