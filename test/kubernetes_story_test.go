package test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	goredis "github.com/go-redis/redis/v8"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/sentry"
	"github.com/daprd/daprd/pkg/sentry/sentrytest"
)

const (
	// certificates live so long while the root is replaced, so that all are renewed soon.
	shortLife = "16s"
	// usualLife is the chart's.
	usualLife = "24h"
	// seedPod is the pod of the seed's trace.
	seedPod = "nodeapp-967854b66-vdcwt"
)

// shop is the application of the seed's text, the store that it has, and another application that calls it.
const shop = `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: statestore}
spec:
  type: state.redis
  version: v1
  metadata:
  - {name: redisHost, value: %q}
  - {name: redisPassword, secretKeyRef: {name: redis, key: redis-password}}
auth: {secretStore: kubernetes}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: nodeapp, labels: {app: node}}
spec:
  replicas: 1
  selector: {matchLabels: {app: node}}
  template:
    metadata:
      labels: {app: node}
      annotations:
        dapr.io/enabled: "true"
        dapr.io/app-id: "nodeapp"
        dapr.io/app-port: "3000"
        dapr.io/enable-api-logging: "true"
        dapr.io/log-level: "debug"
    spec:
      containers:
      - {name: node, image: "ghcr.io/dapr/samples/hello-k8s-node:latest", env: [{name: APP_PORT, value: "3000"}], ports: [{containerPort: 3000}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: pythonapp, labels: {app: python}}
spec:
  replicas: 1
  selector: {matchLabels: {app: python}}
  template:
    metadata:
      labels: {app: python}
      annotations: {dapr.io/enabled: "true", dapr.io/app-id: "pythonapp", dapr.io/config: "ways"}
    spec:
      containers:
      - {name: python, image: "ghcr.io/dapr/samples/hello-k8s-python:latest"}
`

// ways says where nodeapp is: there is no DNS of a cluster here.
const ways = `
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: ways}
spec: {nameResolution: {component: kubernetes, version: v1, configuration: {template: %q}}}
`

// story is an installation with the applications in it.
type story struct {
	*installation
	stores       [2]*redistest.Server
	node, python *container
	orders       *orders
}

// TestKubernetesStory is the seed's story: the chart in a real API server, an annotated pod, its sidecar as it was injected,
// and calls all the time, none of which fails, while the component is changed, the root certificate is replaced, and the
// operator, then the API server are away.
func TestKubernetesStory(t *testing.T) {
	t.Parallel()
	s := &story{installation: install(t, shortLife)}
	steps := []struct {
		name string
		step func(*testing.T, *story)
	}{
		{"begin", begin}, {"component", changeComponent}, {"root", replaceRoot}, {"API server away", apiServerAway}, {"operator away", operatorAway},
	}
	for _, step := range steps {
		from := time.Now()
		step.step(t, s)
		t.Logf("%s: %s", step.name, time.Since(from).Round(time.Millisecond))
	}
	calls, failures := s.orders.end()
	for _, failure := range failures {
		t.Errorf("a call failed: %s", failure)
	}
	t.Logf("%d calls, %d failed", calls, len(failures))
	podEnds(t, s)
}

// begin makes the pods, and holds the log of the seed's against the seed's trace.
func begin(t *testing.T, s *story) {
	for n := range s.stores {
		s.stores[n] = redistest.Start(t, "--requirepass", "hunter2")
	}
	s.kubectl(t, "", "create", "secret", "generic", "redis", "--from-literal=redis-password=hunter2")
	s.kubectl(t, fmt.Sprintf(shop, s.stores[0].Address), "apply", "--filename", "-")
	s.parts["dapr-operator"].awaits(t, "The service nodeapp-dapr of namespace default is created")

	pod := s.pod(t, "deployments", "default", "nodeapp", seedPod)
	keeper := &keeper{}
	app := newApplication(t, keeper.serve)
	s.node = s.run(t, pod, "daprd", binary, 3000, app.port)
	keeper.sidecar = "http://" + s.node.at(toldPort(t, pod, "node"))
	s.node.awaits(t, "This will block until the app is listening on that port.")
	app.live(t)
	s.node.passes(t, s.node.ReadinessProbe)
	s.node.ready(t)
	s.holdTrace(t)
	wants(t, call(t, http.MethodGet, keeper.sidecar+"/v1.0/secrets/kubernetes/redis", ""), http.StatusOK, `{"redis-password":"hunter2"}`)

	s.kubectl(t, fmt.Sprintf(ways, s.node.at(50002)), "apply", "--filename", "-")
	s.python = s.run(t, s.pod(t, "deployments", "default", "pythonapp", "pythonapp-5d7f9cd4f5-x2x7q"), "daprd", binary)
	s.python.passes(t, s.python.ReadinessProbe)
	s.orders = take(t, "http://"+s.python.at(3500)+"/v1.0/invoke/nodeapp/method/neworder")
	s.orders.more(t, 20)
	if number := s.stored(t, 0); number == 0 {
		t.Error("no order is in Redis")
	}
}

// holdTrace holds what the sidecar has said against the seed's trace.
func (s *story) holdTrace(t *testing.T) {
	t.Helper()
	lines, _, _ := s.node.log.snapshot()
	checkForm(t, lines)
	seeds := []string{nowhere, "[::1]"}
	for told, here := range s.node.ports {
		seeds = append(seeds, strconv.Itoa(here), strconv.Itoa(told))
	}
	got := withoutWatcher(t, normalised(entries(t, lines, strings.NewReplacer(seeds...))))
	want := withoutWatcher(t, normalised(seed(t)))
	if diff := cmp.Diff(texts(want), texts(matching(got, want))); diff != "" {
		t.Errorf("the trace differs (-want +got):\n%s\nall lines:\n%s", diff, strings.Join(texts(got), "\n"))
	}
}

// toldPort is the port of the sidecar that the injector tells the application.
func toldPort(t *testing.T, pod *corev1.Pod, application string) int {
	t.Helper()
	for _, c := range pod.Spec.Containers {
		for _, v := range c.Env {
			if c.Name == application && v.Name == "DAPR_HTTP_PORT" {
				port, err := strconv.Atoi(v.Value)
				if err != nil {
					t.Fatal(err)
				}
				return port
			}
		}
	}
	t.Fatalf("%s is not told of its sidecar", application)
	return 0
}

// keeper is the application of the seed's text: it keeps the last order.
type keeper struct{ sidecar string }

func (k *keeper) serve(w http.ResponseWriter, r *http.Request) {
	var order struct {
		Data struct{ OrderID int64 }
	}
	if r.URL.Path != "/neworder" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a, err := try(r.Context(), http.DefaultClient, http.MethodPost, k.sidecar+"/v1.0/state/statestore",
		strings.NewReader(fmt.Sprintf(`[{"key":"order","value":%d}]`, order.Data.OrderID)))
	if err != nil || a.status != http.StatusNoContent {
		http.Error(w, fmt.Sprintf("the state is not saved: %d %s %v", a.status, a.body, err), http.StatusInternalServerError)
	}
}

// orders are calls of one application to the other, one after the other until the end.
type orders struct {
	calls   atomic.Int64
	working sync.WaitGroup
	cancel  context.CancelFunc

	mu       sync.Mutex
	failures []string
}

// pace is that of a client who has time: the machine has other work.
const pace = 10 * time.Millisecond

func take(t *testing.T, url string) *orders {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	o := &orders{cancel: cancel}
	c := client(t)
	o.working.Go(func() {
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for ctx.Err() == nil {
			number := o.calls.Add(1)
			a, err := try(context.Background(), c, http.MethodPost, url, strings.NewReader(fmt.Sprintf(`{"data":{"orderId":%d}}`, number)))
			if err != nil || a.status != http.StatusOK {
				o.mu.Lock()
				o.failures = append(o.failures, fmt.Sprintf("order %d: %d %s %v", number, a.status, a.body, err))
				o.mu.Unlock()
			}
			<-tick.C
		}
	})
	t.Cleanup(func() { o.end() })
	return o
}

// more waits until further calls have been made.
func (o *orders) more(t *testing.T, number int64) {
	t.Helper()
	from := o.calls.Load()
	for last, lastChange := from, time.Now(); last < from+number; time.Sleep(pace) {
		if now := o.calls.Load(); now != last {
			last, lastChange = now, time.Now()
		}
		if time.Since(lastChange) > patience {
			t.Fatal("the calls have stopped")
		}
	}
}

func (o *orders) end() (calls int64, failures []string) {
	o.cancel()
	o.working.Wait()
	return o.calls.Load(), o.failures
}

// stored is the last order that is in a Redis server, 0 for none.
func (s *story) stored(t *testing.T, store int) int64 {
	t.Helper()
	c := goredis.NewClient(&goredis.Options{Addr: s.stores[store].Address, Password: "hunter2"})
	defer c.Close()
	number, err := c.HGet(t.Context(), "nodeapp||order", "data").Int64()
	if err != nil && !errors.Is(err, goredis.Nil) {
		t.Fatal(err)
	}
	return number
}

// changeComponent has the component be at another server by kubectl apply, and then has it changed some times more, to see
// how soon the sidecar has it.
func changeComponent(t *testing.T, s *story) {
	if number := s.stored(t, 1); number != 0 {
		t.Errorf("order %d is at the wrong Redis", number)
	}
	s.kubectl(t, fmt.Sprintf(shop, s.stores[1].Address), "apply", "--filename", "-")
	s.node.awaits(t, "component updated: statestore (state.redis/v1)")
	s.orders.more(t, 20)
	if number := s.stored(t, 1); number <= s.stored(t, 0) {
		t.Errorf("order %d is the last at the new Redis", number)
	}
	var longest time.Duration
	for n := range 5 {
		before := s.updates()
		changed := s.setHost(t, n)
		took := s.updated(t, before).Sub(changed)
		longest = max(longest, took)
		t.Logf("the sidecar has the changed component %s after the API server", took.Round(time.Millisecond))
	}
	if longest > time.Second {
		t.Logf("that is more than a second: %s", longest)
	}
}

// setHost has the component be at one of the two servers, and gives when the API server had it.
func (s *story) setHost(t *testing.T, n int) time.Time {
	t.Helper()
	s.patch(t, "/spec/metadata/0/value", s.stores[n%2].Address, "apis", "dapr.io", "v1alpha1", "namespaces", "default", "components", "statestore")
	return time.Now()
}

func (s *story) updates() int { return s.node.count("component updated: statestore") }

// updated waits for a further change of the component, and gives when the sidecar had it.
func (s *story) updated(t *testing.T, before int) time.Time {
	t.Helper()
	e := s.node.awaitsMore(t, "component updated: statestore", before+1)
	at, err := time.Parse(time.RFC3339Nano, e.fields["time"])
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// replaceRoot replaces the root certificate as an administrator does, in three steps, each of which sentry takes up by a
// rolling update. Nothing else is started again.
func replaceRoot(t *testing.T, s *story) {
	next := sentrytest.Start(t, func(c *sentry.Config, _ *sentry.Deps) { c.TrustDomain = controlPlane.domain })
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(next.Folder, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	newRoot := read("ca.crt")
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(newRoot)) {
		t.Fatal("the new root is none")
	}
	var bundle corev1.Secret
	if err := s.client.Get(t.Context(), &bundle, "api", "v1", "namespaces", controlPlane.namespace, "secrets", "dapr-trust-bundle"); err != nil {
		t.Fatal(err)
	}
	put := func(texts map[string]string) {
		for name, text := range texts {
			texts[name] = base64.StdEncoding.EncodeToString([]byte(text))
		}
		patch, _ := json.Marshal(map[string]any{"data": texts})
		s.kubectl(t, "", "patch", "secret", "dapr-trust-bundle", "--namespace", controlPlane.namespace, "--type", "merge", "--patch", string(patch))
		s.replace(t, "dapr-sentry", sentryBinary)
		for _, part := range s.parts {
			part.Refresh(t)
		}
	}

	put(map[string]string{"ca.crt": string(bundle.Data["ca.crt"]) + newRoot})
	for _, sidecar := range []*container{s.node, s.python} {
		sidecar.awaits(t, "sentry names a further trust anchor")
	}
	for _, part := range []string{"dapr-operator", "dapr-sidecar-injector", "dapr-placement-server"} {
		s.parts[part].awaits(t, "trust anchors have changed and are in force")
	}
	eventually(t, "the API server trusts both roots", func() bool { return strings.Contains(s.webhookRoots(t), strings.TrimSpace(newRoot)) })
	s.orders.more(t, 10)

	put(map[string]string{"issuer.crt": read("issuer.crt"), "issuer.key": read("issuer.key")})
	for _, address := range s.servers() {
		eventually(t, "the certificate at "+address+" is under the new root", func() bool { return under(t, address, roots) })
	}
	// Meanwhile the component changes again.
	before := s.updates()
	s.setHost(t, 1)
	s.updated(t, before)
	s.orders.more(t, 10)

	// From here on certificates live as long as usually: sentry cannot give any without the API server.
	s.lifetime(t, usualLife)
	put(map[string]string{"ca.crt": newRoot})
	for _, address := range s.servers() {
		eventually(t, "the certificate at "+address+" lives long", func() bool {
			leaf, _ := certificate(t, address)
			return time.Until(leaf.NotAfter) > time.Hour
		})
	}
	eventually(t, "the API server trusts the new root alone", func() bool {
		return strings.TrimSpace(s.webhookRoots(t)) == strings.TrimSpace(newRoot)
	})
	s.orders.more(t, 10)
}

// servers are all that show certificates of sentry.
func (s *story) servers() []string {
	return []string{s.node.at(50002), s.python.at(50002), s.parts["dapr-operator"].at(6500), s.parts["dapr-operator"].at(19443),
		s.parts["dapr-sidecar-injector"].at(4000), s.parts["dapr-placement-server"].at(50005)}
}

// operatorAway has the operator be killed; the component is changed before another one is there.
func operatorAway(t *testing.T, s *story) {
	s.parts["dapr-operator"].signal(t, syscall.SIGKILL)
	s.parts["dapr-operator"].exit(t)
	s.node.awaits(t, "Error from operator stream: ")
	before := s.updates()
	s.setHost(t, 1)
	s.orders.more(t, 50)
	if s.updates() != before {
		t.Error("the component is changed without an operator")
	}
	s.start(t, "deployments", "dapr-operator", operatorBinary)
	back := time.Now()
	t.Logf("the sidecar has the component that changed %s after the operator is back", s.updated(t, before).Sub(back).Round(time.Millisecond))
	s.orders.more(t, 10)
}

// soakedCalls are those of a minute.
const soakedCalls = int64(time.Minute / pace)

// apiServerAway has the API server fall silent, then crash. It is back first for the administrator, who changes the component,
// and then for the pods. DAPRD_SOAK has it be silent for a minute at the least.
func apiServerAway(t *testing.T, s *story) {
	operator := s.parts["dapr-operator"]
	operator.awaits(t, "This replica leads")
	from := time.Now()
	s.Pause()
	if os.Getenv(soaking) != "" {
		s.orders.more(t, soakedCalls)
	}
	s.orders.more(t, 50)
	s.way.lead("")
	s.Stop()
	s.Restart(t)
	before := s.updates()
	s.kubectl(t, fmt.Sprintf(shop, s.stores[0].Address), "apply", "--filename", "-")
	s.orders.more(t, 50)
	operator.awaits(t, "The API server does not show components.dapr.io; what was seen last holds until it does")
	operator.awaits(t, "This replica no longer leads: the lease could not be renewed")
	if s.updates() != before {
		t.Error("the component is changed without the API server")
	}
	s.way.lead(s.Address)
	back := time.Now()
	t.Logf("the API server was away for %s", back.Sub(from).Round(time.Millisecond))
	t.Logf("the sidecar has the component that changed %s after the API server is back", s.updated(t, before).Sub(back).Round(time.Millisecond))
	operator.awaits(t, "The API server shows components.dapr.io again")
	operator.awaitsMore(t, "This replica leads", 2)
	s.orders.more(t, 10)
	if number := s.stored(t, 0); number <= s.stored(t, 1) {
		t.Errorf("order %d is the last at the new Redis", number)
	}
}
