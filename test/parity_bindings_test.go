package test

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// bindingsAPI is the output bindings in the words of what callers want.
type bindingsAPI interface {
	invokeBinding(ctx context.Context, name, operation, data string, md map[string]string) meaning
}

// bindingHeader is what tests look at of a component's metadata.
func bindingHeader(get func(string) string) map[string][]string {
	header := map[string][]string{}
	for _, name := range []string{"statusCode", "X-Served"} {
		if value := get("metadata." + name); value != "" {
			header[name] = []string{value}
		}
	}
	return header
}

func (h *httpAPI) invokeBinding(ctx context.Context, name, operation, data string, md map[string]string) meaning {
	body := `{"operation":` + string(marshal(operation)) + `,"metadata":` + string(marshal(md))
	if data != "" {
		body += `,"data":` + data
	}
	answer := h.call(ctx, "POST", "/v1.0/bindings/"+segment(name), body+"}", nil)
	m := meaning{Header: bindingHeader(answer.header.Get), Fault: answer.fault()}
	if m.Fault == nil {
		m.Value = answer.body
	}
	return m
}

func (g *grpcAPI) invokeBinding(ctx context.Context, name, operation, data string, md map[string]string) meaning {
	var header metadata.MD
	answer, err := g.client.InvokeBinding(g.context(ctx), &runtimev1.InvokeBindingRequest{Name: name, Operation: operation,
		Data: []byte(data), Metadata: md}, grpc.Header(&header))
	get := func(name string) string { return strings.Join(header.Get(name), ",") }
	return meaning{Value: string(answer.GetData()), Header: bindingHeader(get), Fault: faultOf(err)}
}

const bindingsManifest = `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: files}
spec:
  type: bindings.localstorage
  version: v1
  metadata: [{name: rootPath, value: "DIR"}]
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: web}
spec:
  type: bindings.http
  version: v1
  metadata: [{name: url, value: "OUTSIDE"}]
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: clock}
spec:
  type: bindings.cron
  version: v1
  metadata: [{name: schedule, value: "@yearly"}]
`

func bindingFault(name, text string) meaning {
	return meaning{Fault: &fault{HTTP: http.StatusInternalServerError, Code: "ERR_INVOKE_OUTPUT_BINDING", GRPC: codes.Internal,
		Text: "error invoking output binding " + name + ": " + text, Reason: "ERR_INVOKE_OUTPUT_BINDING"}}
}

func bindingCases(dir string) []parityCase {
	ask := func(name, operation, data string, md map[string]string) func(*asker) meaning {
		return func(a *asker) meaning { return a.api.invokeBinding(a.ctx, name, operation, data, md) }
	}
	file := func(a *asker, operation, data string) meaning {
		return a.api.invokeBinding(a.ctx, "files", operation, data, map[string]string{"fileName": "dir/" + a.suffix})
	}
	const operations = "create get head post put patch delete options trace"
	served := func(status, value string) meaning {
		return meaning{Value: value, Header: map[string][]string{"statusCode": {status}, "X-Served": {"yes"}}}
	}
	notFound := bindingFault("web", "received status code 404")
	notFound.Header = served("404", "").Header
	return []parityCase{
		{name: "unknown", do: ask("nope", "create", "1", nil), want: bindingFault("nope", "couldn't find output binding nope")},
		{name: "unknown without operation", do: ask("nope", "", "1", nil), want: bindingFault("nope", "couldn't find output binding nope")},
		{name: "an input alone", do: ask("clock", "create", "1", nil), want: bindingFault("clock", "couldn't find output binding clock")},
		{name: "no operation", do: ask("web", "", "1", nil), want: bindingFault("web", "operation field is missing from request")},
		{name: "another operation", do: ask("web", "list", "1", nil),
			want: bindingFault("web", "binding web does not support operation list. supported operations:"+operations)},
		{name: "data as it was sent", do: ask("web", "create", `{"b":1.10,"a":"é"}`, map[string]string{"path": "echo"}),
			want: served("200", `POST /echo {"b":1.10,"a":"é"}`)},
		{name: "a string keeps its quotes", do: ask("web", "put", `"text"`, map[string]string{"path": "/echo"}), want: served("200", `PUT /echo "text"`)},
		{name: "a status that is an error", do: ask("web", "get", "", map[string]string{"path": "missing"}), want: notFound},
		{name: "a status that is none", do: ask("web", "get", "", map[string]string{"path": "missing", "errorIfNot2XX": "false"}),
			want: served("404", "GET /missing ")},
		{name: "out of the URL", do: ask("web", "get", "", map[string]string{"path": "a/../../b"}),
			want: bindingFault("web", `the metadata "path" leads out of the component's URL: ".." is not allowed`)},
		{name: "a file", do: func(a *asker) meaning {
			if made := file(a, "create", `"a text"`); made.Value != `{"fileName":"dir/`+a.suffix+`"}` {
				return made
			}
			return file(a, "get", "")
		}, want: meaning{Value: "a text"}},
		{name: "a file that is gone", do: func(a *asker) meaning {
			file(a, "create", "1")
			if gone := file(a, "delete", ""); gone.Fault != nil || gone.Value != "" {
				return gone
			}
			return a.api.invokeBinding(a.ctx, "files", "get", "", map[string]string{"fileName": "absent"})
		}, want: bindingFault("files", "file not found: "+dir+"/absent")},
		{name: "a list", do: func(a *asker) meaning {
			a.api.invokeBinding(a.ctx, "files", "create", "1", map[string]string{"fileName": "list" + a.suffix + "/one"})
			listed := a.api.invokeBinding(a.ctx, "files", "list", "", map[string]string{"fileName": "list" + a.suffix})
			listed.Value = strings.ReplaceAll(listed.Value, a.suffix, "")
			return listed
		}, want: meaning{Value: fmt.Sprintf("[%q]", filepath.Join(dir, "list/one"))}},
		{name: "an empty list", do: func(a *asker) meaning {
			name := map[string]string{"fileName": "empty" + a.suffix + "/one"}
			a.api.invokeBinding(a.ctx, "files", "create", "1", name)
			a.api.invokeBinding(a.ctx, "files", "delete", "", name)
			return a.api.invokeBinding(a.ctx, "files", "list", "", map[string]string{"fileName": "empty" + a.suffix})
		}, want: meaning{Value: "null"}},
	}
}

func newBindingsWorld(t *testing.T, options ...runtimetest.Option) (s *runtimetest.Sidecar, dir string) {
	t.Helper()
	s, dir = launchBindingsWorld(t, options...)
	s.Await(t, "/v1.0/healthz")
	return s, dir
}

// launchBindingsWorld does not wait for the sidecar.
func launchBindingsWorld(t *testing.T, options ...runtimetest.Option) (s *runtimetest.Sidecar, dir string) {
	t.Helper()
	runtimetest.Isolate(t)
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Served", "yes")
		if r.URL.Path == "/missing" {
			w.WriteHeader(http.StatusNotFound)
		}
		var body strings.Builder
		_, _ = fmt.Fprintf(&body, "%s %s ", r.Method, r.URL.Path)
		text := make([]byte, 1<<10)
		n, _ := r.Body.Read(text)
		_, _ = fmt.Fprintf(w, "%s%s", body.String(), text[:n])
		if trace := cmp.Or(r.Header.Get("Traceparent"), r.Header.Get("Baggage")); trace != "" {
			_, _ = fmt.Fprintf(w, "%s %s %s", r.Header.Get("Traceparent"), r.Header.Get("Tracestate"), r.Header.Get("Baggage"))
		}
	}))
	t.Cleanup(outside.Close)
	dir = t.TempDir()
	text := strings.NewReplacer("DIR", dir, "OUTSIDE", outside.URL).Replace(bindingsManifest)
	return runtimetest.Launch(t, "bindings", append(options, runtimetest.Manifests(t, text))...), dir
}

func TestBindingsParity(t *testing.T) {
	app := newApplication(t, quiet)
	s, dir := launchBindingsWorld(t, appOn(app))
	s.Await(t, "/v1.0/healthz/outbound")
	apis := transports(t, s)
	t.Run("early", func(t *testing.T) { askAll(t, bindingCases(dir), apis, "", true) })
	if s.Log.Contains("dapr initialized") {
		t.Fatal("the sidecar did not wait for its application")
	}
	app.live(t)
	s.Await(t, "/v1.0/healthz")
	t.Run("up", func(t *testing.T) { askAll(t, bindingCases(dir), apis, "", false) })
	t.Run("capabilities", func(t *testing.T) {
		info := apis[0].metadata(t.Context()).Info
		want := "[" + described("files", "bindings.localstorage", "v1", []string{"OUTPUT_BINDING"}) + " " +
			described("web", "bindings.http", "v1", []string{"OUTPUT_BINDING"}) + " " +
			described("clock", "bindings.cron", "v1", []string{"INPUT_BINDING"}) + "]"
		if got := fmt.Sprint(info.Components); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
	if count := metricsOf(t, s); !strings.Contains(count, `dapr_component_output_binding_count{app_id="bindings",component="web",namespace="",operation="get",success="false"}`) {
		t.Errorf("no metric of the outputs in %s", count)
	}
	for _, line := range []string{"successful init for output binding files (bindings.localstorage/v1)",
		"successful init for input binding clock (bindings.cron/v1)"} {
		if !s.Log.Contains(line) {
			t.Errorf("no line %q", line)
		}
	}
}
