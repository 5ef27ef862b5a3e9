package operator

import (
	"fmt"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/daprd/daprd/pkg/config"
)

// annotationPrefix stands before the names of the annotations of pods.
const annotationPrefix = "dapr.io/"

// The kinds of workloads whose pods get sidecars.
var (
	deployments  = workloadKind{"Deployment", schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}}
	statefulSets = workloadKind{"StatefulSet", schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}}
	rollouts     = workloadKind{"Rollout", schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "rollouts"}}
)

type workloadKind struct {
	name     string
	resource schema.GroupVersionResource
}

// workload is what is kept of one.
type workload struct {
	metav1.ObjectMeta
	kind *workloadKind
	// annotations are those of its pods, as far as they are read here.
	annotations map[string]string
	// selector chooses its pods.
	selector map[string]string
}

// keep is the transformation of the kind's informer.
func (k *workloadKind) keep(found any) (any, error) {
	object, ok := found.(*unstructured.Unstructured)
	if !ok {
		return found, nil
	}
	w := &workload{kind: k, ObjectMeta: metav1.ObjectMeta{Namespace: object.GetNamespace(), Name: object.GetName(), UID: object.GetUID(),
		ResourceVersion: object.GetResourceVersion(), DeletionTimestamp: object.GetDeletionTimestamp()}}
	annotations, _, err := unstructured.NestedStringMap(object.Object, "spec", "template", "metadata", "annotations")
	if err != nil {
		return nil, err
	}
	for name, value := range annotations {
		if strings.HasPrefix(name, annotationPrefix) {
			if w.annotations == nil {
				w.annotations = map[string]string{}
			}
			w.annotations[name] = value
		}
	}
	w.selector, _, err = unstructured.NestedStringMap(object.Object, "spec", "selector", "matchLabels")
	return w, err
}

// String is for logs.
func (w *workload) String() string {
	return fmt.Sprintf("the %s %s of namespace %s", w.kind.name, w.Name, w.Namespace)
}

// appID is "" for one whose pods get no service: they have no sidecar, or it is called after each pod.
func (w *workload) appID() string {
	if !config.Truthy(w.annotations[enabledAnnotation]) || w.DeletionTimestamp != nil {
		return ""
	}
	return w.annotations[appIDAnnotation]
}

// The ports of a sidecar, and of its service.
const (
	httpPort            = 3500
	defaultGRPCPort     = 50001
	defaultInternalPort = 50002
	defaultMetricsPort  = 9090
	serviceHTTPPort     = 80
)

// port is that of an annotation, or the one of sidecars without it.
func (w *workload) port(annotation string, standard int64) int64 {
	n, err := strconv.ParseInt(w.annotations[annotationPrefix+annotation], 10, 64)
	if err != nil || len(validation.IsValidPortNum(int(n))) > 0 {
		return standard
	}
	return n
}

// serviceSuffix makes the name of a service of an app id.
const serviceSuffix = "-dapr"

// service is the one by which others find the sidecars of the workload. The error tells why there cannot be one.
func (w *workload) service() (*unstructured.Unstructured, error) {
	id := w.appID()
	name := id + serviceSuffix
	if faults := validation.IsDNS1035Label(name); len(faults) > 0 {
		return nil, fmt.Errorf("%s has no service: annotation %s: %q is not allowed: %s", w, appIDAnnotation, id, strings.Join(faults, "; "))
	}
	selector := map[string]any{}
	for label, value := range w.selector {
		selector[label] = value
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Service",
		"metadata": map[string]any{
			"name": name, "namespace": w.Namespace,
			"labels":      map[string]any{enabledAnnotation: "true"},
			"annotations": w.serviceAnnotations(id),
			"ownerReferences": []any{map[string]any{"apiVersion": w.kind.resource.GroupVersion().String(), "kind": w.kind.name,
				"name": w.Name, "uid": string(w.UID), "controller": true, "blockOwnerDeletion": true}},
		},
		"spec": map[string]any{
			"clusterIP": "None",
			"selector":  selector,
			"ports": []any{
				servicePort("dapr-http", serviceHTTPPort, httpPort),
				servicePort("dapr-grpc", w.port("grpc-port", defaultGRPCPort), w.port("grpc-port", defaultGRPCPort)),
				servicePort("dapr-internal", w.port("internal-grpc-port", defaultInternalPort), w.port("internal-grpc-port", defaultInternalPort)),
				servicePort("dapr-metrics", w.port("metrics-port", defaultMetricsPort), w.port("metrics-port", defaultMetricsPort)),
			},
		},
	}}, nil
}

func servicePort(name string, port, target int64) map[string]any {
	return map[string]any{"name": name, "protocol": "TCP", "port": port, "targetPort": target}
}

// serviceAnnotations are those that others read: what the service is for, and where the metrics are.
func (w *workload) serviceAnnotations(appID string) map[string]any {
	annotations := map[string]any{}
	for _, pair := range strings.Split(w.annotations[annotationPrefix+"sidecar-svc-annotations"], ",") {
		if name, value, found := strings.Cut(pair, "="); found {
			annotations[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	annotations[appIDAnnotation] = appID
	if enabled, set := w.annotations[annotationPrefix+"enable-metrics"]; !set || config.Truthy(enabled) {
		annotations["prometheus.io/probe"] = "true"
		annotations["prometheus.io/scrape"] = "true"
		annotations["prometheus.io/port"] = strconv.FormatInt(w.port("metrics-port", defaultMetricsPort), 10)
		annotations["prometheus.io/path"] = "/"
	}
	return annotations
}
