package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func resiliencies(t *testing.T, text string) *Resources {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "r.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	resources, err := ReadFolders(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, warning := range resources.Warnings {
		resources.Warnings[i] = strings.ReplaceAll(warning, dir+"/", "")
	}
	return resources
}

func TestResiliency(t *testing.T) {
	r := resiliencies(t, `---
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: mine, namespace: ns}
scopes: [cart]
spec:
  policies:
    timeouts: {general: 5s, plain: 1500}
    retries:
      often: {policy: Exponential, maxInterval: 15s, maxRetries: 0}
      status:
        duration: 2s
        matching: {httpStatusCodes: 429, gRPCStatusCodes: "1-3"}
    circuitBreakers:
      fuse: {maxRequests: 2, interval: 8s, timeout: 45s, trip: consecutiveFailures > 8}
  targets:
    apps: {other: {timeout: general, retry: often, circuitBreaker: fuse, circuitBreakerCacheSize: 7}}
    actors: {clerk: {retry: often, circuitBreaker: fuse, circuitBreakerScope: both}}
    components:
      store: {outbound: {timeout: general}, inbound: {}}
`)
	span := func(d time.Duration) *Span { return (*Span)(&d) }
	want := []Resiliency{{
		Meta: Meta{Name: "mine", Namespace: "ns"}, Scopes: []string{"cart"},
		Spec: ResiliencySpec{
			Policies: ResiliencyPolicies{
				Timeouts: map[string]Span{"general": Span(5 * time.Second), "plain": Span(1500 * time.Millisecond)},
				Retries: map[string]Retry{
					"often":  {Policy: "Exponential", MaxInterval: span(15 * time.Second), MaxRetries: new(0)},
					"status": {Duration: span(2 * time.Second), Matching: Matching{HTTPStatusCodes: "429", GRPCStatusCodes: "1-3"}},
				},
				CircuitBreakers: map[string]CircuitBreaker{"fuse": {MaxRequests: 2, Interval: Span(8 * time.Second), Timeout: span(45 * time.Second), Trip: "consecutiveFailures > 8"}},
			},
			Targets: ResiliencyTargets{
				Apps:       map[string]AppTarget{"other": {Timeout: "general", Retry: "often", CircuitBreaker: "fuse", CircuitBreakerCacheSize: 7}},
				Actors:     map[string]ActorTarget{"clerk": {Retry: "often", CircuitBreaker: "fuse", CircuitBreakerScope: "both"}},
				Components: map[string]ComponentTarget{"store": {Outbound: &PolicyNames{Timeout: "general"}, Inbound: &PolicyNames{}}},
			},
		},
	}}
	if diff := cmp.Diff(want, r.Resiliencies, cmpopts.IgnoreFields(Resiliency{}, "Origin"), cmpopts.IgnoreUnexported(Resiliency{})); diff != "" {
		t.Error(diff)
	}
	if err := r.Resiliencies[0].Check(); err != nil {
		t.Error(err)
	}
}

const resiliencyHead = "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: {name: mine}\nspec:\n"

// TestResiliencyFaults: they name file, document, line and field.
func TestResiliencyFaults(t *testing.T) {
	const after = "# first\n---\n" + resiliencyHead
	at := func(line, rest string) string { return "/r.yaml (document 1, line " + line + "): " + rest }
	for name, test := range map[string]struct{ spec, fault, form string }{
		"policy": {spec: "  policies:\n    retries:\n      often:\n        policy: linear\n",
			fault: at("10", `spec.policies.retries.often.policy: "linear" is not known, want constant or exponential`)},
		"maxRetries": {spec: "  policies: {retries: {often: {maxRetries: -2}}}\n",
			fault: at("7", "spec.policies.retries.often.maxRetries: -2 is out of range, want -1 (without end), 0 (no retry) or more")},
		"maxRequests": {spec: "  policies: {circuitBreakers: {fuse: {maxRequests: -1}}}\n",
			fault: at("7", "spec.policies.circuitBreakers.fuse.maxRequests: -1 is out of range, want 1 or more")},
		"scope missing": {spec: "  targets:\n    actors:\n      clerk: {circuitBreaker: fuse}\n",
			fault: at("9", "spec.targets.actors.clerk.circuitBreakerScope: actor circuit breakers must include scope: type, id or both")},
		"scope": {spec: "  targets: {actors: {clerk: {circuitBreakerScope: all}}}\n",
			fault: at("7", `spec.targets.actors.clerk.circuitBreakerScope: "all" is not known, want type, id or both`)},
		"cache": {spec: "  targets: {apps: {cart: {circuitBreakerCacheSize: 1000000}}}\n",
			fault: at("7", "spec.targets.apps.cart.circuitBreakerCacheSize: 1000000 is out of range, want 1 to 100000")},
		"duration": {spec: "  policies:\n    timeouts:\n      general: soon\n",
			form: "spec.policies.timeouts.general: line 9: want a duration like 500ms, 5s or 1m, or a whole number of milliseconds"},
		"negative": {spec: "  policies:\n    retries:\n      often: {duration: -1s}\n",
			form: "spec.policies.retries.often.duration: line 9: want a duration like 500ms, 5s or 1m, or a whole number of milliseconds"},
		"form": {spec: "  policies:\n    retries: [often]\n",
			form: "spec.policies.retries: line 8: want a mapping, each value a mapping with the keys policy, duration, maxInterval, maxRetries, matching, found a list"},
		"number": {spec: "  targets: {apps: {cart: {circuitBreakerCacheSize: many}}}\n",
			form: "spec.targets.apps.cart.circuitBreakerCacheSize: line 7: want a whole number, found a text"},
	} {
		t.Run(name, func(t *testing.T) {
			r := resiliencies(t, after+test.spec)
			if test.form != "" {
				test.fault = "/r.yaml (document 1, line 2): " + test.form
			}
			if len(r.Resiliencies) != 1 {
				t.Fatalf("warnings %q", r.Warnings)
			}
			if err := r.Resiliencies[0].Check(); err == nil || !strings.HasSuffix(err.Error(), test.fault) {
				t.Errorf("error %v, want …%s", err, test.fault)
			}
		})
	}
}

func FuzzSpan(f *testing.F) {
	for _, seed := range []string{"", "5", "5s", "-1", "1h2m", "9223372036854775807", "1e9", " 7 ", "0.5s", "ms"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		span, err := ParseSpan(text)
		if span < 0 || (err != nil && span != 0) {
			t.Errorf("%q: %d, %v", text, span, err)
		}
		if again, err := ParseSpan(time.Duration(span).String()); err != nil || again != span {
			t.Errorf("%q: %d is %d when it is read again", text, span, again)
		}
	})
}
