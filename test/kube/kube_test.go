package kube_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/daprd/daprd/pkg/cluster"
	"github.com/daprd/daprd/test/kube"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestServer: what the package's comment promises.
func TestServer(t *testing.T) {
	server := kube.Start(t)
	client := server.Client(t)
	server.Namespace(t, "shop")
	server.Apply(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\ndata: {colour: green}\n")

	t.Run("objects", func(t *testing.T) {
		expect(t, client, "green")
		server.Apply(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\ndata: {colour: red}\n")
		expect(t, client, "red")
	})
	t.Run("unknown fields", func(t *testing.T) {
		err := server.TryApply(t.Context(), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\ncolour: red\n")
		if err == nil || !strings.Contains(err.Error(), "colour") {
			t.Errorf("it is taken: %v", err)
		}
	})
	t.Run("service accounts", func(t *testing.T) {
		theirs, err := cluster.New(server.KubeconfigOf(t, "shop", "default"), "test")
		if err != nil {
			t.Fatal(err)
		}
		defer theirs.Close()
		var found json.RawMessage
		err = theirs.Get(t.Context(), &found, "api", "v1", "namespaces", "shop", "configmaps", "a")
		if !cluster.Is(err, http.StatusForbidden) || !strings.Contains(err.Error(), "system:serviceaccount:shop:default") {
			t.Errorf("RBAC says: %v", err)
		}
	})
	t.Run("pods", func(t *testing.T) {
		server.Apply(t, "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: shop}\nspec: {containers: [{name: c, image: i}]}\n")
		var review struct {
			Status struct {
				Authenticated bool
				User          struct{ Username string }
			}
		}
		err := client.Do(t.Context(), http.MethodPost, map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
			"spec": map[string]any{"token": server.Token(t, "shop", "default", "p", "sentry"), "audiences": []string{"sentry"}}},
			&review, "apis", "authentication.k8s.io", "v1", "tokenreviews")
		if err != nil || !review.Status.Authenticated || review.Status.User.Username != "system:serviceaccount:shop:default" {
			t.Errorf("%+v %v", review, err)
		}
	})
	t.Run("containers", func(t *testing.T) { containers(t, server) })
	t.Run("kubectl", func(t *testing.T) {
		out, err := server.Kubectl(t, "", "get", "configmap", "a", "--namespace", "shop", "--output", "jsonpath={.data.colour}")
		if err != nil || out != "red" {
			t.Errorf("%q %v", out, err)
		}
	})
	t.Run("paused", func(t *testing.T) {
		server.Pause()
		var found json.RawMessage
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := client.Get(ctx, &found, "version"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it is not silent: %v", err)
		}
		server.Continue()
		expect(t, client, "red")
	})
	t.Run("away", func(t *testing.T) {
		server.Stop()
		var found json.RawMessage
		if err := client.Get(t.Context(), &found, "version"); err == nil {
			t.Error("it answers while it is away")
		}
		server.Restart(t)
		expect(t, client, "red")
	})
}

// containers: arguments, variables and files are what a kubelet would give, and the API server knows the pod's account.
func containers(t *testing.T, server *kube.Server) {
	server.Apply(t, `
apiVersion: v1
kind: Secret
metadata: {name: s, namespace: shop}
stringData: {key: secret}
---
apiVersion: v1
kind: Pod
metadata: {name: q, namespace: shop}
spec:
  containers:
  - name: c
    image: i
    command: [/c]
    args: [--name, $(NAME)]
    env:
    - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: KEY, valueFrom: {secretKeyRef: {name: s, key: key}}}
    volumeMounts: [{name: files, mountPath: /files}, {name: token, mountPath: /token}]
  volumes:
  - {name: files, configMap: {name: a}}
  - {name: token, projected: {sources: [{serviceAccountToken: {path: token, audience: sentry}}]}}
`)
	c := server.Container(t, "shop", "q", "c")
	if got := fmt.Sprint(c.Line, c.Variables); got != "[/c --name q] [NAME=q KEY=secret]" {
		t.Error(got)
	}
	file := func(folder, name string) string {
		text, err := os.ReadFile(filepath.Join(c.Folders[folder], name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if file("/files", "colour") != "red" || strings.Count(file("/token", "token"), ".") != 2 {
		t.Error("the folders have other files")
	}
	server.Apply(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\ndata: {colour: blue}\n")
	c.Refresh(t)
	if got := file("/files", "colour"); got != "blue" {
		t.Errorf("then the colour is %q", got)
	}
	server.Apply(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\ndata: {colour: red}\n")
	theirs, err := cluster.New(filepath.Join(c.Home, ".kube", "config"), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	var found json.RawMessage
	if err := theirs.Get(t.Context(), &found, "api", "v1", "namespaces", "shop", "secrets", "s"); !cluster.Is(err, http.StatusForbidden) {
		t.Errorf("RBAC says: %v", err)
	}
}

func expect(t *testing.T, client *cluster.Client, colour string) {
	t.Helper()
	var found struct{ Data map[string]string }
	if err := client.Get(t.Context(), &found, "api", "v1", "namespaces", "shop", "configmaps", "a"); err != nil {
		t.Fatal(err)
	}
	if found.Data["colour"] != colour {
		t.Errorf("the colour is %q, want %q", found.Data["colour"], colour)
	}
}
