package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Resiliency is a resource of kind Resiliency: policies by name, and which of them hold for which target.
type Resiliency struct {
	Meta Meta           `yaml:"metadata"`
	Spec ResiliencySpec `yaml:"spec"`
	// Scopes are the app ids that heed it; empty for all.
	Scopes []string `yaml:"scopes"`
	Origin Origin   `yaml:"-"`
	// Fault is why the document cannot be understood, nil if it can. One that cannot is kept, so that a bad change
	// is not taken for a deletion.
	Fault error `yaml:"-"`

	// lines are where the keys stand in the file, by their paths.
	lines map[string]int
}

// ResiliencySpec is policies and targets.
type ResiliencySpec struct {
	Policies ResiliencyPolicies `yaml:"policies"`
	Targets  ResiliencyTargets  `yaml:"targets"`
}

// ResiliencyPolicies are by name.
type ResiliencyPolicies struct {
	// Timeouts end one attempt; 0 means no end.
	Timeouts        map[string]Span           `yaml:"timeouts"`
	Retries         map[string]Retry          `yaml:"retries"`
	CircuitBreakers map[string]CircuitBreaker `yaml:"circuitBreakers"`
}

// Retry says how often and when a call is made again.
type Retry struct {
	// Policy is "constant" (also when empty) or "exponential".
	Policy string `yaml:"policy"`
	// Duration is the pause of a constant one; nil means 5 s.
	Duration *Span `yaml:"duration"`
	// MaxInterval is the longest pause of an exponential one; nil means 60 s.
	MaxInterval *Span `yaml:"maxInterval"`
	// MaxRetries is the number of calls after the first: nil and -1 mean without end, 0 means none.
	MaxRetries *int     `yaml:"maxRetries"`
	Matching   Matching `yaml:"matching"`
}

// Matching chooses the statuses that are retried: lists of numbers and ranges like "429,500-599".
type Matching struct {
	HTTPStatusCodes Value `yaml:"httpStatusCodes"`
	GRPCStatusCodes Value `yaml:"gRPCStatusCodes"`
}

// CircuitBreaker refuses calls for a while once too many have failed.
type CircuitBreaker struct {
	// MaxRequests is how many calls it lets through at once to try, when it is half open; 0 means 1.
	MaxRequests int `yaml:"maxRequests"`
	// Interval is how often the counts begin anew while it is closed; 0 means never.
	Interval Span `yaml:"interval"`
	// Timeout is how long it stays open; nil and 0 mean 60 s.
	Timeout *Span `yaml:"timeout"`
	// Trip is a CEL expression over requests, totalSuccesses, totalFailures, consecutiveSuccesses and
	// consecutiveFailures; empty means consecutiveFailures > 5.
	Trip string `yaml:"trip"`
}

// ResiliencyTargets name policies for what they hold for.
type ResiliencyTargets struct {
	// Apps are by app id, or by the name of an HTTPEndpoint.
	Apps map[string]AppTarget `yaml:"apps"`
	// Actors are by type.
	Actors map[string]ActorTarget `yaml:"actors"`
	// Components are by name.
	Components map[string]ComponentTarget `yaml:"components"`
}

// PolicyNames are the policies of one target, "" for none.
type PolicyNames struct {
	Timeout        string `yaml:"timeout"`
	Retry          string `yaml:"retry"`
	CircuitBreaker string `yaml:"circuitBreaker"`
}

// AppTarget holds for calls to an application.
type AppTarget struct {
	Timeout        string `yaml:"timeout"`
	Retry          string `yaml:"retry"`
	CircuitBreaker string `yaml:"circuitBreaker"`
	// CircuitBreakerCacheSize is how many methods have a breaker of their own; 0 means 100.
	CircuitBreakerCacheSize int `yaml:"circuitBreakerCacheSize"`
}

// Names are the policies.
func (t AppTarget) Names() PolicyNames { return PolicyNames{t.Timeout, t.Retry, t.CircuitBreaker} }

// ActorTarget holds for calls to the actors of one type.
type ActorTarget struct {
	Timeout        string `yaml:"timeout"`
	Retry          string `yaml:"retry"`
	CircuitBreaker string `yaml:"circuitBreaker"`
	// CircuitBreakerScope is "type", "id" or "both"; a target with a breaker must have it.
	CircuitBreakerScope string `yaml:"circuitBreakerScope"`
	// CircuitBreakerCacheSize is how many actors have a breaker of their own; 0 means 5000.
	CircuitBreakerCacheSize int `yaml:"circuitBreakerCacheSize"`
}

// Names are the policies.
func (t ActorTarget) Names() PolicyNames { return PolicyNames{t.Timeout, t.Retry, t.CircuitBreaker} }

// ComponentTarget holds for calls of a component and for what it brings; a nil direction has no policies of
// its own.
type ComponentTarget struct {
	Inbound  *PolicyNames `yaml:"inbound"`
	Outbound *PolicyNames `yaml:"outbound"`
}

// Span is a length of time in YAML: a Go duration, or a whole number of milliseconds. It is never negative.
type Span time.Duration

// UnmarshalYAML reads it.
func (s *Span) UnmarshalYAML(node *yaml.Node) error {
	var text Value
	if err := node.Decode(&text); err != nil {
		return err
	}
	span, err := ParseSpan(string(text))
	if err != nil {
		return unusable(fmt.Errorf("line %d: %w", node.Line, err))
	}
	*s = span
	return nil
}

// ParseSpan reads a Go duration, or a whole number of milliseconds; an empty text is 0.
func ParseSpan(text string) (Span, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0, nil
	}
	length, err := time.ParseDuration(text)
	if err != nil {
		length, err = time.ParseDuration(text + "ms")
	}
	if err != nil || length < 0 {
		return 0, fmt.Errorf("want a duration like 500ms, 5s or 1m, or a whole number of milliseconds")
	}
	return Span(length), nil
}

// String is the resource's name.
func (r *Resiliency) String() string { return r.Meta.Name }

// Place is where the value under path stands, or the part around it that is there: "file (document 2, line 14)".
func (r *Resiliency) Place(path ...string) string {
	where := r.Origin
	for ; len(path) > 0; path = path[:len(path)-1] {
		if line, ok := r.lines[strings.Join(path, "\x00")]; ok {
			where.Line = line
			break
		}
	}
	return where.String()
}

// At is an error about the value under path, with file, document, line and the path in it.
func (r *Resiliency) At(err error, path ...string) error {
	return fmt.Errorf("%s: %s: %w", r.Place(path...), strings.Join(path, "."), err)
}

// locate keeps the lines of a document's keys, down to those of the policies' own fields.
func (r *Resiliency) locate(d document, root *yaml.Node) {
	const deepest = 6
	r.lines = map[string]int{}
	var walk func(node *yaml.Node, path []string)
	walk = func(node *yaml.Node, path []string) {
		if node.Kind == yaml.DocumentNode && len(node.Content) == 1 {
			node = node.Content[0]
		}
		if node.Kind != yaml.MappingNode || len(path) == deepest {
			return
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			inner := append(slices.Clip(path), node.Content[i].Value)
			r.lines[strings.Join(inner, "\x00")] = d.line(node.Content[i])
			walk(node.Content[i+1], inner)
		}
	}
	walk(root, nil)
}

func keepResiliency(r *Resources, d document, root *yaml.Node) error {
	resource := Resiliency{Origin: d.origin}
	if err := d.into(root, &resource); err != nil {
		resource.Fault = fmt.Errorf("%s: %w", d.origin, err)
	}
	resource.locate(d, root)
	r.Resiliencies = append(r.Resiliencies, resource)
	return nil
}

// sortedNames are the keys of a map, so that errors and merges come in one order.
func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
