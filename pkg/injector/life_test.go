package injector_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/daprd/daprd/pkg/injector"
	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/process"
	"github.com/daprd/daprd/pkg/sentry"
	"github.com/daprd/daprd/pkg/sentry/sentrytest"
)

const (
	webhookPath       = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/dapr-sidecar-injector"
	configMapPath     = "/api/v1/namespaces/dapr-system/configmaps/dapr-trust-bundle"
	configurationPath = "/apis/dapr.io/v1alpha1/namespaces/dapr-system/configurations/daprsystem"
)

// apiServer speaks what sentry and the injector ask of Kubernetes' API; the real one is asked in test/kube.
type apiServer struct {
	*httptest.Server
	t *testing.T

	mu      sync.Mutex
	objects map[string]map[string]any
	// patched has a value for each patch of the webhook's configuration.
	patched chan struct{}
}

func newAPIServer(t *testing.T) *apiServer {
	t.Helper()
	named := func(name string, more map[string]any) map[string]any {
		o := map[string]any{"metadata": map[string]any{"name": name, "resourceVersion": "1"}}
		for k, v := range more {
			o[k] = v
		}
		return o
	}
	a := &apiServer{t: t, patched: make(chan struct{}, 10), objects: map[string]map[string]any{
		"/api/v1/namespaces/dapr-system/secrets/dapr-trust-bundle": named("dapr-trust-bundle", nil),
		configMapPath:     named("dapr-trust-bundle", nil),
		configurationPath: named("daprsystem", nil),
		webhookPath:       named("dapr-sidecar-injector", map[string]any{"webhooks": []any{map[string]any{"name": "sidecar-injector.dapr.io", "clientConfig": map[string]any{}}}}),
		"/api/v1/namespaces/dapr-system/pods/injector-0": named("injector-0", map[string]any{"spec": map[string]any{"serviceAccountName": "dapr-injector"}}),
	}}
	a.objects["/api/v1/namespaces/dapr-system/pods/injector-0"]["metadata"].(map[string]any)["annotations"] = map[string]string{"dapr.io/control-plane": "injector"}
	a.Server = httptest.NewTLSServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.Close)
	return a
}

func (a *apiServer) serve(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	object, known := a.objects[r.URL.Path]
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Path == "/apis/authentication.k8s.io/v1/tokenreviews":
		w.WriteHeader(http.StatusCreated)
		object = map[string]any{"status": map[string]any{"authenticated": true, "user": map[string]any{"username": "system:serviceaccount:dapr-system:dapr-injector"}}}
	case !known:
		w.WriteHeader(http.StatusNotFound)
		object = map[string]any{"message": r.URL.Path + " not found"}
	case r.Method == http.MethodPut:
		var sent map[string]any
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
			a.t.Error(err)
		}
		a.objects[r.URL.Path], object = sent, sent
	case r.Method == http.MethodPatch:
		a.patch(r, object)
	}
	if err := json.NewEncoder(w).Encode(object); err != nil {
		a.t.Error(err)
	}
}

func (a *apiServer) patch(r *http.Request, object map[string]any) {
	var operations []struct {
		Op, Path string
		Value    any
	}
	if err := json.NewDecoder(r.Body).Decode(&operations); err != nil {
		a.t.Error(err)
	}
	if len(operations) != 2 || operations[0].Op != "test" || operations[0].Path != "/metadata/resourceVersion" || operations[0].Value != "1" ||
		operations[1].Op != "add" || operations[1].Path != "/webhooks/0/clientConfig/caBundle" || r.Header.Get("Content-Type") != "application/json-patch+json" {
		a.t.Errorf("%s %v", r.Header, operations)
		return
	}
	object["webhooks"].([]any)[0].(map[string]any)["clientConfig"] = map[string]any{"caBundle": operations[1].Value}
	a.patched <- struct{}{}
}

// bundle is what the API server trusts of the webhook.
func (a *apiServer) bundle() *x509.CertPool {
	a.mu.Lock()
	defer a.mu.Unlock()
	text, _ := a.objects[webhookPath]["webhooks"].([]any)[0].(map[string]any)["clientConfig"].(map[string]any)["caBundle"].(string)
	roots, err := base64.StdEncoding.DecodeString(text)
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(roots) {
		a.t.Errorf("caBundle %q: %v", text, err)
	}
	return pool
}

func (a *apiServer) anchors() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.objects[configMapPath]["data"].(map[string]any)["ca.crt"].(string)
}

func (a *apiServer) set(path string, object map[string]any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.objects[path] = object
}

func (a *apiServer) kubeconfig() string {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})
	return write(a.t, "kubeconfig", fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"+
		"clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %s}}]\nusers: [{name: u, user: {token: t}}]\n",
		a.URL, base64.StdEncoding.EncodeToString(ca)))
}

func write(t *testing.T, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// running is an injector beside a sentry of the same cluster.
type running struct {
	*injector.Injector
	api     *apiServer
	anchors string // the file
	log     *lines
}

// lines are a log that can be waited for.
type lines struct {
	mu    sync.Mutex
	text  bytes.Buffer
	grown chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.grown)
	l.grown = make(chan struct{})
	return l.text.Write(p)
}

// wait returns when text is in the log.
func (l *lines) wait(t *testing.T, text string) {
	t.Helper()
	for {
		l.mu.Lock()
		found, grown := strings.Contains(l.text.String(), text), l.grown
		l.mu.Unlock()
		if found {
			return
		}
		select {
		case <-grown:
		case <-t.Context().Done():
			t.Fatalf("the log never has %q", text)
		}
	}
}

// start runs an injector; before is called when it runs, and before it is waited for.
func start(t *testing.T, before func(*running)) *running {
	t.Helper()
	api := newAPIServer(t)
	kubeconfig := api.kubeconfig()
	ca := sentrytest.Start(t, func(c *sentry.Config, _ *sentry.Deps) {
		c.Mode, c.Kubeconfig, c.Configuration = sentry.Kubernetes, kubeconfig, "daprsystem"
		c.Namespace, c.TrustDomain = "dapr-system", "cluster.local"
	})
	claims := base64.RawURLEncoding.EncodeToString([]byte(`{"kubernetes.io":{"pod":{"name":"injector-0"}}}`))
	r := &running{api: api, anchors: filepath.Join(t.TempDir(), "ca.crt"), log: &lines{grown: make(chan struct{})}}
	logs, err := logging.New(logging.Options{Level: "debug", Output: r.log})
	if err != nil {
		t.Fatal(err)
	}
	cfg := injector.Config{ListenAddress: "127.0.0.1", Kubeconfig: kubeconfig, SentryAddress: ca.Address().String(),
		Observed:    process.Observed{HealthListenAddress: "127.0.0.1", EnableMetrics: true, MetricsListenAddress: "127.0.0.1"},
		AnchorsFile: r.anchors, TokenFile: write(t, "token", "e30."+claims+".c2ln"), Mesh: newWebhook().Mesh}
	if r.Injector, err = injector.New(cfg, injector.Deps{Logs: logs}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the injector ended with: %v", err)
		}
	})
	if before != nil {
		before(r)
	}
	r.trust(t, api.anchors())
	<-r.Ready()
	return r
}

// trust writes the roots, as the kubelet does for a ConfigMap.
func (r *running) trust(t *testing.T, roots string) {
	t.Helper()
	next := r.anchors + ".next"
	if err := os.WriteFile(next, []byte(roots), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, r.anchors); err != nil {
		t.Fatal(err)
	}
}

// review asks as the API server does: by the name of the service, with the roots of the configuration and no others.
func (r *running) review(t *testing.T) *admissionv1.AdmissionResponse {
	t.Helper()
	body, err := json.Marshal(reviewOf(t, podWith(map[string]string{"dapr.io/enabled": "true", "dapr.io/app-id": "a"})))
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: r.api.bundle(), ServerName: "dapr-sidecar-injector.dapr-system.svc"}}
	response, err := (&http.Client{Transport: transport}).Post("https://"+r.Address().String()+"/mutate", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer admissionv1.AdmissionReview
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer.Response
}

// TestLife: an injector waits for its roots, has the API server trust it, follows roots and Configuration, counts.
func TestLife(t *testing.T) {
	r := start(t, func(r *running) {
		r.log.wait(t, "No certificate of sentry yet; it is tried again until it works: read the trust anchors: ")
	})
	<-r.api.patched
	first := string(r.review(t).Patch)
	roots, err := json.Marshal(r.api.anchors())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(first, `"name":"DAPR_TRUST_ANCHORS","value":`+string(roots)) || !strings.Contains(first, `"--enable-mtls"`) {
		t.Errorf("the sidecar lacks something: %s", first)
	}

	r.api.set(configurationPath, map[string]any{"spec": map[string]any{"mtls": map[string]any{"enabled": false}}})
	r.trust(t, r.api.anchors()+another(t))
	<-r.api.patched
	again := string(r.review(t).Patch)
	if strings.Count(again, "BEGIN CERTIFICATE") != 2 {
		t.Errorf("the roots are not those of now: %s", again)
	}
	if strings.Contains(again, "--enable-mtls") {
		t.Errorf("mutual TLS is on: %s", again)
	}

	if text := get(t, "http://"+r.HealthAddress().String()+"/healthz"); text != "" {
		t.Errorf("health: %s", text)
	}
	counted := get(t, "http://"+r.MetricsAddress().String()+"/")
	for _, line := range []string{"dapr_injector_sidecar_injection_requests_total 2\n", `dapr_injector_sidecar_injection_succeeded_total{app_id="a"} 2` + "\n"} {
		if !strings.Contains(counted, line) {
			t.Errorf("the metrics lack %q", line)
		}
	}
}

// another is the root of another authority.
func another(t *testing.T) string {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

func get(t *testing.T, url string) string {
	t.Helper()
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s %v", url, response.StatusCode, text, err)
	}
	return string(text)
}

// TestEndBeforeStart: an injector that still waits for sentry ends when it is told to.
func TestEndBeforeStart(t *testing.T) {
	api := newAPIServer(t)
	log := &lines{grown: make(chan struct{})}
	logs, err := logging.New(logging.Options{Output: log})
	if err != nil {
		t.Fatal(err)
	}
	i, err := injector.New(injector.Config{ListenAddress: "127.0.0.1", Kubeconfig: api.kubeconfig(), AnchorsFile: filepath.Join(t.TempDir(), "none"),
		Observed: process.Observed{HealthListenAddress: "127.0.0.1"}, Mesh: newWebhook().Mesh}, injector.Deps{Logs: logs})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- i.Run(ctx) }()
	log.wait(t, "No certificate of sentry yet")
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
