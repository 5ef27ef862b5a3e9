package redis

import (
	"errors"
	"testing"

	goredis "github.com/go-redis/redis/v8"
	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/pubsub"
)

// Subscriptions, to topics and to configuration, follow the Sentinels to a new master by themselves.
func TestSubscriptionsFollowSentinels(t *testing.T) {
	master := redistest.Start(t, "--repl-diskless-sync-delay", "0")
	_ = redistest.Start(t, "--replicaof", "127.0.0.1 "+master.Port())
	sentinel := redistest.StartSentinel(t, master)
	behind := []string{"failover", "true", "sentinelMasterName", "mymaster", "redisMaxRetries", "1", "redisMaxRetryInterval", "50ms"}
	b := openPubSub(t, sentinel.Address, append(behind, brisk...)...)
	s := openConfiguration(t, spec(sentinel.Address, behind...))
	watch := goredis.NewSentinelClient(&goredis.Options{Addr: sentinel.Address})
	defer watch.Close()
	redistest.Eventually(t, "the Sentinel knows the replica", func() error {
		if known, err := watch.Slaves(t.Context(), "mymaster").Result(); len(known) != 1 {
			return errors.Join(errors.New("not yet"), err)
		}
		return nil
	})
	messages, deliver := collect()
	subscribe(t, b, "t", pubsub.Batch{}, deliver)
	changes, _ := follow(t, s, "a")
	publish(t, b, "t", "before")
	receive(t, messages, 1)
	redistest.Eventually(t, "the replica is in step", func() error {
		if n, err := b.client.Do(t.Context(), "WAIT", 1, 10).Int(); n != 1 {
			return errors.Join(errors.New("not yet"), err)
		}
		return nil
	})
	master.Kill()
	redistest.Eventually(t, "the new master takes messages", func() error {
		return errors.Join(b.Publish(t.Context(), &pubsub.PublishRequest{Topic: "t", Data: []byte("after")}),
			s.client.Set(t.Context(), "a", "after", 0).Err())
	})
	for receive(t, messages, 1)[0] != "after" {
	}
	if diff := cmp.Diff(items{"a": {Value: "after"}}, <-changes); diff != "" {
		t.Error(diff)
	}
}
