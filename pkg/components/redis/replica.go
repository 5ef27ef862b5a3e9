package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/go-redis/redis/v8"
)

// replication is how long a strong write waits for the replicas, as in Dapr.
const replication = time.Second

// replicate runs a step and waits until the replicas that there were at the start have it. Both go over one
// connection: WAIT looks at the writes of its own connection only.
func (s *stateStore) replicate(ctx context.Context, step *step) error {
	master, err := s.master(ctx, step.key)
	if err != nil {
		return s.client.failed(err)
	}
	pipe := master.Pipeline()
	written := step.script.Eval(ctx, pipe, []string{step.key}, step.arguments...)
	waited := pipe.Do(ctx, "WAIT", s.replicas, replication.Milliseconds())
	_, _ = pipe.Exec(ctx)
	if err := written.Err(); err != nil {
		return step.refusal(s.client.failed(err))
	}
	reached, err := waited.Int()
	if err != nil {
		return s.client.failed(fmt.Errorf("key %s: wait for %d replicas: %w", step.key, s.replicas, err))
	}
	if reached < s.replicas {
		return fmt.Errorf("redis at %s: the %s of key %s is done, but only %d of %d replicas have it after %v: it may be lost if the master fails now",
			s.client.at, step.verb, step.key, reached, s.replicas, replication)
	}
	return nil
}

// master is a client of the one node that takes writes of key.
func (s *stateStore) master(ctx context.Context, key string) (redis.UniversalClient, error) {
	if cluster, ok := s.client.UniversalClient.(*redis.ClusterClient); ok {
		return cluster.MasterForKey(ctx, key)
	}
	return s.client.UniversalClient, nil
}
