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
// has no rights but those of its service account, and knows what each account may do.
func TestCluster(t *testing.T) {
	server := kube.Start(t)
	server.Namespace(t, "dapr-system")
	server.Definitions(t)
	chart, err := os.ReadFile("../../test/chart/testdata/default.yaml")
	if err != nil {
		t.Fatal(err)
	}
	server.Apply(t, string(chart))
	t.Run("rights", func(t *testing.T) { rights(t, server) })

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
	made, err := injector.New(injector.Config{ListenAddress: "127.0.0.1", Observed: process.Observed{HealthListenAddress: "127.0.0.1"},
		Kubeconfig: server.KubeconfigOf(t, "dapr-system", "dapr-injector"), SentryAddress: sentryAddress,
		AnchorsFile: write(t, "ca.crt", bundle.Data["ca.crt"]), TokenFile: write(t, "token", token), Mesh: newWebhook().Mesh}, injector.Deps{Logs: logs})
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

// callers: the pod of an account that may make pods, and is none of those whose pods are injected.
func callers(t *testing.T, server *kube.Server) {
	server.Apply(t, `{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: maker, namespace: shop}, rules: [{apiGroups: [""], resources: [pods], verbs: [create]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: maker, namespace: shop}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: maker},
  subjects: [{kind: ServiceAccount, name: default, namespace: shop}]}`)
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

// right is what an account may do, or may not: a verb on a resource, in a namespace or with "" in all, of one name or with
// "" of any.
type right struct {
	verb, group, resource, namespace, name string
	may                                    bool
}

// rights are asked of the API server: what each account needs, and what is nearest to it that it does not.
func rights(t *testing.T, server *kube.Server) {
	own := "dapr-system"
	accounts := map[string][]right{
		"dapr-injector": {
			{"get", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "dapr-sidecar-injector", true},
			{"patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "dapr-sidecar-injector", true},
			{"patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "another", false},
			{"create", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "", false},
			{"list", "dapr.io", "components", "shop", "", true},
			{"patch", "dapr.io", "components", "shop", "", false},
			{"get", "dapr.io", "configurations", own, "daprsystem", true},
			{"get", "dapr.io", "configurations", "shop", "daprsystem", false},
			{"get", "", "serviceaccounts", "kube-system", "", false},
			{"get", "", "secrets", own, "dapr-trust-bundle", false},
			{"get", "", "pods", "shop", "", false},
			{"create", "", "pods", "shop", "", false},
		},
		"dapr-sentry": {
			{"create", "authentication.k8s.io", "tokenreviews", "", "", true},
			{"get", "", "pods", "shop", "", true},
			{"list", "", "pods", "shop", "", false},
			{"get", "dapr.io", "configurations", "shop", "", true},
			{"get", "", "secrets", own, "dapr-trust-bundle", true},
			{"update", "", "secrets", own, "dapr-trust-bundle", true},
			{"update", "", "configmaps", own, "dapr-trust-bundle", true},
			{"delete", "", "secrets", own, "dapr-trust-bundle", false},
			{"get", "", "secrets", own, "another", false},
			{"get", "", "secrets", "shop", "dapr-trust-bundle", false},
		},
		"dapr-operator": {
			{"watch", "dapr.io", "components", "", "", true},
			{"watch", "dapr.io", "subscriptions", "", "", true},
			{"update", "dapr.io", "components", "shop", "", false},
			{"get", "", "secrets", "shop", "db", true},
			{"list", "", "secrets", "shop", "", false},
			{"update", "", "secrets", "shop", "db", false},
			{"watch", "apps", "deployments", "", "", true},
			{"update", "apps", "deployments", "shop", "", false},
			{"create", "", "services", "shop", "", true},
			{"list", "", "pods", "", "", true},
			{"delete", "", "pods", "shop", "", false},
			{"patch", "", "pods", "shop", "", false},
			{"patch", "apiextensions.k8s.io", "customresourcedefinitions", "", "subscriptions.dapr.io", true},
			{"patch", "apiextensions.k8s.io", "customresourcedefinitions", "", "components.dapr.io", false},
			{"update", "coordination.k8s.io", "leases", own, "operator.dapr.io", true},
			{"update", "coordination.k8s.io", "leases", own, "another", false},
		},
		"dapr-placement": {
			{"get", "", "pods", own, "", false},
			{"get", "", "secrets", own, "dapr-trust-bundle", false},
			{"list", "dapr.io", "components", "shop", "", false},
		},
	}
	client := server.Client(t)
	for account, all := range accounts {
		for _, r := range all {
			var answer struct{ Status struct{ Allowed bool } }
			err := client.Do(t.Context(), http.MethodPost, map[string]any{"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": map[string]any{
				"user":               "system:serviceaccount:dapr-system:" + account,
				"groups":             []string{"system:serviceaccounts", "system:serviceaccounts:dapr-system", "system:authenticated"},
				"resourceAttributes": map[string]string{"verb": r.verb, "group": r.group, "resource": r.resource, "namespace": r.namespace, "name": r.name},
			}}, &answer, "apis", "authorization.k8s.io", "v1", "subjectaccessreviews")
			if err != nil {
				t.Fatal(err)
			}
			if answer.Status.Allowed != r.may {
				t.Errorf("%s: %+v: got %t", account, r, answer.Status.Allowed)
			}
		}
	}
}
