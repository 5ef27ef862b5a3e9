package test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

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
	case strings.HasPrefix(r.URL.Path, "/api/v1/namespaces/bank/"):
		w.WriteHeader(http.StatusForbidden)
		object = map[string]any{"message": `secrets is forbidden: User "system:serviceaccount:default:sa" cannot list resource "secrets" in API group "" in the namespace "bank"`}
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

// door is a listener that can be shut: connections are cut, and new ones turned away, while its port stays its own.
type door struct {
	net.Listener
	// turnedAway has a value for each connection that came while it was shut, as far as there is room.
	turnedAway chan struct{}

	mu       sync.Mutex
	isShut   bool
	accepted []net.Conn
}

func newDoor(t *testing.T) *door {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &door{Listener: listener, turnedAway: make(chan struct{}, 100)}
}

func (d *door) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil || d.lets(conn) {
			return conn, err
		}
		conn.Close()
		select {
		case d.turnedAway <- struct{}{}:
		default:
		}
	}
}

func (d *door) lets(conn net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.isShut {
		d.accepted = append(d.accepted, conn)
	}
	return !d.isShut
}

func (d *door) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.isShut = true
	for _, conn := range d.accepted {
		conn.Close()
	}
	d.accepted = nil
}

func (d *door) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.isShut = false
}

// kinds are those that the operator tells of.
func kinds() []string {
	return []string{"Component", "Configuration", "HTTPEndpoint", "Resiliency", "Subscription"}
}

// news are of a change that the streams of a kind tell of.
type news struct {
	text   []byte
	change operatorv1.ResourceEventType
}

// standIn is an operator. As Dapr's it gives all resources of the namespace; the tests show that sidecars choose.
type standIn struct {
	operatorv1.UnimplementedOperatorServer
	*door

	mu sync.Mutex
	// resources are texts in JSON by kind and name.
	resources map[string]map[string]string
	events    map[string][]news
	// streams counts those that were opened, by kind.
	streams map[string]int
	// callers are the identities that asked, pods the names that they gave, each once.
	callers, pods []string
	// changed is closed when any of this changes.
	changed chan struct{}
}

func newStandIn(t *testing.T) *standIn {
	t.Helper()
	return &standIn{door: newDoor(t), resources: map[string]map[string]string{}, events: map[string][]news{}, streams: map[string]int{},
		changed: make(chan struct{})}
}

// put creates or updates a resource; text is its JSON from behind the metadata, which are made of name and namespace.
func (o *standIn) put(kind, name, text string) { o.putIn("default", kind, name, text) }

func (o *standIn) putIn(namespace, kind, name, text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change := operatorv1.ResourceEventType_UPDATED
	if o.resources[kind][name] == "" {
		change = operatorv1.ResourceEventType_CREATED
	}
	if o.resources[kind] == nil {
		o.resources[kind] = map[string]string{}
	}
	o.resources[kind][name] = fmt.Sprintf(`{"metadata":{"name":%q,"namespace":%q},%s}`, name, namespace, text)
	o.happened(kind, name, change)
}

func (o *standIn) remove(kind, name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.happened(kind, name, operatorv1.ResourceEventType_DELETED)
	delete(o.resources[kind], name)
}

func (o *standIn) happened(kind, name string, change operatorv1.ResourceEventType) {
	o.events[kind] = append(o.events[kind], news{[]byte(o.resources[kind][name]), change})
	o.turn()
}

func (o *standIn) turn() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// awaitStreams waits until as many streams of each kind were opened.
func (o *standIn) awaitStreams(t *testing.T, count int) {
	t.Helper()
	for deadline := time.After(patience); ; {
		o.mu.Lock()
		changed, open := o.changed, !slices.ContainsFunc(kinds(), func(kind string) bool { return o.streams[kind] < count })
		o.mu.Unlock()
		if open {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("the streams are not opened %d times", count)
		}
	}
}

// asked are the identities and the pods that asked.
func (o *standIn) asked() (callers, pods []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Sorted(slices.Values(o.callers)), slices.Sorted(slices.Values(o.pods))
}

// allowed notes the caller; as Dapr's operator it serves the caller's own namespace only.
func (o *standIn) allowed(ctx context.Context, namespace string) error {
	who, err := security.CallerOf(ctx)
	if err != nil || who.Namespace != namespace {
		return status.Errorf(codes.PermissionDenied, "identity does not match requested namespace: %s", who)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.callers = with(o.callers, who.String())
	return nil
}

func with(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

func (o *standIn) list(ctx context.Context, namespace, kind string) (texts [][]byte, err error) {
	if err := o.allowed(ctx, namespace); err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(o.resources[kind])) {
		texts = append(texts, []byte(o.resources[kind][name]))
	}
	return texts, nil
}

func (o *standIn) ListComponents(ctx context.Context, r *operatorv1.ListComponentsRequest) (*operatorv1.ListComponentResponse, error) {
	o.mu.Lock()
	o.pods = with(o.pods, r.GetPodName())
	o.mu.Unlock()
	texts, err := o.list(ctx, r.GetNamespace(), "Component")
	return &operatorv1.ListComponentResponse{Components: texts}, err
}

func (o *standIn) ListSubscriptionsV2(ctx context.Context, r *operatorv1.ListSubscriptionsRequest) (*operatorv1.ListSubscriptionsResponse, error) {
	texts, err := o.list(ctx, r.GetNamespace(), "Subscription")
	return &operatorv1.ListSubscriptionsResponse{Subscriptions: texts}, err
}

func (o *standIn) ListResiliency(ctx context.Context, r *operatorv1.ListResiliencyRequest) (*operatorv1.ListResiliencyResponse, error) {
	texts, err := o.list(ctx, r.GetNamespace(), "Resiliency")
	return &operatorv1.ListResiliencyResponse{Resiliencies: texts}, err
}

func (o *standIn) ListHTTPEndpoints(ctx context.Context, r *operatorv1.ListHTTPEndpointsRequest) (*operatorv1.ListHTTPEndpointsResponse, error) {
	texts, err := o.list(ctx, r.GetNamespace(), "HTTPEndpoint")
	return &operatorv1.ListHTTPEndpointsResponse{HttpEndpoints: texts}, err
}

func (o *standIn) GetConfiguration(ctx context.Context, r *operatorv1.GetConfigurationRequest) (*operatorv1.GetConfigurationResponse, error) {
	if err := o.allowed(ctx, r.GetNamespace()); err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	text, known := o.resources["Configuration"][r.GetName()]
	if !known {
		return nil, status.Errorf(codes.NotFound, "configurations.dapr.io %q not found", r.GetName())
	}
	return &operatorv1.GetConfigurationResponse{Configuration: []byte(text)}, nil
}

// follow tells of the events of a kind that come after the stream was opened.
func (o *standIn) follow(ctx context.Context, namespace, kind string, send func(news) error) error {
	if err := o.allowed(ctx, namespace); err != nil {
		return err
	}
	o.mu.Lock()
	seen := len(o.events[kind])
	o.streams[kind]++
	o.turn()
	o.mu.Unlock()
	for {
		o.mu.Lock()
		untold, changed := o.events[kind][seen:], o.changed
		o.mu.Unlock()
		for _, e := range untold {
			if err := send(e); err != nil {
				return err
			}
		}
		seen += len(untold)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

func (o *standIn) ComponentUpdate(r *operatorv1.ComponentUpdateRequest, stream grpc.ServerStreamingServer[operatorv1.ComponentUpdateEvent]) error {
	return o.follow(stream.Context(), r.GetNamespace(), "Component", func(e news) error {
		return stream.Send(&operatorv1.ComponentUpdateEvent{Component: e.text, Type: e.change})
	})
}

func (o *standIn) SubscriptionUpdate(r *operatorv1.SubscriptionUpdateRequest, stream grpc.ServerStreamingServer[operatorv1.SubscriptionUpdateEvent]) error {
	return o.follow(stream.Context(), r.GetNamespace(), "Subscription", func(e news) error {
		return stream.Send(&operatorv1.SubscriptionUpdateEvent{Subscription: e.text, Type: e.change})
	})
}

func (o *standIn) HTTPEndpointUpdate(r *operatorv1.HTTPEndpointUpdateRequest, stream grpc.ServerStreamingServer[operatorv1.HTTPEndpointUpdateEvent]) error {
	return o.follow(stream.Context(), r.GetNamespace(), "HTTPEndpoint", func(e news) error {
		return stream.Send(&operatorv1.HTTPEndpointUpdateEvent{HttpEndpoints: e.text, Type: e.change})
	})
}

func (o *standIn) ConfigurationUpdate(r *operatorv1.ConfigurationUpdateRequest, stream grpc.ServerStreamingServer[operatorv1.ConfigurationUpdateEvent]) error {
	return o.follow(stream.Context(), r.GetNamespace(), "Configuration", func(e news) error {
		return stream.Send(&operatorv1.ConfigurationUpdateEvent{Configuration: e.text, Type: e.change})
	})
}

func (o *standIn) ResiliencyUpdate(r *operatorv1.ResiliencyUpdateRequest, stream grpc.ServerStreamingServer[operatorv1.ResiliencyUpdateEvent]) error {
	return o.follow(stream.Context(), r.GetNamespace(), "Resiliency", func(e news) error {
		return stream.Send(&operatorv1.ResiliencyUpdateEvent{Resiliency: e.text, Type: e.change})
	})
}

// cluster is a control plane: sentry itself, and a stand-in for the operator that has its certificate from there.
type cluster struct {
	api      *apiServer
	sentry   *sentrytest.Sentry
	operator *standIn
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	return startClusterOf(t, controlPlane.namespace, map[string]string{"dapr.io/control-plane": "operator"})
}

// startClusterOf has the operator run in a pod of that namespace with those annotations.
func startClusterOf(t *testing.T, namespace string, annotations map[string]string) *cluster {
	t.Helper()
	api := newAPIServer(t)
	c := &cluster{api: api, operator: newStandIn(t)}
	c.sentry = sentrytest.Start(t, func(s *sentry.Config, _ *sentry.Deps) {
		s.Mode, s.Kubeconfig, s.Configuration = sentry.Kubernetes, api.kubeconfig(), "daprsystem"
		s.TrustDomain, s.Namespace = controlPlane.domain, controlPlane.namespace
	})
	log := logging.Discard().Scope("test")
	anchors, err := security.NewAnchors(api.anchors(), "", log)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := security.NewSentry(security.SentrySettings{Address: c.sentry.Address().String(), AppID: "dapr-operator", Namespace: namespace,
		ControlPlaneNamespace: controlPlane.namespace, ControlPlaneTrustDomain: controlPlane.domain, Kubernetes: true,
		TokenFile: api.pod(namespace, "operator-1", annotations)}, anchors)
	if err != nil {
		t.Fatal(err)
	}
	identity := security.NewIdentity("dapr-operator", log, nil)
	identity.Establish(anchors, signer)
	if err := identity.Obtain(t.Context()); err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(identity.ServerConfig())))
	operatorv1.RegisterOperatorServer(server, c.operator)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(c.operator.door)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
	return c
}

// flags are those that the injector gives to the sidecar of a pod. The environment of the test becomes that of the pod.
func (c *cluster) flags(t *testing.T, appID string) []string {
	t.Helper()
	return c.flagsIn(t, "default", appID)
}

func (c *cluster) flagsIn(t *testing.T, namespace, appID string) []string {
	t.Helper()
	for name, value := range map[string]string{
		"NAMESPACE": namespace, "POD_NAME": appID + "-1", "DAPR_TRUST_ANCHORS": c.api.anchors(), "DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK": "true",
		"DAPR_SENTRY_TOKEN_FILE":      c.api.pod(namespace, appID+"-1", map[string]string{"dapr.io/app-id": appID}),
		"DAPR_CONTROLPLANE_NAMESPACE": controlPlane.namespace, "DAPR_CONTROLPLANE_TRUST_DOMAIN": controlPlane.domain,
	} {
		t.Setenv(name, value)
	}
	return []string{"--mode", "kubernetes", "--sentry-address", c.sentry.Address().String(), "--control-plane-address", c.operator.Addr().String(),
		"--kubeconfig", c.api.kubeconfig()}
}
