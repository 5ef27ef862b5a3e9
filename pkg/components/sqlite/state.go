package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/state"
)

// stateSettings is the metadata of state.sqlite, with the defaults of Dapr 1.18.
type stateSettings struct {
	ConnectionString string `metadata:"connectionString,required" aliases:"url"`
	// Timeout bounds each operation; at least 1s.
	Timeout           time.Duration `metadata:"timeout" aliases:"timeoutInSeconds" default:"20s"`
	BusyTimeout       time.Duration `metadata:"busyTimeout" default:"2s"`
	DisableWAL        bool          `metadata:"disableWAL"`
	TableName         string        `metadata:"tableName" default:"state"`
	MetadataTableName string        `metadata:"metadataTableName" default:"metadata"`
	// CleanupInterval is how often expired rows are deleted; never if 0 or less.
	CleanupInterval time.Duration `metadata:"cleanupInterval" aliases:"cleanupIntervalInSeconds"`
}

func (s *stateSettings) check() error {
	if s.Timeout < time.Second {
		return errors.New("metadata property timeout: invalid value for 'timeout': must be greater than 1s")
	}
	if err := checkIdentifier(s.TableName); err != nil {
		return fmt.Errorf("metadata property tableName: %w; want ASCII letters, digits and '_'", err)
	}
	if err := checkIdentifier(s.MetadataTableName); err != nil {
		return fmt.Errorf("metadata property metadataTableName: %w; want ASCII letters, digits and '_'", err)
	}
	return nil
}

// stateStore keeps every key as a row. Readers have connections of their own and never wait; writers of this
// process take turns, since SQLite has one writer at a time and its own waiting is by polling.
type stateStore struct {
	db       *database
	janitor  io.Closer
	settings stateSettings
	statements
	// turn holds one token, which whoever writes has taken.
	turn chan struct{}
}

// NewState is the factory of state.sqlite: it opens the database and makes the tables that are missing.
func NewState(ctx context.Context, spec *components.Spec) (state.Store, error) {
	var settings stateSettings
	if err := components.Decode(spec, &settings); err != nil {
		return nil, err
	}
	if err := settings.check(); err != nil {
		return nil, err
	}
	db, err := openDatabase(ctx, databaseConfig{ConnectionString: settings.ConnectionString,
		BusyTimeout: settings.BusyTimeout, DisableWAL: settings.DisableWAL}, spec.Log)
	if err != nil {
		return nil, err
	}
	store := &stateStore{db: db, settings: settings, turn: make(chan struct{}, 1)}
	if err := store.prepare(ctx, spec); err != nil {
		return nil, errors.Join(fmt.Errorf("make tables in SQLite database %s: %w", db.source.path, err), db.Close())
	}
	store.janitor = db.scheduleCleanup(store.cleanup(), spec.Log)
	return store, nil
}

// prepare makes the table and the statements.
func (s *stateStore) prepare(ctx context.Context, spec *components.Spec) error {
	if !s.db.source.inMemory {
		// As many readers as can run and some that wait for the disk, and the writer. All stay open: a new
		// connection costs more than most operations.
		connections := 2*runtime.GOMAXPROCS(0) + 3
		s.db.SetMaxOpenConns(connections)
		s.db.SetMaxIdleConns(connections)
	}
	steps := migration{metadataTable: s.settings.MetadataTableName, key: "migrations",
		steps: []func(context.Context, executor) error{func(ctx context.Context, db executor) error {
			spec.Log.Infof("Creating state table '%s'", s.settings.TableName)
			_, err := db.ExecContext(ctx, createState(s.settings.TableName))
			return err
		}}}
	if err := s.db.migrate(ctx, steps, spec.Log); err != nil {
		return err
	}
	var err error
	s.statements, err = prepareStatements(ctx, s.db, s.settings.TableName)
	return err
}

// Features are what the interfaces cannot tell.
func (s *stateStore) Features() []state.Feature {
	return []state.Feature{state.FeatureETag, state.FeatureTransactional, state.FeatureTTL}
}

// Get reads one row that has not expired.
func (s *stateStore) Get(ctx context.Context, req *state.GetRequest) (*state.Item, error) {
	ctx, cancel := context.WithTimeout(ctx, s.settings.Timeout)
	defer cancel()
	item, err := scanItem(s.get.QueryRowContext(ctx, req.Key))
	if errors.Is(err, sql.ErrNoRows) {
		return &state.Item{Key: req.Key}, nil
	}
	if err != nil {
		return nil, s.failed("read", req.Key, err)
	}
	return item, nil
}

// keysAtOnce is how many keys one query asks for: far below SQLite's bound of 32766 parameters.
const keysAtOnce = 500

// BulkGet reads all keys by as few queries as possible.
func (s *stateStore) BulkGet(ctx context.Context, reqs []state.GetRequest) ([]state.Item, error) {
	ctx, cancel := context.WithTimeout(ctx, s.settings.Timeout)
	defer cancel()
	found := make(map[string]*state.Item, len(reqs))
	for start := 0; start < len(reqs); start += keysAtOnce {
		if err := s.collect(ctx, reqs[start:min(start+keysAtOnce, len(reqs))], found); err != nil {
			return nil, s.failed("read", fmt.Sprintf("%s and others", reqs[start].Key), err)
		}
	}
	items := make([]state.Item, len(reqs))
	for i := range reqs {
		items[i].Key = reqs[i].Key
		if item, ok := found[reqs[i].Key]; ok {
			items[i] = *item
		}
	}
	return items, nil
}

func (s *stateStore) collect(ctx context.Context, reqs []state.GetRequest, found map[string]*state.Item) (err error) {
	keys := make([]any, len(reqs))
	for i := range reqs {
		keys[i] = reqs[i].Key
	}
	rows, err := s.db.QueryContext(ctx, selectMany(s.settings.TableName, len(keys)), keys...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		item, err := scanItem(rows)
		if err != nil {
			return err
		}
		found[item.Key] = item
	}
	return rows.Err()
}

// Set writes one row under a new entity tag.
func (s *stateStore) Set(ctx context.Context, req *state.SetRequest) error {
	return s.write(ctx, state.Operation{Set: req})
}

// Delete removes one row. As in Dapr it does not look at the expiry.
func (s *stateStore) Delete(ctx context.Context, req *state.DeleteRequest) error {
	return s.write(ctx, state.Operation{Delete: req})
}

// Transact does all operations in their order, or none.
func (s *stateStore) Transact(ctx context.Context, ops []state.Operation, _ map[string]string) error {
	return s.write(ctx, ops...)
}

func (s *stateStore) write(ctx context.Context, ops ...state.Operation) error {
	changes, err := s.changes(ops)
	if err != nil || len(changes) == 0 {
		return err
	}
	if err := s.apply(ctx, changes); err != nil {
		if _, refused := state.IsETag(err); refused {
			return err
		}
		return s.failed("write", changes[0].key, err)
	}
	return nil
}

// apply runs the changes when it is this writer's turn: one by itself, more in one transaction.
func (s *stateStore) apply(ctx context.Context, changes []change) error {
	ctx, cancel := context.WithTimeout(ctx, s.settings.Timeout)
	defer cancel()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if len(changes) == 1 {
		return changes[0].run(ctx, changes[0].statement)
	}
	return s.db.transact(ctx, func(tx *sql.Tx) error {
		for _, change := range changes {
			if err := change.run(ctx, tx.StmtContext(ctx, change.statement)); err != nil {
				return err
			}
		}
		return nil
	})
}

// failed names the database, which is what a user can look at.
func (s *stateStore) failed(what, key string, err error) error {
	if isBusy(err) {
		return fmt.Errorf("%s key %s in SQLite database %s: another process held its lock longer than busyTimeout (%v): %w",
			what, key, s.db.source.path, s.settings.BusyTimeout, err)
	}
	return fmt.Errorf("%s key %s in SQLite database %s: %w", what, key, s.db.source.path, err)
}

func (s *stateStore) cleanup() cleanup {
	return cleanup{
		interval:      s.settings.CleanupInterval,
		metadataTable: s.settings.MetadataTableName,
		key:           "last-cleanup",
		remove: `DELETE FROM ` + s.settings.TableName +
			` WHERE expiration_time IS NOT NULL AND expiration_time < CURRENT_TIMESTAMP`,
	}
}

// Close ends the clean-up and closes the database.
func (s *stateStore) Close() error {
	return errors.Join(s.janitor.Close(), s.statements.Close(), s.db.Close())
}
