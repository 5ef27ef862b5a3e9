package http

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/daprd/daprd/pkg/security"
)

func nullLog() (*logrus.Logger, *logtest.Hook) { return logtest.NewNullLogger() }

func logged(s *sidecar) (lines []string) {
	for _, entry := range s.log.AllEntries() {
		lines = append(lines, entry.Message)
	}
	return lines
}

func TestToken(t *testing.T) {
	var seen []string
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, strings.Join(r.Header["Dapr-Api-Token"], ","))
	})
	s := start(t, setup{config: Config{Token: security.NewToken("tok")}, app: app, public: true})
	for name, c := range map[string]struct {
		target, header string
		status         int
	}{
		"none":                       {"/v1.0/metadata", "", 401},
		"wrong":                      {"/v1.0/metadata", "dapr-api-token: to", 401},
		"right":                      {"/v1.0/metadata", "dapr-api-token: tok", 200},
		"health":                     {"/v1.0/healthz", "", 204},
		"outbound":                   {"/v1.0/healthz/outbound", "", 204},
		"trailing slash":             {"/v1.0/healthz/", "", 204},
		"a key that looks healthy":   {"/v1.0/state/st/healthz", "", 401},
		"a query that looks healthy": {"/v1.0/metadata?/healthz", "", 401},
		"an app that looks healthy":  {"/v1.0/invoke/myapp/method/v1.0/healthz", "", 401},
		"no route":                   {"/nothing", "", 401},
		"invoke":                     {"/v1.0/invoke/myapp/method/x", "dapr-api-token: tok", 200},
	} {
		t.Run(name, func(t *testing.T) {
			var headers []string
			if c.header != "" {
				headers = append(headers, c.header)
			}
			if response, body := s.get(t, "GET", c.target, headers...); response.StatusCode != c.status {
				t.Errorf("got %s %s", response.Status, body)
			}
		})
	}
	if diff := cmp.Diff([]string{""}, seen); diff != "" {
		t.Errorf("the token reached the application: %s", diff)
	}
}

func TestTokenOfTheClientIsForwardedWhenNoneIsAsked(t *testing.T) {
	var seen string
	s := start(t, setup{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen = r.Header.Get("dapr-api-token") })})
	s.get(t, "GET", "/v1.0/invoke/myapp/method/x", "dapr-api-token: own")
	if seen != "own" {
		t.Errorf("the application got %q", seen)
	}
}

func TestCORS(t *testing.T) {
	for name, c := range map[string]struct {
		origins, verb, origin string
		status                int
		allowed               string
	}{
		"off":                  {"", "OPTIONS", "http://a.example", 404, ""},
		"all":                  {"*", "OPTIONS", "http://a.example", 200, "*"},
		"listed":               {"http://b.example, http://a.example", "OPTIONS", "http://a.example", 200, "http://a.example"},
		"not listed":           {"http://b.example", "OPTIONS", "http://a.example", 200, ""},
		"listed, not listened": {"http://b.example", "GET", "http://a.example", 204, ""},
		"plain call":           {"http://a.example", "GET", "http://a.example", 204, "http://a.example"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, setup{config: Config{AllowedOrigins: c.origins, Token: security.NewToken("t")}})
			headers := []string{"Origin: " + c.origin, "Access-Control-Request-Method: POST"}
			if c.origins == "" {
				headers = append(headers, "dapr-api-token: t")
			}
			target := "/v1.0/healthz"
			response, _ := s.get(t, c.verb, target, headers...)
			if response.StatusCode != c.status || response.Header.Get("Access-Control-Allow-Origin") != c.allowed {
				t.Errorf("got %s %v", response.Status, response.Header)
			}
		})
	}
}

func TestAccessLists(t *testing.T) {
	for name, c := range map[string]struct {
		config  Config
		refused []string
		served  []string
	}{
		"allow a group":   {Config{Allowed: []Rule{{"state", "v1"}}}, []string{"GET /v1.0/metadata", "POST /v1.0-alpha1/state/st/query"}, []string{"GET /v1.0/state/st/k", "GET /v1.0/healthz", "GET /v1.0/healthz/outbound"}},
		"allow as of old": {Config{Allowed: []Rule{{"state", "v1.0"}}}, []string{"GET /v1.0/metadata"}, []string{"GET /v1.0/state/st/k"}},
		"deny":            {Config{Denied: []Rule{{"state", "v1"}}}, []string{"GET /v1.0/state/st/k"}, []string{"GET /v1.0/metadata"}},
		"deny wins":       {Config{Allowed: []Rule{{"state", "v1"}}, Denied: []Rule{{"state", "v1"}}}, []string{"GET /v1.0/state/st/k"}, nil},
		"health stays":    {Config{Denied: []Rule{{"healthz", "v1"}}}, nil, []string{"GET /v1.0/healthz"}},
		"no invocation":   {Config{Denied: []Rule{{"invoke", "v1"}}}, []string{"GET /v1.0/invoke/myapp/method/x", "GET /nothing"}, []string{"GET /v1.0/metadata"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, setup{config: c.config})
			for _, line := range c.refused {
				verb, target, _ := strings.Cut(line, " ")
				if response, body := s.get(t, verb, target); response.StatusCode != 404 {
					t.Errorf("%s: %s %s", line, response.Status, body)
				}
			}
			for _, line := range c.served {
				verb, target, _ := strings.Cut(line, " ")
				if response, body := s.get(t, verb, target); response.StatusCode >= 400 {
					t.Errorf("%s: %s %s", line, response.Status, body)
				}
			}
		})
	}
}

// TestIdleRules: a rule that selects nothing is told of, for its author thinks that it protects something. What is allowed
// by such a rule alone is nothing.
func TestIdleRules(t *testing.T) {
	s := start(t, setup{config: Config{Allowed: []Rule{{"State", "v1"}}, Denied: []Rule{{"state", "v1"}, {"sta", "v1.0"}, {"state", "v2"}}}})
	if response, body := s.get(t, "GET", "/v1.0/metadata"); response.StatusCode != 404 {
		t.Errorf("%s %s", response.Status, body)
	}
	var got []string
	for _, line := range logged(s) {
		if strings.Contains(line, "which does not exist") {
			got = append(got, strings.Split(line, `"`)[1])
		}
	}
	if diff := cmp.Diff([]string{"v1/State", "v2/state"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestPublicPort(t *testing.T) {
	s := start(t, setup{config: Config{Token: security.NewToken("t"), AllowedOrigins: "*"}, public: true})
	s.address = s.Addresses()[1].String()
	if response, _ := s.get(t, "GET", "/v1.0/healthz", "Origin: http://a.example"); response.StatusCode != 204 || len(response.Header["Vary"]) != 0 {
		t.Errorf("health: %s %v", response.Status, response.Header)
	}
	if response, _ := s.get(t, "GET", "/v1.0/metadata"); response.StatusCode != 200 {
		t.Errorf("metadata: %s", response.Status)
	}
	response, body := s.get(t, "GET", "/v1.0/state/st/k")
	if response.StatusCode != 404 || body != "404 page not found\n" || response.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("state: %s %q %v", response.Status, body, response.Header)
	}
	response, body = s.get(t, "DELETE", "/v1.0/healthz")
	if response.StatusCode != 405 || body != "" || response.Header.Get("Allow") != "GET" {
		t.Errorf("wrong verb: %s %q %v", response.Status, body, response.Header)
	}
}

// calls remembers what an observer is told.
type calls struct {
	mu   sync.Mutex
	told []string
	more chan bool
}

func (c *calls) HTTPServed(method, _, path string, status int, received, sent int64, elapsed time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, fmt.Sprint(method, " ", path, " ", status, " ", received, " ", sent, " ", elapsed > 0 && elapsed < time.Minute))
	c.more <- true
}

func TestObserver(t *testing.T) {
	observer := &calls{more: make(chan bool, 100)}
	s := start(t, setup{observer: observer, app: http.HandlerFunc(echo)})
	s.get(t, "GET", "/v1.0/state/st/key1?metadata.x=1")
	s.send(t, "POST", "/v1.0/state/st/", "[]")
	s.send(t, "POST", "/v1.0/invoke/myapp/method/a/b?x=1", strings.Repeat("x", 20000))
	s.get(t, "GET", "/favicon.ico")
	s.get(t, "BREW", "/v1.0/healthz")
	s.get(t, "GET", "/v1.0/%")
	s.send(t, "PUT", "/v1.0/metadata/key", "v")
	for range 7 {
		<-observer.more
	}
	want := []string{
		"GET /v1.0/state/st 204 0 0 true",
		"POST /v1.0/state/st 204 2 0 true",
		"POST /v1.0/invoke/myapp/method/a/b 200 20000 20000 true",
		"GET /v1.0/invoke/{target:*} 404 0 118 true",
		"UNKNOWN /v1.0/invoke/{target:*} 404 0 118 true",
		"GET _other 400 0 15 true",
		"PUT /v1.0/metadata 204 1 0 true",
	}
	if diff := cmp.Diff(want, observer.told); diff != "" {
		t.Error(diff)
	}
}

func TestAPILog(t *testing.T) {
	log, hook := nullLog()
	s := start(t, setup{apiLog: log, app: http.HandlerFunc(echo)})
	s.get(t, "GET", "/v1.0/state/st/a%20b?metadata.x=1", "User-Agent: curl/7.88.1")
	s.send(t, "POST", "/v1.0/invoke/myapp/method/x", "hello")
	quiet := start(t, setup{apiLog: log, app: http.HandlerFunc(echo), config: Config{ObfuscateURLs: true, OmitHealthChecks: true}})
	quiet.get(t, "GET", "/v1.0/healthz")
	quiet.get(t, "GET", "/v1.0/state/st/secretkey")
	quiet.get(t, "GET", "/v1.0/invoke/myapp/method/secretpath")
	await(t, func() bool { return len(hook.AllEntries()) >= 4 })
	var got []string
	for _, e := range hook.AllEntries() {
		_, isNumber := e.Data["duration"].(int64)
		got = append(got, fmt.Sprint(e.Message, "|", e.Data["method"], "|", e.Data["useragent"], "|", e.Data["code"], "|", e.Data["size"], "|", isNumber))
	}
	want := []string{
		"HTTP API Called|GET /v1.0/state/st/a b|curl/7.88.1|204|0|true",
		"HTTP API Called|POST /v1.0/invoke/myapp/method/x||200|5|true",
		"HTTP API Called|GetState||204|0|true",
		"HTTP API Called|InvokeService/myapp||200|0|true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func await(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

func TestTargets(t *testing.T) {
	s := start(t, setup{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, r.RequestURI, " ", r.Header.Get("dapr-app-id"))
	})})
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "plain "+r.RequestURI) })}
	done := make(chan error)
	go func() { done <- server.Serve(plain) }()
	defer func() { _ = server.Close(); <-done }()
	address := plain.Addr().String()
	for name, c := range map[string]struct {
		target, header, want string
		status               int
	}{
		"path":                  {"/v1.0/invoke/myapp/method/x/y?q=1", "", "/x/y?q=1 ", 200},
		"namespace":             {"/v1.0/invoke/myapp.default/method/x", "", "/x ", 200},
		"escaped id":            {"/v1.0/invoke/my%61pp/method/x", "", "/x ", 200},
		"header":                {"/x?q=1", "dapr-app-id: myapp", "/x?q=1 ", 200},
		"header before path":    {"/v1.0/invoke/nobody/method/x", "dapr-app-id: myapp", "/v1.0/invoke/nobody/method/x ", 200},
		"header on a route":     {"/v1.0/state/st/k", "dapr-app-id: myapp", "", 204},
		"header at the root":    {"/", "dapr-app-id: myapp", "/ ", 200},
		"URL":                   {"/v1.0/invoke/http://" + address + "/method/x//y?z=1", "", "plain /x/y?z=1", 200},
		"escaped URL":           {"/v1.0/invoke/http%3A%2F%2F" + strings.Replace(address, ":", "%3A", 1) + "/method/x", "", "plain /x", 200},
		"no method":             {"/v1.0/invoke/myapp/method", "", `{"errorCode":"ERR_DIRECT_INVOKE","message":"failed getting app id either from the URL path or the header dapr-app-id"}`, 404},
		"no id":                 {"/v1.0/invoke//method/x", "", `{"errorCode":"ERR_DIRECT_INVOKE","message":"failed getting app id either from the URL path or the header dapr-app-id"}`, 404},
		"trailing slash":        {"/v1.0/invoke/myapp/method/x/", "", "/x/ ", 200},
		"method with /method/":  {"/v1.0/invoke/myapp/method/a/method/b", "", "/a/method/b ", 200},
		"dots out of the route": {"/v1.0/invoke/myapp/method/../../x", "", `{"errorCode":"ERR_DIRECT_INVOKE","message":"failed getting app id either from the URL path or the header dapr-app-id"}`, 404},
	} {
		t.Run(name, func(t *testing.T) {
			var headers []string
			if c.header != "" {
				headers = append(headers, c.header)
			}
			if response, body := s.get(t, "GET", c.target, headers...); response.StatusCode != c.status || body != c.want {
				t.Errorf("got %s %q", response.Status, body)
			}
		})
	}
}

func TestForwardedHeaders(t *testing.T) {
	var got http.Header
	s := start(t, setup{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got = r.Header.Clone() })})
	s.get(t, "GET", "/v1.0/invoke/myapp/method/x", "X-Rep: 1", "X-Rep: 2", "Cookie: a=1; b=\"2 3\"", "Connection: close, X-Hop", "X-Hop: 1",
		"Keep-Alive: 5", "TE: trailers", "Upgrade: h2c", "HTTP2-Settings: x", "Proxy-Authorization: x", "X-Empty:", "baggage: u=1")
	for name, want := range map[string]string{
		"X-Rep": "1|2", "Cookie": `a=1; b="2 3"`, "X-Hop": "", "Keep-Alive": "", "Te": "", "Upgrade": "", "Http2-Settings": "",
		"Proxy-Authorization": "", "Baggage": "u=1", "X-Empty": "",
	} {
		if have := strings.Join(got[name], "|"); have != want {
			t.Errorf("%s: %q, want %q", name, have, want)
		}
	}
	if _, there := got["X-Empty"]; !there {
		t.Error("X-Empty is lost")
	}
}

func TestStateKeepsBytes(t *testing.T) {
	s := start(t, setup{})
	for _, value := range []string{`{"z": 1,  "a":[1e400, 0.10000000000000000001]}`, `"\u00e9\/<&>"`, ` null `, `12345678901234567890`, `"é"`, "[ ]"} {
		response, body := s.send(t, "POST", "/v1.0/state/st", `[{"key":"k","value":`+value+`}]`)
		if response.StatusCode != 204 {
			t.Fatalf("%s: %s %s", value, response.Status, body)
		}
		if _, body := s.get(t, "GET", "/v1.0/state/st/k"); body != strings.TrimSpace(value) {
			t.Errorf("sent %s, got %s", value, body)
		}
	}
}

func TestStateRequests(t *testing.T) {
	s := start(t, setup{})
	steps := []struct {
		name, verb, target, body, header string
		status                           int
		want                             string
	}{
		{"escaped key", "POST", "/v1.0/state/st", `[{"key":"a\u002fb c","value":1}]`, "", 204, ""},
		{"escaped in the path", "GET", "/v1.0/state/st/a%2Fb+c", "", "", 200, "1"},
		{"names in any case", "POST", "/v1.0/state/st", `[{"KEY":"c","Value":2,"other":[{}]}]`, "", 204, ""},
		{"ttl of the query", "POST", "/v1.0/state/st?metadata.ttlInSeconds=5", `[{"key":"t","value":2}]`, "", 204, ""},
		{"metadata must be text", "POST", "/v1.0/state/st", `[{"key":"t","metadata":{"ttlInSeconds":5}}]`, "", 400, ""},
		{"right tag", "POST", "/v1.0/state/st", `[{"key":"c","value":3,"etag":"1"}]`, "", 204, ""},
		{"old tag", "POST", "/v1.0/state/st", `[{"key":"c","value":3,"etag":"1"}]`, "", 409, ""},
		{"delete, old tag", "DELETE", "/v1.0/state/st/c", "", "If-Match: 1", 409, ""},
		{"delete, empty tag", "DELETE", "/v1.0/state/st/c", "", "If-Match:", 204, ""},
		{"no value is null", "POST", "/v1.0/state/st", `[{"key":"n"}]`, "", 204, ""},
		{"null", "GET", "/v1.0/state/st/n", "", "", 200, "null"},
		{"trailing text", "POST", "/v1.0/state/st", `[] x`, "", 400, `{"errorCode":"ERR_MALFORMED_REQUEST","message":"invalid character after top-level value"}`},
		{"transaction", "POST", "/v1.0/state/st/transaction", `{"operations":[{"operation":"upsert","request":{"key":"x","value":{"a" : 1}}},{"operation":"delete","request":{"key":"n"}}]}`, "", 204, ""},
		{"transacted", "GET", "/v1.0/state/st/x", "", "", 200, `{"a" : 1}`},
		{"deleted", "GET", "/v1.0/state/st/n", "", "", 204, ""},
		{"bulk", "PUT", "/v1.0/state/st/bulk", `{"keys":["x","none"]}`, "", 200, `[{"key":"x","data":{"a" : 1},"etag":"1"},{"key":"none"}]` + "\n"},
		{"a key named bulk", "GET", "/v1.0/state/st/bulk", "", "", 204, ""},
		{"no transactions", "POST", "/v1.0/state/plain/transaction", `{"operations":[{"operation":"upsert","request":{"key":"x"}}]}`, "", 500, ""},
	}
	for _, c := range steps {
		t.Run(c.name, func(t *testing.T) {
			var headers []string
			if c.header != "" {
				headers = append(headers, c.header)
			}
			response, body := s.send(t, c.verb, c.target, c.body, headers...)
			if response.StatusCode != c.status || c.want != "" && body != c.want {
				t.Errorf("got %s %q", response.Status, body)
			}
		})
	}
	if response, _ := s.get(t, "GET", "/v1.0/state/st/t"); response.Header.Get("Metadata.ttlexpiretime") == "" {
		t.Errorf("no expiry in %v", response.Header)
	}
}

func TestHealth(t *testing.T) {
	s := start(t, setup{})
	s.health.SetReady(false)
	s.health.SetOutbound(false)
	if response, body := s.get(t, "GET", "/v1.0/healthz"); response.StatusCode != 500 || !strings.Contains(body, "ERR_HEALTH_NOT_READY") {
		t.Errorf("%s %s", response.Status, body)
	}
	if response, body := s.get(t, "GET", "/v1.0/healthz/outbound"); response.StatusCode != 500 || !strings.Contains(body, "ERR_OUTBOUND_HEALTH_NOT_READY") {
		t.Errorf("%s %s", response.Status, body)
	}
	if response, _ := s.get(t, "HEAD", "/v1.0/healthz"); response.StatusCode != 404 {
		t.Errorf("HEAD: %s", response.Status)
	}
}

func TestShutdown(t *testing.T) {
	s := start(t, setup{})
	for header, forced := range map[string]bool{"X: y": false, "dapr-force-shutdown: true": true} {
		if response, _ := s.get(t, "POST", "/v1.0/shutdown", header); response.StatusCode != 204 {
			t.Error(response.Status)
		}
		if got := <-s.shutdown; got != forced {
			t.Errorf("%s: forced=%v", header, got)
		}
	}
}

func TestStartLines(t *testing.T) {
	s := start(t, setup{config: Config{AllowedOrigins: "*", Token: security.NewToken("t")}, observer: &calls{}, public: true})
	want := []string{"enabled cors http middleware", "enabled token authentication on http server", "enabled metrics http middleware",
		"enabled tracing http middleware", "enabled metrics http middleware", "enabled tracing http middleware"}
	if diff := cmp.Diff(want, logged(s)); diff != "" {
		t.Error(diff)
	}
}

func TestProfiling(t *testing.T) {
	log, hook := nullLog()
	p, err := ListenProfiling(t.Context(), []string{"127.0.0.1"}, 0, log)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + p.Addresses()[0].String() + "/debug/pprof/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != 200 || hook.LastEntry().Message != "starting profiling server on 127.0.0.1:0" {
		t.Errorf("%s, logged %q", response.Status, hook.LastEntry().Message)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestCallsOverHTTP2AreObserved(t *testing.T) {
	observer := &calls{more: make(chan bool, 1)}
	s := start(t, setup{observer: observer})
	client := http2Client()
	defer client.CloseIdleConnections()
	response, err := client.Get("http://" + s.address + "/v1.0/state/st/k")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	<-observer.more
	if diff := cmp.Diff([]string{"GET /v1.0/state/st 204 0 0 true"}, observer.told); diff != "" {
		t.Error(diff)
	}
}
