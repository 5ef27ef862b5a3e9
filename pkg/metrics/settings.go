package metrics

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// Settings are what the Configuration says of metrics.
type Settings struct {
	// Enabled is spec.metrics.enabled: without it nothing is recorded, though the server stays.
	Enabled bool
	// Latency are the upper bounds of latency histograms in milliseconds, growing; empty means LatencyBuckets.
	Latency []float64
	// Paths are patterns of net/http's ServeMux without a verb and a host. An HTTP path that matches is shown as its
	// pattern.
	Paths []string
	// HidePaths shows HTTP paths that match no pattern as "" (increasedCardinality: false), and no response counts.
	HidePaths bool
	// HideVerbs shows "" in place of HTTP verbs.
	HideVerbs bool
	Rules     []Rule
}

// Rule rewrites a label of a family before it is shown: the first match of a pattern's becomes its replacement.
type Rule struct {
	// Family is the name of a metric. Slashes count as underscores, and the leading dapr_ may be missing.
	Family string
	Label  string
	// Pattern is a regular expression of RE2, Replacement a text in which $1 is a group of it.
	Pattern, Replacement string
}

// compiled is the settings' working form.
type compiled struct {
	Settings
	patterns *patterns
	regexes  []*regexp.Regexp // of Rules
}

func (s Settings) compile() (*compiled, error) {
	if len(s.Latency) == 0 {
		s.Latency = LatencyBuckets()
	}
	for i := 1; i < len(s.Latency); i++ {
		if s.Latency[i] <= s.Latency[i-1] {
			return nil, fmt.Errorf("latencyDistributionBuckets: %v stands behind %v: bounds must grow", s.Latency[i], s.Latency[i-1])
		}
	}
	c := &compiled{Settings: s}
	for _, rule := range s.Rules {
		regex, err := regexp.Compile(rule.Pattern)
		if err != nil {
			return nil, fmt.Errorf("rules: the pattern %q for label %s of %s: %w", rule.Pattern, rule.Label, rule.Family, err)
		}
		c.regexes = append(c.regexes, regex)
	}
	var err error
	c.patterns, err = newPatterns(s.Paths)
	return c, err
}

// rewrite is one rule of one label.
type rewrite struct {
	pattern     *regexp.Regexp
	replacement string
}

// rewrites are those of one label, in the order of the Configuration.
type rewrites []rewrite

// append writes what the first rule that matches makes of value.
func (r rewrites) append(dst []byte, value string) []byte {
	for _, each := range r {
		if found := each.pattern.FindStringSubmatchIndex(value); found != nil {
			return each.append(dst, value, found)
		}
	}
	return append(dst, value...)
}

// append writes value with each match replaced; found is the first.
func (r rewrite) append(dst []byte, value string, found []int) []byte {
	if found[1] < len(value) || found[0] == found[1] { // there may be others
		return append(dst, r.pattern.ReplaceAllString(value, r.replacement)...)
	}
	return r.pattern.ExpandString(append(dst, value[:found[0]]...), r.replacement, value, found)
}

// rewrites are the rules for a family, by the positions of its labels; nil if there are none for any family.
func (c *compiled) rewrites(family string, labels []string) []rewrites {
	if len(c.Rules) == 0 {
		return nil
	}
	found := make([]rewrites, len(labels))
	for i, rule := range c.Rules {
		if position := slices.Index(labels, rule.Label); position >= 0 && plain(rule.Family) == plain(family) {
			found[position] = append(found[position], rewrite{c.regexes[i], rule.Replacement})
		}
	}
	return found
}

// plain is a metric's name without what users write in several ways.
func plain(name string) string {
	return strings.TrimPrefix(strings.ReplaceAll(name, "/", "_"), "dapr_")
}

// patterns find the pattern of a path: a tree of segments.
type patterns struct {
	literal map[string]*patterns
	single  *patterns
	// end and rest are the patterns that end here, exactly or with anything behind.
	end, rest string
}

// newPatterns reads the patterns as net/http does; nil if there are none.
func newPatterns(all []string) (root *patterns, err error) {
	if len(all) == 0 {
		return nil, nil
	}
	root = &patterns{}
	mux := http.NewServeMux()
	for _, pattern := range all {
		if !strings.HasPrefix(pattern, "/") {
			return nil, fmt.Errorf("http.pathMatching: %q is no path: it must begin with a slash", pattern)
		}
		if err := register(mux, pattern); err != nil {
			return nil, fmt.Errorf("http.pathMatching: %w", err)
		}
		root.add(pattern, pattern[1:])
	}
	return root, nil
}

// register lets net/http check a pattern, alone and beside the others.
func register(mux *http.ServeMux, pattern string) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%q: %v", pattern, cause)
		}
	}()
	mux.Handle(pattern, http.NotFoundHandler())
	return nil
}

func (n *patterns) add(pattern, left string) {
	segment, left, more := strings.Cut(left, "/")
	var next **patterns
	switch {
	case segment == "" && !more, strings.HasSuffix(segment, "...}"):
		n.rest = pattern
		return
	case segment == "{$}":
		n.child("").end = pattern
		return
	case strings.HasPrefix(segment, "{"):
		next = &n.single
	default:
		n.child(segment).step(pattern, left, more)
		return
	}
	if *next == nil {
		*next = &patterns{}
	}
	(*next).step(pattern, left, more)
}

func (n *patterns) step(pattern, left string, more bool) {
	if more {
		n.add(pattern, left)
	} else {
		n.end = pattern
	}
}

func (n *patterns) child(segment string) *patterns {
	if n.literal == nil {
		n.literal = map[string]*patterns{}
	}
	if n.literal[segment] == nil {
		n.literal[segment] = &patterns{}
	}
	return n.literal[segment]
}

// match gives the most specific pattern of a path, with or without its leading slash; "" if there is none.
func (n *patterns) match(path string) string {
	return n.find(strings.TrimPrefix(path, "/"))
}

func (n *patterns) find(left string) string {
	segment, behind, more := strings.Cut(left, "/")
	for _, next := range [...]*patterns{n.literal[segment], n.ofSingle(segment)} {
		switch {
		case next == nil:
		case more:
			if found := next.find(behind); found != "" {
				return found
			}
		case next.end != "":
			return next.end
		}
	}
	return n.rest
}

// ofSingle is where a wildcard leads: it stands for no empty segment.
func (n *patterns) ofSingle(segment string) *patterns {
	if segment == "" {
		return nil
	}
	return n.single
}
