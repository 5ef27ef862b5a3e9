package api_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/daprd/daprd/test/kube"
)

// TestDefinitions has the API server judge manifests by the chart's definitions.
func TestDefinitions(t *testing.T) {
	server := kube.Start(t)
	server.Definitions(t)
	server.Namespace(t, "shop")
	t.Run("accepted", func(t *testing.T) { accepted(t, server) })
	t.Run("refused", func(t *testing.T) { refused(t, server) })
}

// accepted: what users have is taken by kubectl as it is, and comes back the same.
func accepted(t *testing.T, server *kube.Server) {
	files, err := filepath.Glob("testdata/accepted/*.yaml")
	if err != nil || len(files) != 5 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if out, err := server.Kubectl(t, string(text), "apply", "-f", "-"); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			// A field that is dropped makes a difference, and so an exit code of 1.
			if out, err := server.Kubectl(t, string(text), "diff", "-f", "-"); err != nil {
				t.Errorf("it does not come back as it was: %v: %s", err, out)
			}
		})
	}
}

// refused: a mistake is told by the name of the field and what it should be.
func refused(t *testing.T, server *kube.Server) {
	tests := map[string]struct{ kind, rest, want string }{
		"no type":           {"Component", "spec: {version: v1}", "spec.type: Required value"},
		"no spec":           {"Component", "scopes: [a]", "spec: Required value"},
		"a type alone":      {"Component", "spec: {type: redis}", `spec.type: Invalid value: "string": want <category>.<name>, state.redis for one`},
		"a capital":         {"Component", "spec: {type: State.Redis}", "with the category in lower case"},
		"an unknown field":  {"Component", "spec: {type: state.redis, metdata: []}", `unknown field "spec.metdata"`},
		"scopes in spec":    {"Component", "spec: {type: state.redis, scopes: [a]}", `unknown field "spec.scopes"`},
		"a property":        {"Component", "spec: {type: state.redis, metadata: [{value: a}]}", "spec.metadata[0].name: Required value"},
		"a reference":       {"Component", "spec: {type: state.redis, metadata: [{name: a, secretKeyRef: {key: k}}]}", "spec.metadata[0].secretKeyRef.name: Required value"},
		"no list":           {"Component", "spec: {type: state.redis, metadata: {redisHost: a}}", "spec.metadata"},
		"no duration":       {"Component", "spec: {type: state.redis, initTimeout: 5}", "spec.initTimeout"},
		"no unit":           {"Component", `spec: {type: state.redis, initTimeout: "5"}`, `spec.initTimeout: Invalid value: "string": want a duration with its unit`},
		"no sampling rate":  {"Configuration", "spec: {tracing: {samplingRate: all}}", `spec.tracing.samplingRate: Invalid value: "string": want a number from 0 to 1`},
		"no trust domain":   {"Configuration", "spec: {accessControl: {policies: [{appId: a, namespace: n}]}}", "spec.accessControl.policies[0].trustDomain: Required value"},
		"no action":         {"Configuration", "spec: {accessControl: {defaultAction: permit}}", "spec.accessControl.defaultAction: Invalid value"},
		"no access":         {"Configuration", "spec: {secrets: {scopes: [{storeName: s, defaultAccess: never}]}}", "spec.secrets.scopes[0].defaultAccess: Invalid value"},
		"no time of life":   {"Configuration", "spec: {mtls: {workloadCertTTL: day}}", `spec.mtls.workloadCertTTL: Invalid value: "string": want a duration with its unit`},
		"a protocol":        {"Configuration", "spec: {api: {allowed: [{name: state, version: v1.0, protocol: tcp}]}}", `spec.api.allowed[0].protocol: Unsupported value: "tcp"`},
		"no URL":            {"HTTPEndpoint", "spec: {headers: []}", "spec.baseUrl: Required value"},
		"a bare host":       {"HTTPEndpoint", "spec: {baseUrl: api.github.com}", `spec.baseUrl: Invalid value: "string": want a URL that begins with http:// or https://`},
		"renegotiation":     {"HTTPEndpoint", `spec: {baseUrl: "https://a", clientTLS: {renegotiation: Always}}`, `Unsupported value: "Always"`},
		"a policy":          {"Resiliency", "spec: {policies: {retries: {r: {policy: linear}}}}", `spec.policies.retries.r.policy: Unsupported value: "linear"`},
		"no scope":          {"Resiliency", "spec: {targets: {actors: {a: {circuitBreaker: c}}}}", "actor circuit breakers must include scope"},
		"a timeout":         {"Resiliency", "spec: {policies: {timeouts: {t: soon}}}", "spec.policies.timeouts.t: Invalid value"},
		"negative":          {"Resiliency", "spec: {policies: {retries: {r: {maxRetries: -2}}}}", "spec.policies.retries.r.maxRetries: Invalid value"},
		"no topic":          {"Subscription", "spec: {pubsubname: p, routes: {default: /a}}", "spec.topic: Required value"},
		"no routes":         {"Subscription", "spec: {pubsubname: p, topic: t, routes: {}}", `spec.routes: Invalid value: "object": want a default path, or rules`},
		"the first's route": {"Subscription", "spec: {pubsubname: p, topic: t, route: /a}", `unknown field "spec.route"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			version := "v1alpha1"
			if test.kind == "Subscription" {
				version = "v2alpha1"
			}
			out, err := server.Kubectl(t, fmt.Sprintf("apiVersion: dapr.io/%s\nkind: %s\nmetadata: {name: bad, namespace: shop}\n%s\n", version, test.kind, test.rest), "create", "-f", "-")
			if err == nil {
				t.Fatal("it is taken")
			}
			if !strings.Contains(out, test.want) {
				t.Errorf("the message lacks %q: %s", test.want, out)
			}
		})
	}
}
