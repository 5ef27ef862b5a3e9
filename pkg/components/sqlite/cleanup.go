package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// cleanupTimeout bounds one deletion of expired rows.
const cleanupTimeout = 5 * time.Minute

// cleanup deletes expired rows once in an interval, by one of all the processes
// that share the database: the one that moves the time of the last clean-up.
type cleanup struct {
	interval time.Duration
	// metadataTable is checked by checkIdentifier; key is the row that holds the
	// time of the last clean-up: "last-cleanup" or "nr-last-cleanup".
	metadataTable, key string
	// remove is the DELETE statement, args its arguments.
	remove string
	args   []any
}

// janitor runs a cleanup until it is closed.
type janitor struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// scheduleCleanup starts a janitor, which does nothing if the interval is 0 or
// less. Close it before the database.
func (d *database) scheduleCleanup(c cleanup, log logrus.FieldLogger) *janitor {
	ctx, cancel := context.WithCancel(context.Background())
	j := &janitor{cancel: cancel}
	if c.interval <= 0 || d.source.readOnly {
		return j
	}
	log.Infof("Schedule expired data clean up every %v", c.interval)
	j.done.Go(func() {
		tick := time.NewTicker(c.interval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				d.reportCleanup(ctx, c, log)
			}
		}
	})
	return j
}

// Close ends the clean-up that is under way, and waits for it.
func (j *janitor) Close() error {
	j.cancel()
	j.done.Wait()
	return nil
}

func (d *database) reportCleanup(ctx context.Context, c cleanup, log logrus.FieldLogger) {
	ctx, cancel := context.WithTimeout(ctx, cleanupTimeout)
	defer cancel()
	removed, ran, err := d.cleanUp(ctx, c)
	switch {
	case ctx.Err() != nil && err != nil:
		return
	case err != nil:
		log.Errorf("Error removing expired data: %v", err)
	case ran:
		log.Infof("Removed %d expired rows", removed)
	}
}

// cleanUp deletes expired rows unless another process did so in this interval.
func (d *database) cleanUp(ctx context.Context, c cleanup) (removed int64, ran bool, err error) {
	err = d.transact(ctx, func(tx *sql.Tx) error {
		ran, err = c.claim(ctx, tx)
		if err != nil || !ran {
			return err
		}
		result, err := tx.ExecContext(ctx, c.remove, c.args...)
		if err != nil {
			return fmt.Errorf("delete expired rows: %w", err)
		}
		removed, err = result.RowsAffected()
		return err
	})
	return removed, ran, err
}

// claim moves the time of the last clean-up if it is at least the interval ago,
// less 100 ms for clocks and timers.
func (c cleanup) claim(ctx context.Context, db executor) (bool, error) {
	result, err := db.ExecContext(ctx, `INSERT INTO `+c.metadataTable+` (key, value) VALUES (?, CURRENT_TIMESTAMP)
ON CONFLICT (key) DO UPDATE SET value = CURRENT_TIMESTAMP
WHERE (julianday('now') - julianday(value)) * 86400000 >= ?`,
		c.key, (c.interval - 100*time.Millisecond).Milliseconds())
	if err != nil {
		return false, fmt.Errorf("write %s to table %s: %w", c.key, c.metadataTable, err)
	}
	moved, err := result.RowsAffected()
	return moved > 0, err
}
