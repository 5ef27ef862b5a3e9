package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-redis/redis/v8"

	"github.com/daprd/daprd/pkg/bindings"
	"github.com/daprd/daprd/pkg/components"
)

// binding reads and writes plain keys.
type binding struct{ client *client }

// NewOutputBinding is the factory of bindings.redis.
func NewOutputBinding(ctx context.Context, spec *components.Spec) (bindings.Output, error) {
	var settings connection
	if err := components.Decode(spec, &settings); err != nil {
		return nil, err
	}
	client, err := dial(ctx, &settings, spec.Log)
	if err != nil {
		return nil, fmt.Errorf("redis binding: %w", err)
	}
	return &binding{client}, nil
}

// The operations, and what they read of a request's metadata.
const (
	opCreate, opGet, opDelete, opIncrement = "create", "get", "delete", "increment"

	metaKey, metaDelete, metaTTL = "key", "delete", "ttlInSeconds"
)

// Operations are create, get, delete and increment.
func (b *binding) Operations() []string { return []string{opCreate, opGet, opDelete, opIncrement} }

// Scripts do what takes several commands in one step, on every version of Redis.
var (
	takeKey = redis.NewScript(`
local value = redis.call('GET', KEYS[1])
redis.call('DEL', KEYS[1])
return value`)

	incrementKey = redis.NewScript(`
local value = redis.call('INCR', KEYS[1])
redis.call('EXPIRE', KEYS[1], ARGV[1])
return value`)
)

// Invoke works on the key of the metadata. create sets it to the data, increment counts it up; both take a time to
// live. get answers with its value, nothing for a key that is not there; with delete: "true" the key goes with it.
func (b *binding) Invoke(ctx context.Context, req *bindings.Request) (*bindings.Response, error) {
	key := req.Metadata[metaKey]
	if key == "" {
		return nil, errors.New("redis binding: metadata key is missing: want the key to work on")
	}
	ttl, err := timeToLive(req.Metadata)
	if err != nil {
		return nil, err
	}
	switch req.Operation {
	case opCreate:
		err = b.client.Set(ctx, key, req.Data, ttl).Err()
	case opGet:
		return b.get(ctx, key, strings.EqualFold(req.Metadata[metaDelete], "true"))
	case opDelete:
		err = b.client.Del(ctx, key).Err()
	case opIncrement:
		err = b.increment(ctx, key, ttl)
	default:
		return nil, fmt.Errorf("redis binding: operation %q is not known: want one of %s", req.Operation, strings.Join(b.Operations(), ", "))
	}
	return nil, b.failed(req.Operation, key, err)
}

func (b *binding) get(ctx context.Context, key string, take bool) (*bindings.Response, error) {
	read := func() ([]byte, error) { return b.client.Get(ctx, key).Bytes() }
	if take {
		read = func() ([]byte, error) {
			text, err := takeKey.Run(ctx, b.client, []string{key}).Text()
			return []byte(text), err
		}
	}
	data, err := read()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, b.failed(opGet, key, err)
	}
	return &bindings.Response{Data: data}, nil
}

func (b *binding) increment(ctx context.Context, key string, ttl time.Duration) error {
	if ttl == 0 {
		return b.client.Incr(ctx, key).Err()
	}
	return incrementKey.Run(ctx, b.client, []string{key}, int64(ttl/time.Second)).Err()
}

func (b *binding) failed(operation, key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("redis binding: %s %s: %w", operation, key, b.client.failed(err))
}

// timeToLive is 0 where the metadata has none.
func timeToLive(metadata map[string]string) (time.Duration, error) {
	given := metadata[metaTTL]
	if given == "" {
		return 0, nil
	}
	seconds, err := strconv.ParseInt(given, 10, 32)
	if err != nil || seconds <= 0 {
		return 0, fmt.Errorf("redis binding: metadata %s: %q is not usable: want a whole number of seconds, 1 or more", metaTTL, given)
	}
	return time.Duration(seconds) * time.Second, nil
}

// Ping asks whether the server answers.
func (b *binding) Ping(ctx context.Context) error { return b.client.alive(ctx) }

// Close ends the connections.
func (b *binding) Close() error { return b.client.Close() }
