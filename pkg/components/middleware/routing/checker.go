package routing

import (
	"context"
	"fmt"
	"net/http"
	"regexp"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/middleware"
)

type checkerSettings struct {
	// Rule is a regular expression in Go's syntax that paths have to match somewhere; ^ and $ bind it to the ends.
	Rule string `metadata:"rule,required"`
}

type checker struct{ rule *regexp.Regexp }

// NewChecker makes middleware.http.routerchecker.
func NewChecker(_ context.Context, spec *components.Spec) (middleware.Middleware, error) {
	var s checkerSettings
	if err := components.Decode(spec, &s); err != nil {
		return nil, err
	}
	rule, err := regexp.Compile(s.Rule)
	if err != nil {
		return nil, fmt.Errorf("metadata property rule is not usable: want a regular expression: %w", err)
	}
	return &checker{rule}, nil
}

// Wrap answers 400 to paths that do not match, in Dapr's words.
func (c *checker) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !c.rule.MatchString(r.URL.Path) {
			http.Error(w, "invalid router", http.StatusBadRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}
