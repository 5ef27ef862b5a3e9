package kubernetes

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/secrets"
	"github.com/daprd/daprd/pkg/secrets/secretstest"
)

// apiServer answers as a cluster's does: a namespace that may be read, and others that may not.
func apiServer(t *testing.T, namespace string, known map[string]map[string]string) string {
	t.Helper()
	object := func(name string) map[string]any {
		data := map[string][]byte{}
		for key, value := range known[name] {
			data[key] = []byte(value)
		}
		return map[string]any{"metadata": map[string]any{"name": name}, "data": data}
	}
	status := func(w http.ResponseWriter, code int, text string) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "message": text, "code": code})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/secrets/{name}", func(w http.ResponseWriter, r *http.Request) {
		switch name := r.PathValue("name"); {
		case r.PathValue("namespace") != namespace:
			status(w, http.StatusForbidden, `secrets "`+name+`" is forbidden: User "system:serviceaccount:shop:default" cannot get resource "secrets"`)
		case known[name] == nil:
			status(w, http.StatusNotFound, `secrets "`+name+`" not found`)
		default:
			_ = json.NewEncoder(w).Encode(object(name))
		}
	})
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/secrets", func(w http.ResponseWriter, _ *http.Request) {
		items := []any{}
		for name := range known {
			items = append(items, object(name))
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"items": items})
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	file := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf(`{current-context: c, contexts: [{name: c, context: {cluster: c}}], clusters: [{name: c, cluster: {server: %q}}]}`, server.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
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

func TestStore(t *testing.T) {
	known := map[string]map[string]string{"redis": {"password": "s3cr3t-of-redis", "user": "worker"}, "tls.crt": {"data": "\x00\xff binary bytes"}}
	store := open(t, "shop", apiServer(t, "shop", known))
	secretstest.Run(t, store, secretstest.Options{Known: known, Exact: true, Unknown: "missing"})
}

// TestRefusals: what the API server does not give is told with what to do, and names never lead to other places of it.
func TestRefusals(t *testing.T) {
	file := apiServer(t, "shop", map[string]map[string]string{"redis": {"password": "p"}})
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
