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
	test := exec.CommandContext(deadline(t), "node", "--test", "test.mjs")
	test.Dir = "js"
	test.Env = append(os.Environ(), "DAPR_HTTP_PORT="+strconv.Itoa(caller.http), "DAPR_GRPC_PORT="+strconv.Itoa(caller.grpc))
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
