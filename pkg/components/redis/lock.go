package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-redis/redis/v8"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/lock"
)

// lockSettings is the metadata of lock.redis.
type lockSettings struct {
	connection
	legacy
}

// lockStore keeps a lock as a key whose value is the owner.
type lockStore struct{ client *client }

// unlockKey deletes a lock if its owner asks. The answer is the status of the protocol.
var unlockKey = redis.NewScript(`
local owner = redis.call('GET', KEYS[1])
if not owner then return 1 end
if owner ~= ARGV[1] then return 2 end
redis.call('DEL', KEYS[1])
return 0`)

// NewLock is the factory of lock.redis. It refuses servers on which a lock would not be one: a cluster, and a master
// with replicas that nobody watches.
func NewLock(ctx context.Context, spec *components.Spec) (lock.Store, error) {
	settings := lockSettings{connection: connection{MinRetryInterval: defaultRetryInterval}}
	if err := components.Decode(spec, &settings); err != nil {
		return nil, err
	}
	settings.adopt(&settings.connection, spec)
	switch {
	case !spec.Has("redisHost"):
		return nil, errors.New("metadata property redisHost is empty: want host:port")
	case settings.Type == "cluster":
		return nil, errors.New("this component does not support connecting to Redis Cluster: leave redisType out, and use a single server or Sentinels")
	}
	client, err := dial(ctx, &settings.connection, spec.Log)
	if err != nil {
		return nil, fmt.Errorf("redis lock: %w", err)
	}
	if replicas := info(ctx, client, "replication", "connected_slaves"); replicas > 0 && !settings.Failover {
		return nil, errors.Join(fmt.Errorf("replication is not supported: redis at %s has %d replicas; "+
			"with Sentinels, set failover and sentinelMasterName", client.at, replicas), client.Close())
	}
	return &lockStore{client}, nil
}

// TryLock sets the key unless it is there. A command whose answer was lost is sent again, and may then find its own
// lock: it is free after expiry.
func (s *lockStore) TryLock(ctx context.Context, resource, owner string, expiry time.Duration) (bool, error) {
	taken, err := s.client.SetNX(ctx, resource, owner, expiry).Result()
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", resource, s.client.failed(err))
	}
	return taken, nil
}

// Unlock deletes the key if its value is owner, in one step.
func (s *lockStore) Unlock(ctx context.Context, resource, owner string) (lock.Status, error) {
	status, err := unlockKey.Run(ctx, s.client, []string{resource}, owner).Int()
	if err != nil {
		return lock.InternalError, fmt.Errorf("unlock %s: %w", resource, s.client.failed(err))
	}
	return lock.Status(status), nil
}

// Ping asks whether the server answers.
func (s *lockStore) Ping(ctx context.Context) error { return s.client.alive(ctx) }

// Close ends the connections.
func (s *lockStore) Close() error { return s.client.Close() }
