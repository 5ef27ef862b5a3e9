package operator_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/cluster"
	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/operator"
	"github.com/daprd/daprd/pkg/process"
	operatorv1 "github.com/daprd/daprd/pkg/proto/operator/v1"
	"github.com/daprd/daprd/pkg/security"
	"github.com/daprd/daprd/pkg/sentry"
	"github.com/daprd/daprd/pkg/sentry/sentrytest"
	"github.com/daprd/daprd/test/kube"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

const (
	domain    = "cluster.local"
	namespace = "dapr-system"
	audience  = "spiffe://" + domain + "/ns/" + namespace + "/dapr-sentry"
)

// patience bounds what a test waits for, on a loaded machine.
const patience = 2 * time.Minute

// controlPlane is what the operator finds in a cluster, beside its own objects of the chart.
const controlPlane = `
{apiVersion: v1, kind: Secret, metadata: {name: dapr-trust-bundle, namespace: dapr-system}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: dapr-trust-bundle, namespace: dapr-system}}
---
{apiVersion: v1, kind: Service, metadata: {name: dapr-webhook, namespace: dapr-system}, spec: {ports: [{port: 443}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: operator-0, namespace: dapr-system, annotations: {dapr.io/control-plane: operator}},
 spec: {serviceAccountName: dapr-operator, containers: [{name: c, image: i}]}}
---
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: daprsystem, namespace: dapr-system}
spec: {mtls: {enabled: true, controlPlaneTrustDomain: cluster.local}}
`

// rights are the operator's account and what the chart grants it when the watchdog may mark pods; test/chart holds the file
// against Helm.
func rights(t testing.TB) string {
	t.Helper()
	chart, err := os.ReadFile("../../test/chart/testdata/tokens.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for document := range strings.SplitSeq(string(chart), "\n---\n") {
		kind := regexp.MustCompile(`(?m)^kind: (ServiceAccount|(Cluster)?Role(Binding)?)$`)
		if strings.Contains(document, "# Source: daprd/templates/operator.yaml\n") && kind.MatchString(document) {
			kept = append(kept, document)
		}
	}
	return strings.Join(kept, "\n---\n")
}

// installation is a cluster with a sentry.
type installation struct {
	*kube.Server
	client  *cluster.Client
	sentry  *sentrytest.Sentry
	anchors []byte
}

func install(t testing.TB) *installation {
	t.Helper()
	i := &installation{Server: kube.Start(t)}
	i.client = i.Client(t)
	i.Definitions(t)
	i.Namespace(t, namespace)
	i.Apply(t, rights(t))
	i.Apply(t, controlPlane)
	i.sentry = sentrytest.Start(t, func(c *sentry.Config, _ *sentry.Deps) {
		c.Mode, c.Kubeconfig, c.Configuration, c.Namespace, c.TrustDomain = sentry.Kubernetes, i.Kubeconfig, "daprsystem", namespace, domain
	})
	var bundle struct{ Data map[string]string }
	if err := i.client.Get(t.Context(), &bundle, "api", "v1", "namespaces", namespace, "configmaps", "dapr-trust-bundle"); err != nil {
		t.Fatal(err)
	}
	i.anchors = []byte(bundle.Data["ca.crt"])
	return i
}

func write(t testing.TB, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// running is an operator.
type running struct {
	*operator.Operator
	log  *lines
	stop func()
}

// operate runs one until it is stopped, at the latest when the test ends.
func (i *installation) operate(t testing.TB, options ...func(*operator.Config)) *running {
	t.Helper()
	cfg := operator.Config{Namespace: namespace, Configuration: "daprsystem", ListenAddress: "127.0.0.1", WebhookListenAddress: "127.0.0.1",
		Observed:      process.Observed{HealthListenAddress: "127.0.0.1", EnableMetrics: true, MetricsListenAddress: "127.0.0.1"},
		SentryAddress: i.sentry.Address().String(), AnchorsFile: write(t, "ca.crt", string(i.anchors)),
		TokenFile: write(t, "token", i.Token(t, namespace, "dapr-operator", "operator-0", audience)), Kubeconfig: i.KubeconfigOf(t, namespace, "dapr-operator")}
	for _, option := range options {
		option(&cfg)
	}
	r := &running{log: &lines{grown: make(chan struct{})}}
	logs, err := logging.New(logging.Options{Level: "debug", Output: r.log})
	if err != nil {
		t.Fatal(err)
	}
	if r.Operator, err = operator.New(cfg, operator.Deps{Logs: logs}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the operator ended with %v", err)
		}
		if t.Failed() {
			t.Logf("its log:\n%s", r.log)
		}
	})
	t.Cleanup(r.stop)
	select {
	case <-r.Ready():
	case <-time.After(patience):
		t.Fatalf("the operator is not ready:\n%s", r.log)
	}
	i.Forward(t, namespace, "dapr-webhook", r.WebhookAddress().String())
	return r
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

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) wait(t testing.TB, text string) {
	t.Helper()
	for deadline := time.After(patience); ; {
		l.mu.Lock()
		found, grown := strings.Contains(l.text.String(), text), l.grown
		l.mu.Unlock()
		if found {
			return
		}
		select {
		case <-grown:
		case <-deadline:
			t.Fatalf("the log never has %q:\n%s", text, l)
		}
	}
}

// app makes the pod of an application, and gives who its sidecar is.
func (i *installation) app(t testing.TB, namespace, appID, annotations string) *security.Identity {
	t.Helper()
	i.Apply(t, fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s-1, namespace: %s, labels: {dapr.io/app-id: %s}, annotations: {dapr.io/app-id: %s%s}}\n"+
		"spec: {containers: [{name: c, image: i}]}\n", appID, namespace, appID, appID, annotations))
	log := logging.Discard().Scope("test")
	anchors, err := security.NewAnchors(string(i.anchors), "", log)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := security.NewSentry(security.SentrySettings{Address: i.sentry.Address().String(), AppID: appID, Namespace: namespace,
		ControlPlaneNamespace: "dapr-system", ControlPlaneTrustDomain: domain, Kubernetes: true,
		TokenFile: write(t, "token", i.Token(t, namespace, "default", appID+"-1", audience))}, anchors)
	if err != nil {
		t.Fatal(err)
	}
	identity := security.NewIdentity(appID, log, nil)
	identity.Establish(anchors, signer)
	if err := identity.Obtain(t.Context()); err != nil {
		t.Fatal(err)
	}
	return identity
}

// call connects a sidecar to an operator.
func (r *running) call(t testing.TB, who *security.Identity) operatorv1.OperatorClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+r.Address().String(),
		grpc.WithTransportCredentials(credentials.NewTLS(who.ClientConfig(security.Peer{TrustDomain: domain, Namespace: namespace, AppID: "dapr-operator"}))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return operatorv1.NewOperatorClient(conn)
}

// follow opens the stream of components, and returns when it stands.
func follow(t testing.TB, client operatorv1.OperatorClient, namespace string) grpc.ServerStreamingClient[operatorv1.ComponentUpdateEvent] {
	t.Helper()
	stream, err := client.ComponentUpdate(t.Context(), &operatorv1.ComponentUpdateRequest{Namespace: namespace})
	if err == nil {
		_, err = stream.Header()
	}
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// component is what counts of one.
type component struct {
	Kind     string
	Metadata struct {
		Name        string
		Annotations map[string]string
		Managed     []any `json:"managedFields"`
	}
	Spec struct {
		Version  string
		Metadata []struct {
			Name  string
			Value any
		}
	}
}

func read[T any](t testing.TB, text []byte) (into T) {
	t.Helper()
	if err := json.Unmarshal(text, &into); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return into
}

// next is the next event of a stream: what happened to which version.
func next(t testing.TB, stream grpc.ServerStreamingClient[operatorv1.ComponentUpdateEvent]) string {
	t.Helper()
	event, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	c := read[component](t, event.GetComponent())
	return fmt.Sprintf("%s %s %s", event.GetType(), c.Metadata.Name, c.Spec.Version)
}

func (i *installation) component(t testing.TB, namespace, name, version, scopes string) {
	t.Helper()
	i.Apply(t, fmt.Sprintf("apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: %s, namespace: %s}\nspec: {type: state.in-memory, version: %s}\nscopes: [%s]\n",
		name, namespace, version, scopes))
}

// TestOperator: what sidecars and the API server ask of one operator, by its own account.
func TestOperator(t *testing.T) {
	i := install(t)
	r := i.operate(t)
	t.Run("lists", func(t *testing.T) { lists(t, i, r) })
	t.Run("events", func(t *testing.T) { events(t, i, r) })
	t.Run("secrets", func(t *testing.T) { secrets(t, i, r) })
	t.Run("configurations", func(t *testing.T) { ofConfigurations(t, i, r) })
	t.Run("versions", func(t *testing.T) { versions(t, i, r) })
	t.Run("services", func(t *testing.T) { ofServices(t, i, r) })
	t.Run("health", func(t *testing.T) { health(t, r) })
	t.Run("away", func(t *testing.T) { away(t, i, r) })
}

// lists: an application sees its own namespace, and what is scoped to it.
func lists(t *testing.T, i *installation, r *running) {
	i.Namespace(t, "lists")
	i.component(t, "lists", "all", "v1", "")
	i.component(t, "lists", "mine", "v1", "cart, other")
	i.component(t, "lists", "others", "v1", "other")
	cart := r.call(t, i.app(t, "lists", "cart", ""))
	var names []string
	for deadline := time.Now().Add(patience); len(names) < 2 && time.Now().Before(deadline); {
		answer, err := cart.ListComponents(t.Context(), &operatorv1.ListComponentsRequest{Namespace: "lists"})
		if err != nil {
			t.Fatal(err)
		}
		names = nil
		for _, text := range answer.GetComponents() {
			c := read[component](t, text)
			if names = append(names, c.Metadata.Name); c.Kind != "Component" || len(c.Metadata.Managed) > 0 {
				t.Errorf("%s", text)
			}
		}
	}
	if got := strings.Join(names, " "); got != "all mine" {
		t.Errorf("cart sees %q", got)
	}
	for asked, want := range map[string]string{
		"events": "identity does not match requested namespace exp=events got=lists",
		"":       "identity does not match requested namespace exp= got=lists",
	} {
		_, err := cart.ListComponents(t.Context(), &operatorv1.ListComponentsRequest{Namespace: asked})
		if status.Code(err) != codes.PermissionDenied || status.Convert(err).Message() != want {
			t.Errorf("namespace %q: %v", asked, err)
		}
	}
	stream, err := cart.ComponentUpdate(t.Context(), &operatorv1.ComponentUpdateRequest{Namespace: "events"})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("the stream of another namespace: %v", err)
	}
	_, err = cart.GetResiliency(t.Context(), &operatorv1.GetResiliencyRequest{Name: "none", Namespace: "lists"})
	if status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), `resiliencies.dapr.io "none" not found in namespace lists`) {
		t.Errorf("what is not there: %v", err)
	}
}

// events: changes come as the application sees them, also where the scopes change.
func events(t *testing.T, i *installation, r *running) {
	i.Namespace(t, "events")
	i.Namespace(t, "elsewhere")
	stream := follow(t, r.call(t, i.app(t, "events", "cart", "")), "events")
	i.component(t, "elsewhere", "store", "v1", "")
	i.component(t, "events", "other", "v1", "other")
	i.component(t, "events", "store", "v1", "")
	i.component(t, "events", "store", "v2", "")
	i.component(t, "events", "store", "v3", "other")
	i.component(t, "events", "store", "v4", "cart")
	i.Delete(t, "{apiVersion: dapr.io/v1alpha1, kind: Component, metadata: {name: store, namespace: events}}")
	for _, want := range []string{"CREATED store v1", "UPDATED store v2", "DELETED store v2", "CREATED store v4", "DELETED store v4"} {
		if got := next(t, stream); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// secrets: those of the cluster are put in, in base64; those of other stores are the sidecar's.
func secrets(t *testing.T, i *installation, r *running) {
	i.Namespace(t, "secrets")
	i.Apply(t, "{apiVersion: v1, kind: Secret, metadata: {name: db, namespace: secrets}, stringData: {password: hunter2, db: own}}")
	stream := follow(t, r.call(t, i.app(t, "secrets", "cart", "")), "secrets")
	i.Apply(t, `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: store, namespace: secrets}
spec:
  type: state.redis
  metadata:
  - {name: password, secretKeyRef: {name: db, key: password}}
  - {name: user, secretKeyRef: {name: db}}
  - {name: missing, secretKeyRef: {name: db, key: none}}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: vaulted, namespace: secrets}
spec: {type: state.redis, metadata: [{name: password, secretKeyRef: {name: gone}}]}
auth: {secretStore: vault}
`)
	event, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{}
	for _, p := range read[component](t, event.GetComponent()).Spec.Metadata {
		got[p.Name] = p.Value
	}
	encoded := base64.StdEncoding.EncodeToString
	if got["password"] != encoded([]byte("hunter2")) || got["user"] != encoded([]byte("own")) || got["missing"] != nil {
		t.Errorf("the values: %v", got)
	}
	if got := next(t, stream); got != "CREATED vaulted " {
		t.Errorf("got %q", got)
	}
	cart := r.call(t, i.app(t, "secrets", "cart", ""))
	if _, err := cart.ListComponents(t.Context(), &operatorv1.ListComponentsRequest{Namespace: "secrets"}); err != nil {
		t.Error(err)
	}
	i.Delete(t, "{apiVersion: v1, kind: Secret, metadata: {name: db, namespace: secrets}}")
	_, err = cart.ListComponents(t.Context(), &operatorv1.ListComponentsRequest{Namespace: "secrets"})
	if err == nil || !strings.Contains(err.Error(), "the Component store of namespace secrets: the Secret db, which it refers to, is not there") {
		t.Errorf("without the Secret: %v", err)
	}
}

// ofConfigurations: an application is told of its own; what it leaves out of its access control is written out.
func ofConfigurations(t *testing.T, i *installation, r *running) {
	i.Namespace(t, "configurations")
	i.Apply(t, "{apiVersion: dapr.io/v1alpha1, kind: Configuration, metadata: {name: mine, namespace: configurations}, spec: {}}")
	cart := r.call(t, i.app(t, "configurations", "cart", ", dapr.io/config: mine"))
	stream, err := cart.ConfigurationUpdate(t.Context(), &operatorv1.ConfigurationUpdateRequest{Namespace: "configurations"})
	if err == nil {
		_, err = stream.Header()
	}
	if err != nil {
		t.Fatal(err)
	}
	i.Apply(t, "{apiVersion: dapr.io/v1alpha1, kind: Configuration, metadata: {name: others, namespace: configurations}, spec: {}}")
	i.Apply(t, "{apiVersion: dapr.io/v1alpha1, kind: Configuration, metadata: {name: mine, namespace: configurations}, spec: {tracing: {samplingRate: '1'}}}")
	for {
		event, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		text := string(event.GetConfiguration())
		if !strings.Contains(text, `"name":"mine"`) {
			t.Fatalf("it is told of %s", text)
		}
		if strings.Contains(text, "samplingRate") { // the first may be that of its creation
			break
		}
	}
	answer, err := cart.GetConfiguration(t.Context(), &operatorv1.GetConfigurationRequest{Name: "mine", Namespace: "configurations"})
	if err != nil || !strings.Contains(string(answer.GetConfiguration()), `"accessControl":{"defaultAction":"","trustDomain":""}`) {
		t.Errorf("%s %v", answer.GetConfiguration(), err)
	}
}

// versions: the API server has a Subscription of the first version converted, both ways, under the operator's certificate.
func versions(t *testing.T, i *installation, r *running) {
	i.Namespace(t, "versions")
	r.log.wait(t, "The CRD subscriptions.dapr.io has the trust anchors of now")
	first := "apiVersion: dapr.io/v1alpha1\nkind: Subscription\nmetadata: {name: orders, namespace: versions}\nspec: {pubsubname: p, topic: orders, route: /orders}\n"
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if err = i.TryApply(t.Context(), first); err == nil || !strings.Contains(err.Error(), "conversion webhook") {
			break // until the API server has taken the roots over
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	for version, want := range map[string]string{"v1alpha1": `"route":"/orders"`, "v2alpha1": `"routes":{"default":"/orders"}`} {
		var found json.RawMessage
		if err := i.client.Get(t.Context(), &found, "apis", "dapr.io", version, "namespaces", "versions", "subscriptions", "orders"); err != nil || !strings.Contains(string(found), want) {
			t.Errorf("%s: %s %v", version, found, err)
		}
	}
	cart := r.call(t, i.app(t, "versions", "cart", ""))
	answer, err := cart.ListSubscriptionsV2(t.Context(), &operatorv1.ListSubscriptionsRequest{Namespace: "versions"})
	if err != nil || len(answer.GetSubscriptions()) != 1 || !strings.Contains(string(answer.GetSubscriptions()[0]), `"routes":{"default":"/orders"}`) {
		t.Errorf("%s %v", answer.GetSubscriptions(), err)
	}
}

func deployment(appID, more string) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, namespace: services}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}, annotations: {dapr.io/enabled: "true", dapr.io/app-id: %s%s}}
    spec: {containers: [{name: c, image: i}]}
`, appID, more)
}

// service is what counts of one.
type service struct {
	Metadata struct {
		Labels, Annotations map[string]string
		OwnerReferences     []struct{ Kind, Name string }
	}
	Spec struct {
		ClusterIP string
		Selector  map[string]string
		Ports     []struct {
			Name       string
			Port       int
			TargetPort int
		}
	}
}

// ofServices: a workload has one while it is annotated, and the one that its annotations ask for.
func ofServices(t *testing.T, i *installation, r *running) {
	i.Namespace(t, "services")
	get := func(name string) (s service, err error) {
		return s, i.client.Get(t.Context(), &s, "api", "v1", "namespaces", "services", "services", name)
	}
	i.Apply(t, deployment("shop", ", dapr.io/metrics-port: '9999', dapr.io/sidecar-svc-annotations: 'team=a'"))
	r.log.wait(t, "The service shop-dapr of namespace services is created")
	got, err := get("shop-dapr")
	if err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprintln(got.Spec.ClusterIP, got.Spec.Selector, got.Spec.Ports, got.Metadata.OwnerReferences, got.Metadata.Labels); s !=
		"None map[app:shop] [{dapr-http 80 3500} {dapr-grpc 50001 50001} {dapr-internal 50002 50002} {dapr-metrics 9999 9999}] [{Deployment shop}] map[dapr.io/enabled:true]\n" {
		t.Error(s)
	}
	if a := got.Metadata.Annotations; a["dapr.io/app-id"] != "shop" || a["prometheus.io/port"] != "9999" || a["prometheus.io/scrape"] != "true" || a["team"] != "a" {
		t.Error(a)
	}
	i.Apply(t, deployment("shop", ", dapr.io/internal-grpc-port: '6002'"))
	r.log.wait(t, "The service shop-dapr of namespace services is changed")
	if got, err = get("shop-dapr"); err != nil || got.Spec.Ports[2].Port != 6002 || got.Metadata.Annotations["prometheus.io/port"] != "9090" {
		t.Errorf("%+v %v", got, err)
	}
	i.Apply(t, deployment("store", ""))
	r.log.wait(t, "The service store-dapr of namespace services is created")
	r.log.wait(t, "The service shop-dapr of namespace services is deleted")
	if _, err := get("shop-dapr"); !cluster.Is(err, http.StatusNotFound) {
		t.Errorf("the former: %v", err)
	}
	i.Apply(t, strings.Replace(deployment("store", ""), `"true"`, `"false"`, 1))
	r.log.wait(t, "The service store-dapr of namespace services is deleted")
}

func health(t *testing.T, r *running) {
	transport := &http.Transport{DisableKeepAlives: true}
	for url, want := range map[string]string{"http://" + r.HealthAddress().String() + "/healthz": "", "http://" + r.MetricsAddress().String() + "/": `dapr_operator_service_created_total{app_id="shop"} 1`} {
		response, err := (&http.Client{Transport: transport}).Get(url)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(text), want) {
			t.Errorf("%s: %d %v", url, response.StatusCode, err)
		}
	}
}

// away: while the API server is away, what is known is given; what then changes is told of when it is back.
func away(t *testing.T, i *installation, r *running) {
	i.Namespace(t, "away")
	cart := r.call(t, i.app(t, "away", "cart", ""))
	stream := follow(t, cart, "away")
	i.component(t, "away", "store", "v1", "")
	if got := next(t, stream); got != "CREATED store v1" {
		t.Error(got)
	}
	i.Stop()
	r.log.wait(t, "The API server does not show components.dapr.io; what was seen last holds until it does")
	answer, err := cart.ListComponents(t.Context(), &operatorv1.ListComponentsRequest{Namespace: "away"})
	if err != nil || len(answer.GetComponents()) != 1 {
		t.Errorf("%s %v", answer.GetComponents(), err)
	}
	i.Restart(t)
	i.component(t, "away", "store", "v2", "")
	if got := next(t, stream); got != "UPDATED store v2" {
		t.Error(got)
	}
	r.log.wait(t, "The API server shows components.dapr.io again")
}
