// Package routing is the middleware that works on the paths of requests: routeralias rewrites them, routerchecker
// refuses those that do not match a rule.
package routing

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/middleware"
)

type aliasSettings struct {
	// Routes is a mapping of paths to the paths that take their place, as JSON or YAML.
	Routes string `metadata:"routes"`
}

type alias struct{ routes *routes }

// NewAlias makes middleware.http.routeralias.
func NewAlias(_ context.Context, spec *components.Spec) (middleware.Middleware, error) {
	table, rest := legacy(spec.Properties)
	bare := *spec
	bare.Properties = rest
	var s aliasSettings
	if err := components.Decode(&bare, &s); err != nil {
		return nil, err
	}
	var written map[string]string
	if err := yaml.Unmarshal([]byte(s.Routes), &written); err != nil {
		return nil, fmt.Errorf("metadata property routes is not usable: want a JSON or YAML mapping of paths to paths: %w", err)
	}
	for path, target := range written {
		table[path] = target
	}
	if len(table) == 0 {
		return nil, fmt.Errorf("metadata property routes is missing: want a JSON or YAML mapping of paths to paths")
	}
	parsed, err := parse(table)
	if err != nil {
		return nil, fmt.Errorf("metadata property routes: %w", err)
	}
	return &alias{parsed}, nil
}

// legacy takes the routes out of the properties that old manifests write one by one, with the path as the name.
func legacy(properties map[string]string) (table, rest map[string]string) {
	table, rest = map[string]string{}, map[string]string{}
	for name, value := range properties {
		if strings.HasPrefix(name, "/") {
			table[name] = value
		} else {
			rest[name] = value
		}
	}
	return table, rest
}

// Wrap rewrites the path of each request that a route matches.
func (a *alias) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u := a.routes.rewrite(r.URL); u != nil {
			r.URL, r.RequestURI = u, u.RequestURI()
		}
		next.ServeHTTP(w, r)
	})
}

// rewrite is the URL in the place of u, nil if no route matches.
func (t *routes) rewrite(u *url.URL) *url.URL {
	route, values := t.match(u.EscapedPath())
	if route == nil {
		return nil
	}
	rewritten := *u
	rewritten.Path, rewritten.RawPath = route.path, route.rawPath
	rewritten.RawQuery = joined(route.query, without(u.RawQuery, values), values.Encode())
	return &rewritten
}

// joined is one query of several.
func joined(queries ...string) string {
	all := ""
	for _, q := range queries {
		if q != "" && all != "" {
			all += "&"
		}
		all += q
	}
	return all
}

// without takes parameters out of a query that the path decides; the others stay as they were written.
func without(query string, decided url.Values) string {
	if query == "" || len(decided) == 0 {
		return query
	}
	kept := make([]string, 0, strings.Count(query, "&")+1)
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(name); err == nil && decided.Has(decoded) {
			continue
		}
		kept = append(kept, pair)
	}
	return strings.Join(kept, "&")
}
