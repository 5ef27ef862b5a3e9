package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// createState is the table as Dapr makes it.
func createState(table string) string {
	return `CREATE TABLE IF NOT EXISTS ` + table + ` (
	key TEXT NOT NULL PRIMARY KEY,
	value TEXT NOT NULL,
	is_binary BOOLEAN NOT NULL,
	etag TEXT NOT NULL,
	expiration_time TIMESTAMP DEFAULT NULL,
	update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
)`
}

// alive is the condition that a row has not expired. Times are UTC texts in whole seconds, as Dapr writes
// them, so that the order of texts is that of times.
const alive = `(expiration_time IS NULL OR expiration_time > CURRENT_TIMESTAMP)`

// columns are what scanItem reads; the time to RFC 3339.
const columns = `key, value, is_binary, etag, strftime('%Y-%m-%dT%H:%M:%SZ', expiration_time)`

func selectMany(table string, keys int) string {
	return `SELECT ` + columns + ` FROM ` + table + ` WHERE key IN (?` + strings.Repeat(`,?`, keys-1) + `) AND ` + alive
}

// statements are compiled once for each connection.
type statements struct {
	get          *sql.Stmt
	set          *sql.Stmt
	setFirst     *sql.Stmt
	setTagged    *sql.Stmt
	remove       *sql.Stmt
	removeTagged *sql.Stmt
}

// prepareStatements compiles them. The parameters of the writes are key ?1, value ?2, is_binary ?3, new tag
// ?4, time to live ?5 ("+60 seconds" or NULL) and expected tag ?6.
func prepareStatements(ctx context.Context, db *database, table string) (s statements, err error) {
	insert := `INSERT INTO ` + table + ` (key, value, is_binary, etag, expiration_time, update_time)
VALUES (?1, ?2, ?3, ?4, datetime(CURRENT_TIMESTAMP, ?5), CURRENT_TIMESTAMP)
ON CONFLICT (key) DO UPDATE SET value = excluded.value, is_binary = excluded.is_binary, etag = excluded.etag,
expiration_time = excluded.expiration_time, update_time = excluded.update_time`
	for _, one := range []struct {
		into **sql.Stmt
		text string
	}{
		{&s.get, `SELECT ` + columns + ` FROM ` + table + ` WHERE key = ?1 AND ` + alive},
		{&s.set, insert},
		{&s.setFirst, insert + ` WHERE NOT ` + alive},
		{&s.setTagged, `UPDATE ` + table + ` SET value = ?2, is_binary = ?3, etag = ?4,
expiration_time = datetime(CURRENT_TIMESTAMP, ?5), update_time = CURRENT_TIMESTAMP
WHERE key = ?1 AND etag = ?6 AND ` + alive},
		{&s.remove, `DELETE FROM ` + table + ` WHERE key = ?1`},
		{&s.removeTagged, `DELETE FROM ` + table + ` WHERE key = ?1 AND etag = ?2`},
	} {
		if *one.into, err = db.PrepareContext(ctx, one.text); err != nil {
			return s, errors.Join(fmt.Errorf("table %s is not the state table that is expected: %w", table, err), s.Close())
		}
	}
	return s, nil
}

// Close lets go of the compiled forms.
func (s *statements) Close() error {
	var errs []error
	for _, statement := range []*sql.Stmt{s.get, s.set, s.setFirst, s.setTagged, s.remove, s.removeTagged} {
		if statement != nil {
			errs = append(errs, statement.Close())
		}
	}
	return errors.Join(errs...)
}

// isBusy says whether a statement failed since somebody else held the lock.
func isBusy(err error) bool {
	var failure *sqlite.Error
	return errors.As(err, &failure) && failure.Code()&0xff == sqlite3.SQLITE_BUSY
}
