package pubsub

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types/ref"

	"github.com/daprd/daprd/pkg/cloudevent"
	"github.com/daprd/daprd/pkg/config"
)

// maxMatch bounds a rule's expression, in bytes, and costs what one evaluation may do.
const (
	maxMatch = 16 << 10
	costs    = 1_000_000
)

// routes are the rules of one subscription, compiled.
type routes struct {
	rules []rule
	// only is the path where the first rule always matches: no event has to be read for it.
	only string
}

type rule struct {
	match cel.Program // nil always matches
	text  string
	path  string
}

// errNoRoute is an event that no rule wants.
var errNoRoute = errors.New("no matching route")

// newRoutes compiles the rules. The error names the rule.
func newRoutes(rules []config.TopicRule) (*routes, error) {
	r := &routes{}
	if len(rules) == 0 {
		return nil, errors.New("it has no route: name a route, or routes with rules or a default")
	}
	for i, from := range rules {
		to := rule{text: from.Match, path: from.Path}
		if from.Match != "" {
			program, err := compile(from.Match)
			if err != nil {
				return nil, fmt.Errorf("rule %d: match %q: %w", i+1, from.Match, err)
			}
			to.match = program
		}
		r.rules = append(r.rules, to)
	}
	if r.rules[0].match == nil {
		r.only = r.rules[0].path
	}
	return r, nil
}

// environment knows the variable event; made when the first rule has a match, since most sidecars have none.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(cel.Variable("event", cel.MapType(cel.StringType, cel.DynType)), cel.CrossTypeNumericComparisons(true))
})

// compile makes a program of an expression that has to give a bool. Names that nobody knows are errors of evaluation,
// as in Dapr, not of the subscription.
func compile(text string) (cel.Program, error) {
	if len(text) > maxMatch {
		return nil, fmt.Errorf("it has more than %d bytes", maxMatch)
	}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Parse(text)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	return env.Program(ast, cel.CostLimit(costs))
}

// path is that of the first rule that matches the event.
func (r *routes) path(event cloudevent.Event) (string, error) {
	if r.rules[0].match == nil {
		return r.only, nil
	}
	variables, err := variablesOf(event)
	if err != nil {
		return "", err
	}
	for i := range r.rules {
		rule := &r.rules[i]
		if rule.match == nil {
			return rule.path, nil
		}
		value, _, err := rule.match.Eval(variables)
		if err != nil {
			return "", fmt.Errorf("evaluate the routing rule %q: %w", rule.text, err)
		}
		matches, ok := ref.Val(value).Value().(bool)
		if !ok {
			return "", fmt.Errorf("the routing rule %q gives %T: want a bool", rule.text, value.Value())
		}
		if matches {
			return rule.path, nil
		}
	}
	return "", errNoRoute
}

func variablesOf(event cloudevent.Event) (map[string]any, error) {
	members := make(map[string]any, len(event.Members))
	for _, m := range event.Members {
		var value any
		if err := json.Unmarshal(m.Value, &value); err != nil {
			return nil, fmt.Errorf("read the event's member %q: %w", m.Name, err)
		}
		members[m.Name] = value
	}
	return map[string]any{"event": members}, nil
}
