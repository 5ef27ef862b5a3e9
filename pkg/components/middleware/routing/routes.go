package routing

import (
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// routes are the rewritings of a routeralias. A path without variables is found by a look-up; the others are tried from
// the most particular on, so that the order does not depend on that of a mapping.
type routes struct {
	fixed map[string]*route
	// open are those with variables, by the number of segments.
	open map[int][]*route
}

// route is one rewriting.
type route struct {
	pattern  string
	segments []segment
	// path, rawPath and query are those of the target.
	path, rawPath, query string
}

// segment is one part of a pattern between slashes.
type segment struct {
	// text is what a fixed segment is, decoded; name is that of a variable.
	text, name string
	// shape restricts a variable; nil takes everything.
	shape *regexp.Regexp
}

func parse(table map[string]string) (*routes, error) {
	t := &routes{fixed: map[string]*route{}, open: map[int][]*route{}}
	for pattern, target := range table {
		r, err := parseRoute(pattern, target)
		if err != nil {
			return nil, fmt.Errorf("route %q: %w", pattern, err)
		}
		if n := len(r.segments); r.variables() > 0 {
			t.open[n] = append(t.open[n], r)
		} else {
			t.fixed[key(r.segments)] = r
		}
	}
	for _, open := range t.open {
		slices.SortFunc(open, func(a, b *route) int {
			return cmp.Or(cmp.Compare(a.variables(), b.variables()), cmp.Compare(a.pattern, b.pattern))
		})
	}
	return t, nil
}

func parseRoute(pattern, target string) (*route, error) {
	if !strings.HasPrefix(pattern, "/") {
		return nil, fmt.Errorf("want a path that begins with a slash")
	}
	r := &route{pattern: pattern}
	for text := range strings.SplitSeq(pattern[1:], "/") {
		s, err := parseSegment(text)
		if err != nil {
			return nil, err
		}
		if s.name != "" && slices.ContainsFunc(r.segments, func(other segment) bool { return other.name == s.name }) {
			return nil, fmt.Errorf("the variable %s is there twice", s.name)
		}
		r.segments = append(r.segments, s)
	}
	u, err := url.ParseRequestURI(target)
	if err != nil || !strings.HasPrefix(target, "/") {
		return nil, fmt.Errorf("the target %q is no path: want one that begins with a slash", target)
	}
	r.path, r.rawPath, r.query = u.Path, u.RawPath, u.RawQuery
	return r, nil
}

func parseSegment(text string) (segment, error) {
	inner, ok := strings.CutPrefix(text, "{")
	if !ok {
		decoded, err := url.PathUnescape(text)
		return segment{text: decoded}, err
	}
	inner, ok = strings.CutSuffix(inner, "}")
	name, shape, restricted := strings.Cut(inner, ":")
	if !ok || name == "" {
		return segment{}, fmt.Errorf("%q is no variable: want {name} or {name:pattern} between two slashes", text)
	}
	s := segment{name: name}
	if restricted {
		var err error
		if s.shape, err = regexp.Compile("^(?:" + shape + ")$"); err != nil {
			return segment{}, fmt.Errorf("the pattern of the variable %s: %w", name, err)
		}
	}
	return s, nil
}

func (r *route) variables() (n int) {
	for _, s := range r.segments {
		if s.name != "" {
			n++
		}
	}
	return n
}

// key is a path without variables for the look-up; NUL stands between segments, which may hold slashes.
func key(segments []segment) string {
	texts := make([]string, len(segments))
	for i := range segments {
		texts[i] = segments[i].text
	}
	return strings.Join(texts, "\x00")
}

// match finds the route of an escaped path, and what the variables stand for.
func (t *routes) match(path string) (*route, url.Values) {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, part := range parts {
		decoded, err := url.PathUnescape(part)
		if err != nil {
			return nil, nil
		}
		parts[i] = decoded
	}
	if r, ok := t.fixed[strings.Join(parts, "\x00")]; ok && len(r.segments) == len(parts) {
		return r, nil
	}
	for _, r := range t.open[len(parts)] {
		if values := r.values(parts); values != nil {
			return r, values
		}
	}
	return nil, nil
}

// values are those of the variables, nil if the path does not match. A variable stands for something.
func (r *route) values(parts []string) url.Values {
	values := url.Values{}
	for i, s := range r.segments {
		switch {
		case s.name == "":
			if s.text != parts[i] {
				return nil
			}
		case parts[i] == "" || s.shape != nil && !s.shape.MatchString(parts[i]):
			return nil
		default:
			values.Set(s.name, parts[i])
		}
	}
	return values
}
