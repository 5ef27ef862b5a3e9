package chart

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// original are the values of Dapr's charts 1.7 and 1.18 that users set most, with their defaults.
const original = `
global:
  registry: ghcr.io/dapr
  tag: 1.18.3
  logAsJson: false
  imagePullPolicy: IfNotPresent
  imagePullSecrets: ""
  ha: {enabled: false, replicaCount: 3, disruption: {maximumUnavailable: 25%, minimumAvailable: ""}, topologyKey: topology.kubernetes.io/zone, podAntiAffinityPolicy: preferredDuringSchedulingIgnoredDuringExecution}
  prometheus: {enabled: true, port: 9090}
  mtls: {enabled: true, workloadCertTTL: 24h, allowedClockSkew: 15m, controlPlaneTrustDomain: cluster.local, mountSentryVolume: true}
  daprControlPlaneOs: linux
  daprControlPlaneArch: amd64
  nodeSelector: {}
  tolerations: []
  labels: {}
  k8sLabels: {}
  priorityClassName: ""
  seccompProfile: ""
  extraVolumes: {}
  actors: {enabled: true, serviceName: placement}
  reminders: {serviceName: ""}
  scheduler: {enabled: true}
  rbac: {namespaced: false}
  argoRolloutServiceReconciler: {enabled: false}
  operator: {watchdogCanPatchPodLabels: false}
dapr_operator: {replicaCount: 1, logLevel: info, image: {name: operator}, resources: {}, runAsNonRoot: true, debug: {enabled: false, port: 40000}, watchInterval: "0", watchNamespace: "", maxPodRestartsPerMinute: 20, serviceReconciler: {enabled: true}}
dapr_placement: {replicaCount: 1, logLevel: info, image: {name: placement}, resources: {}, runAsNonRoot: true, debug: {enabled: false}, replicationFactor: 100, cluster: {forceInMemoryLog: false, logStorePath: /var/run/dapr/raft-log}, volumeclaims: {storageSize: 1Gi}, keepAliveTime: 2s, keepAliveTimeout: 3s, disseminateTimeout: 8s, disseminateCoalesceWindow: 0s, metadataEnabled: false, scaleZero: false, ha: false}
dapr_sentry: {replicaCount: 1, logLevel: info, image: {name: sentry}, resources: {}, runAsNonRoot: true, debug: {enabled: false}, tls: {issuer: {certPEM: "", keyPEM: ""}, root: {certPEM: ""}}, trustDomain: cluster.local, jwt: {enabled: false}, oidc: {enabled: false}}
dapr_sidecar_injector: {replicaCount: 1, logLevel: info, image: {name: daprd}, injectorImage: {name: injector}, resources: {}, runAsNonRoot: true, debug: {enabled: false}, webhookFailurePolicy: Ignore, sidecarImagePullPolicy: IfNotPresent, kubeClusterDomain: cluster.local, hostNetwork: false, healthzPort: 8080, sidecarRunAsNonRoot: true, sidecarReadOnlyRootFilesystem: true, sidecarDropALLCapabilities: false, enableK8sDownwardAPIs: false, nativeSidecar: false, allowedServiceAccounts: "", allowedServiceAccountsPrefixNames: "", objectSelector: {}, namespaceSelector: {}}
dapr_scheduler: {cluster: {storageSize: 16Gi, storageClassName: "", inMemoryStorage: false}}
dapr_dashboard: {enabled: false}
dapr_rbac: {secretReader: {enabled: true, namespace: default}}
`

// others are the defaults that are another's here, with the reason.
var others = map[string]string{
	"global.registry":             "images are this project's",
	"global.tag":                  "as the chart's",
	"global.daprControlPlaneArch": "images are built for more than one",
	"global.seccompProfile":       "RuntimeDefault is what the parts can do with",
	"global.scheduler.enabled":    "there is no scheduler",
	"dapr_sentry.trustDomain":     "that of global.mtls.controlPlaneTrustDomain, with the same default",
}

// TestOriginalValues: a file with the values of Dapr's chart is taken, their defaults are those of here, and what has no
// effect is told of in the notes.
func TestOriginalValues(t *testing.T) {
	release, err := installation().Run(load(t), values(t, original))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(folder, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var theirs, ours map[string]any
	if err := yaml.Unmarshal([]byte(original), &theirs); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &ours); err != nil {
		t.Fatal(err)
	}
	_, idle, _ := strings.Cut(release.Info.Notes, "These values have no effect here: ")
	named := strings.Split(strings.TrimSuffix(strings.TrimSpace(idle), "."), ", ")
	compare(t, named, "", theirs, ours)
}

func compare(t *testing.T, idle []string, path string, theirs, ours any) {
	if slices.Contains(idle, path) {
		return
	}
	if below, ok := theirs.(map[string]any); ok && len(below) > 0 {
		has, _ := ours.(map[string]any)
		for name, value := range below {
			compare(t, idle, strings.TrimPrefix(path+"."+name, "."), value, has[name])
		}
		return
	}
	switch same := fmt.Sprint(theirs) == fmt.Sprint(ours); {
	case ours == nil:
		t.Errorf("%s is not here, and the notes do not say so", path)
	case same && others[path] != "" || !same && others[path] == "":
		t.Errorf("%s: Dapr's default is %v, that of here %v", path, theirs, ours)
	}
}
