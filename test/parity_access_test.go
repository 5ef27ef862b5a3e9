package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
	"github.com/daprd/daprd/pkg/security"
)

// plainly makes a call "VERB /path" and shows status and body.
func plainly(t *testing.T, s *runtimetest.Sidecar, ask string) string {
	t.Helper()
	verb, path, _ := strings.Cut(ask, " ")
	answer := (&httpAPI{client: http.DefaultClient, base: s.URL("")}).call(t.Context(), verb, path, "", nil)
	if answer.err != nil {
		t.Fatal(answer.err)
	}
	return fmt.Sprintf("%d %s", answer.status, answer.body)
}

// everyAPI are calls of every part of the API.
func everyAPI(want func(name string) meaning) []parityCase {
	asks := map[string]func(*asker) meaning{
		"get state":    func(a *asker) meaning { return a.get("k") },
		"save state":   func(a *asker) meaning { return a.save(stateItem{Key: "k", Value: "1"}) },
		"delete state": func(a *asker) meaning { return a.remove(stateItem{Key: "k"}) },
		"bulk state":   func(a *asker) meaning { return a.bulk() },
		"transaction":  func(a *asker) meaning { return a.transact() },
		"secret":       func(a *asker) meaning { return a.api.secret(a.ctx, "environment", "APP_API_TOKEN") },
		"metadata":     func(a *asker) meaning { return a.api.setMetadata(a.ctx, "k", "v") },
		"invoke": func(a *asker) meaning {
			return a.api.invoke(a.ctx, invocation{ID: "access", Verb: "GET", Method: "status/204"})
		},
	}
	var cases []parityCase
	for name, do := range asks {
		cases = append(cases, parityCase{name: name, do: do, want: want(name)})
	}
	return cases
}

// succeeds is what the calls of everyAPI answer when they are let through.
func succeeds(name string) meaning {
	switch name {
	case "secret":
		return meaning{Secrets: single("APP_API_TOKEN", "")}
	case "invoke":
		return meaning{Status: http.StatusNoContent, Header: map[string][]string{"x-app": {"access"}, "x-app-multi": {"one", "two"}}}
	}
	return meaning{}
}

const accessResources = memoryStore + `
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: environment}
spec: {type: secretstores.local.env, version: v1}
`

// TestParityOfTokens: without the token there is nothing but the health endpoints.
func TestParityOfTokens(t *testing.T) {
	runtimetest.Isolate(t)
	app := startApplication(t, saw("access"))
	s := runtimetest.Start(t, "access", appOn(app), runtimetest.Manifests(t, accessResources),
		func(c *runtime.Config) { c.APIToken = security.NewToken("s3cret") })
	refused := func(text string) func(string) meaning {
		return func(string) meaning {
			return meaning{Fault: &fault{HTTP: http.StatusUnauthorized, GRPC: codes.Unauthenticated, Text: "Unauthorized", OnHTTP: text,
				Reason: "Unauthorized"}}
		}
	}
	apis := transports(t, s)
	h, g := apis[0].(*httpAPI), apis[1].(*grpcAPI)
	for name, token := range map[string]string{"without": "", "wrong": "guess", "longer": "s3cret5", "right": "s3cret"} {
		t.Run(name, func(t *testing.T) {
			want := refused("invalid api token\n")
			if token == "s3cret" {
				want = succeeds
			}
			askAll(t, everyAPI(want), []transport{&httpAPI{client: h.client, base: h.base, token: token}, &grpcAPI{client: g.client, token: token}}, "store", false)
		})
	}
	for ask, want := range map[string]string{
		"GET /v1.0/healthz": "204 ", "GET /v1.0/healthz/outbound": "204 ",
		// A path that merely holds the word asks for the token like any other.
		"GET /v1.0/invoke/access/method/healthz": "401 invalid api token\n", "GET /v1.0/metadata?a=/healthz": "401 invalid api token\n",
	} {
		if got := plainly(t, s, ask); got != want {
			t.Errorf("%s: %q, want %q", ask, got, want)
		}
	}
}

// TestParityOfAccessLists: what the Configuration does not allow is not there. The texts differ: a route of
// HTTP is simply missing.
func TestParityOfAccessLists(t *testing.T) {
	runtimetest.Isolate(t)
	rule := func(list, name string) string {
		return fmt.Sprintf("    %s: [{name: %s, version: v1, protocol: http}, {name: %s, version: v1, protocol: grpc}]\n", list, name, name)
	}
	const head = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\nspec:\n  api:\n"
	app := startApplication(t, saw("access"))
	absent := meaning{Fault: &fault{HTTP: http.StatusNotFound, GRPC: codes.Unimplemented, Text: "Not Implemented", OnHTTP: "404 page not found\n",
		Reason: "Not Implemented"}}
	isState := func(name string) bool { return strings.Contains(name, "state") || name == "transaction" }
	for name, c := range map[string]struct {
		rules string
		want  func(string) meaning
	}{
		"state is allowed": {rule("allowed", "state"), func(name string) meaning {
			if isState(name) {
				return succeeds(name)
			}
			return absent
		}},
		"invoke is denied": {rule("denied", "invoke"), func(name string) meaning {
			if name == "invoke" {
				return absent
			}
			return succeeds(name)
		}},
		"denial wins": {rule("allowed", "metadata") + rule("denied", "metadata"), func(string) meaning { return absent }},
	} {
		t.Run(name, func(t *testing.T) {
			s := runtimetest.Start(t, "access", appOn(app), runtimetest.Manifests(t, accessResources), runtimetest.Configuration(t, head+c.rules))
			askAll(t, everyAPI(c.want), transports(t, s), "store", false)
			if got := plainly(t, s, "GET /v1.0/healthz"); got != "204 " {
				t.Errorf("health: %s", got)
			}
		})
	}
}

const boundedResources = memoryStore + `
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: file}
spec: {type: secretstores.local.env, version: v1}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: topics}
spec:
  type: pubsub.in-memory
  version: v1
  metadata:
  - {name: protectedTopics, value: "mine"}
`

// TestWaysAroundTheRules: requests as raw bytes that are written to look like others. What the token, the rules of the
// API, the scopes of secrets and of topics keep closed stays closed.
func TestWaysAroundTheRules(t *testing.T) {
	t.Setenv("OPEN", "o")
	t.Setenv("CLOSED", "c")
	app := startApplication(t, saw("bounded"))
	configuration := runtimetest.Configuration(t, `apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: c}
spec:
  api:
    denied: [{name: state, version: v1, protocol: http}, {name: invoke, version: v1, protocol: http}, {name: state, version: v1, protocol: grpc},
      {name: invoke, version: v1, protocol: grpc}]
  secrets: {scopes: [{storeName: file, defaultAccess: allow, deniedSecrets: [CLOSED]}]}
`)
	runtimetest.Isolate(t)
	s := runtimetest.Start(t, "bounded", appOn(app), runtimetest.Manifests(t, boundedResources), configuration,
		func(c *runtime.Config) { c.APIToken = security.NewToken("s3cret") })
	long := strings.Repeat("x/../", 500)
	const token = "dapr-api-token: s3cret\r\n"
	for _, group := range []struct {
		name, header string
		// status is what all the asks answer.
		status int
		asks   []string
	}{
		{"no token", "", 401, []string{"GET /v1.0/metadata", "GET /v1.0/healthz/../metadata", "GET /v1.0/healthz%2f..%2fmetadata", "GET /v1.0/metadata?/v1.0/healthz",
			"GET /v1.0/metadata#/v1.0/healthz", "GET /V1.0/healthz", "GET /v1.0/Healthz", "GET /v1.0/health%7a", "POST /v1.0/healthz", "HEAD /v1.0/healthz", "GET /v1.0/healthz/x",
			"GET /v1.0/metadata/healthz", "GET /v1.0/healthz;/../metadata", "GET http://x/v1.0/healthz/../metadata", "GET /v1.0/" + long + "metadata"}},
		{"the token is not the first", "dapr-api-token: x\r\n" + token, 401, []string{"GET /v1.0/metadata"}},
		{"the token with more", "dapr-api-token: s3cret,\r\n", 401, []string{"GET /v1.0/metadata"}},
		{"health needs none", "", 204, []string{"GET /v1.0/healthz", "GET //v1.0/x/../healthz/", "GET /v1.0/healthz/outbound"}},
		{"denied groups", token, 404, []string{"GET /v1.0/state/store/k", "GET //v1.0//state/store/k/", "GET /v1.0/x/../state/store/k", "GET /v1.0/%73tate/store/k", "GET /v1%2e0/state/store/k",
			"GET /V1.0/STATE/store/k", "GET /v1.0/" + long + "state/store/k", "POST /v1.0/state/store/bulk", "GET http://x/v1.0/state/store/k",
			"GET /v1.0/invoke/bounded/method/a", "GET /v1.0//invoke/bounded/method/a", "GET /v1.0/%69nvoke/bounded/method/a", "BREW /v1.0/invoke/bounded/method/a", "GET /a"}},
		{"denied fallback", token + "dapr-app-id: bounded\r\n", 404, []string{"GET /a", "GET /v1.0/invoke/bounded/method/a", "GET /v1.0/state/store/k"}},
		{"denied secrets", token, 403, []string{"GET /v1.0/secrets/file/CLOSED", "GET /v1.0/secrets/file/%43LOSED", "GET /v1.0/secrets/file/CLOSED/", "GET /v1.0//secrets//file/CLOSED?metadata.a=b",
			"GET /v1.0/secrets/%66ile/CLOSED", "GET /v1.0/secrets/file/x/../CLOSED"}},
		{"other secrets", token, 200, []string{"GET /v1.0/secrets/file/OPEN", "GET /v1.0/secrets/file/bulk"}},
		{"protected topics", token, 403, []string{"POST /v1.0/publish/topics/mine", "POST /v1.0/publish/topics/%6dine", "POST /v1.0/publish/%74opics/mine", "POST /v1.0/publish//topics///mine",
			"POST /v1.0/publish/topics/x/../mine", "PUT /v1.0/publish/topics/mine?metadata.rawPayload=true"}},
		{"other topics", token, 204, []string{"POST /v1.0/publish/topics/Mine", "POST /v1.0/publish/topics/%256dine"}},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, ask := range group.asks {
				response, body := rawly(t, s.HTTPAddress().String(), ask+" HTTP/1.1\r\nHost: x\r\n"+group.header+"Content-Length: 0\r\nConnection: close\r\n\r\n")
				if response.StatusCode != group.status || strings.Contains(body, "CLOSED\":") {
					t.Errorf("%.80s: %d %s, want %d", ask, response.StatusCode, body, group.status)
				}
			}
		})
	}
	conn := dial(t, s.GRPCAddress().String())
	for method, want := range map[string]codes.Code{
		"/dapr.proto.runtime.v1.Dapr/GetState": codes.Unimplemented, "/dapr.proto.runtime.v1.Dapr/InvokeService": codes.Unimplemented,
		"//dapr.proto.runtime.v1.Dapr/GetState": codes.InvalidArgument, "/dapr.proto.runtime.v1.Dapr//GetState": codes.InvalidArgument,
		"/x/../dapr.proto.runtime.v1.Dapr/GetState": codes.InvalidArgument, "/dapr.proto.runtime.v1.Dapr/Get%53tate": codes.InvalidArgument,
		// Another name is another method, of the application, which speaks no gRPC.
		"/Dapr.proto.runtime.v1.Dapr/GetState": codes.Unavailable, "/dapr.proto.runtime.v1.dapr/GetState": codes.Unavailable,
		"/dapr.proto.runtime.v1.Dapr/getState": codes.Unavailable,
	} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "dapr-api-token", "s3cret", "dapr-app-id", "bounded")
		err := conn.Invoke(ctx, method, &runtimev1.GetStateRequest{StoreName: "store", Key: "k"}, &runtimev1.GetStateResponse{})
		if status.Code(err) != want {
			t.Errorf("%s: %v, want %s", method, err, want)
		}
	}
	if strings.Contains(s.Log.String(), "s3cret") {
		t.Error("the token is in the log")
	}
}
