package sdk

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/dapr/go-sdk/client"
	"github.com/dapr/go-sdk/service/common"
)

// bindings is the flag of a folder with bindings: files, web (a server of the test that echoes) and tick.
func bindings(t *testing.T) string {
	t.Helper()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, 100)
		n, _ := r.Body.Read(body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"verb":%q,"body":%q}`, r.Method, body[:n])
	}))
	t.Cleanup(web.Close)
	return components(t, strings.NewReplacer("DIR", t.TempDir(), "WEB", web.URL).Replace(`
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: files}
spec:
  type: bindings.localstorage
  version: v1
  metadata: [{name: rootPath, value: "DIR/files"}]
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: web}
spec:
  type: bindings.http
  version: v1
  metadata: [{name: url, value: "WEB"}]
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: tick}
spec:
  type: bindings.cron
  version: v1
  metadata: [{name: schedule, value: "@every 1s"}]
`))
}

func TestGoOutputBindings(t *testing.T) {
	c := dial(t, start(t, "outputs", 0, "http", bindings(t)))
	ctx := deadline(t)
	invoke := func(name, operation, data string, metadata map[string]string) *client.BindingEvent {
		t.Helper()
		out, err := c.InvokeBinding(ctx, &client.InvokeBindingRequest{Name: name, Operation: operation, Data: []byte(data), Metadata: metadata})
		must(t, err)
		return out
	}
	file := map[string]string{"fileName": "a/b"}
	if out := invoke("files", "create", "some text", file); string(out.Data) != `{"fileName":"a/b"}` {
		t.Errorf("create: %s", out.Data)
	}
	if out := invoke("files", "get", "", file); string(out.Data) != "some text" {
		t.Errorf("get: %s", out.Data)
	}
	must(t, c.InvokeOutputBinding(ctx, &client.InvokeBindingRequest{Name: "files", Operation: "delete", Metadata: file}))
	if out := invoke("web", "post", "x", nil); string(out.Data) != `{"verb":"POST","body":"x"}` || out.Metadata["statusCode"] != "200" {
		t.Errorf("post: %s %v", out.Data, out.Metadata)
	}
	if err := c.InvokeOutputBinding(ctx, &client.InvokeBindingRequest{Name: "nope", Operation: "get"}); err == nil ||
		!strings.Contains(err.Error(), "couldn't find output binding nope") {
		t.Errorf("%v", err)
	}
}

// TestGoInputBindings: an event reaches an HTTP app and a gRPC app, both made with the SDK.
func TestGoInputBindings(t *testing.T) {
	for protocol := range services {
		t.Run(protocol, func(t *testing.T) {
			service, port := newService(t, protocol)
			events := make(chan *common.BindingEvent, 100)
			name := map[string]string{"http": "/tick", "grpc": "tick"}[protocol]
			must(t, service.AddBindingInvocationHandler(name, func(_ context.Context, in *common.BindingEvent) ([]byte, error) {
				events <- in
				return []byte(`"thanks"`), nil
			}))
			serve(t, service)
			start(t, "inputs-"+protocol, port, protocol, bindings(t))
			found := false
			event := next(t, events)
			for key, value := range event.Metadata {
				found = found || strings.EqualFold(key, "readTimeUTC") && value != ""
			}
			if !found {
				t.Errorf("%+v", event)
			}
		})
	}
}

// TestJavaScriptBindings runs js/bindings.mjs: output bindings over HTTP and gRPC.
func TestJavaScriptBindings(t *testing.T) {
	javaScript(t)
	runNode(t, "bindings.mjs", start(t, "js-bindings", 0, "http", bindings(t)))
}
