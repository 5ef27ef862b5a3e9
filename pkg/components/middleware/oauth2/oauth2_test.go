package oauth2

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"go.uber.org/goleak"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/components/componentstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "hush-hush"

// server stands in for an authorization server: it knows one client, checks PKCE, and gives tokens that are counted.
type server struct {
	*httptest.Server
	mu         sync.Mutex
	challenges map[string]string // by code
	asked      []url.Values
	lifetime   int
	refuse     bool
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{challenges: map[string]string{}, lifetime: 3600}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		s.mu.Lock()
		s.challenges["code1"] = query.Get("code_challenge")
		s.mu.Unlock()
		http.Redirect(w, r, query.Get("redirect_uri")+"?code=code1&state="+url.QueryEscape(query.Get("state")), http.StatusFound)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		s.mu.Lock()
		defer s.mu.Unlock()
		id, password, basic := r.BasicAuth()
		if basic {
			r.Form.Set("client_id", id)
			r.Form.Set("client_secret", password)
		}
		s.asked = append(s.asked, r.Form)
		sum := sha256.Sum256([]byte(r.Form.Get("code_verifier")))
		challenge := base64.RawURLEncoding.EncodeToString(sum[:])
		if s.refuse || r.Form.Get("client_secret") != secret || r.Form.Get("grant_type") == "authorization_code" && challenge != s.challenges[r.Form.Get("code")] {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_grant", "error_description": "the secret " + r.Form.Get("client_secret")})
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "token" + string(rune('0'+len(s.asked))), "token_type": "bearer",
			"expires_in": s.lifetime, "refresh_token": "again"})
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *server) times() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

func logged(spec *components.Spec) *logtest.Hook {
	log, hook := logtest.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	spec.Log = log
	return hook
}

func noSecrets(t *testing.T, hook *logtest.Hook) {
	t.Helper()
	for _, entry := range hook.AllEntries() {
		for _, word := range []string{secret, "token1", "token2", "code1"} {
			if strings.Contains(entry.Message, word) {
				t.Errorf("%s is in the log: %s", word, entry.Message)
			}
		}
	}
}

// echo shows what came through.
func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Path", r.URL.RequestURI())
	w.Header().Set("X-Authorization", r.Header.Get("Authorization"))
	w.Header().Set("X-Cookie", r.Header.Get("Cookie"))
	w.WriteHeader(http.StatusAccepted)
}

// browser is a middleware behind a server, and a client that keeps cookies but follows no redirects by itself.
type browser struct {
	*httptest.Server
	client  *http.Client
	cookies []*http.Cookie
}

func (b *browser) get(t *testing.T, address string, cookies ...*http.Cookie) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range append(b.cookies, cookies...) {
		request.AddCookie(c)
	}
	response, err := b.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if given := response.Cookies(); len(given) > 0 {
		b.cookies = given
	}
	return response
}

func signIn(t *testing.T, s *server, change map[string]string) (*browser, *code, *logtest.Hook) {
	t.Helper()
	b := &browser{client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	b.Server = httptest.NewUnstartedServer(nil)
	properties := map[string]string{"clientID": "me", "clientSecret": secret, "authURL": s.URL + "/authorize", "tokenURL": s.URL + "/token",
		"redirectURL": "http://" + b.Listener.Addr().String() + "/back", "scopes": "a, b"}
	for name, value := range change {
		properties[name] = value
	}
	spec := componentstest.Spec("middleware.http.oauth2", properties)
	hook := logged(spec)
	instance, err := New(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	b.Config.Handler = instance.Wrap(http.HandlerFunc(echo))
	b.Start()
	t.Cleanup(b.Close)
	return b, instance.(*code), hook
}

func TestCodeFlow(t *testing.T) {
	s := newServer(t)
	b, _, hook := signIn(t, s, nil)
	response := b.get(t, b.URL+"/v1.0/orders?a=b")
	at, err := response.Location()
	if err != nil || response.StatusCode != 302 {
		t.Fatalf("%d, %v", response.StatusCode, err)
	}
	query := at.Query()
	if query.Get("client_id") != "me" || query.Get("scope") != "a b" || query.Get("code_challenge_method") != "S256" || len(query.Get("state")) < 20 {
		t.Errorf("sent to %s", at)
	}
	first := b.cookies[0]
	if !first.HttpOnly || first.SameSite != http.SameSiteLaxMode || first.Secure || first.Path != "/" {
		t.Errorf("cookie %v", first)
	}
	back, _ := b.get(t, at.String()).Location()
	response = b.get(t, back.String())
	if response.StatusCode != 302 || response.Header.Get("Location") != "/v1.0/orders?a=b" {
		t.Errorf("signed in: %d %v", response.StatusCode, response.Header)
	}
	if b.cookies[0].Value == first.Value {
		t.Error("the session has the id from before the sign-in")
	}
	response = b.get(t, b.URL+"/v1.0/orders?a=b", &http.Cookie{Name: "mine", Value: "1"})
	if response.StatusCode != 202 || response.Header.Get("X-Authorization") != "Bearer token1" || response.Header.Get("X-Cookie") != "mine=1" {
		t.Errorf("with a session: %d %v", response.StatusCode, response.Header)
	}
	if response = b.get(t, back.String()); response.StatusCode != 202 {
		t.Errorf("with a session and a state: %d", response.StatusCode)
	}
	b.cookies = []*http.Cookie{first}
	if response = b.get(t, back.String()); response.StatusCode != 400 {
		t.Errorf("the same sign-in again: %d", response.StatusCode)
	}
	noSecrets(t, hook)
}

func TestStateIsChecked(t *testing.T) {
	s := newServer(t)
	for name, change := range map[string]func(b *browser, q url.Values){
		"another state": func(_ *browser, q url.Values) { q.Set("state", "x") },
		"empty state":   func(_ *browser, q url.Values) { q.Set("state", "") },
		"no cookie":     func(b *browser, _ url.Values) { b.cookies = nil },
		"other cookie":  func(b *browser, _ url.Values) { b.cookies[0].Value = "x" },
		"no code":       func(_ *browser, q url.Values) { q.Del("code") },
	} {
		t.Run(name, func(t *testing.T) {
			b, _, _ := signIn(t, s, nil)
			at, _ := b.get(t, b.URL+"/x").Location()
			back, _ := b.get(t, at.String()).Location()
			query := back.Query()
			change(b, query)
			back.RawQuery = query.Encode()
			if response := b.get(t, back.String()); response.StatusCode != 400 {
				t.Errorf("%d", response.StatusCode)
			}
		})
	}
	if n := s.times(); n != 0 {
		t.Errorf("%d tokens were asked for", n)
	}
}

func TestCodeRefused(t *testing.T) {
	s := newServer(t)
	b, _, hook := signIn(t, s, map[string]string{"clientSecret": "wrong-" + secret})
	at, _ := b.get(t, b.URL+"/x").Location()
	back, _ := b.get(t, at.String()).Location()
	if response := b.get(t, back.String()); response.StatusCode != 500 {
		t.Errorf("%d", response.StatusCode)
	}
	if last := hook.LastEntry(); last == nil || !strings.Contains(last.Message, `error "invalid_grant"`) {
		t.Errorf("the log says %v", last)
	}
	noSecrets(t, hook)
}

func TestSessionsEnd(t *testing.T) {
	s := newServer(t)
	b, m, _ := signIn(t, s, nil)
	at, _ := b.get(t, b.URL+"/x").Location()
	back, _ := b.get(t, at.String()).Location()
	now := time.Now()
	m.sessions.now = func() time.Time { return now.Add(flowAge + time.Minute) }
	if response := b.get(t, back.String()); response.StatusCode != 400 {
		t.Errorf("a sign-in that took too long: %d", response.StatusCode)
	}
	m.sessions.now = func() time.Time { return now }
	at, _ = b.get(t, b.URL+"/x").Location()
	back, _ = b.get(t, at.String()).Location()
	b.get(t, back.String())
	m.sessions.now = func() time.Time { return now.Add(sessionAge + time.Minute) }
	if response := b.get(t, b.URL+"/x"); response.StatusCode != 302 {
		t.Errorf("an old session: %d", response.StatusCode)
	}
}

func TestRefresh(t *testing.T) {
	s := newServer(t)
	s.lifetime = 1 // over at once: tokens are refreshed ten seconds before
	b, _, _ := signIn(t, s, nil)
	at, _ := b.get(t, b.URL+"/x").Location()
	back, _ := b.get(t, at.String()).Location()
	b.get(t, back.String())
	if response := b.get(t, b.URL+"/x"); response.Header.Get("X-Authorization") != "Bearer token2" {
		t.Errorf("%d %v", response.StatusCode, response.Header)
	}
	s.mu.Lock()
	s.refuse = true
	s.mu.Unlock()
	if response := b.get(t, b.URL+"/x"); response.StatusCode != 302 {
		t.Errorf("a token that cannot be refreshed: %d", response.StatusCode)
	}
}

func TestPathFilter(t *testing.T) {
	s := newServer(t)
	b, _, _ := signIn(t, s, map[string]string{"pathFilter": "^/private"})
	for path, want := range map[string]int{"/public": 202, "/private/x": 302} {
		if response := b.get(t, b.URL+path); response.StatusCode != want {
			t.Errorf("%s: %d", path, response.StatusCode)
		}
	}
}

// TestTarget: after the sign-in nobody is sent to another host.
func TestTarget(t *testing.T) {
	for uri, want := range map[string]string{"//evil.example.com/x": "/evil.example.com/x", "/a?b=c": "/a?b=c"} {
		r := httptest.NewRequest("GET", "http://host/", nil)
		u, err := url.ParseRequestURI(uri)
		if err != nil {
			t.Fatal(err)
		}
		r.URL = u
		if got := (&code{}).target(r); got != want {
			t.Errorf("%s: %s", uri, got)
		}
		r.Host = "shop.example.com"
		if got := (&code{forceHTTPS: true}).target(r); got != "https://shop.example.com"+want {
			t.Errorf("%s: %s", uri, got)
		}
	}
}

func TestClientCredentials(t *testing.T) {
	s := newServer(t)
	for style, name := range []string{"finds out", "parameters", "header"} {
		t.Run(name, func(t *testing.T) {
			before := s.times()
			spec := componentstest.Spec("middleware.http.oauth2clientcredentials", map[string]string{"clientID": "me", "clientSecret": secret,
				"tokenURL": s.URL + "/token", "scopes": "a,b", "endpointParamsQuery": "resource=r", "authStyle": string(rune('0' + style)), "pathFilter": "^/a"})
			hook := logged(spec)
			m, err := NewClientCredentials(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			for path, want := range map[string]bool{"/a": true, "/a/b": true, "/b": false} {
				r := httptest.NewRequest("GET", path, nil)
				w := httptest.NewRecorder()
				m.Wrap(http.HandlerFunc(echo)).ServeHTTP(w, r)
				if w.Code != 202 || strings.HasPrefix(w.Header().Get("X-Authorization"), "Bearer token") != want {
					t.Errorf("%s: %d %v", path, w.Code, w.Header())
				}
			}
			if n := s.times() - before; n != 1 {
				t.Errorf("%d tokens were asked for", n)
			}
			if form := s.asked[before]; form.Get("scope") != "a b" || form.Get("resource") != "r" || form.Get("grant_type") != "client_credentials" {
				t.Errorf("asked with %v", form)
			}
			noSecrets(t, hook)
		})
	}
}

func TestClientCredentialsRefused(t *testing.T) {
	s := newServer(t)
	s.refuse = true
	spec := componentstest.Spec("middleware.http.oauth2clientcredentials", map[string]string{"clientID": "me", "clientSecret": secret, "tokenURL": s.URL + "/token"})
	hook := logged(spec)
	m, err := NewClientCredentials(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // an answer, then none
		w := httptest.NewRecorder()
		m.Wrap(http.HandlerFunc(echo)).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if w.Code != 500 || strings.Contains(w.Body.String(), "invalid_grant") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		s.Close()
	}
	noSecrets(t, hook)
}

func TestSettings(t *testing.T) {
	good := map[string]string{"clientID": "me", "clientSecret": secret, "tokenURL": "https://x/token", "authURL": "https://x/a", "redirectURL": "https://y/b"}
	for name, test := range map[string]struct{ property, value, want string }{
		"no client":   {"clientID", "", "metadata property clientID is missing"},
		"no URL":      {"tokenURL", "x", "metadata property tokenURL is not usable"},
		"auth URL":    {"authURL", "ftp://x", "metadata property authURL is not usable"},
		"filter":      {"pathFilter", "(", "metadata property pathFilter is not usable"},
		"style":       {"authStyle", "3", "metadata property authStyle: 3 is not usable"},
		"parameters":  {"endpointParamsQuery", "a=%zz", "metadata property endpointParamsQuery"},
		"good itself": {"clientID", "me", ""},
	} {
		t.Run(name, func(t *testing.T) {
			properties := map[string]string{}
			for name, value := range good {
				properties[name] = value
			}
			properties[test.property] = test.value
			_, first := New(t.Context(), componentstest.Spec("middleware.http.oauth2", properties))
			_, second := NewClientCredentials(t.Context(), componentstest.Spec("middleware.http.oauth2clientcredentials", properties))
			found := first != nil && strings.Contains(first.Error(), test.want) || second != nil && strings.Contains(second.Error(), test.want)
			if test.want == "" && (first != nil || second != nil) || test.want != "" && !found {
				t.Errorf("errors %v, %v", first, second)
			}
		})
	}
}

func TestReadme(t *testing.T) {
	if m, err := New(t.Context(), componentstest.FromReadme(t, "middleware.http.oauth2")); err != nil || !m.(*code).cookie.secure {
		t.Errorf("error %v", err)
	}
	if _, err := NewClientCredentials(t.Context(), componentstest.FromReadme(t, "middleware.http.oauth2clientcredentials")); err != nil {
		t.Error(err)
	}
}
