package sdk

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// TestJavaScript runs js/test.mjs against real sidecars: state, secrets, invocation and metadata, over HTTP
// and over gRPC.
func TestJavaScript(t *testing.T) {
	javaScript(t)
	listener := listen(t)
	app := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hello" {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"verb":"` + r.Method + `","query":"` + r.URL.RawQuery + `"}`))
			return
		}
		http.NotFound(w, r)
	})}
	go func() { _ = app.Serve(listener) }()
	t.Cleanup(func() { _ = app.Close() })

	start(t, "js-callee", listener.Addr().(*net.TCPAddr).Port, "http")
	caller := start(t, "js-caller", 0, "http")
	runNode(t, "test.mjs", caller)
}

// TestJavaScriptServer runs js/server.mjs: an HTTP app and a gRPC app, which publish and subscribe.
func TestJavaScriptServer(t *testing.T) {
	javaScript(t)
	for protocol := range services {
		t.Run(protocol, func(t *testing.T) {
			port := freePorts(t, 1)[0]
			s := launch(t, "js-"+protocol, port, protocol, pubsub(t), bindings(t))
			runNode(t, "server.mjs", s, "PROTOCOL="+protocol, "APP_PORT="+strconv.Itoa(port))
		})
	}
}

// TestJavaScriptStores runs js/stores.mjs: configuration, locks and cryptography.
func TestJavaScriptStores(t *testing.T) {
	javaScript(t)
	server := startRedis(t)
	runNode(t, "stores.mjs", start(t, "js-stores", 0, "http", stores(t, server), keyRing(t)), "REDIS_PORT="+server.port)
}

// runNode runs tests of the folder js against a sidecar.
func runNode(t *testing.T, file string, s *sidecar, environment ...string) {
	t.Helper()
	test := exec.CommandContext(deadline(t), "node", "--test", file)
	test.Dir = "js"
	test.Env = append(os.Environ(), "DAPR_HTTP_PORT="+strconv.Itoa(s.http), "DAPR_GRPC_PORT="+strconv.Itoa(s.grpc))
	test.Env = append(test.Env, environment...)
	if out, err := test.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// javaScript installs the SDK, if it is not there.
func javaScript(t *testing.T) {
	t.Helper()
	installed(t, "node", "npm")
	if _, err := os.Stat("js/node_modules/@dapr/dapr"); err != nil {
		install := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
		install.Dir = "js"
		if out, err := install.CombinedOutput(); err != nil {
			t.Fatalf("npm ci: %v\n%s", err, out)
		}
	}
}
