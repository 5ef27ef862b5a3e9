package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"github.com/sirupsen/logrus"
)

// migration brings the tables of one component up to date. The number of steps
// that were done is a row of the metadata table, which components share.
type migration struct {
	// metadataTable is checked by checkIdentifier.
	metadataTable string
	// key is "migrations" for the state store, "nr-migrations" for the resolver.
	key   string
	steps []func(ctx context.Context, db executor) error
}

// migrate does the steps that are missing, in one exclusive transaction, so that
// sidecars that start together do them once. A number of steps higher than known
// (a newer version was here) is left alone.
func (d *database) migrate(ctx context.Context, m migration, log logrus.FieldLogger) error {
	if d.source.readOnly {
		return m.check(ctx, d.DB)
	}
	return d.exclusively(ctx, func(db executor) error {
		log.Infof("Creating metadata table '%s' if it doesn't exist", m.metadataTable)
		if err := m.createMetadata(ctx, db); err != nil {
			return err
		}
		done, err := m.done(ctx, db)
		if err != nil {
			return err
		}
		for i := done; i < len(m.steps); i++ {
			log.Infof("Performing migration %d", i+1)
			if err := m.step(ctx, db, i); err != nil {
				return fmt.Errorf("migration %d: %w", i+1, err)
			}
		}
		return nil
	})
}

// check is all that can be done in a database that is opened for reading only.
func (m migration) check(ctx context.Context, db executor) error {
	done, err := m.done(ctx, db)
	if err != nil {
		return err
	}
	if done < len(m.steps) {
		return errors.New("the database is opened read-only and its tables are missing or old; open it once for writing")
	}
	return nil
}

func (m migration) createMetadata(ctx context.Context, db executor) error {
	_, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS `+m.metadataTable+` (
	key text NOT NULL PRIMARY KEY,
	value text NOT NULL
)`)
	if err != nil {
		return fmt.Errorf("create metadata table %s: %w", m.metadataTable, err)
	}
	return nil
}

func (m migration) done(ctx context.Context, db executor) (int, error) {
	var value string
	err := db.QueryRowContext(ctx, `SELECT value FROM `+m.metadataTable+` WHERE key = ?`, m.key).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read %s from table %s: %w", m.key, m.metadataTable, err)
	}
	done, err := strconv.Atoi(value)
	if err != nil || done < 0 {
		return 0, fmt.Errorf("row %s of table %s is no number: %q", m.key, m.metadataTable, value)
	}
	return done, nil
}

func (m migration) step(ctx context.Context, db executor, i int) error {
	if err := m.steps[i](ctx, db); err != nil {
		return err
	}
	_, err := db.ExecContext(ctx, `INSERT INTO `+m.metadataTable+` (key, value) VALUES (?, ?)
ON CONFLICT (key) DO UPDATE SET value = excluded.value`, m.key, strconv.Itoa(i+1))
	return err
}
