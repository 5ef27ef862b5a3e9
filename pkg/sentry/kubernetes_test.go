package sentry_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sentryv1 "github.com/daprd/daprd/pkg/proto/sentry/v1"
	"github.com/daprd/daprd/pkg/sentry"
	"github.com/daprd/daprd/pkg/sentry/sentrytest"
)

// apiServer speaks the few endpoints of Kubernetes' API that sentry uses.
type apiServer struct {
	*httptest.Server
	t testing.TB

	mu sync.Mutex
	// objects are by the path.
	objects map[string]map[string]any
	// accounts are the user names of valid tokens.
	accounts map[string]string
	// failing is answered to all that is asked, unless it is 0.
	failing int
	version int
	// race is called once before an object is replaced.
	race func()
}

const (
	secretPath    = "/api/v1/namespaces/dapr-system/secrets/dapr-trust-bundle"
	configMapPath = "/api/v1/namespaces/dapr-system/configmaps/dapr-trust-bundle"
)

func newAPIServer(t testing.TB) *apiServer {
	t.Helper()
	a := &apiServer{t: t, accounts: map[string]string{}, objects: map[string]map[string]any{
		secretPath:    object("dapr-trust-bundle", map[string]any{"type": "Opaque"}),
		configMapPath: object("dapr-trust-bundle", nil),
		"/apis/dapr.io/v1alpha1/namespaces/dapr-system/configurations/daprsystem": object("daprsystem",
			map[string]any{"spec": map[string]any{"mtls": map[string]any{"enabled": true, "workloadCertTTL": "2h", "allowedClockSkew": "1m"}}}),
	}}
	a.Server = httptest.NewTLSServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.Close)
	return a
}

func object(name string, more map[string]any) map[string]any {
	o := map[string]any{"metadata": map[string]any{"name": name, "resourceVersion": "1", "generation": 12345678901234567,
		"labels": map[string]any{"kept": "yes"}}}
	maps.Copy(o, more)
	return o
}

func (a *apiServer) serve(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer sentry's" {
		a.answer(w, http.StatusUnauthorized, failure("Unauthorized"))
		return
	}
	a.mu.Lock()
	race, failing := a.race, a.failing
	if r.Method == http.MethodPut {
		a.race = nil
	}
	a.mu.Unlock()
	switch {
	case failing != 0:
		a.answer(w, failing, failure("out of order"))
	case r.Method == http.MethodGet:
		a.get(w, r.URL.Path)
	case r.Method == http.MethodPut:
		if race != nil {
			race()
		}
		a.put(w, r)
	case r.Method == http.MethodPost && r.URL.Path == "/apis/authentication.k8s.io/v1/tokenreviews":
		a.review(w, r)
	default:
		a.answer(w, http.StatusForbidden, failure("sentry may not "+r.Method+" "+r.URL.Path))
	}
}

func failure(text string) map[string]any {
	return map[string]any{"kind": "Status", "status": "Failure", "message": text}
}

func (a *apiServer) answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		a.t.Error(err)
	}
}

func (a *apiServer) get(w http.ResponseWriter, path string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if o, ok := a.objects[path]; ok {
		a.answer(w, http.StatusOK, o)
		return
	}
	a.answer(w, http.StatusNotFound, failure(path+" not found"))
}

func (a *apiServer) put(w http.ResponseWriter, r *http.Request) {
	var o map[string]any
	decoder := json.NewDecoder(r.Body)
	decoder.UseNumber()
	if err := decoder.Decode(&o); err != nil {
		a.t.Error(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	held := a.objects[r.URL.Path]["metadata"].(map[string]any)
	sent := o["metadata"].(map[string]any)
	if held["resourceVersion"] != sent["resourceVersion"] {
		a.answer(w, http.StatusConflict, failure("the object has been modified"))
		return
	}
	if fmt.Sprint(sent["generation"]) != "12345678901234567" || fmt.Sprint(sent["labels"]) != "map[kept:yes]" {
		a.t.Errorf("the object has lost what was in it: %v", sent)
	}
	a.version++
	sent["resourceVersion"] = "v" + strconv.Itoa(a.version)
	a.objects[r.URL.Path] = o
	a.answer(w, http.StatusOK, o)
}

func (a *apiServer) review(w http.ResponseWriter, r *http.Request) {
	var review struct {
		Spec struct {
			Token     string   `json:"token"`
			Audiences []string `json:"audiences"`
		} `json:"spec"`
	}
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		a.t.Error(err)
	}
	if got := strings.Join(review.Spec.Audiences, " "); got != "dapr.io/sentry spiffe://cluster.local/ns/dapr-system/dapr-sentry" {
		a.t.Errorf("audiences %q", got)
	}
	a.mu.Lock()
	user, ok := a.accounts[review.Spec.Token]
	a.mu.Unlock()
	a.answer(w, http.StatusCreated, map[string]any{"status": map[string]any{"authenticated": ok, "user": map[string]any{"username": user}}})
}

// data is that of the Secret in clear text, or of the ConfigMap.
func (a *apiServer) data(path string) map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	found := map[string]string{}
	data, _ := a.objects[path]["data"].(map[string]any)
	for key, value := range data {
		found[key] = value.(string)
		if path == secretPath {
			text, err := base64.StdEncoding.DecodeString(value.(string))
			if err != nil {
				a.t.Error(err)
			}
			found[key] = string(text)
		}
	}
	return found
}

// pod adds one, and gives the token of its service account.
func (a *apiServer) pod(namespace, name, account string, annotations map[string]string) (token string) {
	claims := fmt.Sprintf(`{"kubernetes.io":{"namespace":%q,"pod":{"name":%q}}}`, namespace, name)
	token = "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	a.mu.Lock()
	defer a.mu.Unlock()
	a.accounts[token] = "system:serviceaccount:" + namespace + ":" + account
	a.objects["/api/v1/namespaces/"+namespace+"/pods/"+name] = map[string]any{
		"metadata": map[string]any{"name": name, "annotations": annotations},
		"spec":     map[string]any{"serviceAccountName": account},
	}
	return token
}

// inCluster has a sentry use the API server.
func (a *apiServer) inCluster() sentrytest.Option {
	a.t.Helper()
	path := filepath.Join(a.t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"+
		"clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %s}}]\nusers: [{name: u, user: {token: \"sentry's\"}}]\n", a.URL,
		base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return func(c *sentry.Config, _ *sentry.Deps) {
		c.Mode, c.Kubeconfig, c.Configuration, c.TrustDomain, c.Namespace = sentry.Kubernetes, path, "daprsystem", "cluster.local", "dapr-system"
	}
}

// dial trusts what the ConfigMap says.
func (a *apiServer) dial(t *testing.T, s *sentrytest.Sentry) sentryv1.CAClient {
	t.Helper()
	s.Folder = t.TempDir()
	if err := os.WriteFile(filepath.Join(s.Folder, "ca.crt"), []byte(a.data(configMapPath)["ca.crt"]), 0o600); err != nil {
		t.Fatal(err)
	}
	return dial(t, s)
}

// TestKubernetesBundle: an empty Secret is filled, the ConfigMap gets the anchors, and a second replica takes what is
// there.
func TestKubernetesBundle(t *testing.T) {
	api := newAPIServer(t)
	first := sentrytest.Start(t, api.inCluster())
	held := api.data(secretPath)
	if len(held) != 3 || held["ca.crt"] == "" || api.data(configMapPath)["ca.crt"] != held["ca.crt"] {
		t.Fatalf("the Secret holds %q, the ConfigMap %q", held, api.data(configMapPath))
	}
	second := sentrytest.Start(t, api.inCluster())
	if got := api.data(secretPath); !maps.Equal(got, held) {
		t.Error("the second replica has changed the Secret")
	}
	token := api.pod("ns1", "pod1", "sa1", map[string]string{"dapr.io/app-id": "app1"})
	for _, s := range []*sentrytest.Sentry{first, second} {
		r := request(t)
		r.Token, r.TokenValidator = token, sentryv1.SignCertificateRequest_UNKNOWN
		response, err := call(t, api.dial(t, s), r)
		if err != nil {
			t.Fatal(err)
		}
		leaf := chainOf(t, response.GetWorkloadCertificate())[0]
		if got := leaf.NotAfter.Sub(leaf.NotBefore); got != 2*time.Hour+time.Minute {
			t.Errorf("the certificate is valid for %s", got)
		}
	}
}

// TestKubernetesRace: of two replicas that make a bundle at once, the slower takes the other's.
func TestKubernetesRace(t *testing.T) {
	api := newAPIServer(t)
	other := newAPIServer(t)
	sentrytest.Start(t, other.inCluster())
	api.race = func() {
		api.mu.Lock()
		defer api.mu.Unlock()
		won := maps.Clone(other.objects[secretPath])
		won["metadata"] = map[string]any{"name": "dapr-trust-bundle", "resourceVersion": "won"}
		api.objects[secretPath] = won
	}
	sentrytest.Start(t, api.inCluster())
	if !maps.Equal(api.data(secretPath), other.data(secretPath)) || api.data(configMapPath)["ca.crt"] != other.data(secretPath)["ca.crt"] {
		t.Error("the slower replica has not taken the other's bundle")
	}
}

// TestConfigMapFollows: whoever brings a bundle fills the Secret alone; no new authority is made because the ConfigMap
// differs.
func TestConfigMapFollows(t *testing.T) {
	api := newAPIServer(t)
	data := map[string]any{}
	for _, name := range []string{"ca.crt", "issuer.crt", "issuer.key"} {
		data[name] = base64.StdEncoding.EncodeToString(testdata(t, "1.18.3", name))
	}
	api.objects[secretPath]["data"] = data
	api.objects[configMapPath]["data"] = map[string]any{"ca.crt": "another", "other": "kept", "jwks.json": "of other days"}
	clock := new(clock)
	clock.set(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
	sentrytest.Start(t, api.inCluster(), sentrytest.Clock(clock.now))
	if got := api.data(configMapPath); !bytes.Equal([]byte(got["ca.crt"]), testdata(t, "1.18.3", "ca.crt")) || got["other"] != "kept" || got["jwks.json"] != "" {
		t.Errorf("the ConfigMap holds %q", got)
	}
	if got := api.data(secretPath)["issuer.key"]; !bytes.Equal([]byte(got), testdata(t, "1.18.3", "issuer.key")) {
		t.Error("the Secret was changed")
	}
}

func TestPods(t *testing.T) {
	api := newAPIServer(t)
	c := api.dial(t, sentrytest.Start(t, api.inCluster()))
	api.objects["/apis/dapr.io/v1alpha1/namespaces/ns1/configurations/own"] = object("own",
		map[string]any{"spec": map[string]any{"accessControl": map[string]any{"trustDomain": "example.org"}}})
	plain := map[string]string{"dapr.io/app-id": "app1"}
	tests := map[string]struct {
		token  string
		change func(*sentryv1.SignCertificateRequest)
		id     string
		text   string
	}{
		"an app":               {token: api.pod("ns1", "p1", "sa", plain), id: app1},
		"asks for a domain":    {token: api.pod("ns1", "p1", "sa", plain), change: func(r *sentryv1.SignCertificateRequest) { r.TrustDomain = "cluster.local" }, id: app1},
		"without an app ID":    {token: api.pod("ns1", "app1", "sa", nil), id: app1},
		"with a Configuration": {token: api.pod("ns1", "p2", "sa", map[string]string{"dapr.io/app-id": "app1", "dapr.io/config": "own"}), id: "spiffe://example.org/ns/ns1/app1"},
		"its Configuration is missing": {token: api.pod("ns1", "p3", "sa", map[string]string{"dapr.io/app-id": "app1", "dapr.io/config": "none"}),
			text: "failed to get configuration: "},
		"control plane": {token: api.pod("dapr-system", "op", "dapr-operator", map[string]string{"dapr.io/control-plane": "operator"}),
			change: func(r *sentryv1.SignCertificateRequest) { r.Id, r.Namespace = "dapr-operator", "dapr-system" }, id: "spiffe://cluster.local/ns/dapr-system/dapr-operator"},
		"control plane elsewhere": {token: api.pod("ns1", "dapr-operator", "sa", map[string]string{"dapr.io/control-plane": "placement"}),
			change: func(r *sentryv1.SignCertificateRequest) { r.Id = "dapr-operator" }, id: "spiffe://public/ns/ns1/dapr-operator"},
		"control plane with an app ID": {token: api.pod("dapr-system", "op2", "sa", map[string]string{"dapr.io/control-plane": "operator", "dapr.io/app-id": "app1"}),
			change: func(r *sentryv1.SignCertificateRequest) { r.Namespace = "dapr-system" }, text: "the pod is part of the control plane"},
		"no token":          {text: "the request does not contain a token"},
		"a stranger's":      {token: "x.y.z", text: "authentication failed"},
		"another namespace": {token: api.pod("ns2", "p1", "sa", plain), text: "namespace mismatch; received namespace: ns1"},
		"another app":       {token: api.pod("ns1", "p4", "sa", map[string]string{"dapr.io/app-id": "app2"}), text: "app-id mismatch. expected: app2, received: app1"},
		"no such pod": {token: func() string {
			token := api.pod("ns1", "gone", "sa", nil)
			delete(api.objects, "/api/v1/namespaces/ns1/pods/gone")
			return token
		}(), text: "failed to get pod of identity: "},
		"another account": {token: func() string {
			token := api.pod("ns1", "p5", "sa", plain)
			api.accounts[token] = "system:serviceaccount:ns1:other"
			return token
		}(), text: "pod service account mismatch"},
		"a user": {token: func() string {
			token := api.pod("ns1", "p6", "sa", plain)
			api.accounts[token] = "jane"
			return token
		}(), text: "provided token is not a properly structured service account token"},
		"no pod": {token: func() string {
			token := "e30.e30.c2ln"
			api.accounts[token] = "system:serviceaccount:ns1:sa"
			return token
		}(), text: "kubernetes.io/pod/name claim is missing from Kubernetes token"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := request(t)
			r.Token, r.TokenValidator = test.token, sentryv1.SignCertificateRequest_KUBERNETES
			if test.change != nil {
				test.change(r)
			}
			response, err := call(t, c, r)
			if test.id == "" {
				if got := status.Convert(err); got.Code() != codes.PermissionDenied || !strings.HasPrefix(got.Message(), test.text) {
					t.Errorf("%s %q, want %q", got.Code(), got.Message(), test.text)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := chainOf(t, response.GetWorkloadCertificate())[0].URIs[0].String(); got != test.id {
				t.Errorf("the certificate is that of %s, want %s", got, test.id)
			}
		})
	}
	r := request(t)
	r.Token = api.pod("ns1", "p1", "sa", plain)
	if r.TokenValidator = sentryv1.SignCertificateRequest_INSECURE; status.Code(second(call(t, c, r))) != codes.InvalidArgument {
		t.Error("the insecure validator is enabled")
	}
	api.mu.Lock()
	api.failing = http.StatusInternalServerError
	api.mu.Unlock()
	if r.TokenValidator = sentryv1.SignCertificateRequest_KUBERNETES; status.Code(second(call(t, c, r))) != codes.Unavailable {
		t.Error("an API server that is out of order refuses")
	}
}

func second(_ *sentryv1.SignCertificateResponse, err error) error { return err }

// TestWebhookNames: parts of the control plane that the API server calls have the names it calls them by.
func TestWebhookNames(t *testing.T) {
	api := newAPIServer(t)
	c := api.dial(t, sentrytest.Start(t, api.inCluster()))
	for service, want := range map[string]string{
		"injector":  "dapr-injector.dapr-system.svc.cluster.local dapr-sidecar-injector.dapr-system.svc",
		"operator":  "dapr-operator.dapr-system.svc.cluster.local dapr-webhook.dapr-system.svc",
		"placement": "dapr-placement.dapr-system.svc.cluster.local",
		"scheduler": "dapr-scheduler.dapr-system.svc.cluster.local dapr-scheduler-server-0.dapr-scheduler-server.dapr-system.svc.cluster.local " +
			"dapr-scheduler-server-1.dapr-scheduler-server.dapr-system.svc.cluster.local dapr-scheduler-server-2.dapr-scheduler-server.dapr-system.svc.cluster.local",
	} {
		r := request(t)
		r.Id, r.Namespace, r.TokenValidator = "dapr-"+service, "dapr-system", sentryv1.SignCertificateRequest_KUBERNETES
		r.Token = api.pod("dapr-system", service, "sa", map[string]string{"dapr.io/control-plane": service})
		response, err := call(t, c, r)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(chainOf(t, response.GetWorkloadCertificate())[0].DNSNames, " "); got != want {
			t.Errorf("%s has the names %q", service, got)
		}
	}
}

// TestNoBundleObjects: Secret and ConfigMap are made by the chart; without one of them there is no start.
func TestNoBundleObjects(t *testing.T) {
	for path, want := range map[string]string{
		secretPath:    "Secret dapr-trust-bundle in namespace dapr-system: the API server answers 404",
		configMapPath: "ConfigMap dapr-trust-bundle in namespace dapr-system: the API server answers 404",
		"/apis/dapr.io/v1alpha1/namespaces/dapr-system/configurations/daprsystem": `couldn't find config name "daprsystem": the API server answers 404`,
	} {
		api := newAPIServer(t)
		delete(api.objects, path)
		cfg := sentrytest.Config(t)
		api.inCluster()(&cfg, nil)
		if err := failing(t, cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
