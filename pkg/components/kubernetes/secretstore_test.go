package kubernetes

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/secrets"
	"github.com/daprd/daprd/pkg/secrets/secretstest"
	"github.com/daprd/daprd/test/kube"
)

var known = map[string]map[string]string{"redis": {"password": "s3cr3t-of-redis", "user": "worker"}, "tls.crt": {"data": "\x00\xff binary bytes"}}

// granted is what lets pods of the namespace shop read its Secrets.
const granted = `
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: secret-reader, namespace: shop},
 rules: [{apiGroups: [""], resources: [secrets], verbs: [get, list]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: secret-reader, namespace: shop},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: secret-reader}, subjects: [{kind: ServiceAccount, name: default}]}
`

// shop has the known Secrets in two namespaces; it gives how pods of the first one reach the API server.
func shop(t *testing.T) (kubeconfig string) {
	t.Helper()
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	server := kube.Start(t)
	for _, namespace := range []string{"shop", "bank"} {
		server.Namespace(t, namespace)
		for name, values := range known {
			data := map[string]string{}
			for key, value := range values {
				data[key] = base64.StdEncoding.EncodeToString([]byte(value))
			}
			text, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": name, "namespace": namespace}, "data": data})
			if err != nil {
				t.Fatal(err)
			}
			server.Apply(t, string(text))
		}
	}
	server.Apply(t, granted)
	server.Granted(t, "shop", "default", "list", "secrets")
	return server.KubeconfigOf(t, "shop", "default")
}

func open(t *testing.T, namespace, kubeconfig string) secrets.Store {
	t.Helper()
	store, err := NewSecretStore(t.Context(), &components.Spec{Name: "kubernetes", Type: "secretstores.kubernetes", Namespace: namespace,
		Properties: map[string]string{"kubeconfigPath": kubeconfig}})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// TestStore asks the API server of Kubernetes. What it does not give is told with what to do, and names never lead to
// other places of it.
func TestStore(t *testing.T) {
	file := shop(t)
	t.Run("conformance", func(t *testing.T) {
		secretstest.Run(t, open(t, "shop", file), secretstest.Options{Known: known, Exact: true, Unknown: "missing"})
	})
	for name, c := range map[string]struct {
		sidecars, asked, secret string
		want                    string
	}{
		"another namespace":    {"shop", "bank", "redis", "the service account of the pod needs a Role of namespace bank that allows get"},
		"missing":              {"shop", "", "missing", `answers 404: secrets "missing" not found`},
		"no namespace":         {"", "", "redis", "the namespace of the secret is not known"},
		"a way out":            {"shop", "", "../../../nodes", `"../../../nodes" is no name`},
		"a way out, namespace": {"shop", "../x", "redis", `"../x" is no name`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(t, c.sidecars, file).Secret(t.Context(), c.secret, map[string]string{"namespace": c.asked})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
