package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/nameresolution"
)

const (
	// maxAddresses bounds one answer: more replicas on one database than can be
	// told apart by a caller's load.
	maxAddresses = 64
	// renewalRetryInterval is Dapr's pause between tries to renew.
	renewalRetryInterval = 50 * time.Millisecond
)

// ResolverConfig is the configuration of the name resolver "sqlite".
type ResolverConfig struct {
	// ConnectionString, BusyTimeout and DisableWAL: see databaseConfig.
	ConnectionString string        `metadata:"connectionString,required" aliases:"url"`
	BusyTimeout      time.Duration `metadata:"busyTimeout"`
	DisableWAL       bool          `metadata:"disableWAL"`
	// Timeout bounds each operation; at least 1s.
	Timeout time.Duration `metadata:"timeout" aliases:"timeoutInSeconds"`
	// TableName and MetadataTableName are of ASCII letters, digits and '_'.
	TableName         string `metadata:"tableName"`
	MetadataTableName string `metadata:"metadataTableName"`
	// UpdateInterval is the age at which an entry that was not renewed counts as
	// dead: whole seconds, at least 1s above Timeout.
	UpdateInterval time.Duration `metadata:"updateInterval"`
	// CleanupInterval is how often dead entries are deleted; never if 0 or less.
	CleanupInterval time.Duration `metadata:"cleanupInterval" aliases:"cleanupIntervalInSeconds"`
}

// DefaultResolverConfig holds Dapr's defaults; ConnectionString is to be set.
func DefaultResolverConfig() ResolverConfig {
	return ResolverConfig{
		BusyTimeout:       800 * time.Millisecond,
		Timeout:           time.Second,
		TableName:         "hosts",
		MetadataTableName: "metadata",
		UpdateInterval:    5 * time.Second,
		CleanupInterval:   time.Hour,
	}
}

func (c ResolverConfig) check() error {
	switch {
	case c.ConnectionString == "":
		return errors.New("missing connection string")
	case c.Timeout < time.Second:
		return errors.New("invalid value for 'timeout': must be greater than 1s")
	case c.UpdateInterval%time.Second != 0:
		return errors.New("update interval must not contain fractions of seconds")
	case c.UpdateInterval-c.Timeout < time.Second:
		return errors.New("update interval must be at least 1s greater than timeout")
	}
	return errors.Join(checkIdentifier(c.TableName), checkIdentifier(c.MetadataTableName))
}

// Resolver is the name resolver "sqlite": sidecars that share a database file
// find one another by its table of hosts. As in Dapr the namespace plays no part,
// and nothing is remembered between lookups.
type Resolver struct {
	cfg     ResolverConfig
	db      *database
	log     logrus.FieldLogger
	janitor *janitor

	cancel   context.CancelFunc
	renewals sync.WaitGroup

	mu           sync.Mutex
	registration registration
}

// registration is the sidecar's own row; its id is empty while there is none.
type registration struct {
	id, address, appID string
}

// NewResolver is the factory of the name resolver "sqlite": the properties of spec are those of
// spec.nameResolution.configuration.
func NewResolver(ctx context.Context, spec *components.Spec) (nameresolution.Resolver, error) {
	cfg := DefaultResolverConfig()
	if err := components.Decode(spec, &cfg); err != nil {
		return nil, err
	}
	resolver, err := OpenResolver(ctx, cfg, spec.Log)
	if err != nil {
		return nil, err
	}
	return resolver, nil
}

// OpenResolver opens the database and makes the tables that are missing. Close
// the resolver to delete the sidecar's row and let go of the file.
func OpenResolver(ctx context.Context, cfg ResolverConfig, log logrus.FieldLogger) (*Resolver, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout+cfg.BusyTimeout)
	defer cancel()
	db, err := openDatabase(ctx, databaseConfig{ConnectionString: cfg.ConnectionString, BusyTimeout: cfg.BusyTimeout, DisableWAL: cfg.DisableWAL}, log)
	if err != nil {
		return nil, err
	}
	log.Infof("Configuring SQLite name resolution with path %s", db.source.path)
	if db.source.inMemory {
		log.Warn("Configuring name resolution with an in-memory SQLite database. Service invocation across different apps will not work.")
	}
	r := &Resolver{cfg: cfg, db: db, log: log, cancel: func() {}}
	if err := db.migrate(ctx, r.migration(), log); err != nil {
		return nil, errors.Join(fmt.Errorf("make tables in SQLite database %s: %w", db.source.path, err), db.Close())
	}
	r.janitor = db.scheduleCleanup(r.cleanup(), log)
	return r, nil
}

func (r *Resolver) migration() migration {
	return migration{
		metadataTable: r.cfg.MetadataTableName,
		key:           "nr-migrations",
		steps:         []func(context.Context, executor) error{r.createHosts},
	}
}

func (r *Resolver) createHosts(ctx context.Context, db executor) error {
	r.log.Infof("Creating hosts table '%s'", r.cfg.TableName)
	table := r.cfg.TableName
	for _, statement := range []string{
		`CREATE TABLE IF NOT EXISTS ` + table + ` (
	registration_id TEXT NOT NULL PRIMARY KEY,
	address TEXT NOT NULL,
	app_id TEXT NOT NULL,
	namespace TEXT NOT NULL,
	last_update INTEGER NOT NULL
)`,
		`CREATE UNIQUE INDEX IF NOT EXISTS ` + table + `_address_idx ON ` + table + ` (address)`,
		`CREATE INDEX IF NOT EXISTS ` + table + `_last_update_idx ON ` + table + ` (last_update)`,
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("create hosts table %s: %w", table, err)
		}
	}
	return nil
}

func (r *Resolver) cleanup() cleanup {
	return cleanup{
		interval:      r.cfg.CleanupInterval,
		metadataTable: r.cfg.MetadataTableName,
		key:           "nr-last-cleanup",
		remove:        `DELETE FROM ` + r.cfg.TableName + ` WHERE last_update < unixepoch() - ?`,
		args:          []any{int64(r.cfg.UpdateInterval / time.Second)},
	}
}

// Resolve gives the addresses of the application's live entries in random order.
func (r *Resolver) Resolve(ctx context.Context, target nameresolution.Target) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	rows, err := r.db.QueryContext(ctx, `SELECT address FROM `+r.cfg.TableName+`
WHERE app_id = ? AND last_update > unixepoch() - ? ORDER BY random() LIMIT ?`,
		target.AppID, int64(r.cfg.UpdateInterval/time.Second), maxAddresses)
	if err != nil {
		return nil, fmt.Errorf("look up host of %s: %w", target.AppID, err)
	}
	addresses, err := scanAddresses(rows)
	if err != nil {
		return nil, fmt.Errorf("look up host of %s: %w", target.AppID, err)
	}
	if len(addresses) == 0 {
		return nil, &nameresolution.NotFoundError{AppID: target.AppID, Text: "no host found with the given ID"}
	}
	return addresses, nil
}

func scanAddresses(rows *sql.Rows) (addresses []string, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var address string
		if err := rows.Scan(&address); err != nil {
			return nil, err
		}
		addresses = append(addresses, address)
	}
	return addresses, rows.Err()
}

// Announce enters the sidecar, in place of an entry with the same address that a
// killed one left, and keeps the entry alive until Withdraw or Close.
func (r *Resolver) Announce(ctx context.Context, a nameresolution.Announcement) error {
	if err := r.Withdraw(ctx); err != nil {
		return err
	}
	own := registration{id: uuid.NewString(), address: a.Address(), appID: a.AppID}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	// The namespace is empty, as Dapr writes it.
	_, err := r.db.ExecContext(ctx, `REPLACE INTO `+r.cfg.TableName+`
(registration_id, address, app_id, namespace, last_update) VALUES (?, ?, ?, '', unixepoch())`,
		own.id, own.address, own.appID)
	if err != nil {
		return fmt.Errorf("register host %s: %w", own.address, err)
	}
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.mu.Lock()
	r.registration, r.cancel = own, stop
	r.mu.Unlock()
	r.renewals.Go(func() { r.keepAlive(renewing, own) })
	return nil
}

// Withdraw deletes the sidecar's entry; lookups go on.
func (r *Resolver) Withdraw(ctx context.Context) error {
	r.mu.Lock()
	own := r.registration
	r.registration = registration{}
	r.cancel()
	r.mu.Unlock()
	r.renewals.Wait()
	if own.id == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	_, err := r.db.ExecContext(ctx, `DELETE FROM `+r.cfg.TableName+` WHERE registration_id = ? AND address = ?`, own.id, own.address)
	if err != nil {
		return fmt.Errorf("unregister host %s: %w", own.address, err)
	}
	return nil
}

// Close deletes the sidecar's entry and closes the database.
func (r *Resolver) Close() error {
	err := r.Withdraw(context.Background())
	return errors.Join(err, r.janitor.Close(), r.db.Close())
}

func (r *Resolver) keepAlive(ctx context.Context, own registration) {
	tick := time.NewTicker(r.cfg.UpdateInterval - r.cfg.Timeout)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if !r.renew(ctx, own) {
				return
			}
		}
	}
}

// renew moves the time of the own entry, and says whether there is still one to
// renew. An entry that was cleaned up (a laptop that slept) is made again; Dapr
// ends the process here. One that another sidecar replaced stays that sidecar's.
func (r *Resolver) renew(ctx context.Context, own registration) bool {
	attempts, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	for {
		renewed, err := r.touch(attempts, own)
		if err == nil {
			if !renewed {
				r.log.Errorf("Host registration lost: address %s is registered by another sidecar; give each sidecar that uses this database an address and internal gRPC port of its own", own.address)
			}
			return renewed
		}
		select {
		case <-attempts.Done():
			if ctx.Err() != nil {
				return false
			}
			r.log.Errorf("Failed to update host registration: %v", err)
			return true
		case <-time.After(renewalRetryInterval):
		}
	}
}

func (r *Resolver) touch(ctx context.Context, own registration) (bool, error) {
	result, err := r.db.ExecContext(ctx, `UPDATE `+r.cfg.TableName+` SET last_update = unixepoch()
WHERE registration_id = ? AND address = ?`, own.id, own.address)
	if err != nil {
		return false, err
	}
	if n, err := result.RowsAffected(); err != nil || n > 0 {
		return n > 0, err
	}
	result, err = r.db.ExecContext(ctx, `INSERT INTO `+r.cfg.TableName+`
(registration_id, address, app_id, namespace, last_update) VALUES (?, ?, ?, '', unixepoch())
ON CONFLICT DO NOTHING`, own.id, own.address, own.appID)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}
