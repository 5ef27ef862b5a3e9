package metrics

// Pattern is the pattern of an HTTP path, "" if none matches.
func (r *Registry) Pattern(path string) string { return r.settings.patterns.match(path) }
