package http

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/daprd/daprd/pkg/middleware"
	"github.com/daprd/daprd/pkg/security"
)

// around makes a middleware of a function.
type around func(http.Handler) http.Handler

func (a around) Wrap(next http.Handler) http.Handler { return a(next) }

// pipelineOf is a pipeline of one middleware.
func pipelineOf(t testing.TB, wrap around) *middleware.Pipeline {
	t.Helper()
	log, _ := logtest.NewNullLogger()
	s := middleware.NewService(log)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Add("m", wrap, middleware.Settings{Type: "middleware.http.m"}); err != nil {
		t.Fatal(err)
	}
	if err := s.HTTP.Set([]middleware.Handler{{Name: "m", Type: "middleware.http.m"}}); err != nil {
		t.Fatal(err)
	}
	return s.HTTP
}

// onRequest is a middleware that looks at requests, or changes them.
func onRequest(look func(*http.Request)) around {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			look(r)
			next.ServeHTTP(w, r)
		})
	}
}

// TestThroughAPipeline: with a middleware that changes nothing, everything is as without (see start).
func TestThroughAPipeline(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"API": TestAPIAnswersLikeDapr, "invocation": TestInvocationAnswersLikeDapr, "token": TestToken, "client's token": TestTokenOfTheClientIsForwardedWhenNoneIsAsked,
		"CORS": TestCORS, "access lists": TestAccessLists, "public port": TestPublicPort, "observer": TestObserver, "API log": TestAPILog,
		"targets": TestTargets, "headers": TestForwardedHeaders, "bytes": TestStateKeepsBytes, "connection options": TestConnectionOptionsOfAllHeaders,
		"users of URLs": TestUsersOfURLsAreSecrets, "pipelined": TestPipelinedRequestsAreAnsweredInOrder, "broken": TestBrokenRequests,
		"half a request": TestHalfRequest, "half a chunked one": TestHalfChunkedRequest, "client gone": TestClientGoneCancelsTheCall,
		"behind a slow one": TestPipelinedBehindASlowCall, "events": TestServerSentEventsComeAsTheyAreSent, "broken answer": TestAnswerThatBreaksIsSeenToBreak,
		"HTTP/2": TestHTTP2, "HTTP/2, client gone": TestHTTP2ClientGone, "early answer": TestEarlyAnswer, "early answer, HTTP/2": TestEarlyAnswerOverHTTP2,
		"body limit": TestBodyLimit, "large bodies": TestLargeBodiesFlowBothWays, "HTTP/2, observed": TestCallsOverHTTP2AreObserved,
	} {
		t.Run(name, test)
	}
}

// TestPipelineRoutes: what came out of the pipeline is routed, counted and logged; what went in is not.
func TestPipelineRoutes(t *testing.T) {
	observer := &calls{more: make(chan bool, 10)}
	log, hook := nullLog()
	s := start(t, setup{observer: observer, apiLog: log, pipeline: pipelineOf(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/refused":
				http.Error(w, "no", http.StatusForbidden)
				return
			case strings.HasPrefix(r.URL.Path, "/alias/"):
				r.URL.Path, r.URL.RawPath = "/v1.0/state/st/"+strings.TrimPrefix(r.URL.Path, "/alias/"), ""
			}
			next.ServeHTTP(w, r)
		})
	})})
	for path, want := range map[string]int{"/alias/key": 204, "/refused": 403, "/v1.0/state/st/k%2Fk": 204} {
		if response, body := s.get(t, "GET", path); response.StatusCode != want {
			t.Errorf("%s: %d %s", path, response.StatusCode, body)
		}
		<-observer.more
	}
	told := map[string]bool{}
	for _, line := range observer.told {
		told[line] = true
	}
	if diff := cmp.Diff(map[string]bool{"GET /v1.0/state/st 204 0 0 true": true, "GET /v1.0/invoke/{target:*} 403 0 3 true": true}, told); diff != "" {
		t.Errorf("counted: %s", diff)
	}
	logged := map[string]int{}
	for _, entry := range hook.AllEntries() {
		logged[fmt.Sprint(entry.Data["method"], " ", entry.Data["code"])]++
	}
	if diff := cmp.Diff(map[string]int{"GET /v1.0/state/st/key 204": 1, "GET /v1.0/state/st/k/k 204": 1}, logged); diff != "" {
		t.Errorf("logged: %s", diff)
	}
}

// TestPipelineSeesTheRoutedPath: what a middleware decides on is what is dispatched.
func TestPipelineSeesTheRoutedPath(t *testing.T) {
	var seen, raw, called string
	s := start(t, setup{
		pipeline: pipelineOf(t, onRequest(func(r *http.Request) { seen, raw = r.URL.Path, r.URL.EscapedPath() })),
		app:      http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { called = r.URL.Path }),
	})
	for path, want := range map[string]string{
		"/v1.0/invoke/myapp/method/a":                 "/a",
		"//v1.0/./invoke/myapp/method//a/../b":        "/b",
		"/v1.0/invoke/myapp/method/public/%2e%2e/adm": "/adm",
		"/v1.0/invoke/myapp/method/%2Fadm":            "/adm",
		"/v1.0/invoke/myapp/method/p%2F..%2Fadm":      "/adm",
		"/v1.0/invoke/myapp/method/a%20b%3F":          "",
		"/v1.0/invoke/myapp/method/%61dm":             "/adm",
	} {
		called = ""
		s.get(t, "GET", path)
		if called != want || want != "" && seen != "/v1.0/invoke/myapp/method"+want {
			t.Errorf("%s: the middleware saw %s, the app was called at %q", path, seen, called)
		}
	}
	s.get(t, "GET", "/v1.0/state/st/a%2F..%2Fb")
	if seen != "/v1.0/state/st/a/../b" || raw != "/v1.0/state/st/a%2F..%2Fb" {
		t.Errorf("a parameter: %s, %s", seen, raw)
	}
}

// TestPipelineAndToken: the sidecar's token is not shown to middleware, and an alias opens nothing that needs one.
func TestPipelineAndToken(t *testing.T) {
	token := ""
	s := start(t, setup{config: Config{Token: security.NewToken("tok")}, pipeline: pipelineOf(t, onRequest(func(r *http.Request) {
		token = r.Header.Get("Dapr-Api-Token")
		if r.URL.RawQuery == "alias" {
			r.URL.Path = "/v1.0/metadata"
		}
	}))})
	if response, _ := s.get(t, "GET", "/v1.0/metadata", "Dapr-Api-Token: tok"); response.StatusCode != 200 || token != "" {
		t.Errorf("%d, the middleware saw %q", response.StatusCode, token)
	}
	if response, _ := s.get(t, "GET", "/v1.0/healthz"); response.StatusCode != 204 {
		t.Errorf("a health check: %d", response.StatusCode)
	}
	if response, _ := s.get(t, "GET", "/v1.0/healthz?alias"); response.StatusCode != 401 {
		t.Errorf("by way of a health check: %d", response.StatusCode)
	}
	if response, _ := s.get(t, "GET", "/v1.0/healthz?alias", "Dapr-Api-Token: tok"); response.StatusCode != 200 {
		t.Errorf("with the token: %d", response.StatusCode)
	}
}

// TestPipelineChanges: method, query, headers and body of a request, and the answer.
func TestPipelineChanges(t *testing.T) {
	s := start(t, setup{
		app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("X-Secret", "s")
			fmt.Fprintf(w, "%s %s %s %d %s", r.Method, r.URL.RawQuery, r.Header.Get("X-New"), r.ContentLength, body)
		}),
		pipeline: pipelineOf(t, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Method, r.URL.RawQuery = "PUT", "changed=1"
				r.Header.Set("X-New", "a\r\nX-Injected: b")
				body, _ := io.ReadAll(r.Body)
				middleware.Replace(r, append(body, '!'))
				w.Header().Set("X-Added", "c\r\nd")
				next.ServeHTTP(w, r)
			})
		}),
	})
	response, body := s.send(t, "POST", "/v1.0/invoke/myapp/method/x?old=1", "text")
	if body != "PUT changed=1 a  X-Injected: b 5 text!" {
		t.Errorf("the app got %q", body)
	}
	if response.Header.Get("X-Added") != "c  d" || response.Header.Get("X-Secret") != "s" {
		t.Errorf("the answer has %v", response.Header)
	}
}

// TestPipelineFails: a panic is an error of that call alone.
func TestPipelineFails(t *testing.T) {
	s := start(t, setup{pipeline: pipelineOf(t, onRequest(func(r *http.Request) {
		if r.URL.RawQuery != "" {
			panic(r.URL.RawQuery)
		}
	}))})
	if response, body := s.get(t, "GET", "/v1.0/healthz?oh"); response.StatusCode != 500 || !strings.Contains(body, "a middleware failed at this call: oh") {
		t.Errorf("%d %s", response.StatusCode, body)
	}
	if response, _ := s.get(t, "GET", "/v1.0/healthz"); response.StatusCode != 204 {
		t.Errorf("the next call: %d", response.StatusCode)
	}
}

// FuzzCanonical: the path that a middleware sees of an invocation has no segments that the dispatch would resolve.
func FuzzCanonical(f *testing.F) {
	f.Add("/v1.0/invoke/a/method/b")
	f.Add("/v1.0/invoke/a/method/%2e%2e/%2F/c")
	f.Add("/v1.0/invoke/http:%2F%2Fhost/method//x")
	f.Fuzz(func(t *testing.T, sent string) {
		path, err := cleanPath(sent)
		if err != nil || !strings.HasPrefix(path, "/") {
			return
		}
		c := &call{path: path, route: &route{group: "invoke"}}
		again := &call{path: c.canonical(), route: c.route}
		if _, err := cleanPath(again.path); err != nil {
			t.Fatalf("%q became %q, which cannot be read", sent, again.path)
		}
		decoded := decodePath(again.path)
		_, rest, _ := cutTargetURL(decoded)
		for _, segment := range strings.Split(strings.TrimSuffix(rest, "/"), "/") {
			if segment == ".." || segment == "." {
				t.Fatalf("%q became %q", sent, again.path)
			}
		}
		if twice := again.canonical(); decodePath(twice) != decoded {
			t.Fatalf("%q is %q once and %q twice", sent, again.path, twice)
		}
	})
}

// BenchmarkPipeline is what a pipeline that changes nothing costs a call.
func BenchmarkPipeline(b *testing.B) {
	s := start(b, setup{pipeline: pipelineOf(b, func(next http.Handler) http.Handler { return next })})
	roundTrips(b, s, request("GET", "/v1.0/healthz", ""), "")
}
