package redis

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/lock"
)

var _ components.Factory[lock.Store] = NewLock

func openLock(t testing.TB, spec *components.Spec) *lockStore {
	t.Helper()
	opened, err := NewLock(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.(*lockStore).Close() })
	return opened.(*lockStore)
}

func TestLock(t *testing.T) {
	server := redistest.Start(t)
	s := openLock(t, componentstest.FromReadme(t, "lock.redis", "localhost:6379", server.Address))
	try := func(owner string, expiry time.Duration, want bool) {
		t.Helper()
		if got, err := s.TryLock(t.Context(), "lock||app||r", owner, expiry); err != nil || got != want {
			t.Errorf("try for %s: %t, %v, want %t", owner, got, err, want)
		}
	}
	unlock := func(owner string, want lock.Status) {
		t.Helper()
		if got, err := s.Unlock(t.Context(), "lock||app||r", owner); err != nil || got != want {
			t.Errorf("unlock for %s: %v, %v, want %v", owner, got, err, want)
		}
	}
	try("a", time.Minute, true)
	try("a", time.Minute, false)
	try("b", time.Minute, false)
	// The key is as Dapr writes it.
	client := direct(t, server.Address)
	if owner, err := client.Get(t.Context(), "lock||app||r").Result(); err != nil || owner != "a" {
		t.Errorf("the key holds %q, %v", owner, err)
	}
	if ttl, err := client.TTL(t.Context(), "lock||app||r").Result(); err != nil || ttl != time.Minute {
		t.Errorf("time to live %v, %v", ttl, err)
	}
	unlock("b", lock.OthersLock)
	unlock("a", lock.Unlocked)
	unlock("a", lock.NotLocked)
	try("b", 30*time.Millisecond, true)
	redistest.Eventually(t, "the lock expires", func() error {
		taken, err := s.TryLock(t.Context(), "lock||app||r", "c", time.Minute)
		if err == nil && !taken {
			err = errors.New("still taken")
		}
		return err
	})
	unlock("b", lock.OthersLock)
	if err := client.HSet(t.Context(), "hash", "f", "v").Err(); err != nil {
		t.Fatal(err)
	}
	if status, err := s.Unlock(t.Context(), "hash", "a"); err == nil || status != lock.InternalError {
		t.Errorf("a key of another type: %v, %v", status, err)
	}
	server.Kill()
	if _, err := s.TryLock(t.Context(), "r", "a", time.Minute); err == nil || !strings.Contains(err.Error(), server.Address) {
		t.Errorf("without a server: %v", err)
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("ping without a server")
	}
}

func TestLockRefusals(t *testing.T) {
	master := redistest.Start(t)
	_ = redistest.Start(t, "--replicaof", "127.0.0.1 "+master.Port())
	redistest.Eventually(t, "the replica follows", func() error {
		text, err := direct(t, master.Address).Info(t.Context(), "replication").Result()
		if err == nil && !strings.Contains(text, "connected_slaves:1") {
			err = errors.New(text)
		}
		return err
	})
	for name, c := range map[string]struct {
		properties map[string]string
		want       string
	}{
		"no host":    {nil, "metadata property redisHost is empty"},
		"empty host": {map[string]string{"redisHost": ""}, "metadata property redisHost is empty"},
		"cluster":    {map[string]string{"redisHost": master.Address, "redisType": "cluster"}, "this component does not support connecting to Redis Cluster"},
		"replicas":   {map[string]string{"redisHost": master.Address}, "replication is not supported"},
		"away":       {map[string]string{"redisHost": "127.0.0.1:1", "redisMaxRetries": "-1"}, "redis at 127.0.0.1:1"},
	} {
		if _, err := NewLock(t.Context(), componentstest.Spec("lock.redis", c.properties)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
	sentinel := redistest.StartSentinel(t, master)
	s := openLock(t, spec(sentinel.Address, "failover", "true", "sentinelMasterName", "mymaster"))
	if taken, err := s.TryLock(t.Context(), "r", "a", time.Minute); err != nil || !taken {
		t.Errorf("behind Sentinels: %t, %v", taken, err)
	}
}
