package injector_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/daprd/daprd/pkg/cluster"
	"github.com/daprd/daprd/pkg/injector"
	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/process"
	"github.com/daprd/daprd/pkg/sentry"
	"github.com/daprd/daprd/pkg/sentry/sentrytest"
	"github.com/daprd/daprd/test/kube"
)

// TestCluster is the real API server with the chart's objects in it: it takes every one of them, calls the injector, which
// has no rights but those of its service account.
func TestCluster(t *testing.T) {
	server := kube.Start(t)
	server.Namespace(t, "dapr-system")
	server.Definitions(t)
	chart, err := os.ReadFile("../../test/chart/testdata/default.yaml")
	if err != nil {
		t.Fatal(err)
	}
	server.Apply(t, string(chart))

	ca := sentrytest.Start(t, func(c *sentry.Config, _ *sentry.Deps) {
		c.Mode, c.Kubeconfig, c.Configuration = sentry.Kubernetes, server.KubeconfigOf(t, "dapr-system", "dapr-sentry"), "daprsystem"
		c.Namespace, c.TrustDomain = "dapr-system", "cluster.local"
	})
	i := inCluster(t, server, ca.Address().String())
	server.Forward(t, "dapr-system", "dapr-sidecar-injector", i.Address().String())
	server.Namespace(t, "shop")
	t.Run("pods", func(t *testing.T) { pods(t, server) })
	t.Run("refusals", func(t *testing.T) {
		err := server.TryApply(t.Context(), manifest("bad", `{dapr.io/enabled: "true", dapr.io/app-id: bad, dapr.io/app-port: http}`))
		const want = `admission webhook "sidecar-injector.dapr.io" denied the request: annotation dapr.io/app-port: "http" is not allowed; it takes a whole number from 0 to 65535`
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("callers", func(t *testing.T) { callers(t, server) })
	t.Run("restricted", func(t *testing.T) { restricted(t, server) })
}

// inCluster runs an injector as its pod would.
func inCluster(t *testing.T, server *kube.Server, sentryAddress string) *injector.Injector {
	t.Helper()
	server.Apply(t, `{apiVersion: v1, kind: Pod, metadata: {name: injector-0, namespace: dapr-system, annotations: {dapr.io/control-plane: injector}},
		spec: {serviceAccountName: dapr-injector, containers: [{name: injector, image: injector}]}}`)
	token := server.Token(t, "dapr-system", "dapr-injector", "injector-0", "spiffe://cluster.local/ns/dapr-system/dapr-sentry")
	var bundle struct{ Data map[string]string }
	if err := server.Client(t).Get(t.Context(), &bundle, "api", "v1", "namespaces", "dapr-system", "configmaps", "dapr-trust-bundle"); err != nil {
		t.Fatal(err)
	}
	logs, err := logging.New(logging.Options{Level: "debug", Output: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	mesh := newWebhook().Mesh
	mesh.DropAllCapabilities = true
	made, err := injector.New(injector.Config{ListenAddress: "127.0.0.1", Observed: process.Observed{HealthListenAddress: "127.0.0.1"},
		Kubeconfig: server.KubeconfigOf(t, "dapr-system", "dapr-injector"), SentryAddress: sentryAddress,
		AnchorsFile: write(t, "ca.crt", bundle.Data["ca.crt"]), TokenFile: write(t, "token", token), Mesh: mesh}, injector.Deps{Logs: logs})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- made.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the injector ended with: %v", err)
		}
	})
	<-made.Ready()
	return made
}

func manifest(name, annotations string) string {
	return `{apiVersion: v1, kind: Pod, metadata: {name: ` + name + `, namespace: shop, annotations: ` + annotations + `},
		spec: {containers: [{name: app, image: app}]}}`
}

func read(t *testing.T, server *kube.Server, name string) *corev1.Pod {
	t.Helper()
	found := new(corev1.Pod)
	if err := server.Client(t).Get(t.Context(), found, "api", "v1", "namespaces", "shop", "pods", name); err != nil {
		t.Fatal(err)
	}
	return found
}

func named(name string) func(corev1.Container) bool {
	return func(c corev1.Container) bool { return c.Name == name }
}

// pods: what the API server makes of annotated pods, with all its own checks and defaults.
func pods(t *testing.T, server *kube.Server) {
	server.Apply(t, `{apiVersion: dapr.io/v1alpha1, kind: Component, metadata: {name: store, namespace: shop, annotations: {dapr.io/component-container: '{"image":"store"}'}},
		spec: {type: state.store, version: v1, metadata: []}}`)
	tests := map[string]struct {
		annotations                string
		containers, initContainers []string
	}{
		"plain":     {`{dapr.io/enabled: "true", dapr.io/app-id: a, dapr.io/app-port: "3000"}`, []string{"app", "daprd"}, nil},
		"native":    {`{dapr.io/enabled: "true", dapr.io/app-id: a, dapr.io/enable-native-sidecar: "true"}`, []string{"app"}, []string{"daprd"}},
		"component": {`{dapr.io/enabled: "true", dapr.io/app-id: a, dapr.io/inject-pluggable-components: "true"}`, []string{"app", "daprd", "store"}, nil},
		"sockets":   {`{dapr.io/enabled: "true", dapr.io/unix-domain-socket-path: /sockets, dapr.io/sidecar-memory-limit: 64Mi}`, []string{"app", "daprd"}, nil},
		"without":   {`{dapr.io/enabled: "false"}`, []string{"app"}, nil},
		"plainest":  {`{}`, []string{"app"}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server.Apply(t, manifest(name, test.annotations))
			pod := read(t, server, name)
			if got := names(pod.Spec.Containers); !slices.Equal(got, test.containers) {
				t.Errorf("containers %v, want %v", got, test.containers)
			}
			if got := names(pod.Spec.InitContainers); !slices.Equal(got, test.initContainers) {
				t.Errorf("init containers %v, want %v", got, test.initContainers)
			}
			all := slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers)
			if i := slices.IndexFunc(all, named("daprd")); i >= 0 {
				if all[i].Args[0] != "/daprd" || !slices.Contains(all[i].Args, "--enable-mtls") || pod.Labels["dapr.io/sidecar-injected"] != "true" {
					t.Errorf("%v %v", all[i].Args, pod.Labels)
				}
			}
		})
	}
}

func names(containers []corev1.Container) (all []string) {
	for _, c := range containers {
		all = append(all, c.Name)
	}
	return all
}

// restricted: where Pod Security takes restricted pods alone, an application that is one gets its sidecar, if that gives up
// its capabilities and has a seccomp profile.
func restricted(t *testing.T, server *kube.Server) {
	server.Apply(t, `{apiVersion: v1, kind: Namespace, metadata: {name: strict, labels: {pod-security.kubernetes.io/enforce: restricted}}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: strict}}`)
	pod := func(name, annotation string) string {
		return `{apiVersion: v1, kind: Pod, metadata: {name: ` + name + `, namespace: strict, annotations: {dapr.io/enabled: "true"` + annotation + `}},
			spec: {containers: [{name: app, image: app, securityContext: {runAsNonRoot: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}}]}}`
	}
	for name, annotation := range map[string]string{"plain": "", "native": `, dapr.io/enable-native-sidecar: "true"`, "sockets": ", dapr.io/unix-domain-socket-path: /s"} {
		server.Apply(t, pod(name, annotation+", dapr.io/sidecar-seccomp-profile-type: RuntimeDefault"))
		err := server.TryApply(t.Context(), pod(name+"-without-profile", annotation))
		if err == nil || !strings.Contains(err.Error(), `container "daprd" must set securityContext.seccompProfile.type`) {
			t.Errorf("%s without a profile: %v", name, err)
		}
	}
}

// callers: the pod of an account that may make pods, and is none of those whose pods are injected.
func callers(t *testing.T, server *kube.Server) {
	server.Apply(t, `{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: maker, namespace: shop}, rules: [{apiGroups: [""], resources: [pods], verbs: [create]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: maker, namespace: shop}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: maker},
  subjects: [{kind: ServiceAccount, name: default, namespace: shop}]}`)
	server.Granted(t, "shop", "default", "create", "pods")
	theirs, err := cluster.New(server.KubeconfigOf(t, "shop", "default"), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	pod := podWith(map[string]string{"dapr.io/enabled": "true", "dapr.io/app-id": "theirs"})
	pod.APIVersion, pod.Kind, pod.Name = "v1", "Pod", "theirs"
	var answer json.RawMessage
	if err := theirs.Do(t.Context(), http.MethodPost, pod, &answer, "api", "v1", "namespaces", "shop", "pods"); err != nil {
		t.Fatal(err)
	}
	if got := names(read(t, server, "theirs").Spec.Containers); !slices.Equal(got, []string{"node"}) {
		t.Errorf("containers %v", got)
	}
}
