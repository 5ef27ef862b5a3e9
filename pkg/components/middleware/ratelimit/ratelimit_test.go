package ratelimit

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/daprd/daprd/pkg/components/componentstest"
)

func start(t *testing.T, perSecond string) *limit {
	t.Helper()
	m, err := New(t.Context(), componentstest.Spec("middleware.http.ratelimit", map[string]string{"maxRequestsPerSecond": perSecond}))
	if err != nil {
		t.Fatal(err)
	}
	return m.(*limit)
}

// passes counts those of n requests that pass.
func passes(l *limit, n int, address string, header ...string) (passed int) {
	handler := l.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { passed++ }))
	for range n {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = address
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Add(header[i], header[i+1])
		}
		handler.ServeHTTP(httptest.NewRecorder(), r)
	}
	return passed
}

func TestCallers(t *testing.T) {
	for name, test := range map[string]struct {
		first, second []string // address, then headers
		same          bool
	}{
		"addresses":             {[]string{"203.0.113.1:1"}, []string{"203.0.113.2:1"}, false},
		"ports":                 {[]string{"203.0.113.1:1"}, []string{"203.0.113.1:2"}, true},
		"a /64":                 {[]string{"[2001:db8::1]:1"}, []string{"[2001:db8::2]:1"}, true},
		"two /64":               {[]string{"[2001:db8::1]:1"}, []string{"[2001:db8:0:1::1]:1"}, false},
		"mapped":                {[]string{"203.0.113.1:1"}, []string{"[::ffff:203.0.113.1]:1"}, true},
		"forged header":         {[]string{"203.0.113.1:1", "X-Forwarded-For", "198.51.100.1"}, []string{"203.0.113.1:1", "X-Forwarded-For", "198.51.100.2"}, true},
		"behind a proxy":        {[]string{"127.0.0.1:1", "X-Forwarded-For", "198.51.100.1"}, []string{"127.0.0.1:1", "X-Forwarded-For", "198.51.100.2"}, false},
		"forged before a proxy": {[]string{"10.0.0.1:1", "X-Forwarded-For", "1.1.1.1, 198.51.100.1"}, []string{"10.0.0.1:1", "X-Forwarded-For", "2.2.2.2, 198.51.100.1"}, true},
		"two headers":           {[]string{"10.0.0.1:1", "X-Forwarded-For", "1.1.1.1", "X-Forwarded-For", "198.51.100.1"}, []string{"10.0.0.1:1", "X-Forwarded-For", "198.51.100.1"}, true},
		"real IP":               {[]string{"127.0.0.1:1", "X-Real-Ip", "198.51.100.1"}, []string{"127.0.0.1:1", "X-Real-Ip", "198.51.100.2"}, false},
		"a socket file":         {[]string{"@"}, []string{""}, true},
		"nonsense":              {[]string{"127.0.0.1:1", "X-Forwarded-For", "what"}, []string{"127.0.0.1:2"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := start(t, "1")
			if n := passes(l, 2, test.first[0], test.first[1:]...); n != 1 {
				t.Errorf("of the first %d passed", n)
			}
			if n := passes(l, 1, test.second[0], test.second[1:]...); (n == 0) != test.same {
				t.Errorf("of the second %d passed", n)
			}
		})
	}
}

func TestAnswer(t *testing.T) {
	l := start(t, "0.5")
	handler := l.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	var w *httptest.ResponseRecorder
	for range 2 {
		w = httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	}
	if w.Code != 429 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "maximum request limit") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

func TestSettings(t *testing.T) {
	if l := start(t, ""); l.perSecond != 100 || l.burst != 100 {
		t.Errorf("by default %v, %d", l.perSecond, l.burst)
	}
	for _, value := range []string{"0", "-1", "x", "NaN", "Inf"} {
		_, err := New(t.Context(), componentstest.Spec("middleware.http.ratelimit", map[string]string{"maxRequestsPerSecond": value}))
		if err == nil || !strings.Contains(err.Error(), "maxRequestsPerSecond") {
			t.Errorf("%s: error %v", value, err)
		}
	}
}

func TestReadme(t *testing.T) {
	m, err := New(t.Context(), componentstest.FromReadme(t, "middleware.http.ratelimit"))
	if err != nil {
		t.Fatal(err)
	}
	if n := passes(m.(*limit), 50, "203.0.113.1:1"); n < 10 || n > 12 {
		t.Errorf("%d passed", n)
	}
}
