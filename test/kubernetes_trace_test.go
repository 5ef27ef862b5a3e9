package test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/logging"
	operatorv1 "github.com/daprd/daprd/pkg/proto/operator/v1"
	"github.com/daprd/daprd/pkg/security"
	"github.com/daprd/daprd/pkg/sentry"
	"github.com/daprd/daprd/pkg/sentry/sentrytest"
)

// controlPlane are the namespace and trust domain of the control plane of the tests.
var controlPlane = struct{ namespace, domain string }{"dapr-system", "cluster.local"}

// apiServer speaks what sentry and the secret store ask of Kubernetes' API. Every token is the service account of its pod.
type apiServer struct {
	*httptest.Server
	t *testing.T

	mu sync.Mutex
	// objects are by the path.
	objects map[string]map[string]any
}

func newAPIServer(t *testing.T) *apiServer {
	t.Helper()
	bundle := func() map[string]any {
		return map[string]any{"metadata": map[string]any{"name": "dapr-trust-bundle", "resourceVersion": "1"}}
	}
	a := &apiServer{t: t, objects: map[string]map[string]any{
		"/api/v1/namespaces/dapr-system/secrets/dapr-trust-bundle":                bundle(),
		"/api/v1/namespaces/dapr-system/configmaps/dapr-trust-bundle":             bundle(),
		"/apis/dapr.io/v1alpha1/namespaces/dapr-system/configurations/daprsystem": {"metadata": map[string]any{"name": "daprsystem"}},
		"/api/v1/namespaces/default/secrets/db": {"metadata": map[string]any{"name": "db"},
			"data": map[string]any{"password": base64.StdEncoding.EncodeToString([]byte("hunter2"))}},
	}}
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
		var review struct {
			Spec struct{ Token string }
		}
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			a.t.Error(err)
		}
		w.WriteHeader(http.StatusCreated)
		claims, _ := base64.RawURLEncoding.DecodeString(strings.Split(review.Spec.Token, ".")[1])
		var whose struct {
			Kubernetes struct{ Namespace string } `json:"kubernetes.io"`
		}
		if err := json.Unmarshal(claims, &whose); err != nil {
			a.t.Error(err)
		}
		object = map[string]any{"status": map[string]any{"authenticated": true,
			"user": map[string]any{"username": "system:serviceaccount:" + whose.Kubernetes.Namespace + ":sa"}}}
	case !known:
		w.WriteHeader(http.StatusNotFound)
		object = map[string]any{"message": r.URL.Path + " not found"}
	case r.Method == http.MethodPut:
		var sent map[string]any
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
			a.t.Error(err)
		}
		a.objects[r.URL.Path], object = sent, sent
	}
	if err := json.NewEncoder(w).Encode(object); err != nil {
		a.t.Error(err)
	}
}

// pod adds one, and gives the file of its token.
func (a *apiServer) pod(namespace, name string, annotations map[string]string) (file string) {
	a.mu.Lock()
	a.objects["/api/v1/namespaces/"+namespace+"/pods/"+name] = map[string]any{
		"metadata": map[string]any{"name": name, "annotations": annotations}, "spec": map[string]any{"serviceAccountName": "sa"}}
	a.mu.Unlock()
	claims := fmt.Sprintf(`{"kubernetes.io":{"namespace":%q,"pod":{"name":%q}}}`, namespace, name)
	return a.write("token", "e30."+base64.RawURLEncoding.EncodeToString([]byte(claims))+".c2ln")
}

// kubeconfig is the file that tells of this server.
func (a *apiServer) kubeconfig() string {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})
	return a.write("kubeconfig", fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"+
		"clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %s}}]\nusers: [{name: u, user: {token: t}}]\n",
		a.URL, base64.StdEncoding.EncodeToString(ca)))
}

func (a *apiServer) write(name, text string) (path string) {
	a.t.Helper()
	path = filepath.Join(a.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// anchors are those that sentry has published.
func (a *apiServer) anchors() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	data := a.objects["/api/v1/namespaces/dapr-system/configmaps/dapr-trust-bundle"]["data"].(map[string]any)
	return data["ca.crt"].(string)
}

// standIn is an operator.
type standIn struct {
	operatorv1.UnimplementedOperatorServer
	address string

	mu         sync.Mutex
	components [][]byte
	// callers are the identities that asked, each once.
	callers []string
	// changed is closed at the next change.
	changed chan struct{}
}

// allowed notes the caller; as Dapr's operator it serves the caller's own namespace only.
func (o *standIn) allowed(ctx context.Context, namespace string) error {
	p, _ := peer.FromContext(ctx)
	id, err := security.IDOf(p.AuthInfo.(credentials.TLSInfo).State.PeerCertificates[0])
	if err != nil || !strings.HasPrefix(id.Path(), "/ns/"+namespace+"/") {
		return status.Errorf(codes.PermissionDenied, "identity does not match requested namespace: %s", id)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !slices.Contains(o.callers, id.String()) {
		o.callers = append(o.callers, id.String())
	}
	return nil
}

func (o *standIn) ListComponents(ctx context.Context, r *operatorv1.ListComponentsRequest) (*operatorv1.ListComponentResponse, error) {
	if err := o.allowed(ctx, r.GetNamespace()); err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return &operatorv1.ListComponentResponse{Components: o.components}, nil
}

func (o *standIn) GetConfiguration(ctx context.Context, r *operatorv1.GetConfigurationRequest) (*operatorv1.GetConfigurationResponse, error) {
	if err := o.allowed(ctx, r.GetNamespace()); err != nil {
		return nil, err
	}
	return &operatorv1.GetConfigurationResponse{Configuration: []byte(`{"metadata":{"name":"` + r.GetName() + `"},"spec":{"features":[{"name":"Some.Feature","enabled":true}]}}`)}, nil
}

func (o *standIn) ComponentUpdate(r *operatorv1.ComponentUpdateRequest, stream grpc.ServerStreamingServer[operatorv1.ComponentUpdateEvent]) error {
	if err := o.allowed(stream.Context(), r.GetNamespace()); err != nil {
		return err
	}
	for {
		o.mu.Lock()
		changed := o.changed
		o.mu.Unlock()
		select {
		case <-stream.Context().Done():
			return nil
		case <-changed:
			if err := stream.Send(&operatorv1.ComponentUpdateEvent{Type: operatorv1.ResourceEventType_CREATED}); err != nil {
				return err
			}
		}
	}
}

// add has the operator tell of one more component.
func (o *standIn) add(component string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.components = append(o.components, []byte(component))
	close(o.changed)
	o.changed = make(chan struct{})
}

// cluster is a control plane: sentry itself, and a stand-in for the operator that has its certificate from there.
type cluster struct {
	api      *apiServer
	sentry   *sentrytest.Sentry
	operator *standIn
}

func startCluster(t *testing.T, components ...string) *cluster {
	t.Helper()
	api := newAPIServer(t)
	c := &cluster{api: api, operator: &standIn{changed: make(chan struct{})}}
	c.sentry = sentrytest.Start(t, func(s *sentry.Config, _ *sentry.Deps) {
		s.Mode, s.Kubeconfig, s.Configuration = sentry.Kubernetes, api.kubeconfig(), "daprsystem"
		s.TrustDomain, s.Namespace = controlPlane.domain, controlPlane.namespace
	})
	for _, text := range components {
		c.operator.components = append(c.operator.components, []byte(text))
	}
	log := logging.Discard().Scope("test")
	anchors, err := security.NewAnchors(api.anchors(), "", log)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := security.NewSentry(security.SentrySettings{Address: c.sentry.Address().String(), AppID: "dapr-operator", Namespace: controlPlane.namespace,
		ControlPlaneNamespace: controlPlane.namespace, ControlPlaneTrustDomain: controlPlane.domain, Kubernetes: true,
		TokenFile: api.pod(controlPlane.namespace, "operator-1", map[string]string{"dapr.io/control-plane": "operator"})}, anchors)
	if err != nil {
		t.Fatal(err)
	}
	identity := security.NewIdentity("dapr-operator", log, nil)
	identity.Establish(anchors, signer)
	if err := identity.Obtain(t.Context()); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(identity.ServerConfig())))
	operatorv1.RegisterOperatorServer(server, c.operator)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
	c.operator.address = listener.Addr().String()
	return c
}

// flags are those that the injector gives to the sidecar of a pod. The environment of the test becomes that of the pod.
func (c *cluster) flags(t *testing.T, appID string) []string {
	t.Helper()
	for name, value := range map[string]string{
		"NAMESPACE": "default", "POD_NAME": appID + "-1", "DAPR_TRUST_ANCHORS": c.api.anchors(), "DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK": "true",
		"DAPR_SENTRY_TOKEN_FILE":      c.api.pod("default", appID+"-1", map[string]string{"dapr.io/app-id": appID}),
		"DAPR_CONTROLPLANE_NAMESPACE": controlPlane.namespace, "DAPR_CONTROLPLANE_TRUST_DOMAIN": controlPlane.domain,
	} {
		t.Setenv(name, value)
	}
	return []string{"--mode", "kubernetes", "--sentry-address", c.sentry.Address().String(), "--control-plane-address", c.operator.address,
		"--kubeconfig", c.api.kubeconfig()}
}

// nowhere is an address that no machine has: it stands for that of the seed's trace which the seed's machine did not have.
const nowhere = "192.0.2.1"

// watcherLine is one that the original writes from another goroutine than its neighbours, too.
const watcherLine = "starting workload cert expiry watcher. current cert expires on: "

// TestKubernetesTrace starts a sidecar as the seed's was started, in Kubernetes mode with mutual TLS, and holds its lines
// against the seed's.
func TestKubernetesTrace(t *testing.T) {
	server := redistest.Start(t)
	c := startCluster(t, `{"metadata":{"name":"statestore","namespace":"default"},"spec":{"type":"state.redis","version":"v1","metadata":[`+
		`{"name":"redisHost","value":"`+server.Address+`"},{"name":"redisPassword","value":""}]}}`)
	app := newApplication(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	flags, ports := tracePorts(t, app)
	flags = append(flags, c.flags(t, "nodeapp")...)
	m := newMesh(t)
	p := m.launch(t, "nodeapp", append(flags, "--enable-mtls", "--dapr-listen-addresses", nowhere+",127.0.0.1")...)
	p.awaits(t, "This will block until the app is listening on that port.")
	app.live(t)
	p.ready(t)
	p.stops(t)
	lines, _, _ := p.log.snapshot()
	checkForm(t, lines)
	got := withoutWatcher(t, normalised(entries(t, lines, strings.NewReplacer(append(ports, nowhere, "[::1]")...))))
	want := withoutWatcher(t, normalised(seed(t)))
	if diff := cmp.Diff(texts(want), texts(matching(got, want))); diff != "" {
		t.Errorf("the trace differs (-want +got):\n%s\nall lines:\n%s", diff, strings.Join(texts(got), "\n"))
	}
	if diff := cmp.Diff([]string{"spiffe://public/ns/default/nodeapp"}, c.operator.callers); diff != "" {
		t.Errorf("who asked the operator: %s", diff)
	}
}

// withoutWatcher takes the watcher's line out, which has to be there once.
func withoutWatcher(t *testing.T, list []entry) []entry {
	t.Helper()
	left := slices.DeleteFunc(slices.Clone(list), func(e entry) bool {
		return e.level == "info" && e.scope == "dapr.runtime.grpc.internal" && strings.HasPrefix(e.msg, watcherLine)
	})
	if len(left) != len(list)-1 {
		t.Errorf("%d lines begin with %q", len(list)-len(left), watcherLine)
	}
	return left
}

// TestOperator: without mutual TLS between sidecars the operator is asked all the same, as the sidecar's own identity;
// its Configuration and its changes take effect, and the cluster's Secrets can be read.
func TestOperator(t *testing.T) {
	c := startCluster(t)
	m := newMesh(t)
	p := m.start(t, "nodeapp", append(c.flags(t, "nodeapp"), "--config", "appconfig")...)
	p.awaits(t, "Initializing the operator client (config: appconfig)")
	p.awaits(t, "mTLS is disabled. Skipping certificate request and tls validation")
	c.operator.add(`{"metadata":{"name":"later","namespace":"default"},"spec":{"type":"state.in-memory","version":"v1"}}`)
	c.operator.add(`{"metadata":{"name":"others","namespace":"default"},"spec":{"type":"state.in-memory","version":"v1"},"scopes":["other"]}`)
	p.awaits(t, "component created: later (state.in-memory/v1)")
	if diff := cmp.Diff([]string{"spiffe://public/ns/default/nodeapp"}, c.operator.callers); diff != "" {
		t.Errorf("who asked the operator: %s", diff)
	}
	code, body := fetch(t, p.url(t, "/v1.0/secrets/kubernetes/db"))
	if code != http.StatusOK || strings.TrimSpace(body) != `{"password":"hunter2"}` {
		t.Errorf("the secret: %d %s", code, body)
	}
	if _, body := fetch(t, p.url(t, "/v1.0/metadata")); !strings.Contains(body, "Some.Feature") || strings.Contains(body, `"others"`) {
		t.Errorf("the metadata: %s", body)
	}
}

func fetch(t *testing.T, address string) (code int, body string) {
	t.Helper()
	answer, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
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
