package reminders

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/daprd/daprd/pkg/state"
)

// cell is one key as it was read.
type cell struct {
	key, partition string
	etag           string
	found          bool
}

// seen tells one state of the key from another.
func (c *cell) seen() string {
	if !c.found {
		return c.key
	}
	return c.key + "\x00" + c.etag
}

// set writes the key if it still is as it was read. isJSON says what the value is.
func (c *cell) set(value []byte, isJSON bool) state.Operation {
	req := &state.SetRequest{Key: c.key, Value: value, JSON: isJSON, Concurrency: state.FirstWrite, Metadata: partitioned(c.partition)}
	if c.found {
		req.ETag = &c.etag
	}
	return state.Operation{Set: req}
}

// put writes a key that nobody else writes.
func put(key, partition string, value []byte) state.Operation {
	return state.Operation{Set: &state.SetRequest{Key: key, Value: value, JSON: true, Metadata: partitioned(partition)}}
}

func drop(key, partition string) state.Operation {
	return state.Operation{Delete: &state.DeleteRequest{Key: key, Metadata: partitioned(partition)}}
}

func partitioned(partition string) map[string]string {
	return map[string]string{"partitionKey": partition}
}

// read reads the JSON of a key into value, which stays as it is where the key is not there.
func (s *Store) read(ctx context.Context, key, partition string, value any) (cell, error) {
	return s.readBy(ctx, key, partition, func(text []byte) error { return json.Unmarshal(text, value) })
}

// readBy reads a key, and has decode read its value.
func (s *Store) readBy(ctx context.Context, key, partition string, decode func([]byte) error) (cell, error) {
	item, err := s.deps.Storage.ActorGet(ctx, state.GetRequest{Key: key, Consistency: state.Strong, Metadata: partitioned(partition)})
	if err != nil {
		return cell{}, err
	}
	if item.Found {
		if err = decode(item.Value); err != nil {
			err = &unreadableError{key, err}
		}
	}
	return cell{key: key, partition: partition, etag: item.ETag, found: item.Found}, err
}

// unreadableError is a key with a value that this package did not write.
type unreadableError struct {
	key   string
	cause error
}

func (e *unreadableError) Error() string {
	return fmt.Sprintf("the value of the key %s of the state store for actors cannot be used: %s", e.key, e.cause)
}

func isUnreadable(err error) bool {
	unreadable := new(unreadableError)
	return errors.As(err, &unreadable)
}

func (s *Store) write(ctx context.Context, partition string, ops ...state.Operation) error {
	return s.deps.Storage.ActorTransact(ctx, ops, partitioned(partition))
}

// The pauses between the attempts of writers that meet, and how many there are.
const (
	shortPause  = time.Millisecond
	longPause   = 200 * time.Millisecond
	maxAttempts = 100
)

// errDone ends contend from within: there is nothing to do.
var errDone = errors.New("done")

// contend reads and writes until the write succeeds. An error after which all is as it was before is the store's own;
// else somebody else was faster, or the write has succeeded after all, and read looks again. read says what it has seen,
// and errDone where nothing is to be written.
func contend(ctx context.Context, read func() (seen string, err error), write func() error) error {
	var (
		last    string
		failure error
	)
	for pause, attempt := shortPause, 0; attempt < maxAttempts; attempt++ {
		seen, err := read()
		switch {
		case errors.Is(err, errDone):
			return nil
		case err != nil:
			return errors.Join(failure, err)
		case failure != nil && seen == last:
			return failure
		}
		if failure = write(); failure == nil {
			return nil
		}
		last = seen
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), failure)
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, longPause)
	}
	return fmt.Errorf("others wrote the same page of reminders %d times meanwhile: %w", maxAttempts, failure)
}
