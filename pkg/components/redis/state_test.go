package redis

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/go-redis/redis/v8"
	"go.uber.org/goleak"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/state"
	"github.com/daprd/daprd/pkg/state/statetest"
)

var _ components.Factory[state.Store] = NewState

// certificates are made before anything reads the system's authorities, which Go does once.
var certificates redistest.Certificates

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "redis")
	if err == nil {
		certificates, err = redistest.NewCertificates(dir)
	}
	if err == nil {
		err = os.Setenv("SSL_CERT_FILE", certificates.Authority)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// like is the behaviour of Redis that Dapr's users know.
var like = statetest.Options{NoRollback: true, ETagOnAbsent: true, NumericETags: true, FirstWriteIsPlain: true,
	FirstWriteSticks: true, KeepsTTL: true, NoExpireTime: true}

func openState(t testing.TB, address string, properties ...string) *stateStore {
	t.Helper()
	store, err := NewState(t.Context(), spec(address, properties...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.(io.Closer).Close(); err != nil {
			t.Error(err)
		}
	})
	return store.(*stateStore)
}

// spec is a manifest's: properties are pairs of name and value.
func spec(address string, properties ...string) *components.Spec {
	all := map[string]string{"redisHost": address, "redisMinRetryInterval": "8ms"}
	for i := 0; i < len(properties); i += 2 {
		all[properties[i]] = properties[i+1]
	}
	return componentstest.Spec("state.redis", all)
}

// direct is a client without a store around it.
func direct(t testing.TB, address string, password ...string) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: address, Password: strings.Join(password, "")})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestConformance(t *testing.T) {
	store := openState(t, redistest.Start(t).Address)
	statetest.Run(t, func(*testing.T) state.Store { return store }, like)
}
