package operator_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/operator"
	operatorv1 "github.com/daprd/daprd/pkg/proto/operator/v1"
	daprd "github.com/daprd/daprd/pkg/runtime"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
	"github.com/daprd/daprd/pkg/security"
)

// sidecar starts one as in a pod of the cluster; it looks at the resources only when it hears of a change.
func (i *installation) sidecar(t testing.TB, r *running, namespace, appID string) *runtimetest.Sidecar {
	t.Helper()
	runtimetest.Isolate(t)
	i.app(t, namespace, appID, "")
	return runtimetest.Start(t, appID, func(c *daprd.Config) {
		c.Mode, c.Namespace, c.PodName, c.ReconcileInterval = daprd.Kubernetes, namespace, appID+"-1", 24*time.Hour
		c.Cluster = daprd.Cluster{OperatorAddress: r.Address().String(), Kubeconfig: i.Kubeconfig, AllowRoot: true}
		c.MTLS = daprd.MTLS{SentryAddress: i.sentry.Address().String(), TrustAnchors: string(i.anchors), ControlPlaneNamespace: "dapr-system",
			ControlPlaneTrustDomain: domain, SentryTokenFile: write(t, "token", i.Token(t, namespace, "default", appID+"-1", audience))}
	})
}

// hears waits until the log of the sidecar has the text.
func hears(t testing.TB, s *runtimetest.Sidecar, text string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !strings.Contains(s.Log.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the sidecar never says %q", text)
		}
	}
}

// TestSidecar: a sidecar has its components from the cluster and follows them; it goes on while the operator is away, and
// catches up when it is back.
func TestSidecar(t *testing.T) {
	i := install(t)
	i.Namespace(t, "shop")
	i.component(t, "shop", "first", "v1", "")
	i.component(t, "shop", "goes", "v1", "")
	i.component(t, "shop", "others", "v1", "other")
	r := i.operate(t)
	s := i.sidecar(t, r, "shop", "cart")
	if log := s.Log.String(); !strings.Contains(log, "first") || strings.Contains(log, "others") {
		t.Error("it starts with other components than its own")
	}
	i.component(t, "shop", "second", "v1", "")
	hears(t, s, "component created: second (state.in-memory/v1)")

	address := r.Address().(*net.TCPAddr)
	r.stop()
	hears(t, s, "Error from operator stream: ")
	i.component(t, "shop", "third", "v1", "")
	i.Delete(t, "{apiVersion: dapr.io/v1alpha1, kind: Component, metadata: {name: goes, namespace: shop}}")
	s.Await(t, "/v1.0/healthz")
	i.operate(t, func(c *operator.Config) { c.Port = address.Port })
	hears(t, s, "component created: third (state.in-memory/v1)")
	hears(t, s, "component deleted: goes (state.in-memory/v1)")
}

// TestSlow: a sidecar that does not read is cut off; another one hears every change meanwhile.
func TestSlow(t *testing.T) {
	i := install(t)
	i.Namespace(t, "shop")
	r := i.operate(t)
	slow := i.app(t, "shop", "slow", "")
	conn, err := grpc.NewClient("passthrough:///"+r.Address().String(), grpc.WithInitialWindowSize(1<<16), grpc.WithInitialConnWindowSize(1<<16),
		grpc.WithTransportCredentials(credentials.NewTLS(slow.ClientConfig(security.Peer{Namespace: namespace, AppID: "dapr-operator"}))))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	unread := follow(t, operatorv1.NewOperatorClient(conn), "shop")
	stream := follow(t, r.call(t, i.app(t, "shop", "quick", "")), "shop")

	// The first changes fill the window of the connection, the others the queue.
	var heard sync.WaitGroup
	const changes = operator.MostWaiting + 300
	heard.Go(func() {
		for n := range changes {
			if _, err := stream.Recv(); err != nil {
				t.Errorf("change %d: %v", n, err)
				return
			}
		}
	})
	padding := strings.Repeat("x", 1000)
	for n := range changes {
		i.create(t, "shop", fmt.Sprintf("c%d", n), padding)
	}
	heard.Wait()
	for n := 0; ; n++ {
		if _, err := unread.Recv(); err != nil {
			if status.Code(err) != codes.Unavailable || n >= changes {
				t.Errorf("after %d changes: %v", n, err)
			}
			return
		}
	}
}

// create makes a component, faster than Apply.
func (i *installation) create(t testing.TB, namespace, name, value string) {
	t.Helper()
	var answer any
	if err := i.client.Do(context.Background(), "POST", map[string]any{"apiVersion": "dapr.io/v1alpha1", "kind": "Component",
		"metadata": map[string]any{"name": name},
		"spec":     map[string]any{"type": "state.in-memory", "version": "v1", "metadata": []any{map[string]any{"name": "a", "value": value}}}},
		&answer, "apis", "dapr.io", "v1alpha1", "namespaces", namespace, "components"); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkDelivery has 500 sidecars hear of a change among 1,000 components, and list them all before.
func BenchmarkDelivery(b *testing.B) {
	const sidecars, components = 500, 1000
	i := install(b)
	i.Namespace(b, "shop")
	for n := range components {
		i.create(b, "shop", "c"+strconv.Itoa(n), "value")
	}
	r := i.operate(b)
	who := i.app(b, "shop", "cart", "")
	streams := make([]grpc.ServerStreamingClient[operatorv1.ComponentUpdateEvent], sidecars)
	begun := time.Now()
	for n := range streams {
		client := r.call(b, who)
		streams[n] = follow(b, client, "shop")
		answer, err := client.ListComponents(b.Context(), &operatorv1.ListComponentsRequest{Namespace: "shop"})
		if err != nil || len(answer.GetComponents()) != components {
			b.Fatalf("%d components: %v", len(answer.GetComponents()), err)
		}
	}
	started := float64(time.Since(begun).Milliseconds()) / sidecars
	round := 0
	for b.Loop() {
		round++
		i.create(b, "shop", "n"+strconv.Itoa(round), "value")
		for _, stream := range streams {
			if _, err := stream.Recv(); err != nil {
				b.Fatal(err)
			}
		}
	}
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	b.ReportMetric(started, "ms/start")
	b.ReportMetric(float64(memory.HeapInuse)/(1<<20), "MiB-both-sides")
}

// TestWatchdog: pods that missed their sidecar are deleted once an injector runs, others are labelled and stay.
func TestWatchdog(t *testing.T) {
	i := install(t)
	i.Namespace(t, "shop")
	pod := func(name, annotations, container string) {
		i.Apply(t, fmt.Sprintf("{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: shop, annotations: {%s}}, spec: {containers: [{name: %s, image: i}]}}", name, annotations, container))
	}
	pod("missed", "dapr.io/enabled: 'true'", "app")
	pod("plain", "", "app")
	pod("injected", "dapr.io/enabled: 'true'", "daprd")
	watching := func(c *operator.Config) {
		c.Watchdog, c.MaxRestarts, c.PatchPods = operator.WatchInterval(time.Millisecond), 6000, true
	}
	r := i.operate(t, watching)
	r.log.wait(t, "This replica leads")
	i.Apply(t, "{apiVersion: v1, kind: Pod, metadata: {name: injector, namespace: dapr-system, labels: {app: dapr-sidecar-injector}}, spec: {serviceAccountName: dapr-operator, containers: [{name: c, image: i}]}}")
	var answer any
	if err := i.client.Do(t.Context(), "PATCH", []map[string]any{{"op": "replace", "path": "/status/phase", "value": "Running"}}, &answer,
		"api", "v1", "namespaces", namespace, "pods", "injector", "status"); err != nil {
		t.Fatal(err)
	}
	r.log.wait(t, "The pod missed of namespace shop is deleted")
	for {
		var found struct {
			Items []struct {
				Metadata struct {
					Name   string
					Labels map[string]string
				}
			}
		}
		if err := i.client.Get(t.Context(), &found, "api", "v1", "namespaces", "shop", "pods"); err != nil {
			t.Fatal(err)
		}
		if len(found.Items) != 2 {
			t.Fatalf("%+v", found.Items)
		}
		if found.Items[0].Metadata.Labels["dapr.io/watchdog-patched"] == "true" {
			break
		}
	}
}

// TestLeader: one of two replicas leads, and the other one does when it has ended.
func TestLeader(t *testing.T) {
	i := install(t)
	i.Namespace(t, "services")
	first := i.operate(t)
	first.log.wait(t, "This replica leads")
	second := i.operate(t)
	i.Apply(t, deployment("shop", ""))
	first.log.wait(t, "The service shop-dapr of namespace services is created")
	if strings.Contains(second.log.String(), "This replica leads") {
		t.Error("both lead")
	}
	first.stop()
	second.log.wait(t, "This replica leads")
	i.Apply(t, deployment("store", ""))
	second.log.wait(t, "The service store-dapr of namespace services is created")
}
