package sqlite

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	"github.com/google/uuid"

	"github.com/daprd/daprd/pkg/state"
)

// change is a statement that writes one row, with its arguments.
type change struct {
	key       string
	statement *sql.Stmt
	arguments []any
	// conditional: a statement that touches no row was refused.
	conditional bool
}

// run executes the statement, which may be that of a transaction.
func (c *change) run(ctx context.Context, statement *sql.Stmt) error {
	result, err := statement.ExecContext(ctx, c.arguments...)
	if err != nil || !c.conditional {
		return err
	}
	rows, err := result.RowsAffected()
	if err == nil && rows == 0 {
		return &state.ETagError{Kind: state.ETagMismatch}
	}
	return err
}

func (s *stateStore) changes(ops []state.Operation) ([]change, error) {
	all := make([]change, len(ops))
	for i, op := range ops {
		if op.Delete != nil {
			all[i] = s.removal(op.Delete)
			continue
		}
		var err error
		if all[i], err = s.upsert(op.Set); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (s *stateStore) removal(req *state.DeleteRequest) change {
	if req.ETag == nil || *req.ETag == "" {
		return change{key: req.Key, statement: s.remove, arguments: []any{req.Key}}
	}
	return change{key: req.Key, statement: s.removeTagged, arguments: []any{req.Key, *req.ETag}, conditional: true}
}

func (s *stateStore) upsert(req *state.SetRequest) (change, error) {
	if err := state.CheckOptions(req.Concurrency, req.Consistency); err != nil {
		return change{}, err
	}
	lifetime, err := lifetime(req.Metadata)
	if err != nil {
		return change{}, err
	}
	value, binary := encode(req)
	c := change{key: req.Key, statement: s.set, arguments: []any{req.Key, value, binary, uuid.NewString(), lifetime}}
	switch {
	case req.ETag != nil && *req.ETag != "":
		c.statement, c.conditional = s.setTagged, true
		c.arguments = append(c.arguments, *req.ETag)
	case req.Concurrency == state.FirstWrite:
		c.statement, c.conditional = s.setFirst, true
	}
	return c, nil
}

// encode gives the column value and is_binary: JSON text as it was sent, bytes as base64.
func encode(req *state.SetRequest) (value string, binary int) {
	if req.JSON {
		return string(req.Value), 0
	}
	return base64.StdEncoding.EncodeToString(req.Value), 1
}

// lifetime reads ttlInSeconds in the form of a modifier of SQLite's datetime: nil for ever. Every write sets
// it anew.
func lifetime(metadata map[string]string) (any, error) {
	text := metadata["ttlInSeconds"]
	if text == "" {
		return nil, nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err == nil && seconds < -1 {
		err = errors.New("must be -1 or greater")
	}
	if err != nil {
		return nil, fmt.Errorf("error parsing TTL: incorrect value for metadata 'ttlInSeconds': %w", err)
	}
	if seconds <= 0 {
		return nil, nil
	}
	return "+" + strconv.FormatInt(seconds, 10) + " seconds", nil
}

// scanItem reads the columns of a row.
func scanItem(row interface{ Scan(...any) error }) (*state.Item, error) {
	item := &state.Item{Found: true}
	var (
		binary  bool
		expires sql.NullString
	)
	if err := row.Scan(&item.Key, &item.Value, &binary, &item.ETag, &expires); err != nil {
		return nil, err
	}
	if expires.Valid {
		item.Metadata = map[string]string{"ttlExpireTime": expires.String}
	}
	if !binary {
		return item, nil
	}
	n, err := base64.StdEncoding.Decode(item.Value, item.Value)
	if err != nil {
		return nil, fmt.Errorf("the value is marked as binary and is no base64: %w", err)
	}
	item.Value = item.Value[:n]
	return item, nil
}
