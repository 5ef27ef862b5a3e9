package operator

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// secretStore is the name of the store whose secrets are put in here: the Secrets of the resource's namespace.
const secretStore = "kubernetes"

var secretsResource = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}

// vault reads the Secrets of the cluster, each time anew: they are not kept.
type vault struct{ api dynamic.Interface }

// reference is a place in a resource that refers to a secret.
type reference struct {
	holder map[string]any
	// key is "" where none is named.
	name, key string
}

// references are those of a resource to the cluster's Secrets. Those of another store are the sidecar's to resolve.
func references(object map[string]any, holders func(map[string]any) []map[string]any) (found []reference) {
	store, _, _ := unstructured.NestedString(object, "auth", "secretStore")
	if store != "" && store != secretStore {
		return nil
	}
	for _, holder := range holders(object) {
		name, _, _ := unstructured.NestedString(holder, "secretKeyRef", "name")
		key, _, _ := unstructured.NestedString(holder, "secretKeyRef", "key")
		if name != "" {
			found = append(found, reference{holder, name, key})
		}
	}
	return found
}

// opened is the text of a resource with its secrets in it. A Secret that is missing is an error; where a key is missing in
// it the reference stays, except in a Configuration, which is then not given.
func (v *vault) opened(ctx context.Context, k *kind, r *resource) ([]byte, error) {
	if !r.secret {
		return r.text, nil
	}
	var object map[string]any
	if err := json.Unmarshal(r.text, &object); err != nil {
		return nil, err
	}
	read := map[string]map[string]string{}
	for _, ref := range references(object, k.holders) {
		data, known := read[ref.name]
		if !known {
			var err error
			if data, err = v.read(ctx, r.Namespace, ref.name); err != nil {
				return nil, fmt.Errorf("the %s %s of namespace %s: %w", k.name, r.Name, r.Namespace, err)
			}
			read[ref.name] = data
		}
		if err := ref.fill(k, data); err != nil {
			return nil, fmt.Errorf("the %s %s of namespace %s: %w", k.name, r.Name, r.Namespace, err)
		}
	}
	return json.Marshal(object)
}

// fill puts the value in; data is in base64, as the API server gives it.
func (r *reference) fill(k *kind, data map[string]string) error {
	key := r.key
	if key == "" && k.plain {
		return fmt.Errorf("secret key is required for header %v", r.holder["name"])
	}
	if key == "" {
		key = r.name
	}
	value, found := data[key]
	switch {
	case found && !k.plain:
		r.holder["value"] = value
	case found:
		text, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return fmt.Errorf("the key %s of the Secret %s is no base64", key, r.name)
		}
		r.holder["value"] = string(text)
	case k.plain:
		return fmt.Errorf("the Secret %s has no key %s", r.name, key)
	}
	return nil
}

func (v *vault) read(ctx context.Context, namespace, name string) (map[string]string, error) {
	found, err := v.api.Resource(secretsResource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case errors.IsNotFound(err):
		return nil, fmt.Errorf("the Secret %s, which it refers to, is not there", name)
	case err != nil:
		return nil, fmt.Errorf("read the Secret %s: %w", name, err)
	}
	data, _, err := unstructured.NestedStringMap(found.Object, "data")
	return data, err
}

// propertiesOf are those of a Component.
func propertiesOf(object map[string]any) []map[string]any {
	return objects(object, "spec", "metadata")
}

// exportHeadersOf are those of a Configuration's collector.
func exportHeadersOf(object map[string]any) []map[string]any {
	return objects(object, "spec", "tracing", "otel", "headers")
}

// endpointSecretsOf are the headers and certificates of an HTTPEndpoint.
func endpointSecretsOf(object map[string]any) []map[string]any {
	found := objects(object, "spec", "headers")
	for _, field := range []string{"rootCA", "certificate", "privateKey"} {
		value, _, _ := unstructured.NestedFieldNoCopy(object, "spec", "clientTLS", field)
		if holder, ok := value.(map[string]any); ok {
			found = append(found, holder)
		}
	}
	return found
}

// objects are those in a list; others in it are left out.
func objects(object map[string]any, path ...string) (found []map[string]any) {
	value, _, _ := unstructured.NestedFieldNoCopy(object, path...)
	list, _ := value.([]any)
	for _, item := range list {
		if item, ok := item.(map[string]any); ok {
			found = append(found, item)
		}
	}
	return found
}
