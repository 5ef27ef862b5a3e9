package redis

import (
	"testing"

	goredis "github.com/go-redis/redis/v8"

	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/configuration/configurationtest"
	"github.com/daprd/daprd/pkg/lock/locktest"
)

func TestLockConformance(t *testing.T) {
	server := redistest.Start(t)
	locktest.Run(t, openLock(t, componentstest.Spec("lock.redis", map[string]string{"redisHost": server.Address})))
}

// itemWriter writes items as users of Dapr do: value||version.
type itemWriter struct{ client goredis.Cmdable }

func (i itemWriter) Put(t *testing.T, key, value, version string) {
	t.Helper()
	put(t, i.client, key, value+"||"+version)
}

func (i itemWriter) Remove(t *testing.T, key string) {
	t.Helper()
	if err := i.client.Del(t.Context(), key).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestConfigurationConformance(t *testing.T) {
	t.Run("node", func(t *testing.T) {
		server := redistest.Start(t)
		configurationtest.Run(t, openConfiguration(t, spec(server.Address)), itemWriter{direct(t, server.Address)})
	})
	t.Run("cluster", func(t *testing.T) {
		store := openConfiguration(t, spec(redistest.StartCluster(t)[0].Address, "redisType", "cluster"))
		configurationtest.Run(t, store, itemWriter{store.client})
	})
}
