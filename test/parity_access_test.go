package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

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
