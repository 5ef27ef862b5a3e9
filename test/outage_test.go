package test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/daprd/daprd/pkg/components/redis/redistest"
	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

func redisStore(address string, more string) string {
	return fmt.Sprintf(`
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: store}
spec:
  type: state.redis
  version: v1
%s  metadata:
  - {name: redisHost, value: %q}
  - {name: redisMaxRetries, value: "1"}
`, more, address)
}

// TestRedisGoesAndComes: Redis is stopped and started again under load. The sidecar says so once each way, shows it in
// the metadata over both transports and in the health endpoints, which stay green, and recovers by itself.
func TestRedisGoesAndComes(t *testing.T) {
	runtimetest.Isolate(t)
	server := redistest.Start(t)
	s := runtimetest.Start(t, "outage", runtimetest.Manifests(t, redisStore(server.Address, "")+"---"+strings.Replace(memoryStore, "name: store", "name: other", 1)))
	client := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String()))
	var (
		load          sync.WaitGroup
		stop          = make(chan struct{})
		saved, failed atomic.Int64
	)
	for range 4 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				_, err := client.SaveState(t.Context(), &runtimev1.SaveStateRequest{StoreName: "store", States: []*commonv1.StateItem{{Key: "k", Value: []byte("1")}}})
				if err != nil {
					failed.Add(1)
				} else {
					saved.Add(1)
				}
			}
		})
	}
	eventually(t, "values are saved", func() bool { return saved.Load() > 100 })
	if failed.Load() > 0 {
		t.Errorf("%d failed before", failed.Load())
	}
	server.Kill()
	eventually(t, "the metadata tells", func() bool {
		return strings.Contains(plainly(t, s, "GET /v1.0/metadata"), `"component.store":"unavailable since `)
	})
	info, err := client.GetMetadata(t.Context(), &runtimev1.GetMetadataRequest{})
	if err != nil || !strings.Contains(info.GetExtendedMetadata()["component.store"], "connection refused") {
		t.Errorf("%v, %v", info.GetExtendedMetadata(), err)
	}
	for _, path := range []string{"/v1.0/healthz", "/v1.0/healthz/outbound"} {
		response, err := http.Get(s.URL(path))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if got := response.Header.Get("Dapr-Unavailable-Components"); response.StatusCode != 204 || got != "store" {
			t.Errorf("%s: %d, %q", path, response.StatusCode, got)
		}
	}
	if got := plainly(t, s, "GET /v1.0/state/other/k"); got != "204 " {
		t.Errorf("the other store: %s", got)
	}
	server.Restart(t)
	eventually(t, "the metadata tells no more", func() bool { return !strings.Contains(plainly(t, s, "GET /v1.0/metadata"), "component.store") })
	before := saved.Load()
	eventually(t, "values are saved again", func() bool { return saved.Load() > before+100 })
	close(stop)
	load.Wait()
	if failed.Load() == 0 {
		t.Error("nothing failed meanwhile: was Redis away?")
	}
	for _, line := range []string{"component store (state.redis/v1) does not answer: ", "component store (state.redis/v1) is back after "} {
		if n := strings.Count(s.Log.String(), line); n != 1 {
			t.Errorf("%d lines: %s", n, line)
		}
	}
}

// TestRedisComesLate: a start waits for Redis within initTimeout, and goes on without it where the manifest says so.
func TestRedisComesLate(t *testing.T) {
	runtimetest.Isolate(t)
	server := redistest.Start(t)
	server.Kill()
	patient := runtimetest.Launch(t, "patient", runtimetest.Manifests(t, redisStore(server.Address, "  initTimeout: 2m\n")))
	without := runtimetest.Start(t, "without", runtimetest.Manifests(t, redisStore(server.Address, "  ignoreErrors: true\n")))
	if got := plainly(t, without, "GET /v1.0/state/store/k"); !strings.Contains(got, "ERR_STATE_STORE_NOT_CONFIGURED") {
		t.Errorf("state: %s", got)
	}
	if got := plainly(t, without, "GET /v1.0/metadata"); !strings.Contains(got, `"component.store":"not up yet, tried since `) {
		t.Errorf("metadata: %s", got)
	}
	eventually(t, "the patient one waits", func() bool { return strings.Contains(patient.Log.String(), "it is tried again within 2m0s") })
	server.Restart(t)
	patient.Await(t, "/v1.0/healthz")
	for _, s := range []*runtimetest.Sidecar{patient, without} {
		eventually(t, "state is there", func() bool { return plainly(t, s, "GET /v1.0/state/store/k") == "204 " })
	}
	if !strings.Contains(without.Log.String(), "component store (state.redis/v1) is up after ") {
		t.Errorf("log\n%s", without.Log)
	}
}
