package test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	goredis "github.com/go-redis/redis/v8"

	"github.com/daprd/daprd/pkg/components/redis/redistest"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// TestActorStateOfDapr17: state of actors that Dapr 1.7 left in Redis is read as it read it, over both transports, and is
// written on.
func TestActorStateOfDapr17(t *testing.T) {
	runtimetest.Isolate(t)
	server := redistest.Start(t)
	stored := goredis.NewClient(&goredis.Options{Addr: server.Address})
	t.Cleanup(func() { stored.Close() })
	app := newActorApp(t, `{"entities":["T"]}`)
	s := startActors(t, app, runtimetest.Manifests(t, redisStore(server.Address, "")+"  - {name: actorStateStore, value: \"true\"}\n"))
	client := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String()))
	files, err := filepath.Glob("testdata/actors/state-1.7.1-*.json")
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { readDapr17(t, file, stored, s, client) })
	}
}

func readDapr17(t *testing.T, file string, stored *goredis.Client, s *runtimetest.Sidecar, client runtimev1.DaprClient) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var recorded recordedActors
	if err := json.Unmarshal(text, &recorded); err != nil {
		t.Fatal(err)
	}
	if err := stored.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	reads := 0
	for _, step := range recorded.Steps {
		for key, record := range step.RedisAfter {
			for field, value := range record.Value {
				if err := stored.HSet(t.Context(), key, field, fromBase64(t, value)).Err(); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, op := range step.Ops {
			switch {
			case op.HTTP != nil && strings.HasPrefix(string(op.HTTP.Request.Head), "GET "):
				path := strings.Fields(string(op.HTTP.Request.Head))[1]
				code, body, _ := callAPI(t, "GET", s.URL(path), "")
				if got, want := fmt.Sprintf("HTTP/1.1 %d %s|%s", code, http.StatusText(code), body), fmt.Sprint(op.HTTP.Response.StatusLine, "|", op.HTTP.Response.Body); got != want {
					t.Errorf("%s: %s: %s, want %s", step.Name, path, got, want)
				}
				reads++
			case op.GRPC != nil && op.GRPC.Call == runtimev1.Dapr_GetActorState_FullMethodName:
				replayActorCall(t, client, op.GRPC.Call, op.GRPC.Request[0].B64, op.GRPC.Response[0].B64)
				reads++
			}
		}
	}
	if reads < 5 {
		t.Errorf("%d reads", reads)
	}
	for _, call := range [][2]string{{"method/m", "{}"}, {"state", `[{"operation":"upsert","request":{"key":"n","value":43}},{"operation":"delete","request":{"key":"o"}}]`}} {
		if code, body, _ := callAPI(t, "POST", s.URL("/v1.0/actors/T/a1/"+call[0]), call[1]); code >= 300 {
			t.Fatalf("%s: %d %s", call[0], code, body)
		}
	}
	if got := stored.HGetAll(t.Context(), "myapp||T||a1||n").Val(); got["data"] != "43" || got["version"] != "2" {
		t.Errorf("written on: %v", got)
	}
	if n := stored.Exists(t.Context(), "myapp||T||a1||o").Val(); n != 0 {
		t.Error("the key that was deleted is still there")
	}
}

func fromBase64(t *testing.T, text string) []byte {
	t.Helper()
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}
