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
type itemWriter struct{ client *goredis.Client }

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
	server := redistest.Start(t)
	client := goredis.NewClient(&goredis.Options{Addr: server.Address})
	t.Cleanup(func() { _ = client.Close() })
	configurationtest.Run(t, openConfiguration(t, componentstest.Spec("configuration.redis", map[string]string{"redisHost": server.Address})), itemWriter{client})
}
