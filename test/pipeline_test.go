package test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// pipelines are the middleware components that the tests of pipelines name.
const pipelines = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: upper}
spec: {type: middleware.http.uppercase, version: v1}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: aliases}
spec:
  type: middleware.http.routeralias
  version: v1
  metadata:
    - name: routes
      value: '{"/shout/{what}": "/v1.0/invoke/callee/method/echo", "/health": "/v1.0/healthz"}'
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: paths}
spec:
  type: middleware.http.routerchecker
  version: v1
  metadata: [{name: rule, value: "^/(v1.0|shout|health|echo|stream|dapr)"}]
`

const pipelineConfiguration = `apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: c}
spec:
  httpPipeline:
    handlers:
      - {name: paths, type: middleware.http.routerchecker}
      - {name: aliases, type: middleware.http.routeralias, version: v1}
      - {name: upper, type: middleware.http.uppercase}
`

const appPipelineConfiguration = `apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: c}
spec:
  appHttpPipeline:
    handlers:
      - {name: paths, type: middleware.http.routerchecker}
      - {name: upper, type: middleware.http.uppercase}
`

// pipelineApp echoes, and streams until it is told to go on.
type pipelineApp struct{ step chan struct{} }

func (a *pipelineApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/stream":
		w.Header().Set("Content-Type", "text/event-stream")
		for range 3 {
			io.WriteString(w, "data: x\n\n")
			http.NewResponseController(w).Flush()
			<-a.step
		}
	case "/echo", "/forbidden":
		w.Header().Set("X-Query", r.URL.RawQuery)
		w.Header().Add("X-Two", "1")
		w.Header().Add("X-Two", "2")
		body, _ := io.ReadAll(r.Body) // Go's server over HTTP/1.1 reads no more once it has answered
		w.WriteHeader(http.StatusAccepted)
		w.Write(body)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// overTransports runs a test over HTTP/1.1 and over HTTP/2 in cleartext.
func overTransports(t *testing.T, run func(t *testing.T, client *http.Client)) {
	for name, http2 := range map[string]bool{"http1": false, "h2c": true} {
		t.Run(name, func(t *testing.T) {
			var protocols http.Protocols
			protocols.SetHTTP1(!http2)
			protocols.SetUnencryptedHTTP2(http2)
			transport := &http.Transport{Protocols: &protocols}
			t.Cleanup(transport.CloseIdleConnections)
			run(t, &http.Client{Transport: transport})
		})
	}
}

func exchange(t *testing.T, client *http.Client, method, url, body string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(answer)
}

func TestHTTPPipeline(t *testing.T) {
	runtimetest.Isolate(t)
	app := &pipelineApp{step: make(chan struct{})}
	server := httptest.NewServer(app)
	defer server.Close()
	s := runtimetest.Start(t, "callee", runtimetest.App(server.Listener.Addr(), config.HTTP), runtimetest.Manifests(t, pipelines),
		runtimetest.Configuration(t, pipelineConfiguration))
	big := strings.Repeat("abc", 100_000)
	overTransports(t, func(t *testing.T, client *http.Client) {
		response, body := exchange(t, client, "POST", s.URL("/v1.0/invoke/callee/method/echo?a=b"), "hello")
		if response.StatusCode != 202 || body != "HELLO" || response.Header.Get("X-Query") != "a=b" || len(response.Header.Values("X-Two")) != 2 {
			t.Errorf("%d %q %v", response.StatusCode, body, response.Header)
		}
		if response, body = exchange(t, client, "PUT", s.URL("/shout/loud?a=b&what=x"), big); body != strings.ToUpper(big) ||
			response.Header.Get("X-Query") != "a=b&what=loud" {
			t.Errorf("an aliased call: %d, %d bytes, %v", response.StatusCode, len(body), response.Header)
		}
		if response, body = exchange(t, client, "GET", s.URL("/other"), ""); response.StatusCode != 400 || body != "invalid router\n" {
			t.Errorf("a refused path: %d %q", response.StatusCode, body)
		}
		if response, _ = exchange(t, client, "GET", s.URL("/health"), ""); response.StatusCode != 204 {
			t.Errorf("an aliased route of the sidecar: %d", response.StatusCode)
		}
		if response, _ = exchange(t, client, "HEAD", s.URL("/v1.0/metadata"), ""); response.StatusCode != 404 {
			t.Errorf("HEAD: %d", response.StatusCode)
		}
		streams(t, client, s.URL("/v1.0/invoke/callee/method/stream"), app)
	})
}

// streams reads a stream of which each piece has to arrive before the app writes the next one.
func streams(t *testing.T, client *http.Client, url string, app *pipelineApp) {
	t.Helper()
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewReader(response.Body)
	for range 3 {
		if line, err := lines.ReadString('\n'); err != nil || line != "data: x\n" {
			t.Fatalf("%q, %v", line, err)
		}
		lines.ReadString('\n')
		app.step <- struct{}{}
	}
	if _, err := lines.ReadByte(); err != io.EOF {
		t.Errorf("at the end %v", err)
	}
}

func TestAppPipeline(t *testing.T) {
	for _, protocol := range []config.Protocol{config.HTTP, config.H2C} {
		t.Run(string(protocol), func(t *testing.T) {
			runtimetest.Isolate(t)
			app := &pipelineApp{step: make(chan struct{})}
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: app, Protocols: new(http.Protocols)}
			server.Protocols.SetHTTP1(protocol == config.HTTP)
			server.Protocols.SetUnencryptedHTTP2(protocol == config.H2C)
			go server.Serve(listener)
			defer server.Shutdown(context.Background())
			s := runtimetest.Start(t, "callee", runtimetest.App(listener.Addr(), protocol), runtimetest.Manifests(t, pipelines),
				runtimetest.Configuration(t, appPipelineConfiguration))
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			for _, size := range []int{3, 300_000} {
				text := strings.Repeat("a", size)
				response, body := exchange(t, client, "POST", s.URL("/v1.0/invoke/callee/method/echo?a=b"), text)
				if response.StatusCode != 202 || body != strings.ToUpper(text) || response.Header.Get("X-Query") != "a=b" || len(response.Header.Values("X-Two")) != 2 {
					t.Errorf("%d %.20q %v", response.StatusCode, body, response.Header)
				}
			}
			if response, body := exchange(t, client, "POST", s.URL("/v1.0/invoke/callee/method/forbidden"), "x"); response.StatusCode != 400 || body != "invalid router\n" {
				t.Errorf("a refused path: %d %q", response.StatusCode, body)
			}
			streams(t, client, s.URL("/v1.0/invoke/callee/method/stream"), app)
		})
	}
}

const guards = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: policy}
spec:
  type: middleware.http.opa
  version: v1
  metadata:
    - name: rego
      value: |
        package http
        allow := {"allow": true, "additional_headers": {"x-seen": input.request.path}} if input.request.method == "GET"
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: guest}
spec:
  type: middleware.http.wasm
  version: v1
  ignoreErrors: true
  metadata: [{name: url, value: "file:///nowhere/guest.wasm"}]
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: aliases}
spec:
  type: middleware.http.routeralias
  version: v1
  metadata: [{name: routes, value: '{"/a": "/v1.0/invoke/callee/method/echo"}'}]
`

func pipelineOf(t *testing.T, where, handlers string) runtimetest.Option {
	return runtimetest.Configuration(t, "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\nspec: {"+where+": {handlers: ["+handlers+"]}}\n")
}

// TestFailedGuard: a guard whose manifest has ignoreErrors lets the sidecar start, but no call pass.
func TestFailedGuard(t *testing.T) {
	runtimetest.Isolate(t)
	s := runtimetest.Launch(t, "guarded", runtimetest.Manifests(t, guards), pipelineOf(t, "httpPipeline", "{name: guest, type: middleware.http.wasm}"))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	// There is no other signal: the health check is behind the pipeline, too.
	for deadline := time.Now().Add(patience); !strings.Contains(s.Log.String(), "dapr initialized"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not start")
		}
	}
	response, body := exchange(t, client, "GET", s.URL("/v1.0/metadata"), "")
	if response.StatusCode != 503 || !strings.Contains(body, "the middleware guest (middleware.http.wasm) is not available") {
		t.Errorf("%d %s", response.StatusCode, body)
	}
}

// TestPipelineOrder: handlers run in the order in which they stand.
func TestPipelineOrder(t *testing.T) {
	runtimetest.Isolate(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Saw", r.Header.Get("X-Seen")) }))
	defer server.Close()
	for handlers, want := range map[string]string{
		"{name: policy, type: middleware.http.opa}, {name: aliases, type: middleware.http.routeralias}": "/a",
		"{name: aliases, type: middleware.http.routeralias}, {name: policy, type: middleware.http.opa}": "/v1.0/invoke/callee/method/echo",
	} {
		s := runtimetest.Start(t, "callee", runtimetest.App(server.Listener.Addr(), config.HTTP), runtimetest.Manifests(t, guards), pipelineOf(t, "httpPipeline", handlers))
		overTransports(t, func(t *testing.T, client *http.Client) {
			if response, _ := exchange(t, client, "GET", s.URL("/a"), ""); response.StatusCode != 200 || response.Header.Get("X-Saw") != want {
				t.Errorf("%d %v", response.StatusCode, response.Header)
			}
			if response, _ := exchange(t, client, "POST", s.URL("/a"), "x"); response.StatusCode != 403 {
				t.Errorf("a refused verb: %d", response.StatusCode)
			}
		})
		for _, line := range []string{"Adding middleware.http.opa/v1 policy middleware", "enabled middleware.http.opa/ http middleware", "Building pipeline server"} {
			if !s.Log.Contains(line) {
				t.Errorf("the log has no line %q", line)
			}
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}
}
