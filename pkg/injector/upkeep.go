package injector

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/cluster"
	"github.com/daprd/daprd/pkg/security"
)

const (
	// webhookName is that of the MutatingWebhookConfiguration, and of the injector's service.
	webhookName = "dapr-sidecar-injector"
	// configurationName is that of the Configuration of the control plane.
	configurationName = "daprsystem"
	// upkeepInterval is how often the API server is asked although nothing is known to have changed.
	upkeepInterval = 10 * time.Second
	// upkeepTime bounds one round.
	upkeepTime = 10 * time.Second
)

// upkeep keeps in agreement what the API server has and what the injector knows: its webhook trusts the roots of the
// mesh, and sidecars speak mutual TLS as the Configuration daprsystem says.
type upkeep struct {
	api       *cluster.Client
	anchors   *security.Anchors
	namespace string
	log       logrus.FieldLogger

	withoutMTLS atomic.Bool
	told        string
}

// trust is what a new sidecar is told.
func (u *upkeep) trust() (anchors string, mtls bool) {
	roots, _ := u.anchors.PEM()
	return string(roots), !u.withoutMTLS.Load()
}

// run goes round until ctx ends; done is called after the first round that went well.
func (u *upkeep) run(ctx context.Context, done func()) {
	timer := time.NewTicker(upkeepInterval)
	defer timer.Stop()
	for first := true; ; {
		roots, changed := u.anchors.PEM()
		round, cancel := context.WithTimeout(ctx, upkeepTime)
		err := u.round(round, roots)
		cancel()
		if ctx.Err() != nil {
			return
		}
		u.tell(err)
		if err == nil && first {
			first = false
			done()
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-timer.C:
		}
	}
}

// tell logs a failure once, and its end.
func (u *upkeep) tell(err error) {
	switch {
	case err != nil && u.told != err.Error():
		u.told = err.Error()
		u.log.Errorf("%s; it is tried again every %s", err, upkeepInterval)
	case err == nil && u.told != "":
		u.told = ""
		u.log.Info("The API server has what the injector needs again")
	}
}

func (u *upkeep) round(ctx context.Context, roots []byte) error {
	u.readMTLS(ctx)
	if err := u.patchWebhook(ctx, roots); err != nil {
		return fmt.Errorf("the MutatingWebhookConfiguration %s, by which the API server asks the injector, cannot be kept current: %w", webhookName, err)
	}
	return nil
}

// readMTLS follows spec.mtls.enabled. Without the Configuration, or without the field, mutual TLS is on; while it cannot
// be read, what was read last holds.
func (u *upkeep) readMTLS(ctx context.Context) {
	var found struct {
		Spec struct {
			MTLS struct {
				Enabled *bool `json:"enabled"`
			} `json:"mtls"`
		} `json:"spec"`
	}
	err := u.api.Get(ctx, &found, "apis", "dapr.io", "v1alpha1", "namespaces", u.namespace, "configurations", configurationName)
	if err != nil && !cluster.Is(err, http.StatusNotFound) {
		u.log.Debugf("The Configuration %s cannot be read: %s", configurationName, err)
		return
	}
	off := found.Spec.MTLS.Enabled != nil && !*found.Spec.MTLS.Enabled
	if u.withoutMTLS.Swap(off) != off {
		u.log.Infof("The Configuration %s has mutual TLS of new sidecars: %t", configurationName, !off)
	}
}

// webhookConfiguration is what counts of a MutatingWebhookConfiguration.
type webhookConfiguration struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Webhooks []struct {
		ClientConfig struct {
			CABundle []byte `json:"caBundle"`
		} `json:"clientConfig"`
	} `json:"webhooks"`
}

// patchWebhook has every webhook of the configuration trust the roots. The test in the patch has it fail where another
// one was faster; then the next round looks again.
func (u *upkeep) patchWebhook(ctx context.Context, roots []byte) error {
	path := []string{"apis", "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", webhookName}
	var found webhookConfiguration
	if err := u.api.Get(ctx, &found, path...); err != nil {
		return err
	}
	changes := []operation{{"test", "/metadata/resourceVersion", found.Metadata.ResourceVersion}}
	for i, w := range found.Webhooks {
		if string(w.ClientConfig.CABundle) != string(roots) {
			changes = append(changes, operation{"add", "/webhooks/" + index(i) + "/clientConfig/caBundle", roots})
		}
	}
	if len(changes) == 1 {
		return nil
	}
	var answer json.RawMessage
	if err := u.api.Do(ctx, http.MethodPatch, changes, &answer, path...); err != nil {
		return err
	}
	u.log.Info("The webhook's caBundle holds the trust anchors of now")
	return nil
}

// components is componentLister's.
func (u *upkeep) components(ctx context.Context, namespace string) ([]component, error) {
	var found struct {
		Items []component `json:"items"`
	}
	err := u.api.Get(ctx, &found, "apis", "dapr.io", "v1alpha1", "namespaces", namespace, "components")
	return found.Items, err
}
