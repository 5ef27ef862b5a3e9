package runtime_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/daprd/daprd/pkg/components/catalogue"
	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/runtime"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// TestRefusesAPipelineWithoutItsGuard: what the component is called, why it is needed, and what to look at.
func TestRefusesAPipelineWithoutItsGuard(t *testing.T) {
	for _, where := range []string{"httpPipeline", "appHttpPipeline"} {
		err := runError(t, runtimetest.Configuration(t, "spec: {"+where+": {handlers: [{name: auth, type: middleware.http.bearer}]}}"))
		want := "spec." + where + " names the middleware auth (middleware.http.bearer), without which calls would pass unchecked: no component auth is loaded"
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v", err)
		}
	}
}

// TestTellsWhatHasNoEffect: once for each part.
func TestTellsWhatHasNoEffect(t *testing.T) {
	runtimetest.Isolate(t)
	s := runtimetest.Start(t, "warned", runtimetest.Configuration(t, `apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: c}
spec:
  workflow: {maxConcurrentActivityInvocations: 1}
  accessControl: {defaultAction: allow}
  features: [{name: Resiliency, enabled: true}]
`), func(c *runtime.Config) { c.NotInUse = []string{"flag --enable-mtls (mutual TLS)"} })
	for _, what := range []string{"Configuration's spec.workflow", "flag --enable-mtls (mutual TLS)"} {
		want := "the " + what + " is accepted, but has no effect in this daprd yet"
		if got := strings.Count(s.Log.String(), want); got != 1 {
			t.Errorf("it says %d times that %s", got, want)
		}
	}
	if strings.Contains(s.Log.String(), "accessControl") {
		t.Error("it warns of an accessControl that allows everything")
	}
}

const faulty = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: st}
spec:
  type: state.in-memory
  version: v1
  metadata: {a: b}
`

func TestFaultyComponent(t *testing.T) {
	err := runError(t, runtimetest.Manifests(t, faulty))
	for _, want := range []string{"process component st error: spec.metadata: line 7: want a list, each entry a mapping with the keys name, value, secretKeyRef, envRef, found a mapping",
		"component st (state.in-memory/v1) is defined in ", "resources.yaml (document 1, line 1)"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// TestFaultThatDoesNotMatter: those of other apps, and those that say so themselves.
func TestFaultThatDoesNotMatter(t *testing.T) {
	const fault = "process component st error: spec.metadata: line 7"
	for name, test := range map[string]struct {
		manifest string
		told     bool
	}{
		"ignored":         {faulty + "  ignoreErrors: true\n", true},
		"of another app":  {faulty + "scopes: [another]\n", false},
		"not of this one": {strings.Replace(faulty, "{name: st}", "{name: st, namespace: other}", 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			runtimetest.Isolate(t)
			s := runtimetest.Start(t, "healthy", runtimetest.Manifests(t, test.manifest), func(c *runtime.Config) { c.Namespace = "ns" })
			if told := strings.Contains(s.Log.String(), fault); told != test.told {
				t.Errorf("told %v\n%s", told, s.Log)
			}
		})
	}
}

// runError is what keeps a sidecar from starting.
func runError(t *testing.T, option runtimetest.Option) error {
	t.Helper()
	runtimetest.Isolate(t)
	cfg := runtimetest.Config("refusing")
	option(&cfg)
	logs, err := logging.New(logging.Options{Level: cfg.LogLevel, AppID: cfg.AppID, Output: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	r, err := runtime.New(cfg, runtime.Deps{Components: catalogue.All(), Logs: logs})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return r.Run(ctx)
}
