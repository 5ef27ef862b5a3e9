package test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// ending is an application that still has work when its pod is to end; the sidecar waits for it as the pod says. The calls
// come from a pod that is made after the root was replaced.
const ending = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata:
      labels: {app: %[1]s}
      annotations:
        dapr.io/enabled: "true"
        dapr.io/app-id: %[1]s
        dapr.io/app-port: "3000"
        dapr.io/config: ways
        dapr.io/enable-app-health-check: "true"
        dapr.io/app-health-probe-interval: "1"
        dapr.io/app-health-threshold: "1"
        %[2]s
    spec:
      terminationGracePeriodSeconds: 600
      containers:
      - {name: app, image: app, ports: [{containerPort: 3000}]}
`

// podEnds ends pods as the kubelet does, as far as that can be without one.
func podEnds(t *testing.T, s *story) {
	t.Run("block-shutdown", func(t *testing.T) { blockShutdown(t, s) })
	t.Run("native", func(t *testing.T) { nativeSidecar(t, s) })
}

// endingPod makes the workload and its pod.
func (s *story) endingPod(t *testing.T, name, annotation string) *corev1.Pod {
	t.Helper()
	s.kubectl(t, fmt.Sprintf(ending, name, annotation), "apply", "--filename", "-")
	return s.pod(t, "deployments", "default", name, name+"-1")
}

// works says whether the sidecar does what its application asks of it: state, and calls of others.
func (s *story) works(t *testing.T, c *container) {
	t.Helper()
	sidecar := "http://" + c.at(3500)
	wants(t, call(t, http.MethodPost, sidecar+"/v1.0/state/statestore", `[{"key":"last","value":"will"}]`), http.StatusNoContent)
	wants(t, call(t, http.MethodPost, sidecar+"/v1.0/invoke/nodeapp/method/neworder", `{"data":{"orderId":1000000}}`), http.StatusOK)
}

func well(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/healthz") {
		w.WriteHeader(http.StatusNotFound)
	}
}

// blockShutdown: both containers are told to end at the same time. The sidecar serves until the application has ended.
func blockShutdown(t *testing.T, s *story) {
	pod := s.endingPod(t, "plain", "dapr.io/block-shutdown-duration: 5m")
	app := startApplication(t, well)
	c := s.run(t, pod, "daprd", binary, 3000, app.port)
	if roots := "DAPR_TRUST_ANCHORS=" + s.webhookRoots(t); !slices.Contains(c.Variables, roots) {
		t.Errorf("the pod does not have the roots of now: %q", c.Variables)
	}
	c.passes(t, c.ReadinessProbe)
	c.ready(t)
	c.awaits(t, "App entered healthy status")
	s.works(t, c)
	c.signal(t, syscall.SIGTERM)
	c.awaits(t, "Blocking graceful shutdown for 5m0s or until app reports unhealthy...")
	s.works(t, c)
	app.die()
	c.awaits(t, "App reported unhealthy, entering shutdown...")
	c.exits(t, 0)
}

// nativeSidecar: the application begins when the sidecar can be used, and ends before the sidecar is told to.
func nativeSidecar(t *testing.T, s *story) {
	pod := s.endingPod(t, "native", `dapr.io/enable-native-sidecar: "true"`)
	if inits := pod.Spec.InitContainers; len(inits) != 1 || inits[0].RestartPolicy == nil || *inits[0].RestartPolicy != corev1.ContainerRestartPolicyAlways {
		t.Fatalf("the sidecar is no native one: %+v", inits)
	}
	app := newApplication(t, well)
	c := s.run(t, pod, "daprd", binary, 3000, app.port)
	c.passes(t, c.StartupProbe)
	if strings.Contains(c.log.String(), "application discovered") {
		t.Error("the application was there before it began")
	}
	s.works(t, c)
	app.live(t)
	c.ready(t)
	app.die()
	s.works(t, c)
	c.stops(t)
}
