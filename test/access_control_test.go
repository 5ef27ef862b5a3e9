package test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/config"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// both are two options in one.
func both(first, second runtimetest.Option) runtimetest.Option {
	return func(c *runtime.Config) {
		first(c)
		second(c)
	}
}

const deniedToAll = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\nspec:\n  accessControl: {defaultAction: deny}\n"

// refusedTo is what callers see of a denial.
func refusedTo(id, verb, path string) meaning {
	return meaning{Fault: &fault{HTTP: http.StatusForbidden, Code: "ERR_DIRECT_INVOKE", GRPC: codes.Internal,
		Text: "failed to invoke, id: callee, err: rpc error: code = PermissionDenied desc = access control policy has denied access to id: " + id +
			" operation: " + path + " verb: " + verb}}
}

// TestDeniedByDefault: without mutual TLS nobody is known, and the global default action decides; not on an application's
// own calls to itself, but for proxied ones.
func TestDeniedByDefault(t *testing.T) {
	runs := map[string]struct {
		app  runtimetest.Option
		verb func(string) string
	}{
		"HTTP": {handledBy(t, saw("callee")), func(verb string) string { return verb }},
		"gRPC": {runtimetest.App(serveGRPC(t, func(s *grpc.Server) {
			runtimev1.RegisterAppCallbackServer(s, sawGRPC{at: "callee"})
			testgrpc.RegisterTestServiceServer(s, &testService{})
		}), config.GRPC), func(string) string { return "NONE" }},
	}
	for name, c := range runs {
		t.Run(name, func(t *testing.T) {
			n := together(t, both(c.app, runtimetest.Configuration(t, deniedToAll)))
			cases := []parityCase{
				{name: "denied", do: func(a *asker) meaning {
					return a.api.invoke(a.ctx, invocation{ID: "callee", Verb: "GET", Method: "a/b"})
				}, want: refusedTo("", c.verb("GET"), "/a/b")},
				{name: "an odd path", do: func(a *asker) meaning {
					return a.api.invoke(a.ctx, invocation{ID: "callee", Verb: "PUT", Method: "x/../A/./b"})
				}, want: refusedTo("", c.verb("PUT"), "/A/b")},
			}
			t.Run("asked", func(t *testing.T) { askAll(t, cases, transports(t, n.caller), "", false) })
			for _, api := range transports(t, n.callee) {
				if got := api.invoke(t.Context(), invocation{ID: "callee", Verb: "GET", Method: "a"}); got.Fault != nil {
					t.Errorf("%s: to itself: %+v", api.name(), got.Fault)
				}
			}
			for from, s := range map[string]*runtimetest.Sidecar{"itself": n.callee, "another": n.caller} {
				client, ctx := n.proxied(t, s)
				_, err := client.UnaryCall(ctx, &testgrpc.SimpleRequest{})
				const want = "access control policy has denied access to id:  operation: /grpc.testing.TestService/UnaryCall verb: NONE"
				if st := status.Convert(err); st.Code() != codes.PermissionDenied || st.Message() != want {
					t.Errorf("proxied for %s: %v", from, err)
				}
			}
			// Two paths over two transports, two proxied calls.
			counts(t, n.callee, `global_policy_action_blocked_total{app_id="",namespace="",trustDomain=""} 6`)
			if got := strings.Count(n.callee.Log.String(), "access control denied"); got != 3 {
				t.Errorf("%d denials are logged", got)
			}
		})
	}
}

// counts wants a line of the access control's metrics, without its prefix.
func counts(t *testing.T, s *runtimetest.Sidecar, line string) {
	t.Helper()
	const prefix = "dapr_runtime_acl_"
	var got []string
	for each := range strings.Lines(metricsOf(t, s)) {
		if found, ok := strings.CutPrefix(strings.TrimSpace(each), prefix); ok {
			got = append(got, found)
		}
	}
	if !slices.Contains(got, line) {
		t.Errorf("counted %q, want %s", got, line)
	}
}

// TestReloadOfAccessControl: a changed policy holds from the next call on; one that cannot be used changes nothing.
func TestReloadOfAccessControl(t *testing.T) {
	runtimetest.Isolate(t)
	files := newFolder(t)
	files.write("c.yaml", deniedToAll)
	callee := runtimetest.Start(t, "callee", handledBy(t, saw("callee")), func(c *runtime.Config) { c.ConfigFiles = []string{files.path + "/c.yaml"} })
	caller := runtimetest.Start(t, "caller")
	get := func() int {
		response, err := http.Get(caller.URL("/v1.0/invoke/callee/method/a"))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	if got := get(); got != http.StatusForbidden {
		t.Errorf("denied: %d", got)
	}
	files.swap("c.yaml", strings.Replace(deniedToAll, "deny", "allow", 1))
	says(t, callee, 1, "the Configuration has changed: spec.accessControl in effect now")
	if got := get(); got != http.StatusOK {
		t.Errorf("allowed: %d", got)
	}
	files.swap("c.yaml", strings.Replace(deniedToAll, "deny", "deny, policies: [{appId: x}]", 1))
	says(t, callee, 1, "the change of the Configuration is refused, the one before stays: error loading configuration: invalid access control spec. missing trustdomain for apps: [x]")
	if got := get(); got != http.StatusOK {
		t.Errorf("after a change that cannot be made: %d", got)
	}
	files.swap("c.yaml", deniedToAll)
	says(t, callee, 2, "the Configuration has changed: spec.accessControl in effect now")
	if got := get(); got != http.StatusForbidden {
		t.Errorf("denied again: %d", got)
	}
	if got := strings.Count(callee.Log.String(), "access control denied"); got != 2 {
		t.Errorf("%d denials are logged, want one under each policy", got)
	}
}
