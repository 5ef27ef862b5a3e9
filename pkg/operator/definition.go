package operator

import (
	"context"
	"encoding/json"
	"time"

	"github.com/sirupsen/logrus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/daprd/daprd/pkg/security"
)

const (
	// webhookService is the service by which the API server reaches the conversion.
	webhookService = "dapr-webhook"
	// conversionPath is its path there.
	conversionPath = "/convert"
	// upkeepInterval is how often the definition is looked at although nothing is known to have changed: who installs it
	// anew takes the roots out.
	upkeepInterval = 10 * time.Second
)

var definitionsResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// definition keeps the CRD of Subscriptions such that the API server asks this installation for the other version, and
// trusts the roots of the mesh.
type definition struct {
	api       dynamic.Interface
	anchors   *security.Anchors
	namespace string
	log       logrus.FieldLogger
}

// run goes round until ctx ends.
func (d *definition) run(ctx context.Context) {
	timer := time.NewTicker(upkeepInterval)
	defer timer.Stop()
	for told := ""; ; {
		roots, changed := d.anchors.PEM()
		err := d.round(ctx, roots)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && err.Error() != told:
			told = err.Error()
			d.log.Errorf("The CRD %s, by which the API server has Subscriptions converted, cannot be kept current; it is tried again every %s: %s",
				subscriptions.resourceName(), upkeepInterval, err)
		case err == nil && told != "":
			told = ""
			d.log.Infof("The CRD %s is current again", subscriptions.resourceName())
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-timer.C:
		}
	}
}

// round patches the definition if it is another than it should be. One that does not convert by a webhook is left alone.
func (d *definition) round(ctx context.Context, roots []byte) error {
	definitions, name := d.api.Resource(definitionsResource), subscriptions.resourceName()
	found, err := definitions.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if strategy, _, _ := unstructured.NestedString(found.Object, "spec", "conversion", "strategy"); strategy != "Webhook" {
		return nil
	}
	wanted := map[string]any{"caBundle": roots, "service": map[string]any{"name": webhookService, "namespace": d.namespace, "path": conversionPath, "port": 443}}
	text, err := json.Marshal(wanted)
	if err != nil {
		return err
	}
	current, _, _ := unstructured.NestedMap(found.Object, "spec", "conversion", "webhook", "clientConfig")
	if has, err := json.Marshal(current); err != nil || string(has) == string(text) {
		return err
	}
	// The test has the patch fail where another one was faster; then the next round looks again.
	patch, err := json.Marshal([]map[string]any{
		{"op": "test", "path": "/metadata/resourceVersion", "value": found.GetResourceVersion()},
		{"op": "replace", "path": "/spec/conversion/webhook/clientConfig", "value": wanted},
	})
	if err != nil {
		return err
	}
	if _, err := definitions.Patch(ctx, name, types.JSONPatchType, patch, metav1.PatchOptions{}); err != nil {
		return err
	}
	d.log.Infof("The CRD %s has the trust anchors of now", name)
	return nil
}
