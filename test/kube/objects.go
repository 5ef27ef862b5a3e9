package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
)

// manager is whom the server knows as the owner of what Apply writes.
const manager = "test"

// Apply creates the objects of the YAML documents, or changes them to be so, and ends the test where the server refuses
// one. Definitions of resources are waited for until they are served.
func (s *Server) Apply(t testing.TB, documents string) {
	t.Helper()
	if err := s.TryApply(t.Context(), documents); err != nil {
		t.Fatal(err)
	}
}

// TryApply is Apply for a test that wants the refusal. Fields that the server does not know are refused.
func (s *Server) TryApply(ctx context.Context, documents string) error {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewBufferString(documents), 4096)
	for {
		var object unstructured.Unstructured
		err := decoder.Decode(&object.Object)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case len(object.Object) == 0:
			continue
		}
		if err := s.apply(ctx, &object); err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
}

func (s *Server) apply(ctx context.Context, object *unstructured.Unstructured) error {
	resource, err := s.resource(object)
	if err != nil {
		return err
	}
	text, err := json.Marshal(object)
	if err != nil {
		return err
	}
	force := true
	_, err = resource.Patch(ctx, object.GetName(), types.ApplyPatchType, text,
		metav1.PatchOptions{FieldManager: manager, Force: &force, FieldValidation: metav1.FieldValidationStrict})
	if err == nil && object.GetKind() == "CustomResourceDefinition" {
		err = s.awaitDefinition(ctx, resource, object.GetName())
	}
	return err
}

// resource is where objects of that kind and namespace are.
func (s *Server) resource(object *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	asked, err := discovery.NewDiscoveryClientForConfig(s.admin)
	if err != nil {
		return nil, err
	}
	served, err := restmapper.GetAPIGroupResources(asked)
	if err != nil {
		return nil, err
	}
	kind := object.GroupVersionKind()
	mapping, err := restmapper.NewDiscoveryRESTMapper(served).RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfig(s.admin)
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return client.Resource(mapping.Resource), nil
	}
	namespace := object.GetNamespace()
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	return client.Resource(mapping.Resource).Namespace(namespace), nil
}

// awaitDefinition returns when the resources of a definition are served.
func (s *Server) awaitDefinition(ctx context.Context, resource dynamic.ResourceInterface, name string) error {
	for {
		found, err := resource.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		conditions, _, _ := unstructured.NestedSlice(found.Object, "status", "conditions")
		for _, c := range conditions {
			if c, ok := c.(map[string]any); ok && c["type"] == "Established" && c["status"] == "True" {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Delete deletes an object, of which kind, name and namespace count.
func (s *Server) Delete(t testing.TB, document string) {
	t.Helper()
	var object unstructured.Unstructured
	err := yaml.NewYAMLOrJSONDecoder(bytes.NewBufferString(document), 4096).Decode(&object.Object)
	if err == nil {
		var resource dynamic.ResourceInterface
		if resource, err = s.resource(&object); err == nil {
			err = resource.Delete(t.Context(), object.GetName(), metav1.DeleteOptions{})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Namespace makes one, with its ServiceAccount default.
func (s *Server) Namespace(t testing.TB, name string) {
	t.Helper()
	s.Apply(t, fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n---\n"+
		"apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: default, namespace: %s}\n", name, name))
}

// Definitions applies the project's CRDs.
func (s *Server) Definitions(t testing.TB) {
	t.Helper()
	source, err := source()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(source, "../../../charts/daprd/crds/*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no CRDs: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s.Apply(t, string(text))
	}
}

// Token is one that the API server gives for a service account, for the audiences, or its own without any. Where pod is not
// "" it is bound to that pod, which has to be there, as the kubelet asks for it.
func (s *Server) Token(t testing.TB, namespace, account, pod string, audiences ...string) string {
	t.Helper()
	client := s.Client(t)
	request := map[string]any{"audiences": audiences, "expirationSeconds": 7200}
	if pod != "" {
		var found struct {
			Metadata struct {
				UID string `json:"uid"`
			} `json:"metadata"`
		}
		if err := client.Get(t.Context(), &found, "api", "v1", "namespaces", namespace, "pods", pod); err != nil {
			t.Fatal(err)
		}
		request["boundObjectRef"] = map[string]any{"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": found.Metadata.UID}
	}
	var answer struct {
		Status struct {
			Token string `json:"token"`
		} `json:"status"`
	}
	err := client.Do(t.Context(), http.MethodPost, map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": request},
		&answer, "api", "v1", "namespaces", namespace, "serviceaccounts", account, "token")
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Token
}

// KubeconfigOf is the file by which a service account reaches the server, with what RBAC grants it.
func (s *Server) KubeconfigOf(t testing.TB, namespace, account string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte(s.kubeconfig(s.Address, s.Token(t, namespace, account, ""))), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Granted waits until the API server lets a service account do what RBAC has just granted it: it learns of roles with a
// delay. The resource is one of Kubernetes' own, in the account's namespace.
func (s *Server) Granted(t testing.TB, namespace, account, verb, resource string) {
	t.Helper()
	client := s.Client(t)
	question := map[string]any{"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": map[string]any{
		"user":               "system:serviceaccount:" + namespace + ":" + account,
		"resourceAttributes": map[string]any{"namespace": namespace, "verb": verb, "resource": resource},
	}}
	for end := time.Now().Add(startTime); ; time.Sleep(10 * time.Millisecond) {
		var answer struct {
			Status struct {
				Allowed bool   `json:"allowed"`
				Reason  string `json:"reason"`
			} `json:"status"`
		}
		if err := client.Do(t.Context(), http.MethodPost, question, &answer, "apis", "authorization.k8s.io", "v1", "subjectaccessreviews"); err != nil {
			t.Fatal(err)
		}
		if answer.Status.Allowed {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the account %s of namespace %s may not %s %s: %s", account, namespace, verb, resource, answer.Status.Reason)
		}
	}
}
