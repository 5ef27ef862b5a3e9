package pubsub

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/daprd/daprd/pkg/cloudevent"
	"github.com/daprd/daprd/pkg/config"
)

func TestRoutes(t *testing.T) {
	const event = `{"id":"1","source":"s","type":"com.a","data":{"n":7,"big":12345678901234567890,"list":[1,2],"none":null},"ext":true}`
	for name, c := range map[string]struct {
		rules []config.TopicRule
		// want is a path, or the beginning of an error.
		want string
	}{
		"always":                       {[]config.TopicRule{{Path: "/a"}, {Match: "true", Path: "/b"}}, "/a"},
		"first of two":                 {[]config.TopicRule{{Match: `event.type == "com.a"`, Path: "/a"}, {Match: "true", Path: "/b"}}, "/a"},
		"second":                       {[]config.TopicRule{{Match: `event.type == "x"`, Path: "/a"}, {Match: `event["source"] == "s"`, Path: "/b"}}, "/b"},
		"default":                      {[]config.TopicRule{{Match: `false`, Path: "/a"}, {Path: "/b"}}, "/b"},
		"none":                         {[]config.TopicRule{{Match: `false`, Path: "/a"}}, errNoRoute.Error()},
		"a number and a whole one":     {[]config.TopicRule{{Match: `event.data.n > 5`, Path: "/a"}}, "/a"},
		"a number and another":         {[]config.TopicRule{{Match: `event.data.n > 6.5`, Path: "/a"}}, "/a"},
		"has":                          {[]config.TopicRule{{Match: `has(event.data.n) && !has(event.data.m)`, Path: "/a"}}, "/a"},
		"a list":                       {[]config.TopicRule{{Match: `2 in event.data.list`, Path: "/a"}}, "/a"},
		"an attribute of its own":      {[]config.TopicRule{{Match: `event.ext`, Path: "/a"}}, "/a"},
		"null":                         {[]config.TopicRule{{Match: `event.data.none == null`, Path: "/a"}}, "/a"},
		"a method":                     {[]config.TopicRule{{Match: `event.type.startsWith("com.")`, Path: "/a"}}, "/a"},
		"what is absent":               {[]config.TopicRule{{Match: `event.data.m == 1`, Path: "/a"}, {Path: "/b"}}, `evaluate the routing rule "event.data.m == 1": no such key: m`},
		"a name that nobody knows":     {[]config.TopicRule{{Match: `other == 1`, Path: "/a"}, {Path: "/b"}}, `evaluate the routing rule "other == 1"`},
		"a function nobody knows":      {[]config.TopicRule{{Match: `other(event)`, Path: "/a"}, {Path: "/b"}}, `evaluate the routing rule "other(event)"`},
		"no bool":                      {[]config.TopicRule{{Match: `event.type`, Path: "/a"}, {Path: "/b"}}, `the routing rule "event.type" gives string: want a bool`},
		"one that would take for ever": {[]config.TopicRule{{Match: bomb, Path: "/a"}}, `evaluate the routing rule `},
	} {
		t.Run(name, func(t *testing.T) {
			routes, err := newRoutes(c.rules)
			got := ""
			if err == nil {
				parsed, bad := cloudevent.Parse([]byte(event))
				if bad != nil {
					t.Fatal(bad)
				}
				got, err = routes.path(parsed)
			}
			if err != nil {
				got = err.Error()
			}
			if !strings.HasPrefix(got, c.want) || c.want == "" {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// bomb evaluates 10^10 times.
var bomb = strings.Repeat("[0,1,2,3,4,5,6,7,8,9].all(x, ", 10) + "true" + strings.Repeat(")", 10)

func TestRoutesRefuse(t *testing.T) {
	for name, c := range map[string]struct {
		rules []config.TopicRule
		want  string
	}{
		"nothing":   {nil, "it has no route"},
		"no CEL":    {[]config.TopicRule{{Path: "/a"}, {Match: "event.type ==", Path: "/b"}}, `rule 2: match "event.type ==": `},
		"very long": {[]config.TopicRule{{Match: strings.Repeat(" ", maxMatch) + "true", Path: "/a"}}, "it has more than 16384 bytes"},
		"deep":      {[]config.TopicRule{{Match: strings.Repeat("(", 1000) + "true" + strings.Repeat(")", 1000), Path: "/a"}}, "rule 1: "},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := newRoutes(c.rules); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %s", err, c.want)
			}
		})
	}
}

// FuzzRoutes: no rule and no event makes it panic or run on, and a path comes from the rules.
func FuzzRoutes(f *testing.F) {
	for _, match := range []string{"", "true", `event.type == "com.a"`, "event.data.n > 5", "has(event.data.z)", "event.x.y.z", "[1,2].map(x, x*x) == event.data", "other(event)",
		`event.id.matches("(a+)+$")`, "event.data.n % 0 == 1", "int(event.data) << 3", bomb} {
		f.Add(match, `{"id":"1","type":"com.a","data":{"n":7}}`)
		f.Add(match, `{"data":[1,{"a":null}],"id":5}`)
	}
	f.Fuzz(func(t *testing.T, match, text string) {
		event, err := cloudevent.Parse([]byte(text))
		if err != nil {
			return
		}
		routes, err := newRoutes([]config.TopicRule{{Match: match, Path: "/a"}, {Path: "/b"}})
		if err != nil {
			return
		}
		if path, err := routes.path(event); err == nil && path != "/a" && path != "/b" || errors.Is(err, errNoRoute) {
			t.Errorf("%q, %v", path, err)
		}
	})
}

// BenchmarkRoutes is what a rule costs for each message.
func BenchmarkRoutes(b *testing.B) {
	routes, err := newRoutes([]config.TopicRule{{Match: `event.type == "x"`, Path: "/a"}, {Path: "/b"}})
	if err != nil {
		b.Fatal(err)
	}
	event, err := cloudevent.Parse(fmt.Appendf(nil, `{"id":"1","type":"com.a","data":{"n":7,"text":%q}}`, strings.Repeat("x", 1000)))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := routes.path(event); err != nil {
			b.Fatal(err)
		}
	}
}
