package test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
	"github.com/daprd/daprd/pkg/version"
)

func metadataCases() []parityCase {
	const state = " ACTOR,ETAG,TRANSACTIONAL,TTL"
	return []parityCase{
		{name: "get", do: func(a *asker) meaning {
			answer := a.api.metadata(a.ctx)
			if answer.Info != nil {
				answer.Info.Extended = nil // others set attributes meanwhile
			}
			return answer
		}, want: meaning{Info: &parityInfo{
			ID: "parity", Version: version.Version(), Features: []string{"ParityFeature"},
			Components: []string{
				"open secretstores.local.file/v1 ", "listed secretstores.local.file/v1 ", "some secretstores.local.file/v1 ",
				"shut secretstores.local.file/v1 ", "multi secretstores.local.file/v1 MULTIPLE_KEY_VALUES_PER_SECRET",
				"environment secretstores.local.env/v1 ",
				"memory state.in-memory/v1" + state, "sqlite state.sqlite/v1" + state, "redis state.redis/v1" + state,
				"byname state.redis/v1" + state, "bynamespace state.redis/v1" + state, "bynothing state.redis/v1" + state,
				"byword state.redis/v1" + state, "sealed state.sqlite/v1" + state, "bare state.sqlite/v1" + state,
			},
			HTTPEndpoints: []string{"outside"}, AppProtocol: "http", AppAddress: "127.0.0.1", HasAppPort: true, Concurrency: 64,
			ActorStatus: "DISABLED",
		}}},
		{name: "set", do: func(a *asker) meaning {
			a.must(a.api.setMetadata(a.ctx, a.key("colour"), "green & <blue>"))
			a.must(a.api.setMetadata(a.ctx, a.key("colour"), "red & <blue>"))
			extended := a.api.metadata(a.ctx).Info.Extended
			return meaning{Items: []parityItem{{Key: extended[a.key("colour")], Value: extended["daprRuntimeVersion"]}}}
		}, want: meaning{Items: []parityItem{{Key: "red & <blue>", Value: version.Version()}}}},
		{name: "set to nothing", do: func(a *asker) meaning {
			a.must(a.api.setMetadata(a.ctx, a.key("empty"), ""))
			value, there := a.api.metadata(a.ctx).Info.Extended[a.key("empty")]
			return meaning{Value: value, ETag: there}
		}, want: meaning{ETag: true}},
	}
}

// TestHealth: what the health endpoints say before the application is there, when it is, and that HEAD is
// none of theirs.
func TestHealth(t *testing.T) {
	runtimetest.Isolate(t)
	app := newApplication(t, saw("health"))
	s := runtimetest.Launch(t, "health", appOn(app))
	s.Await(t, "/v1.0/healthz/outbound")
	early := map[string]string{
		"GET /v1.0/healthz":               `500 {"errorCode":"ERR_HEALTH_NOT_READY","message":"dapr is not ready: [runtime]"}`,
		"GET /v1.0/healthz?appid=other":   `500 {"errorCode":"ERR_HEALTH_NOT_READY","message":"dapr is not ready: [runtime]"}`,
		"GET /v1.0/healthz/outbound":      "204 ",
		"GET /v1.0/healthz/outbound?a=b":  "204 ",
		"HEAD /v1.0/healthz":              "404 ",
		"POST /v1.0/healthz":              `404 {"errorCode":"ERR_DIRECT_INVOKE","message":"failed getting app id either from the URL path or the header dapr-app-id"}`,
		"GET /v1.0/healthz/outbound/more": `404 {"errorCode":"ERR_DIRECT_INVOKE","message":"failed getting app id either from the URL path or the header dapr-app-id"}`,
	}
	up := map[string]string{
		"GET /v1.0/healthz":                      "204 ",
		"GET /v1.0/healthz/":                     "204 ",
		"GET /v1.0/healthz?appid=health":         "204 ",
		"GET /v1.0/healthz?appid=other":          `500 {"errorCode":"ERR_HEALTH_APPID_NOT_MATCH","message":"dapr app-id does not match"}`,
		"GET /v1.0/healthz/outbound":             "204 ",
		"GET /v1.0/healthz/outbound?appid=other": "204 ",
	}
	check := func(want map[string]string) {
		t.Helper()
		for ask, answer := range want {
			if got := plainly(t, s, ask); got != answer {
				t.Errorf("%s: %s\nwant %s", ask, got, answer)
			}
		}
	}
	check(early)
	app.live(t)
	s.Await(t, "/v1.0/healthz")
	check(up)
}

// TestShutdown: both transports end the sidecar, which answers before it goes.
func TestShutdown(t *testing.T) {
	runtimetest.Isolate(t)
	t.Run("http", func(t *testing.T) {
		s := runtimetest.Start(t, "shutdown-http")
		if got := plainly(t, s, "POST /v1.0/shutdown"); got != "204 " {
			t.Errorf("shutdown: %s", got)
		}
		if err := s.Wait(); err != nil {
			t.Error(err)
		}
	})
	t.Run("grpc", func(t *testing.T) {
		s := runtimetest.Start(t, "shutdown-grpc")
		client := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String()))
		if _, err := client.Shutdown(t.Context(), &runtimev1.ShutdownRequest{}); err != nil {
			t.Error(err)
		}
		if err := s.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// TestMetadataForm: the names of the HTTP answer's fields, which SDKs read.
func TestMetadataForm(t *testing.T) {
	runtimetest.Isolate(t)
	s := runtimetest.Start(t, "form", runtimetest.Manifests(t, memoryStore))
	var got map[string]any
	body := (&httpAPI{client: http.DefaultClient, base: s.URL("")}).call(t.Context(), "GET", "/v1.0/metadata", "", nil).body
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"id": "form", "runtimeVersion": version.Version(),
		"components": []any{map[string]any{"name": "store", "type": "state.in-memory", "version": "v1",
			"capabilities": []any{"ETAG", "TRANSACTIONAL", "TTL", "ACTOR"}}},
		"extended":                map[string]any{"daprRuntimeVersion": version.Version()},
		"appConnectionProperties": map[string]any{"protocol": "http", "channelAddress": "127.0.0.1"},
		"actorRuntime":            map[string]any{"runtimeStatus": "DISABLED", "hostReady": false},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
