package http

import (
	"slices"
	"strings"

	"github.com/fasthttp/router/radix"
	"github.com/valyala/fasthttp"
)

func fields(s string) []string { return strings.Fields(s) }

// router finds the route of a path. It is fasthttp/router's tree under our own rules for paths: they stay
// escaped, nothing is redirected, and what matches no route is an invocation.
type router struct {
	// trees are by verb; any holds the routes that take every verb.
	trees map[string]*radix.Tree
	any   *radix.Tree
	// verbs are those with routes, in order.
	verbs []string
	// fallback takes what matches no route; nil answers 404 and 405.
	fallback *route
}

// newRouter keeps the routes that the rules allow: those of the public port, or all.
func newRouter(table []route, access accessList, public bool) *router {
	r := &router{trees: make(map[string]*radix.Tree)}
	for i := range table {
		row := table[i]
		if public && !row.public {
			continue
		}
		for _, version := range row.versions {
			if access.allows(row, version) {
				r.add(row, version)
			}
		}
	}
	slices.Sort(r.verbs)
	return r
}

func (r *router) add(row route, version string) {
	row.template = "/" + version + "/" + row.path
	found := func(ctx *fasthttp.RequestCtx) { callOf(ctx).route = &row }
	if row.group == "invoke" {
		r.fallback = &row
	}
	for _, verb := range row.methods {
		if verb == "*" {
			if r.any == nil {
				r.any = radix.New()
			}
			r.any.Add(row.template, found)
			continue
		}
		if r.trees[verb] == nil {
			r.trees[verb] = radix.New()
			r.verbs = append(r.verbs, verb)
		}
		r.trees[verb].Add(row.template, found)
	}
}

// match sets the route of the call and gives its handler; nil where nothing matches. A slash at the end
// counts only where a route takes it.
func (r *router) match(c *call, path string) *route {
	c.route = nil
	r.find(c, path)
	if c.route == nil && len(path) > 1 && path[len(path)-1] == '/' {
		r.find(c, path[:len(path)-1])
	}
	if c.route == nil {
		c.route = r.fallback
	}
	return c.route
}

func (r *router) find(c *call, path string) {
	if tree := r.trees[c.verb]; tree != nil {
		if found, _ := tree.Get(path, c.ctx); found != nil {
			found(c.ctx)
			if !c.emptyRest() {
				return
			}
			c.route = nil
		}
	}
	if r.any != nil {
		if found, _ := r.any.Get(path, c.ctx); found != nil {
			found(c.ctx)
		}
	}
}

// allowed are the verbs that path would have taken.
func (r *router) allowed(path string) []string {
	var verbs []string
	for _, verb := range r.verbs {
		if found, _ := r.trees[verb].Get(path, nil); found != nil {
			verbs = append(verbs, verb)
		}
	}
	return verbs
}

// emptyRest says that the rest of the path, which the route asks for, is missing: a topic that is empty.
func (c *call) emptyRest() bool {
	return strings.HasSuffix(c.route.template, "/{topic:*}") && c.parameter("topic") == ""
}
