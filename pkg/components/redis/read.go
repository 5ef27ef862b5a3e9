package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-redis/redis/v8"

	"github.com/daprd/daprd/pkg/state"
)

// answer is a read that was sent, or will be with its pipeline.
type answer func() (*state.Item, error)

// reader is a client or a pipeline.
type reader interface {
	HMGet(ctx context.Context, key string, fields ...string) *redis.SliceCmd
	Do(ctx context.Context, arguments ...any) *redis.Cmd
}

func (s *stateStore) read(ctx context.Context, from reader, req *state.GetRequest) answer {
	key := req.Key
	if s.asDocument(req.Metadata) {
		document := from.Do(ctx, "JSON.GET", key, ".")
		return func() (*state.Item, error) { return s.documentItem(key, document) }
	}
	fields := from.HMGet(ctx, key, "data", "version")
	return func() (*state.Item, error) {
		switch err := fields.Err(); {
		case isWrongType(err):
			return s.plain(ctx, key)
		case err != nil:
			return nil, s.client.failed(err)
		}
		return hashItem(key, fields.Val())
	}
}

// hashItem makes an Item of the fields data and version.
func hashItem(key string, fields []any) (*state.Item, error) {
	data, hasData := fields[0].(string)
	version, hasVersion := fields[1].(string)
	switch {
	case !hasData && !hasVersion:
		return &state.Item{Key: key}, nil
	case !hasData:
		return nil, fmt.Errorf("the hash %s has no field data: it was not written by a state store", key)
	case !hasVersion:
		return nil, fmt.Errorf("the hash %s has no field version: it was not written by a state store", key)
	}
	return &state.Item{Key: key, Value: []byte(data), ETag: version, Found: true}, nil
}

// plain reads a key that is no hash.
func (s *stateStore) plain(ctx context.Context, key string) (*state.Item, error) {
	value, err := s.client.Get(ctx, key).Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		return &state.Item{Key: key}, nil
	case isWrongType(err):
		return nil, fmt.Errorf("the key %s is neither a hash nor a string: it was not written by a state store", key)
	case err != nil:
		return nil, s.client.failed(err)
	}
	return &state.Item{Key: key, Value: value, Found: true}, nil
}

func isWrongType(err error) bool {
	return err != nil && strings.HasPrefix(err.Error(), "WRONGTYPE")
}
