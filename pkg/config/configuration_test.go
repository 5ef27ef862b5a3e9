package config

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const fullConfiguration = `apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: c, namespace: n}
spec:
  httpPipeline: {handlers: [{name: u, type: middleware.http.uppercase, version: v1, selector: {fields: [{field: a, value: b}]}}]}
  appHttpPipeline: {handlers: [{name: r, type: middleware.http.ratelimit}]}
  tracing:
    samplingRate: 0.5
    stdout: true
    zipkin: {endpointAddress: "http://z:9411/api/v2/spans"}
    otel: {protocol: grpc, endpointAddress: o:4317, isSecure: false, headers: [a=b=c, {name: d, secretKeyRef: {name: s, key: k}}], timeout: 3s}
  mtls: {enabled: true, workloadCertTTL: 24h, allowedClockSkew: 15m, sentryAddress: s:1, controlPlaneTrustDomain: td, tokenValidators: [{name: jwks, options: {source: "https://i/jwks"}}]}
  metric: {enabled: false}
  metrics:
    recordErrorCodes: true
    http: {increasedCardinality: false, pathMatching: [/a, "/b/{id}"], excludeVerbs: true}
    latencyDistributionBuckets: [1, 10, 2.5]
    rules: [{name: m, labels: [{name: l, regex: {replacement: pattern}}]}]
  secrets: {scopes: [{storeName: s, defaultAccess: deny, allowedSecrets: [a], deniedSecrets: [b]}]}
  accessControl:
    defaultAction: deny
    trustDomain: td
    policies: [{appId: a, defaultAction: allow, trustDomain: td, namespace: n, operations: [{name: /op, httpVerb: [GET, POST], action: deny}]}]
  nameResolution: {component: sqlite, version: v1, configuration: {connectionString: x.db, timeout: 5, nested: {1: on}}}
  features: [{name: F, enabled: true}, {name: G, enabled: false}]
  api: {allowed: [{name: state, version: v1.0, protocol: http}], denied: [{name: invoke, version: v1, protocol: grpc}]}
  components: {deny: [state.redis]}
  logging: {apiLogging: {enabled: true, obfuscateURLs: true, omitHealthChecks: true}}
  wasm: {strictSandbox: true}
  workflow:
    maxConcurrentWorkflowInvocations: 1
    maxConcurrentActivityInvocations: 2
    globalMaxConcurrentWorkflowInvocations: 3
    globalMaxConcurrentActivityInvocations: 4
    workflowConcurrencyLimits: [{name: w, maxConcurrent: 5}]
    activityConcurrencyLimits: [{name: a, maxConcurrent: 6}]
    stateRetentionPolicy: {anyTerminal: 1h, completed: 2h, failed: 3h, terminated: 4h}
  unknown: {key: [1]}
`

func allConfiguration() *Configuration {
	no := false
	return &Configuration{Meta: Meta{"c", "n"}, Spec: ConfigurationSpec{
		HTTPPipeline:    PipelineSpec{[]Handler{{"u", "middleware.http.uppercase", "v1"}}},
		AppHTTPPipeline: PipelineSpec{[]Handler{{"r", "middleware.http.ratelimit", ""}}},
		Tracing: TracingSpec{SamplingRate: "0.5", Stdout: true, Zipkin: ZipkinSpec{"http://z:9411/api/v2/spans"},
			OTel: OTelSpec{Protocol: "grpc", EndpointAddress: "o:4317", IsSecure: &no, Timeout: "3s",
				Headers: []OTelHeader{{Name: "a", Value: "b=c"}, {Name: "d", SecretKeyRef: SecretKeyRef{"s", "k"}}}}},
		MTLS:   MTLSSpec{true, "24h", "15m", "s:1", "td", []TokenValidator{{"jwks", FreeForm{"source": "https://i/jwks"}}}},
		Metric: &MetricSpec{Enabled: &no},
		Metrics: &MetricSpec{RecordErrorCodes: true, HTTP: MetricHTTP{&no, []string{"/a", "/b/{id}"}, true}, LatencyBuckets: []float64{1, 10, 2.5},
			Rules: []MetricRule{{"m", []MetricLabel{{"l", map[string]string{"replacement": "pattern"}}}}}},
		Secrets: SecretsSpec{[]SecretScope{{"s", "deny", []string{"a"}, []string{"b"}}}},
		AccessControl: AccessControlSpec{"deny", "td", []AppPolicy{{"a", "allow", "td", "n",
			[]AppOperation{{"/op", []string{"GET", "POST"}, "deny"}}}}},
		NameResolution: NameResolutionSpec{"sqlite", "v1", FreeForm{"connectionString": "x.db", "timeout": int64(5), "nested": map[string]any{"1": true}}},
		Features:       []Feature{{"F", true}, {"G", false}},
		API:            APISpec{[]APIRule{{"state", "v1.0", "http"}}, []APIRule{{"invoke", "v1", "grpc"}}},
		Components:     ComponentsSpec{[]string{"state.redis"}},
		Logging:        LoggingSpec{APILogging{true, true, true}},
		WASM:           WASMSpec{true},
		Workflow: WorkflowSpec{1, 2, 3, 4, []ConcurrencyLimit{{"w", 5}}, []ConcurrencyLimit{{"a", 6}},
			RetentionPolicy{"1h", "2h", "3h", "4h"}},
	}}
}

func configurationFile(t testing.TB, text string) string {
	t.Helper()
	return filepath.Join(folder(t, map[string]string{"c.yaml": text}), "c.yaml")
}

func TestReadConfiguration(t *testing.T) {
	got, err := ReadConfiguration(configurationFile(t, fullConfiguration))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(allConfiguration(), got); diff != "" {
		t.Error(diff)
	}
}

func TestConfigurationOverDefaults(t *testing.T) {
	t.Setenv("RATE", "0.25")
	t.Setenv("UNSET", "")
	tests := map[string]struct {
		texts []string
		want  func(*ConfigurationSpec)
	}{
		"no file":        {nil, func(*ConfigurationSpec) {}},
		"an empty file":  {[]string{""}, func(*ConfigurationSpec) {}},
		"no kind":        {[]string{"spec: {tracing: {samplingRate: '1'}}"}, func(s *ConfigurationSpec) { s.Tracing.SamplingRate = "1" }},
		"another kind":   {[]string{"kind: Component\nspec: {type: x, tracing: {samplingRate: '1'}}"}, func(s *ConfigurationSpec) { s.Tracing.SamplingRate = "1" }},
		"first document": {[]string{"spec: {tracing: {samplingRate: '1'}}\n---\nspec: {tracing: {samplingRate: '0'}}"}, func(s *ConfigurationSpec) { s.Tracing.SamplingRate = "1" }},
		"variables": {[]string{"spec: {tracing: {samplingRate: \"$RATE\", zipkin: {endpointAddress: 'a${UNSET}b${RATE}'}}}"}, func(s *ConfigurationSpec) {
			s.Tracing = TracingSpec{SamplingRate: "0.25", Zipkin: ZipkinSpec{"ab0.25"}}
		}},
		"keys have a case":    {[]string{"spec: {Tracing: {samplingRate: '1'}}"}, func(*ConfigurationSpec) {}},
		"default action kept": {[]string{"spec: {accessControl: {trustDomain: td}}"}, func(s *ConfigurationSpec) { s.AccessControl.TrustDomain = "td" }},
		"trust domain kept":   {[]string{"spec: {accessControl: {defaultAction: deny}}"}, func(s *ConfigurationSpec) { s.AccessControl.DefaultAction = "deny" }},
		"later file wins": {[]string{"spec: {tracing: {samplingRate: '1', stdout: true}, features: [{name: A, enabled: true}]}",
			"spec: {tracing: {samplingRate: '0'}, features: [{name: B, enabled: true}]}"},
			func(s *ConfigurationSpec) {
				s.Tracing = TracingSpec{SamplingRate: "0", Stdout: true}
				s.Features = []Feature{{"B", true}}
			}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var paths []string
			for _, text := range test.texts {
				paths = append(paths, configurationFile(t, text))
			}
			got, err := ReadConfiguration(paths...)
			if err != nil {
				t.Fatal(err)
			}
			want := ConfigurationSpec{AccessControl: AccessControlSpec{DefaultAction: "allow", TrustDomain: "public"}}
			test.want(&want)
			if diff := cmp.Diff(want, got.Spec, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUnusableConfigurations(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"not YAML":       {"spec: [\n", "c.yaml: yaml: line "},
		"wrong form":     {"spec:\n  features: on\n", "c.yaml: spec.features: line 2: want a list, each entry a mapping with the keys name, enabled, found a text"},
		"line":           {"spec:\n  metric: {enabled: maybe}\n", "spec.metric.enabled: line 2: want true or false, found a text"},
		"store twice":    {"spec: {secrets: {scopes: [{storeName: s}, {storeName: s}]}}", "error loading configuration: s storeName is repeated in secrets configuration: "},
		"default access": {"spec: {secrets: {scopes: [{storeName: s, defaultAccess: maybe}]}}", "error loading configuration: defaultAccess maybe can be either allow or deny (spec.secrets.scopes, storeName s)"},
		"policies": {"spec: {accessControl: {policies: [{appId: a}, {trustDomain: td, namespace: n}, {appId: b, trustDomain: td}]}}",
			"invalid access control spec. missing trustdomain for apps: [a], missing namespace for apps: [a b], missing app name on at least one of the app policies: true"},
		"resolver":    {"spec: {nameResolution: {configuration: [1]}}", "line 1: want a mapping of names to values"},
		"header":      {"spec: {tracing: {otel: {headers: [x]}}}", "line 1: a header is written name=value"},
		"key twice":   {"spec: {features: [], features: []}", `mapping key "features" already defined at line 1`},
		"too large":   {strings.Repeat("#", maxFile+1), "it is larger than 16 MiB"},
		"alias loops": {"spec: &a {nameResolution: {configuration: *a}}", "the value has more than 100000 parts"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ReadConfiguration(configurationFile(t, test.text))
			if err == nil || !strings.HasPrefix(err.Error(), "error loading configuration: ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	if _, err := ReadConfiguration(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("error %v of a folder", err)
	}
}

// TestConfigurationFromPipe: a shell's <(…) is no regular file.
func TestConfigurationFromPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("spec: {tracing: {samplingRate: '1'}}"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	c := DefaultConfiguration()
	if err := c.read(filepath.Join("/proc/self/fd", strconv.Itoa(int(r.Fd())))); err != nil {
		if os.IsNotExist(err) {
			t.Skip("there is no /proc on this system")
		}
		t.Fatal(err)
	}
	if c.Spec.Tracing.SamplingRate != "1" {
		t.Errorf("spec %+v", c.Spec)
	}
}

func TestNotInUse(t *testing.T) {
	if got := DefaultConfiguration().NotInUse(); got != nil {
		t.Errorf("of the defaults: %q", got)
	}
	want := []string{"Configuration's spec.metrics.recordErrorCodes", "Configuration's spec.workflow"}
	if diff := cmp.Diff(want, allConfiguration().NotInUse()); diff != "" {
		t.Error(diff)
	}
}

func TestAccessControlDefaults(t *testing.T) {
	tests := map[string]struct {
		spec            AccessControlSpec
		enabled, allows bool
	}{
		"standalone":           {defaultAccessControl(), true, true},
		"nothing":              {AccessControlSpec{}, false, false},
		"nothing, empty list":  {AccessControlSpec{Policies: []AppPolicy{}}, false, true},
		"in any case":          {AccessControlSpec{DefaultAction: "ALLOW"}, true, true},
		"deny":                 {AccessControlSpec{DefaultAction: "deny", TrustDomain: "public"}, true, false},
		"domain only":          {AccessControlSpec{TrustDomain: "td"}, true, false},
		"empty list":           {AccessControlSpec{TrustDomain: "td", Policies: []AppPolicy{}}, true, true},
		"no action, a policy":  {AccessControlSpec{Policies: []AppPolicy{{}}}, true, false},
		"allow and a policy":   {AccessControlSpec{DefaultAction: "allow", Policies: []AppPolicy{{}}}, true, true},
		"neither allow or not": {AccessControlSpec{DefaultAction: "maybe"}, true, false},
	}
	for name, test := range tests {
		if enabled, allows := test.spec.Enabled(), test.spec.DefaultAllows(); enabled != test.enabled || allows != test.allows {
			t.Errorf("%s: enabled %t, allows %t; want %t, %t", name, enabled, allows, test.enabled, test.allows)
		}
	}
}

func TestEachPartNotInUse(t *testing.T) {
	for text, want := range map[string]string{
		"accessControl: {policies: [{appId: a, trustDomain: td, namespace: n, defaultAction: deny}]}": "",
		"httpPipeline: {handlers: [{name: u, type: middleware.http.uppercase}]}":                      "",
		"tracing: {samplingRate: '1'}":                            "",
		"tracing: {stdout: true}":                                 "",
		"metric: {recordErrorCodes: true}":                        "metric.recordErrorCodes",
		"metric: {rules: [{name: m}]}":                            "",
		"metric: {enabled: false}":                                "",
		"metrics: {http: {increasedCardinality: false}}":          "",
		"mtls: {enabled: true}":                                   "",
		"workflow: {maxConcurrentWorkflowInvocations: 0}":         "",
		"workflow: {workflowConcurrencyLimits: []}":               "",
		"workflow: {activityConcurrencyLimits: [{name: a}]}":      "workflow",
		"workflow: {stateRetentionPolicy: {anyTerminal: 1h}}":     "workflow",
		"workflow: {globalMaxConcurrentActivityInvocations: 100}": "workflow",
	} {
		c, err := ReadConfiguration(configurationFile(t, "spec:\n  "+text+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(c.NotInUse(), ", "); got != "" && got != "Configuration's spec."+want || (got == "") != (want == "") {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestIdleAPIRules(t *testing.T) {
	spec := APISpec{Allowed: []APIRule{{"a", "v1", "http"}, {"b", "v1", "HTTP"}}, Denied: []APIRule{{"c", "v1", "grpc"}, {"d", "v1", ""}}}
	if diff := cmp.Diff([]APIRule{{"b", "v1", "HTTP"}, {"d", "v1", ""}}, spec.Idle()); diff != "" {
		t.Error(diff)
	}
}

func TestFeatures(t *testing.T) {
	c := Configuration{Spec: ConfigurationSpec{Features: []Feature{{"A", true}, {"B", false}, {"A", false}, {"C", true}}}}
	for name, want := range map[string]bool{"A": true, "B": false, "C": true, "D": false, "a": false} {
		if got := c.FeatureEnabled(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if diff := cmp.Diff([]string{"A", "C"}, c.EnabledFeatures()); diff != "" {
		t.Error(diff)
	}
}

func TestMetricSettings(t *testing.T) {
	yes, no := true, false
	tests := map[string]struct {
		spec    ConfigurationSpec
		enabled bool
		buckets []float64
	}{
		"nothing said":   {ConfigurationSpec{}, true, nil},
		"off":            {ConfigurationSpec{Metric: &MetricSpec{Enabled: &no}}, false, nil},
		"buckets":        {ConfigurationSpec{Metric: &MetricSpec{LatencyBuckets: []float64{1, 2}}}, true, []float64{1, 2}},
		"the newer name": {ConfigurationSpec{Metrics: &MetricSpec{Enabled: &no}}, false, nil},
		"newer wins":     {ConfigurationSpec{Metric: &MetricSpec{Enabled: &no, LatencyBuckets: []float64{1}}, Metrics: &MetricSpec{Enabled: &yes}}, true, nil},
	}
	for name, test := range tests {
		c := Configuration{Spec: test.spec}
		if got := c.MetricSettings(); got.On() != test.enabled || !cmp.Equal(got.LatencyBuckets, test.buckets) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for _, tc := range []struct {
		said *bool
		want bool
	}{{nil, true}, {&yes, true}, {&no, false}} {
		if got := (&MetricHTTP{IncreasedCardinality: tc.said}).Increased(); got != tc.want {
			t.Errorf("increasedCardinality %v: %v", tc.said, got)
		}
	}
}

func TestProperties(t *testing.T) {
	got, err := Properties(map[string]any{"text": "a", "number": int64(5), "flag": true, "list": []any{"a", 1}, "none": nil})
	want := map[string]string{"text": "a", "number": "5", "flag": "true", "list": `["a",1]`, "none": "null"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if _, err := Properties(map[string]any{"f": func() {}}); err == nil || !strings.HasPrefix(err.Error(), "the value of f has no JSON form") {
		t.Errorf("error %v", err)
	}
}

// FuzzConfiguration: any text is read or refused.
func FuzzConfiguration(f *testing.F) {
	for _, seed := range []string{fullConfiguration, "", "spec: [", "spec: &a {nameResolution: {configuration: *a}}", "spec: {tracing: {otel: {headers: [a=b, {name: c}]}}}",
		"spec: {metric: ~, metrics: {latencyDistributionBuckets: [1e400]}}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := DefaultConfiguration()
		if err := c.decode("file", text); err != nil {
			return
		}
		_ = c.Validate()
		_ = c.NotInUse()
		if _, err := Properties(c.Spec.NameResolution.Configuration); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}
