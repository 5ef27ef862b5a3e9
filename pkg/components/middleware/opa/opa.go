// Package opa is the middleware that asks a policy in Rego, the language of the Open Policy Agent, whether a request may
// pass. It uses OPA's parser, compiler and evaluator directly: its package rego adds bundles, partial evaluation and
// WebAssembly, and 2 MB to the binary.
package opa

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/middleware"
)

// defaultBody is the most of a body that a policy reads where the sidecar has no bound.
const defaultBody = 4 << 20

// errorHeader tells that a policy could not be evaluated, as in Dapr.
const errorHeader = "X-Dapr-Opa-Error"

type settings struct {
	// Rego is the policy: a module of the package http with a rule allow.
	Rego string `metadata:"rego,required"`
	// DefaultStatus is that of a refusal where the policy names none.
	DefaultStatus int `metadata:"defaultStatus" default:"403"`
	// IncludedHeaders are the headers of the request that the policy sees.
	IncludedHeaders []string `metadata:"includedHeaders"`
	// ReadBody shows the policy the body.
	ReadBody bool `metadata:"readBody"`
}

type opa struct {
	settings settings
	policy   *policy
	maxBody  int64
	log      logrus.FieldLogger
}

// New makes middleware.http.opa.
func New(ctx context.Context, spec *components.Spec) (middleware.Middleware, error) {
	var s settings
	if err := components.Decode(spec, &s); err != nil {
		return nil, err
	}
	if s.DefaultStatus < 100 || s.DefaultStatus > 599 {
		return nil, fmt.Errorf("metadata property defaultStatus: %d is not usable: want an HTTP status", s.DefaultStatus)
	}
	compiled, err := compile(ctx, s.Rego)
	if err != nil {
		return nil, fmt.Errorf("metadata property rego: %w", err)
	}
	o := &opa{settings: s, policy: compiled, maxBody: spec.MaxBodySize, log: spec.Log}
	if o.maxBody <= 0 {
		o.maxBody = defaultBody
	}
	return o, nil
}

// errBody is a body that the policy cannot be shown.
var errBody = errors.New("the body is larger than the policy reads")

// Wrap lets pass what the policy allows. Whatever goes wrong is a refusal.
func (o *opa) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		input, err := o.input(r)
		if errors.Is(err, errBody) {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		var decided decision
		if err == nil {
			decided, err = o.policy.decide(r.Context(), input)
		}
		if err != nil {
			o.log.Errorf("a request is refused since the policy could not be evaluated: %s", err)
			w.Header().Set(errorHeader, "true")
			o.refuse(w, decision{})
			return
		}
		if !decided.allow {
			o.refuse(w, decided)
			return
		}
		for name, value := range decided.headers {
			r.Header.Set(name, value)
		}
		next.ServeHTTP(w, r)
	})
}

func (o *opa) refuse(w http.ResponseWriter, decided decision) {
	for name, value := range decided.headers {
		w.Header().Set(name, value)
	}
	status := decided.status
	if status == 0 {
		status = o.settings.DefaultStatus
	}
	http.Error(w, http.StatusText(status), status)
}

// input is what the policy knows of a request, under the names of Dapr.
func (o *opa) input(r *http.Request) (map[string]any, error) {
	body, err := o.body(r)
	if err != nil {
		return nil, err
	}
	query := map[string]any{}
	for name, values := range r.URL.Query() {
		query[name] = list(values)
	}
	return map[string]any{"request": map[string]any{
		"method": r.Method, "path": r.URL.Path, "path_parts": list(strings.Split(strings.Trim(r.URL.Path, "/"), "/")),
		"raw_query": r.URL.RawQuery, "query": query, "headers": o.headers(r), "scheme": scheme(r), "body": body,
	}}, nil
}

// headers are those that the settings name. Of one that repeats the policy sees all values: an application may heed any.
func (o *opa) headers(r *http.Request) map[string]any {
	seen := make(map[string]any, len(o.settings.IncludedHeaders))
	for _, name := range o.settings.IncludedHeaders {
		name = http.CanonicalHeaderKey(name)
		if values := r.Header.Values(name); len(values) > 0 {
			seen[name] = strings.Join(values, ", ")
		}
	}
	return seen
}

func (o *opa) body(r *http.Request) (string, error) {
	if !o.settings.ReadBody || r.Body == nil || r.Body == http.NoBody {
		return "", nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, o.maxBody+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("read the request's body: %w", err)
	case int64(len(body)) > o.maxBody:
		return "", errBody
	}
	middleware.Replace(r, body)
	return string(body), nil
}

func scheme(r *http.Request) string {
	if r.URL.Scheme != "" {
		return r.URL.Scheme
	}
	return "http"
}

func list(texts []string) []any {
	all := make([]any, len(texts))
	for i := range texts {
		all[i] = texts[i]
	}
	return all
}
