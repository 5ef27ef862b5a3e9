package opa

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/middleware"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, properties map[string]string) middleware.Middleware {
	t.Helper()
	instance, err := New(t.Context(), componentstest.Spec("middleware.http.opa", properties))
	if err != nil {
		t.Fatal(err)
	}
	return instance
}

// ask gives the answer to a request; what passes is echoed, with its X-Role.
func ask(m middleware.Middleware, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Role", r.Header.Get("X-Role"))
		w.WriteHeader(http.StatusAccepted)
		io.Copy(w, r.Body)
	})).ServeHTTP(w, r)
	return w
}

func TestDecisions(t *testing.T) {
	tests := map[string]struct {
		rego       string
		properties map[string]string
		want       int
		header     string // Location of the answer or X-Role of the request
	}{
		"true":            {rego: "allow := true", want: 202},
		"false":           {rego: "allow := false", want: 403},
		"default status":  {rego: "allow := false", properties: map[string]string{"defaultStatus": "404"}, want: 404},
		"undefined":       {rego: "allow if input.nothing", want: 403},
		"method":          {rego: `allow if input.request.method == "POST"`, want: 202},
		"path":            {rego: `allow if input.request.path == "/v1.0/a b"`, want: 202},
		"path parts":      {rego: `allow if input.request.path_parts == ["v1.0", "a b"]`, want: 202},
		"raw query":       {rego: `allow if input.request.raw_query == "q=1&q=2"`, want: 202},
		"query":           {rego: `allow if input.request.query.q == ["1", "2"]`, want: 202},
		"scheme":          {rego: `allow if input.request.scheme == "http"`, want: 202},
		"hidden header":   {rego: `allow if input.request.headers["X-Key"] == "k"`, want: 403},
		"shown header":    {rego: `allow if input.request.headers["X-Key"] == "k"`, properties: map[string]string{"includedHeaders": "x-other, x-key"}, want: 202},
		"repeated header": {rego: `allow if input.request.headers["X-Two"] == "1, 2"`, properties: map[string]string{"includedHeaders": "X-Two"}, want: 202},
		"hidden body":     {rego: `allow if input.request.body == "text"`, want: 403},
		"shown body":      {rego: `allow if input.request.body == "text"`, properties: map[string]string{"readBody": "true"}, want: 202},
		"redirect":        {rego: `allow := {"status_code": 301, "additional_headers": {"location": "/in"}}`, want: 301, header: "/in"},
		"object":          {rego: `allow := {"allow": true, "additional_headers": {"x-role": "w"}}`, want: 202, header: "w"},
		"object, no":      {rego: `allow := {"allow": false, "status_code": 418}`, want: 418},
		"text":            {rego: `allow := "yes"`, want: 403},
		"odd allow":       {rego: `allow := {"allow": "yes"}`, want: 403},
		"odd status":      {rego: `allow := {"allow": true, "status_code": 7}`, want: 403},
		"odd headers":     {rego: `allow := {"allow": true, "additional_headers": {"a": 1}}`, want: 403},
		"conflict":        {rego: "allow := true if input.request\nallow := {\"allow\": false} if input.request", want: 403},
		"old syntax":      {rego: "default allow = false\nallow = true { input.request.method == \"POST\" }", want: 202},
		"from a token": {rego: `import rego.v1
allow if { [_, payload, _] := io.jwt.decode(input.request.headers["Authorization"]); payload.role == "admin" }`,
			properties: map[string]string{"includedHeaders": "authorization"}, want: 202},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			properties := map[string]string{"rego": "package http\n" + test.rego}
			for name, value := range test.properties {
				properties[name] = value
			}
			r := httptest.NewRequest("POST", "/v1.0/a%20b?q=1&q=2", strings.NewReader("text"))
			r.Header.Set("X-Key", "k")
			r.Header.Add("X-Two", "1")
			r.Header.Add("X-Two", "2")
			// {"role":"admin"}
			r.Header.Set("Authorization", "eyJhbGciOiJub25lIn0.eyJyb2xlIjoiYWRtaW4ifQ.")
			w := ask(start(t, properties), r)
			if w.Code != test.want || w.Code == 202 && w.Body.String() != "text" {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if got := w.Header().Get("Location") + w.Header().Get("X-Role"); got != test.header {
				t.Errorf("header %q", got)
			}
		})
	}
}

func TestFailuresAreRefusals(t *testing.T) {
	m := start(t, map[string]string{"rego": "package http\nallow := \"yes\""})
	if w := ask(m, httptest.NewRequest("GET", "/", nil)); w.Code != 403 || w.Header().Get("x-dapr-opa-error") != "true" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

// TestEndlessPolicy: an evaluation ends with the request.
func TestEndlessPolicy(t *testing.T) {
	m := start(t, map[string]string{"rego": `package http
allow if { some a in numbers.range(0, 100000); some b in numbers.range(0, 100000); a + b == -1 }`})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if w := ask(m, httptest.NewRequest("GET", "/", nil).WithContext(ctx)); w.Code != 403 || w.Header().Get("x-dapr-opa-error") != "true" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestBodyBound(t *testing.T) {
	spec := componentstest.Spec("middleware.http.opa", map[string]string{"rego": "package http\nallow := true", "readBody": "true"})
	spec.MaxBodySize = 4
	m, err := New(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]int{"four": 202, "five5": 413} {
		if w := ask(m, httptest.NewRequest("POST", "/", strings.NewReader(body))); w.Code != want {
			t.Errorf("%s: %d", body, w.Code)
		}
	}
}

func TestSettings(t *testing.T) {
	for name, test := range map[string]struct {
		properties map[string]string
		want       string
	}{
		"nothing":       {nil, "metadata property rego is missing"},
		"no rego":       {map[string]string{"rego": "what?"}, "metadata property rego: the policy cannot be read"},
		"empty":         {map[string]string{"rego": "# nothing"}, "metadata property rego: the policy"},
		"package":       {map[string]string{"rego": "package authz\nallow := true"}, "not of the package http"},
		"no allow":      {map[string]string{"rego": "package http\nallowed := true"}, "has no rule allow"},
		"unknown names": {map[string]string{"rego": "package http\nallow if x == y"}, "metadata property rego"},
		"status":        {map[string]string{"rego": "package http\nallow := true", "defaultStatus": "9"}, "metadata property defaultStatus"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := New(t.Context(), componentstest.Spec("middleware.http.opa", test.properties)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestReadme(t *testing.T) {
	m, err := New(t.Context(), componentstest.FromReadme(t, "middleware.http.opa"))
	if err != nil {
		t.Fatal(err)
	}
	if w := ask(m, httptest.NewRequest("GET", "/v1.0/metadata", nil)); w.Code != 202 {
		t.Errorf("GET: %d", w.Code)
	}
	if w := ask(m, httptest.NewRequest("POST", "/v1.0/metadata", nil)); w.Code != 403 {
		t.Errorf("POST: %d", w.Code)
	}
	r := httptest.NewRequest("POST", "/v1.0/metadata", nil)
	r.Header.Set("X-Key", "s3cret")
	if w := ask(m, r); w.Code != 202 || w.Header().Get("X-Role") != "writer" {
		t.Errorf("POST with the key: %d", w.Code)
	}
}
