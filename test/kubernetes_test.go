package test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// inMemoryStore is the specification of a store that needs nothing.
const inMemoryStore = `"spec":{"type":"state.in-memory","version":"v1"}`

// seldom keeps a sidecar from looking at the resources unasked: what it sees it has heard of.
const seldom = "--hot-reload-reconcile-interval=24h"

// count says how often the log has a text so far.
func (p *process) count(text string) (times int) {
	lines, _, _ := p.log.snapshot()
	for _, line := range lines {
		times += strings.Count(line, text)
	}
	return times
}

// metadata is what the sidecar says of itself.
func (p *process) metadata(t *testing.T) string {
	t.Helper()
	return call(t, http.MethodGet, p.url(t, "/v1.0/metadata"), "").body
}

// TestOperator: without mutual TLS between sidecars the operator is asked all the same, as the sidecar's own identity; what
// it gives and tells of later takes effect, as far as it is for this sidecar.
func TestOperator(t *testing.T) {
	c := startCluster(t)
	c.operator.put("Configuration", "appconfig", `"spec":{"features":[{"name":"Some.Feature","enabled":true}]}`)
	c.operator.put("Component", "others", inMemoryStore+`,"scopes":["other"]`)
	c.operator.putIn("elsewhere", "Component", "foreign", inMemoryStore)
	p := newMesh(t).start(t, "nodeapp", append(c.flags(t, "nodeapp"), seldom, "--config", "appconfig")...)
	p.awaits(t, "Initializing the operator client (config: appconfig)")
	p.awaits(t, "mTLS is disabled. Skipping certificate request and tls validation")
	c.operator.awaitStreams(t, 1)
	c.operator.put("Component", "others", inMemoryStore+`,"scopes":["other","nodeapp"]`)
	p.awaits(t, "component created: others (state.in-memory/v1)")
	c.operator.put("Component", "others", `"spec":{"type":"state.in-memory","version":"v1","metadata":[{"name":"keyPrefix","value":"none"}]}`)
	p.awaits(t, "component updated: others (state.in-memory/v1)")
	if got := p.metadata(t); !strings.Contains(got, "Some.Feature") || strings.Contains(got, "foreign") {
		t.Errorf("the metadata: %s", got)
	}
	c.operator.put("Component", "others", inMemoryStore+`,"scopes":["other"]`)
	p.awaits(t, "component deleted: others (state.in-memory/v1)")
	callers, pods := c.operator.asked()
	if diff := cmp.Diff([][]string{{"spiffe://public/ns/default/nodeapp"}, {"nodeapp-1"}}, [][]string{callers, pods}); diff != "" {
		t.Errorf("who asked the operator: %s", diff)
	}
}

// TestOperatorLost: what changes while the operator is away is caught up with when it is back, and nobody notices that
// it was away but the log, once.
func TestOperatorLost(t *testing.T) {
	c := startCluster(t)
	for _, name := range []string{"stays", "changes", "goes"} {
		c.operator.put("Component", name, inMemoryStore)
	}
	p := newMesh(t).start(t, "nodeapp", append(c.flags(t, "nodeapp"), seldom)...)
	c.operator.awaitStreams(t, 1)
	save := call(t, http.MethodPost, p.url(t, "/v1.0/state/stays"), `[{"key":"k","value":"v"}]`)
	wants(t, save, http.StatusNoContent)

	c.operator.shut()
	p.awaits(t, "Error from operator stream: ")
	c.operator.remove("Component", "goes")
	c.operator.put("Component", "changes", `"spec":{"type":"state.in-memory","version":"v1","metadata":[{"name":"keyPrefix","value":"none"}]}`)
	c.operator.put("Component", "comes", inMemoryStore)
	<-c.operator.turnedAway
	wants(t, call(t, http.MethodGet, p.url(t, "/v1.0/state/stays/k"), ""), http.StatusOK, "v")

	c.operator.open()
	p.awaits(t, "Reconnected to operator")
	for _, line := range []string{"component created: comes", "component updated: changes", "component deleted: goes"} {
		p.awaits(t, line)
	}
	wants(t, call(t, http.MethodGet, p.url(t, "/v1.0/state/stays/k"), ""), http.StatusOK, "v")
	if got := p.metadata(t); strings.Contains(got, `"goes"`) || !strings.Contains(got, `"comes"`) {
		t.Errorf("the metadata: %s", got)
	}
	c.operator.awaitStreams(t, 2)
	c.operator.put("Component", "after", inMemoryStore)
	p.awaits(t, "component created: after")
	for _, line := range []string{"Error from operator stream: ", "Reconnected to operator"} {
		if got := p.count(line); got != 1 {
			t.Errorf("the log says %d times %q", got, line)
		}
	}
}

// TestOperatorAway: a start waits for its operator, and says so once.
func TestOperatorAway(t *testing.T) {
	c := startCluster(t)
	c.operator.put("Component", "store", inMemoryStore)
	c.operator.shut()
	p := newMesh(t).launch(t, "nodeapp", c.flags(t, "nodeapp")...)
	waits := p.awaits(t, "the start waits for the operator, which is asked up to 100 times: ")
	if !strings.Contains(waits.msg, c.operator.Addr().String()) {
		t.Errorf("%q does not name the operator", waits.msg)
	}
	for range 3 {
		<-c.operator.turnedAway
	}
	c.operator.open()
	p.awaits(t, "the operator answers, the start goes on")
	p.awaits(t, "component loaded. name: store, type: state.in-memory/v1")
	p.ready(t)
	if got := p.count("the start waits for the operator"); got != 1 {
		t.Errorf("it says %d times that it waits", got)
	}
}

// TestOperatorRefused: whoever is not the operator is told nothing, also when it has a certificate of the mesh; the log says
// who it is. A sidecar that still waits can be ended.
func TestOperatorRefused(t *testing.T) {
	c := startClusterOf(t, "default", map[string]string{"dapr.io/app-id": "dapr-operator"})
	c.operator.shut()
	p := newMesh(t).launch(t, "nodeapp", c.flags(t, "nodeapp")...)
	p.awaits(t, "the start waits for the operator")
	c.operator.open() // what comes is told of although it has been told that nobody was there
	p.awaits(t, "the certificate shown is not that of spiffe://cluster.local/ns/dapr-system/dapr-operator: it is that of spiffe://public/ns/default/dapr-operator")
	p.stops(t)
	if callers, _ := c.operator.asked(); callers != nil {
		t.Errorf("it was asked by %s", callers)
	}
}

// TestPodOfAnother: a sidecar that says it is of another namespace than its token gets no identity, and does not start.
func TestPodOfAnother(t *testing.T) {
	c := startCluster(t)
	flags := c.flags(t, "nodeapp")
	t.Setenv("NAMESPACE", "bank")
	p := newMesh(t).launch(t, "nodeapp", flags...)
	p.exits(t, 1)
	if !strings.Contains(p.log.String(), "failed to retrieve the initial identity") {
		t.Error("the log does not say what failed")
	}
	if callers, _ := c.operator.asked(); callers != nil {
		t.Errorf("the operator was asked by %s", callers)
	}
}

// TestOperatorLists: Resiliency, HTTPEndpoint and Subscription resources of both versions take effect, and follow changes.
func TestOperatorLists(t *testing.T) {
	var tries atomic.Int64
	arrived := make(chan string, 100)
	app := startApplication(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/flaky" && tries.Add(1) < 3:
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.Method == http.MethodPost && r.URL.Path != "/flaky":
			arrived <- r.URL.Path
		case r.URL.Path != "/flaky":
			w.WriteHeader(http.StatusNotFound)
		}
	})
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s with %s and %s", r.URL.Path, r.Header.Get("Given"), r.Header.Get("Looked-Up"))
	}))
	defer outside.Close()
	c := startCluster(t)
	o := c.operator
	o.put("Component", "ps", `"spec":{"type":"pubsub.in-memory","version":"v1"}`)
	o.put("Resiliency", "patience", `"spec":{"policies":{"retries":{"again":{"policy":"constant","duration":"1ms","maxRetries":5}}},"targets":{"apps":{"nodeapp":{"retry":"again"}}}}`)
	o.put("Resiliency", "others", `"spec":{},"scopes":["other"]`)
	o.put("HTTPEndpoint", "outside", fmt.Sprintf(`"spec":{"baseUrl":%q,"headers":[`+
		`{"name":"Given","value":%q,"secretKeyRef":{"name":"db","key":"password"}},{"name":"Looked-Up","secretKeyRef":{"name":"db","key":"password"}}]}`,
		outside.URL, base64.StdEncoding.EncodeToString([]byte("from the operator"))))
	o.put("Subscription", "old", `"apiVersion":"dapr.io/v1alpha1","kind":"Subscription","spec":{"pubsubname":"ps","topic":"a","route":"/old"}`)
	o.put("Subscription", "new", `"apiVersion":"dapr.io/v2alpha1","kind":"Subscription","spec":{"pubsubname":"ps","topic":"b","routes":{"rules":[{"match":"event.type == 'big'","path":"/big"}],"default":"/new"}}`)
	o.putIn("elsewhere", "Subscription", "foreign", `"spec":{"pubsubname":"ps","topic":"a","route":"/foreign"}`)
	p := newMesh(t).start(t, "nodeapp", append(c.flags(t, "nodeapp"), seldom, app.flag())...)
	o.awaitStreams(t, 1)

	published := func(topic, query, want string) {
		t.Helper()
		wants(t, call(t, http.MethodPost, p.url(t, "/v1.0/publish/ps/"+topic+query), "{}"), http.StatusNoContent)
		if got := <-arrived; got != want {
			t.Errorf("topic %s arrived at %s, want %s", topic, got, want)
		}
	}
	published("a", "", "/old")
	published("b", "", "/new")
	published("b", "?metadata.cloudevent.type=big", "/big")
	wants(t, call(t, http.MethodPost, p.invoke(t, "nodeapp", "flaky"), ""), http.StatusOK)
	wants(t, call(t, http.MethodGet, p.invoke(t, "outside", "x"), ""), http.StatusOK, "/x with from the operator and hunter2")

	o.put("Subscription", "new", `"apiVersion":"dapr.io/v2alpha1","kind":"Subscription","spec":{"pubsubname":"ps","topic":"b","routes":{"default":"/newer"}}`)
	p.awaits(t, "subscriptions of resources in force: 2")
	published("b", "", "/newer")
	o.remove("Subscription", "old")
	p.awaits(t, "subscriptions of resources in force: 1")
	o.remove("Resiliency", "patience")
	p.awaits(t, "resiliency resources in force: none")
	tries.Store(0)
	wants(t, call(t, http.MethodPost, p.invoke(t, "nodeapp", "flaky"), ""), http.StatusServiceUnavailable)
	o.remove("HTTPEndpoint", "outside")
	p.awaits(t, "HTTPEndpoints in use: ")
	if got := p.metadata(t); strings.Contains(got, "outside") || strings.Contains(got, "/old") {
		t.Errorf("the metadata: %s", got)
	}
	if strings.Contains(p.log.String(), "hunter2") {
		t.Error("a secret stands in the log")
	}
}

// TestOperatorConfiguration: what can change in place does, what cannot is told of in one line, and a Configuration that
// is gone changes nothing.
func TestOperatorConfiguration(t *testing.T) {
	c := startCluster(t)
	o := c.operator
	o.put("Configuration", "appconfig", `"spec":{}`)
	p := newMesh(t).start(t, "nodeapp", append(c.flags(t, "nodeapp"), seldom, "--config", "appconfig")...)
	o.awaitStreams(t, 1)
	secret := p.url(t, "/v1.0/secrets/kubernetes/db")
	wants(t, call(t, http.MethodGet, secret, ""), http.StatusOK, "hunter2")

	o.put("Configuration", "appconfig", `"spec":{"secrets":{"scopes":[{"storeName":"kubernetes","defaultAccess":"deny"}]},"tracing":{"samplingRate":"1"},"logging":{"apiLogging":{"enabled":true}}}`)
	p.awaits(t, "the Configuration has changed: spec.secrets in effect now")
	restart := p.awaits(t, "that needs a restart of the sidecar")
	if !strings.Contains(restart.msg, "spec.tracing") || !strings.Contains(restart.msg, "spec.logging") || restart.level != "warning" {
		t.Errorf("%s: %s", restart.level, restart.msg)
	}
	wants(t, call(t, http.MethodGet, secret, ""), http.StatusForbidden)

	o.remove("Configuration", "appconfig")
	p.awaits(t, "the change of the Configuration is refused, the one before stays: ")
	wants(t, call(t, http.MethodGet, secret, ""), http.StatusForbidden)

	o.put("Configuration", "appconfig", `"spec":{"tracing":{"samplingRate":"1"},"logging":{"apiLogging":{"enabled":true}}}`)
	p.awaitsMore(t, "the Configuration has changed: spec.secrets in effect now", 2)
	wants(t, call(t, http.MethodGet, secret, ""), http.StatusOK, "hunter2")
	if got := p.count("that needs a restart of the sidecar"); got != 1 {
		t.Errorf("the log says %d times what needs a restart", got)
	}
}

// TestClusterSecrets: the built-in store reads what the pod may read, and says of the rest why not.
func TestClusterSecrets(t *testing.T) {
	c := startCluster(t)
	p := newMesh(t).start(t, "nodeapp", c.flags(t, "nodeapp")...)
	for name, test := range map[string]struct {
		path   string
		status int
		want   string
	}{
		"a secret":          {"/db", http.StatusOK, `{"password":"hunter2"}`},
		"missing":           {"/missing", http.StatusInternalServerError, "the API server answers 404"},
		"another namespace": {"/db?metadata.namespace=bank", http.StatusInternalServerError, "needs a Role of namespace bank that allows get"},
		"no name":           {"/..%2F..%2Fpods", http.StatusInternalServerError, "is no name of a Secret"},
	} {
		t.Run(name, func(t *testing.T) {
			wants(t, call(t, http.MethodGet, p.url(t, "/v1.0/secrets/kubernetes"+test.path), ""), test.status, test.want)
		})
	}
	t.Run("disabled", func(t *testing.T) {
		p := newMesh(t).start(t, "nodeapp", append(c.flags(t, "nodeapp"), "--disable-builtin-k8s-secret-store")...)
		wants(t, call(t, http.MethodGet, p.url(t, "/v1.0/secrets/kubernetes/db"), ""), http.StatusInternalServerError, "ERR_SECRET_STORES_NOT_CONFIGURED")
		if p.count("secretstores.kubernetes") != 0 {
			t.Error("the store was loaded")
		}
	})
	t.Run("in its place", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "secrets.json")
		if err := os.WriteFile(file, []byte(`{"db":"from a file"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		c.operator.put("Component", "kubernetes", fmt.Sprintf(`"spec":{"type":"secretstores.local.file","version":"v1","metadata":[{"name":"secretsFile","value":%q}]}`, file))
		p := newMesh(t).start(t, "nodeapp", c.flags(t, "nodeapp")...)
		wants(t, call(t, http.MethodGet, p.url(t, "/v1.0/secrets/kubernetes/db"), ""), http.StatusOK, "from a file")
	})
}

// TestPod: a sidecar starts from what the injector of Dapr 1.18 passes, and knows its pod.
func TestPod(t *testing.T) {
	c := startCluster(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "default.nodeapp-nodeapp-1.json"), []byte(`{"whose":"mine"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c.operator.put("Component", "pods", fmt.Sprintf(`"spec":{"type":"secretstores.local.file","version":"v1","metadata":[{"name":"secretsFile","value":%q}]}`,
		filepath.Join(dir, "{namespace}-{podName}.json")))
	app := startApplication(t, greet("app"))
	flags := c.flags(t, "nodeapp")
	t.Setenv("DAPR_API_TOKEN", "in")
	api, public := strconv.Itoa(holdPort(t)), strconv.Itoa(holdPort(t))
	p := newMesh(t).exec(t, "nodeapp", append([]string{"--dapr-http-port", api, "--dapr-grpc-port", "0", "--dapr-internal-grpc-port", "0",
		"--dapr-listen-addresses", "[::1],127.0.0.1", "--dapr-public-port", public, "--app-id", "nodeapp", "--app-protocol", "http", "--log-level", "info",
		"--dapr-graceful-shutdown-seconds", "5", app.flag(), "--enable-metrics", "--metrics-port", "0", "--app-channel-address", "127.0.0.1",
		"--placement-host-address", "dapr-placement-server.dapr-system.svc.cluster.local:50005",
		"--scheduler-host-address", "dapr-scheduler-server-a.dapr-system.svc.cluster.local:443", "--enable-api-logging=false", "--enable-mtls",
		"--app-max-concurrency", "-1", "--max-body-size", "4Mi", "--read-buffer-size", "4Ki"}, flags...)...)
	p.ready(t)
	if got := call(t, http.MethodGet, "http://127.0.0.1:"+public+"/v1.0/healthz", ""); got.status != http.StatusNoContent {
		t.Errorf("the probe of the pod: %+v", got)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url(t, "/v1.0/secrets/pods/whose"), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("dapr-api-token", "in")
	got, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if got.StatusCode != http.StatusOK {
		t.Errorf("the file of the pod: %s", got.Status)
	}
}

// TestNamespaces: an application of another namespace is called by app.namespace, through the resolver of a cluster, and only
// a sidecar with that identity is given the call. The names are numbers, which lead to addresses of this machine.
func TestNamespaces(t *testing.T) {
	c := startCluster(t)
	c.operator.put("Configuration", "numbers", `"spec":{"nameResolution":{"component":"kubernetes","version":"v1","configuration":{"template":"127.0.{{.Namespace}}.{{.ID}}:{{.Port}}"}}}`)
	port := strconv.Itoa(holdPort(t))
	m := newMesh(t)
	start := func(namespace, id, address string, more ...string) *process {
		t.Helper()
		return m.start(t, id, append(c.flagsIn(t, namespace, id),
			append(more, "--enable-mtls", "--dapr-internal-grpc-port", port, "--dapr-internal-grpc-listen-address", address)...)...)
	}
	for namespace, address := range map[string]string{"7": "127.0.7.2", "8": "127.0.8.2", "5": "127.0.9.2"} {
		app := startApplication(t, greet("app 2 of "+namespace))
		start(namespace, "2", address, app.flag())
	}
	caller := start("default", "1", "127.0.0.1", "--config", "numbers")
	for _, namespace := range []string{"7", "8"} {
		want := "app 2 of " + namespace
		wants(t, call(t, http.MethodGet, caller.invoke(t, "2."+namespace, "hello"), ""), http.StatusOK, want)
		answer, err := caller.dapr(t).InvokeService(t.Context(), invokeRequest("2."+namespace, "hello", ""))
		if err != nil || !strings.Contains(string(answer.GetData().GetValue()), want) {
			t.Errorf("over gRPC: %v %v", answer, err)
		}
	}
	wants(t, call(t, http.MethodGet, caller.invoke(t, "2.9", "hello"), ""), http.StatusInternalServerError,
		"the certificate shown is not that of spiffe://*/ns/9/2: it is that of spiffe://public/ns/5/2")
}

// TestRootIsRefused: a sidecar in a pod does not run as root.
func TestRootIsRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("this test is not run as root")
	}
	p := newMesh(t).launch(t, "app", "--mode", "kubernetes")
	p.exits(t, 1)
	if !strings.Contains(p.log.String(), "current user UID(0) is root") {
		t.Error("the log does not say why")
	}
}
