// Package sqlite holds the components that keep their data in a SQLite database
// (a driver in Go, no C library): the state store and the name resolver, in the
// layout of Dapr's, so that both can share one file with it.
//
// It must not know the API's wire forms or who calls it.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// databaseConfig is what the components of this package have in common.
type databaseConfig struct {
	// ConnectionString is a path, "file:path?options", ":memory:" or
	// "file::memory:".
	ConnectionString string
	// BusyTimeout is how long a statement waits for the lock of another
	// connection or process; nothing when it is 0 or less. Milliseconds count.
	BusyTimeout time.Duration
	// DisableWAL keeps a rollback journal instead of a write-ahead log, which
	// network file systems need.
	DisableWAL bool
}

// database is an open database whose transactions take the write lock when they
// begin, so that none fails in its middle because another one wrote.
type database struct {
	*sql.DB
	source dataSource
}

// openDatabase opens and reaches the database. Warnings about the connection
// string go to log.
func openDatabase(ctx context.Context, cfg databaseConfig, log logrus.FieldLogger) (*database, error) {
	source, err := cfg.dataSource()
	if err != nil {
		return nil, err
	}
	for _, warning := range source.warnings {
		log.Warn(warning)
	}
	db, err := sql.Open("sqlite", source.dsn)
	if err != nil {
		return nil, fmt.Errorf("open SQLite database %s: %w", source.path, err)
	}
	if source.inMemory {
		// The data lives as long as the last connection.
		db.SetMaxOpenConns(1)
		db.SetMaxIdleConns(1)
		db.SetConnMaxIdleTime(0)
		db.SetConnMaxLifetime(0)
	}
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open SQLite database %s: %w", source.path, err), db.Close())
	}
	return &database{DB: db, source: source}, nil
}

// executor is what a connection and a transaction have in common.
type executor interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// transact runs do in a transaction that holds the write lock from its start, and
// commits it unless do fails.
func (d *database) transact(ctx context.Context, do func(tx *sql.Tx) error) error {
	tx, err := d.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	if err := do(tx); err != nil {
		// The cause is what matters: a rollback fails only where the context's
		// end or the connection's has already done it.
		_ = tx.Rollback()
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit transaction: %w", err)
	}
	return nil
}

// exclusively runs do on one connection while nobody else reads or writes the
// database.
func (d *database) exclusively(ctx context.Context, do func(executor) error) (err error) {
	conn, err := d.Conn(ctx)
	if err != nil {
		return fmt.Errorf("get connection: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, "BEGIN EXCLUSIVE TRANSACTION"); err != nil {
		return fmt.Errorf("begin exclusive transaction: %w", err)
	}
	if err := do(conn); err != nil {
		_, rollbackErr := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK TRANSACTION")
		return errors.Join(err, rollbackErr)
	}
	if _, err := conn.ExecContext(ctx, "COMMIT TRANSACTION"); err != nil {
		_, rollbackErr := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK TRANSACTION")
		return errors.Join(fmt.Errorf("commit transaction: %w", err), rollbackErr)
	}
	return nil
}

// checkIdentifier refuses a table name that could be anything but a name, since
// it becomes part of statements.
func checkIdentifier(name string) error {
	for _, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (r < '0' || r > '9') && r != '_' {
			return fmt.Errorf("invalid identifier: %s", name)
		}
	}
	if name == "" {
		return fmt.Errorf("invalid identifier: %s", name)
	}
	return nil
}
