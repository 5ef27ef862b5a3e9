package config

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestAuthorised(t *testing.T) {
	tests := map[string]struct {
		resource  string // its namespace
		scopes    []string
		namespace string
		want      bool
	}{
		"nothing said":            {"", nil, "", true},
		"sidecar without one":     {"ns", nil, "", true},
		"resource without one":    {"", nil, "ns", true},
		"the same":                {"ns", nil, "ns", true},
		"another":                 {"other", nil, "ns", false},
		"scope":                   {"", []string{"x", "app"}, "", true},
		"other scope":             {"", []string{"x"}, "", false},
		"scope in another case":   {"", []string{"App"}, "", false},
		"scope, other namespace":  {"other", []string{"app"}, "ns", false},
		"empty list is for all":   {"", []string{}, "", true},
		"a scope without content": {"", []string{""}, "", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Authorised(Meta{Name: "c", Namespace: test.resource}, test.scopes, "app", test.namespace); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

func TestTemplates(t *testing.T) {
	pod := Templates{AppID: "app", Namespace: "ns", PodName: "pod-1"}
	tests := map[string]struct {
		templates   Templates
		value, want string // want is a regular expression
	}{
		"plain":             {pod, "plain", "plain"},
		"all":               {pod, "{appID}/{namespace}/{podName}", "app/ns.app/pod-1"},
		"default namespace": {Templates{AppID: "app"}, "{namespace}", "default.app"},
		"other case":        {pod, "{appId}{APPID}{ appID }", `\{appId\}\{APPID\}\{ appID \}`},
		"JSON":              {pod, `{"a":"{appID}"}`, `\{"a":"app"\}`},
		"uuid":              {Templates{}, "x-{uuid}", `x-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`},
		"once only":         {Templates{AppID: "{podName}"}, "{appID}", `\{podName\}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := test.templates.Fill(test.value)
			if err != nil || !regexp.MustCompile("^"+test.want+"$").MatchString(got) {
				t.Errorf("%q, %v; want %q", got, err, test.want)
			}
		})
	}
	if _, err := (Templates{AppID: "app"}).Fill("{podName}"); err == nil || !strings.Contains(err.Error(), "POD_NAME is not set") {
		t.Errorf("error %v without a pod", err)
	}
	got, err := pod.Fill("{uuid}{uuid}")
	if err != nil || len(got) != 72 || got[:36] == got[36:] {
		t.Errorf("two UUIDs are %q, %v", got, err)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("SETTING", "value")
	t.Setenv("OTHER", "other")
	t.Setenv("APP_API_TOKEN", "secret")
	t.Setenv("DAPR_API_TOKEN", "secret")
	tests := map[string]struct {
		keys, name, want string
		refused          string
	}{
		"allowed":           {"", "SETTING", "value", ""},
		"not set":           {"", "NOT_SET_ANYWHERE", "", ""},
		"listed":            {"A SETTING B", "SETTING", "value", ""},
		"not listed":        {"A SETTING B", "OTHER", "", "DAPR_ENV_KEYS does not list it"},
		"list of nothing":   {" ", "SETTING", "", "DAPR_ENV_KEYS does not list it"},
		"empty":             {"", "", "", "must name an environment variable"},
		"app token":         {"", "APP_API_TOKEN", "", "is not allowed in an envRef"},
		"app token in case": {"", "app_api_token", "", "is not allowed in an envRef"},
		"ours":              {"DAPR_API_TOKEN", "DAPR_API_TOKEN", "", "is not allowed in an envRef"},
		"ours in case":      {"", "dapr_Anything", "", "is not allowed in an envRef"},
		"space":             {"", "SETTING X", "", "is not allowed in an envRef"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("DAPR_ENV_KEYS", test.keys)
			got, err := Environment(test.name)
			if got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
			if (err == nil) != (test.refused == "") || err != nil && !strings.Contains(err.Error(), test.refused) {
				t.Errorf("error %v, want %q", err, test.refused)
			}
		})
	}
}

func TestProtocols(t *testing.T) {
	tests := map[string]struct {
		want, tls Protocol
		grpc      bool
	}{
		"": {HTTP, HTTPS, false}, "http": {HTTP, HTTPS, false}, "HTTP": {HTTP, HTTPS, false}, "https": {HTTPS, HTTPS, false}, "H2C": {H2C, H2C, false},
		"gRPC": {GRPC, GRPCS, true}, "grpcs": {GRPCS, GRPCS, true},
	}
	for text, test := range tests {
		got, err := ParseProtocol(text)
		if err != nil || got != test.want || got.WithTLS() != test.tls || got.IsGRPC() != test.grpc {
			t.Errorf("%q is %s, with TLS %s, gRPC %v, error %v", text, got, got.WithTLS(), got.IsGRPC(), err)
		}
	}
	for _, text := range []string{"smtp", "http ", "h2"} {
		if _, err := ParseProtocol(text); err == nil || !strings.HasPrefix(err.Error(), "invalid value for 'app-protocol': "+text) {
			t.Errorf("%q: error %v", text, err)
		}
	}
}

func TestSecretScopes(t *testing.T) {
	lists := SecretScope{AllowedSecrets: []string{"a", "b"}, DeniedSecrets: []string{"b", "c"}, DefaultAccess: "deny"}
	tests := map[string]struct {
		scope SecretScope
		name  string
		want  bool
	}{
		"no rule":                {SecretScope{}, "x", true},
		"default allow":          {SecretScope{DefaultAccess: "allow"}, "x", true},
		"default deny":           {SecretScope{DefaultAccess: "Deny"}, "x", false},
		"listed":                 {lists, "a", true},
		"listed in both":         {lists, "b", true},
		"denied":                 {lists, "c", false},
		"not listed":             {lists, "x", false},
		"not listed but default": {SecretScope{AllowedSecrets: []string{"a"}, DefaultAccess: "allow"}, "x", false},
		"denied one":             {SecretScope{DeniedSecrets: []string{"c"}}, "c", false},
		"not denied":             {SecretScope{DeniedSecrets: []string{"c"}}, "x", true},
		"neither, denied":        {SecretScope{DeniedSecrets: []string{"c"}, DefaultAccess: "deny"}, "x", false},
		"case matters":           {SecretScope{DeniedSecrets: []string{"c"}}, "C", true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := test.scope.Allowed(test.name); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

func TestDeniedComponents(t *testing.T) {
	spec := ComponentsSpec{Deny: []string{"state.redis", "pubsub.kafka/v2"}}
	tests := map[string]struct {
		spec          ComponentsSpec
		kind, version string
		want          bool
	}{
		"no list": {ComponentsSpec{}, "state.redis", "v1", false}, "no list, no type": {ComponentsSpec{}, "", "", false},
		"type": {spec, "state.redis", "v1", true}, "other type": {spec, "state.sqlite", "v1", false}, "case": {spec, "State.Redis", "v1", false},
		"version": {spec, "pubsub.kafka", "v2", true}, "other version": {spec, "pubsub.kafka", "v1", false},
		"no version": {spec, "state.sqlite", "", true}, "no type": {spec, "", "v1", true},
	}
	for name, test := range tests {
		if got := test.spec.Denied(test.kind, test.version); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

func TestComponentTexts(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 5 * time.Second, "30s": 30 * time.Second, "soon": 5 * time.Second, "0s": 5 * time.Second, "-1s": 5 * time.Second, "5": 5 * time.Second} {
		if got := (&Component{Spec: ComponentSpec{InitTimeout: text}}).InitLimit(); got != want {
			t.Errorf("initTimeout %q is %s, want %s", text, got, want)
		}
	}
	for kind, want := range map[string]string{"state.redis": "state", "middleware.http.uppercase": "middleware", "state": "state", "": "", "State.redis": "State"} {
		if got := (&Component{Spec: ComponentSpec{Type: kind}}).Category(); got != want {
			t.Errorf("the category of %q is %q, want %q", kind, got, want)
		}
	}
	c := Component{Meta: Meta{Name: "st"}, Spec: ComponentSpec{Type: "state.redis", Version: "v1"}}
	if got := c.String(); got != "st (state.redis/v1)" {
		t.Errorf("a component is %q", got)
	}
}
