package operator

import (
	"encoding/json"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// group is that of all resources.
const group = "dapr.io"

// kind is a row of the table of resources that sidecars are told of.
type kind struct {
	name     string
	resource schema.GroupVersionResource
	// holders are the places in a resource that may refer to a secret.
	holders func(object map[string]any) []map[string]any
	// plain says that secrets are put in as they are; otherwise they are in base64, which sidecars take off.
	plain bool
	// prepare makes of the object what sidecars are to see, nil for nothing.
	prepare func(object map[string]any)
}

func (k *kind) resourceName() string { return k.resource.Resource + "." + group }

func resourceOf(version, plural string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: version, Resource: plural}
}

// The table.
var (
	components     = kind{name: "Component", resource: resourceOf("v1alpha1", "components"), holders: propertiesOf}
	configurations = kind{name: "Configuration", resource: resourceOf("v1alpha1", "configurations"), holders: exportHeadersOf, plain: true, prepare: stateAccess}
	subscriptions  = kind{name: "Subscription", resource: resourceOf("v2alpha1", "subscriptions")}
	resiliencies   = kind{name: "Resiliency", resource: resourceOf("v1alpha1", "resiliencies")}
	endpoints      = kind{name: "HTTPEndpoint", resource: resourceOf("v1alpha1", "httpendpoints"), holders: endpointSecretsOf}
)

// resource is one as it is kept: no more than is asked for.
type resource struct {
	metav1.ObjectMeta
	scopes []string
	// text is what sidecars are sent, but for secrets.
	text []byte
	// secret says that the text refers to secrets of the cluster.
	secret bool
}

// keep is the transformation of the kind's informer.
func (k *kind) keep(found any) (any, error) {
	object, ok := found.(*unstructured.Unstructured)
	if !ok {
		return found, nil // the last state of one whose deletion was missed is kept already
	}
	r := &resource{ObjectMeta: metav1.ObjectMeta{Namespace: object.GetNamespace(), Name: object.GetName(), ResourceVersion: object.GetResourceVersion()}}
	object.SetManagedFields(nil)
	annotations := object.GetAnnotations()
	delete(annotations, lastApplied)
	object.SetAnnotations(annotations)
	scopes, _, err := unstructured.NestedStringSlice(object.Object, "scopes")
	if err != nil {
		return nil, fmt.Errorf("%s %s/%s: %w", k.name, r.Namespace, r.Name, err)
	}
	r.scopes = scopes
	if k.prepare != nil {
		k.prepare(object.Object)
	}
	r.secret = k.holders != nil && len(references(object.Object, k.holders)) > 0
	r.text, err = json.Marshal(object.Object)
	return r, err
}

// lastApplied is where kubectl keeps the whole object once more.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// isFor says whether the application may use it.
func (r *resource) isFor(appID string) bool {
	return len(r.scopes) == 0 || slices.Contains(r.scopes, appID)
}

// stateAccess writes out what a Configuration leaves out of its access control: in a cluster no access control is none at
// all, and policies without a default action deny. The sidecar reads over defaults that allow.
func stateAccess(object map[string]any) {
	spec, _ := object["spec"].(map[string]any)
	if spec == nil {
		spec = map[string]any{}
		object["spec"] = spec
	}
	access, _ := spec["accessControl"].(map[string]any)
	if access == nil {
		access = map[string]any{}
		spec["accessControl"] = access
	}
	for _, field := range []string{"defaultAction", "trustDomain"} {
		if access[field] == nil {
			access[field] = ""
		}
	}
}
