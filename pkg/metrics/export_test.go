package metrics

import "regexp"

// Pattern is the pattern of an HTTP path, "" if none matches.
func (r *Registry) Pattern(path string) string { return r.settings.patterns.match(path) }

// Rewritten is what one rule makes of a value.
func Rewritten(pattern *regexp.Regexp, replacement, value string) string {
	return string(rewrites{{pattern, replacement}}.append([]byte("before"), value)[len("before"):])
}
