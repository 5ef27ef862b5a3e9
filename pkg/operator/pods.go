package operator

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/daprd/daprd/pkg/security"
)

var podsResource = schema.GroupVersionResource{Version: "v1", Resource: "pods"}

// Annotations and labels of pods.
const (
	enabledAnnotation = "dapr.io/enabled"
	appIDAnnotation   = "dapr.io/app-id"
	configAnnotation  = "dapr.io/config"
	appIDLabel        = "dapr.io/app-id"
	injectedLabel     = "dapr.io/sidecar-injected"
	patchedLabel      = "dapr.io/watchdog-patched"
)

// podPage is how many pods are asked for at once.
const podPage = 500

// pods asks for the pods of the cluster, each time anew.
type pods struct{ api dynamic.Interface }

// configuration is the name of the Configuration of an application, "" for none: what the first of its pods says.
func (p *pods) configuration(ctx context.Context, who security.Caller) (name string, err error) {
	found := false
	look := func(pod *unstructured.Unstructured) bool {
		found = appID(pod.GetAnnotations(), pod.GetName()) == who.AppID
		name = pod.GetAnnotations()[configAnnotation]
		return !found
	}
	// The injector labels its pods; those of Dapr 1.7 are found by their annotations.
	err = p.each(ctx, who.Namespace, labels.Set{appIDLabel: who.AppID}.String(), look)
	if err == nil && !found {
		err = p.each(ctx, who.Namespace, "", look)
	}
	if err != nil {
		return "", fmt.Errorf("look for the pod of %s: %w", who, err)
	}
	if !found {
		return "", nil
	}
	return name, nil
}

// appID is the application's of a pod.
func appID(annotations map[string]string, pod string) string {
	if id := annotations[appIDAnnotation]; id != "" {
		return id
	}
	return pod
}

// each calls look for the pods of a namespace, "" for all, until it is false.
func (p *pods) each(ctx context.Context, namespace, selector string, look func(*unstructured.Unstructured) bool) error {
	options := metav1.ListOptions{LabelSelector: selector, Limit: podPage}
	for {
		page, err := p.api.Resource(podsResource).Namespace(namespace).List(ctx, options)
		if err != nil {
			return err
		}
		for i := range page.Items {
			if !look(&page.Items[i]) {
				return nil
			}
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}
