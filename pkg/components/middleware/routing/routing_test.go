package routing

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/middleware"
)

// rewritten is where a request goes.
func rewritten(m middleware.Middleware, uri string) (target string, status int) {
	w := httptest.NewRecorder()
	m.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { target = r.URL.RequestURI() })).
		ServeHTTP(w, httptest.NewRequest("GET", uri, nil))
	return target, w.Code
}

func TestAlias(t *testing.T) {
	m, err := NewAlias(t.Context(), componentstest.Spec("middleware.http.routeralias", map[string]string{"routes": `
/static: /v1.0/healthz
/a/{id}/info: /v1.0/invoke/srv.default/method/info
/a/{id}/{what}: /v1.0/invoke/srv.default/method/any
/a/me/info: /v1.0/invoke/srv.default/method/me
/n/{n:[0-9]+}: /v1.0/state/store/n?fixed=1
/sp%20ace/{v}: /x%2Fy
/slash/: /with
`}))
	if err != nil {
		t.Fatal(err)
	}
	for uri, want := range map[string]string{
		"/static":                "/v1.0/healthz",
		"/static?q=1&q=2":        "/v1.0/healthz?q=1&q=2",
		"/static/":               "/static/",
		"/other":                 "/other",
		"/a/17/info":             "/v1.0/invoke/srv.default/method/info?id=17",
		"/a/17/info?b=%20&a":     "/v1.0/invoke/srv.default/method/info?b=%20&a&id=17",
		"/a/17/info?id=evil&x=1": "/v1.0/invoke/srv.default/method/info?x=1&id=17",
		"/a/17/info?%69d=evil":   "/v1.0/invoke/srv.default/method/info?id=17",
		"/a/me/info":             "/v1.0/invoke/srv.default/method/me",
		"/a/17/other":            "/v1.0/invoke/srv.default/method/any?id=17&what=other",
		"/a/x%2Fy/info":          "/v1.0/invoke/srv.default/method/info?id=x%2Fy",
		"/a/x%26b=c/info":        "/v1.0/invoke/srv.default/method/info?id=x%26b%3Dc",
		"/a//info":               "/a//info",
		"/a/17/info/more":        "/a/17/info/more",
		"/n/12?q=1":              "/v1.0/state/store/n?fixed=1&q=1&n=12",
		"/n/x":                   "/n/x",
		"/sp%20ace/1":            "/x%2Fy?v=1",
		"/slash/":                "/with",
		"/slash":                 "/slash",
	} {
		if got, _ := rewritten(m, uri); got != want {
			t.Errorf("%s became %s, want %s", uri, got, want)
		}
	}
}

func TestLegacyAlias(t *testing.T) {
	m, err := NewAlias(t.Context(), componentstest.Spec("middleware.http.routeralias", map[string]string{"/old/{x}": "/new"}))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := rewritten(m, "/old/1"); got != "/new?x=1" {
		t.Errorf("it became %s", got)
	}
}

func TestSettings(t *testing.T) {
	for name, test := range map[string]struct {
		make       components.Factory[middleware.Middleware]
		properties map[string]string
		want       string
	}{
		"no routes":     {NewAlias, nil, "metadata property routes is missing"},
		"no mapping":    {NewAlias, map[string]string{"routes": "- a"}, "metadata property routes is not usable"},
		"no path":       {NewAlias, map[string]string{"routes": "a: /b"}, `route "a": want a path`},
		"no target":     {NewAlias, map[string]string{"routes": "/a: b"}, `the target "b" is no path`},
		"a URL":         {NewAlias, map[string]string{"routes": "/a: http://b/c"}, "is no path"},
		"open brace":    {NewAlias, map[string]string{"routes": "/{a: /b"}, "is no variable"},
		"twice":         {NewAlias, map[string]string{"routes": "/{a}/{a}: /b"}, "the variable a is there twice"},
		"pattern":       {NewAlias, map[string]string{"routes": "\"/{a:(}\": /b"}, "the pattern of the variable a"},
		"no rule":       {NewChecker, nil, "metadata property rule is missing"},
		"no expression": {NewChecker, map[string]string{"rule": "("}, "metadata property rule is not usable"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := test.make(t.Context(), componentstest.Spec("middleware.http.x", test.properties)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestChecker(t *testing.T) {
	m, err := NewChecker(t.Context(), componentstest.FromReadme(t, "middleware.http.routerchecker"))
	if err != nil {
		t.Fatal(err)
	}
	for uri, want := range map[string]int{"/v1.0/a": 200, "/v1.0/a%20b": 400, "/v1.0/%61?q=%20": 200, "/v1.0/a%0Ab": 400} {
		if _, status := rewritten(m, uri); status != want {
			t.Errorf("%s: %d", uri, status)
		}
	}
}

func TestReadme(t *testing.T) {
	m, err := NewAlias(t.Context(), componentstest.FromReadme(t, "middleware.http.routeralias"))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := rewritten(m, "/orders/12"); got != "/v1.0/invoke/orders/method/find?by=number&number=12" {
		t.Errorf("it became %s", got)
	}
}

// FuzzAlias: whatever the routes and the request are, what comes out is a path, and what the variables stood for can be
// read back from the query.
func FuzzAlias(f *testing.F) {
	f.Add("/a/{id}/{b:[0-9]+}", "/x/y?z=1", "/a/%20/12?id=3&q")
	f.Add("/{a:(b|c)}", "/", "/b")
	f.Add("/%zz", "/%41", "/%zz?%zz=;")
	f.Add("/{", "//x", "//")
	f.Fuzz(func(t *testing.T, pattern, target, uri string) {
		table, err := parse(map[string]string{pattern: target})
		if err != nil {
			return
		}
		u, err := url.ParseRequestURI(uri)
		if err != nil || !strings.HasPrefix(uri, "/") {
			return
		}
		route, values := table.match(u.EscapedPath())
		got := table.rewrite(u)
		if (route == nil) != (got == nil) {
			t.Fatalf("match and rewrite differ for %q", uri)
		}
		if got == nil {
			return
		}
		if !strings.HasPrefix(got.Path, "/") {
			t.Fatalf("%q became the path %q", uri, got.Path)
		}
		query, _ := url.ParseQuery(got.RawQuery)
		for name := range values {
			if list := query[name]; len(list) == 0 || list[len(list)-1] != values.Get(name) {
				t.Fatalf("%q: the variable %s is %q in the query %q", uri, name, list, got.RawQuery)
			}
		}
	})
}

// FuzzChecker: a rule either cannot be used or gives an answer to every path.
func FuzzChecker(f *testing.F) {
	f.Add("^/v1.0/[a-z]+$", "/v1.0/abc")
	f.Add("(a+)+$", "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab")
	f.Fuzz(func(t *testing.T, rule, path string) {
		m, err := NewChecker(t.Context(), componentstest.Spec("middleware.http.routerchecker", map[string]string{"rule": rule}))
		if err != nil {
			return
		}
		passed := false
		w := httptest.NewRecorder()
		m.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { passed = true })).
			ServeHTTP(w, &http.Request{Method: "GET", URL: &url.URL{Path: path}})
		if passed == (w.Code == http.StatusBadRequest) {
			t.Fatalf("rule %q, path %q: passed %v with %d", rule, path, passed, w.Code)
		}
	})
}
