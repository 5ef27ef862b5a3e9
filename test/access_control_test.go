package test

import (
	"net/http"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/config"
	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
	"github.com/daprd/daprd/pkg/sentry/sentrytest"
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

// guarded is what holds at the callee: for shop, for shop in another namespace, for bank by its default action alone, for
// a mint of another trust domain than ours.
const guarded = `apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: c}
spec:
  accessControl:
    defaultAction: deny
    trustDomain: public
    policies:
    - appId: shop
      namespace: default
      trustDomain: public
      defaultAction: deny
      operations:
      - {name: /status/*, httpVerb: [GET], action: allow}
      - {name: /open/**, httpVerb: ["*"], action: allow}
      - {name: /grpc.testing.TestService/UnaryCall, httpVerb: ["*"], action: allow}
    - {appId: shop, namespace: far, trustDomain: public, defaultAction: deny}
    - {appId: bank, namespace: default, trustDomain: public, operations: [{name: /open, httpVerb: [PUT], action: allow}]}
    - {appId: mint, namespace: default, trustDomain: elsewhere, defaultAction: allow}
`

// TestAccessByIdentity: the certificate says who calls, whatever the headers say, over both transports.
func TestAccessByIdentity(t *testing.T) {
	runtimetest.Isolate(t)
	authority := sentrytest.Start(t)
	app := handledBy(t, saw("callee"))
	callee := runtimetest.Start(t, "callee", app, trusting(t, authority), inNamespace("default"), runtimetest.Configuration(t, guarded))
	forged := map[string][]string{"dapr-caller-app-id": {"shop"}, "dapr-caller-namespace": {"default"}}
	passes := meaning{Status: http.StatusNoContent, Header: map[string][]string{"x-app": {"callee"}, "x-app-multi": {"one", "two"}}}
	for _, c := range []struct {
		app, namespace, verb, method string
		allowed                      bool
		counted                      string
	}{
		{"shop", "default", "GET", "status/204", true, `app_policy_action_allowed_total{app_id="shop",namespace="default",trustDomain="public"} 2`},
		{"shop", "default", "DELETE", "status/204", false, ""},
		{"shop", "default", "GET", "x/..//status/./204", true, ""},
		{"shop", "default", "GET", "status/204/more", false, ""},
		{"shop", "default", "GET", "other", false, `app_policy_action_blocked_total{app_id="shop",namespace="default",trustDomain="public"} 6`},
		{"shop", "far", "GET", "status/204", false, `app_policy_action_blocked_total{app_id="shop",namespace="far",trustDomain="public"} 2`},
		{"bank", "default", "GET", "open", false, `global_policy_action_blocked_total{app_id="bank",namespace="default",trustDomain="public"} 2`},
		{"mint", "default", "GET", "status/204", false, ""},
		{"guest", "default", "GET", "status/204", false, `global_policy_action_blocked_total{app_id="guest",namespace="default",trustDomain="public"} 2`},
	} {
		t.Run(strings.Join([]string{c.app, c.namespace, c.verb, strings.ReplaceAll(c.method, "/", "|")}, " "), func(t *testing.T) {
			caller := runtimetest.Start(t, c.app, inNamespace(c.namespace), trusting(t, authority))
			want := passes
			if !c.allowed {
				want = refusedTo("spiffe://public/ns/"+c.namespace+"/"+c.app, c.verb, "/"+c.method)
				want.Fault.Text = strings.Replace(want.Fault.Text, "id: callee", "id: callee.default", 1)
			}
			t.Run("asked", func(t *testing.T) {
				askAll(t, []parityCase{{name: "invoke", want: want, do: func(a *asker) meaning {
					return a.api.invoke(a.ctx, invocation{ID: "callee.default", Verb: c.verb, Method: c.method, Header: forged})
				}}}, transports(t, caller), "", false)
			})
			if c.counted != "" {
				counts(t, callee, c.counted)
			}
		})
	}
	if log := callee.Log.String(); strings.Contains(log, "without mutual TLS") {
		t.Error("it warns of callers without identity, although there is mutual TLS")
	}
}

// TestProxiedByIdentity: the name of a gRPC method is the operation.
func TestProxiedByIdentity(t *testing.T) {
	runtimetest.Isolate(t)
	authority := sentrytest.Start(t)
	address := serveGRPC(t, func(s *grpc.Server) { testgrpc.RegisterTestServiceServer(s, &testService{}) })
	runtimetest.Start(t, "callee", runtimetest.App(address, config.GRPC), trusting(t, authority), inNamespace("default"), runtimetest.Configuration(t, guarded))
	for _, app := range []string{"shop", "bank"} {
		caller := runtimetest.Start(t, app, trusting(t, authority), inNamespace("default"))
		conn := dial(t, caller.GRPCAddress().String())
		ctx := metadata.AppendToOutgoingContext(t.Context(), "dapr-app-id", "callee", "dapr-caller-app-id", "shop")
		for method, allowed := range map[string]bool{"UnaryCall": app == "shop", "EmptyCall": false, "unarycall": false} {
			full := "/grpc.testing.TestService/" + method
			err := conn.Invoke(ctx, full, &testgrpc.SimpleRequest{}, &testgrpc.SimpleResponse{})
			want := "access control policy has denied access to id: spiffe://public/ns/default/" + app + " operation: " + full + " verb: NONE"
			if st := status.Convert(err); allowed && err != nil || !allowed && (st.Code() != codes.PermissionDenied || st.Message() != want) {
				t.Errorf("%s, %s: %v", app, method, err)
			}
		}
	}
}

// TestWaysAround: paths that are written to look like others, sent as raw bytes. Whatever reaches the application, the
// application itself would never take for what is denied.
func TestWaysAround(t *testing.T) {
	runtimetest.Isolate(t)
	authority := sentrytest.Start(t)
	var trespasses, calls atomic.Int64
	app := handledBy(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/dapr/config" || r.URL.Path == "/dapr/subscribe" {
			http.NotFound(w, r)
			return
		}
		calls.Add(1)
		if place := strings.ToLower(path.Clean("/" + r.URL.Path)); place == "/admin" || strings.HasPrefix(place, "/admin/") {
			trespasses.Add(1)
			t.Errorf("the application was asked for %s", r.RequestURI)
		}
	})
	runtimetest.Start(t, "callee", app, trusting(t, authority), inNamespace("default"), runtimetest.Configuration(t, `apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: c}
spec:
  accessControl:
    defaultAction: deny
    trustDomain: public
    policies:
    - {appId: shop, namespace: default, trustDomain: public, defaultAction: allow, operations: [{name: /admin, httpVerb: ["*"], action: deny}]}
`))
	caller := runtimetest.Start(t, "shop", trusting(t, authority), inNamespace("default"))
	address := caller.HTTPAddress().String()
	const prefix = "/v1.0/invoke/callee/method"
	for path, want := range map[string]int{
		"/admin": 403, "/admin/": 403, "/admin/x": 403, "/admin?x=1": 403, "/ADMIN": 403, "/aDmIn/X": 403, "//admin": 403, "///admin//x": 403,
		"/./admin": 403, "/x/../admin": 403, "/x/y/../../admin": 403, "/%61dmin": 403, "/%41DMIN": 403, "/a%64min%2f": 403, "/%2fadmin": 403, "/%2e/admin": 403,
		"/x/%2e%2e/admin": 403, "/x%2f..%2fadmin": 403, "/x%2F%2E%2E%2Fadmin/y": 403, "/admin/x/..": 403, "/admin/.": 403, "/admin%2f%2e": 403,
		"/../../callee/method/admin": 403, "/" + strings.Repeat("x/../", 600) + "admin": 403, "/" + strings.Repeat("%2e/", 600) + "admin": 403,
		"/admin" + strings.Repeat("/x", 1500): 403,
		// These are other places, for the application too.
		"/admin/../open": 200, "/admi": 200, "/admins": 200, "/admin;x=1": 200, "/%2561dmin": 200, "/admin%5cx": 200, "/admin%20": 200, "/x%252f..%252fadmin": 200,
		"/%c0%afadmin": 200, "/%ef%bc%81dmin": 200, "/" + strings.Repeat("admin", 200): 200,
		// These are no paths.
		"/admin%3fx": 500, "/admin%23": 500, "/admin%00": 500, "/admin%0d%0a": 500, "/%0aadmin": 500, "/admin%": 400, "/admin%zz": 400,
	} {
		for _, verb := range []string{"GET", "POST", "OPTIONS", "BREW"} {
			for way, head := range map[string]string{
				"path":         verb + " " + prefix + path + " HTTP/1.1\r\nHost: x\r\n",
				"header":       verb + " " + path + " HTTP/1.1\r\nHost: x\r\ndapr-app-id: callee\r\n",
				"absolute URL": verb + " http://elsewhere" + prefix + path + " HTTP/1.1\r\nHost: x\r\n",
			} {
				if way == "header" && strings.Contains(path, "callee/method") {
					continue
				}
				before := calls.Load()
				response, _ := rawly(t, address, head+"Content-Length: 0\r\nConnection: close\r\n\r\n")
				if response.StatusCode != want || (calls.Load() > before) != (want == 200) {
					t.Errorf("%s by %s: %d, want %d; it reached the application: %t", path, way, response.StatusCode, want, calls.Load() > before)
				}
			}
		}
	}
	dapr := runtimev1.NewDaprClient(dial(t, caller.GRPCAddress().String()))
	for method, want := range map[string]string{
		"admin": "has denied access", "/admin": "has denied access", "//admin/": "has denied access", "x/../ADMIN": "has denied access", "./admin/x": "has denied access",
		"%61dmin": "", "admin%2f": "", "admin?x": "forbidden character", "admin#": "forbidden character", "admin\x00": "forbidden character", "admin\r\n": "forbidden character",
	} {
		_, err := dapr.InvokeService(t.Context(), &runtimev1.InvokeServiceRequest{Id: "callee", Message: &commonv1.InvokeRequest{Method: method,
			HttpExtension: &commonv1.HTTPExtension{Verb: commonv1.HTTPExtension_GET, Querystring: "a=/../admin"}}})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("gRPC, %q: %v", method, err)
		}
	}
	if n := trespasses.Load(); n > 0 {
		t.Errorf("%d calls got around the policy", n)
	}
}
