package middleware_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"go.uber.org/goleak"

	"github.com/daprd/daprd/pkg/middleware"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tag adds its name to the header X-Way on the way in.
type tag struct {
	name   string
	closed chan struct{}
}

func newTag(name string) *tag { return &tag{name: name, closed: make(chan struct{})} }

func (m *tag) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Add("X-Way", m.name)
		next.ServeHTTP(w, r)
	})
}

func (m *tag) Close() error {
	close(m.closed)
	return nil
}

func (m *tag) isClosed() bool {
	select {
	case <-m.closed:
		return true
	default:
		return false
	}
}

func settings(kind string) middleware.Settings {
	return middleware.Settings{Type: "middleware.http." + kind, Version: "v1"}
}

func handler(name, kind string) middleware.Handler {
	return middleware.Handler{Name: name, Type: "middleware.http." + kind}
}

func newService(t *testing.T) (*middleware.Service, *logtest.Hook) {
	t.Helper()
	log, hook := logtest.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	s := middleware.NewService(log)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, hook
}

func add(t *testing.T, s *middleware.Service, name, kind string, m middleware.Middleware) {
	t.Helper()
	if err := s.Add(name, m, settings(kind)); err != nil {
		t.Fatal(err)
	}
}

// serve sends a request through the pipeline.
func serve(t *testing.T, p *middleware.Pipeline, next http.HandlerFunc) *middleware.Answer {
	t.Helper()
	chain := p.Take()
	if chain == nil {
		t.Fatal("the pipeline is empty")
	}
	answer, err := chain.Serve(httptest.NewRequest("GET", "/", nil), next)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Close() })
	return answer
}

// way is which middleware a call goes through.
func way(t *testing.T, p *middleware.Pipeline) (names []string, status int) {
	t.Helper()
	answer := serve(t, p, func(_ http.ResponseWriter, r *http.Request) { names = slices.Clone(r.Header.Values("X-Way")) })
	return names, answer.Status
}

func TestOrder(t *testing.T) {
	s, _ := newService(t)
	if s.HTTP.Take() != nil || (*middleware.Pipeline)(nil).Take() != nil {
		t.Error("a pipeline without handlers is not empty")
	}
	add(t, s, "a", "uppercase", newTag("a"))
	add(t, s, "b", "bearer", newTag("b"))
	if err := s.HTTP.Set([]middleware.Handler{handler("b", "bearer"), handler("a", "Uppercase"), handler("b", "bearer")}); err != nil {
		t.Fatal(err)
	}
	names, status := way(t, s.HTTP)
	if diff := cmp.Diff([]string{"b", "a", "b"}, names); diff != "" || status != 200 {
		t.Error(diff, status)
	}
	if s.App.Take() != nil {
		t.Error("the other pipeline is not empty")
	}
	if err := s.HTTP.Set(nil); err != nil || s.HTTP.Take() != nil {
		t.Errorf("set to nothing it is not empty; %v", err)
	}
}

func TestMissing(t *testing.T) {
	for name, test := range map[string]struct {
		handler middleware.Handler
		fails   string // part of the error
		warns   string // part of the log
		status  int
	}{
		"harmless":         {handler("x", "uppercase"), "", "spec.httpPipeline: the middleware x (middleware.http.uppercase) is passed over: no component x is loaded", 200},
		"guard":            {handler("x", "bearer"), "spec.httpPipeline names the middleware x (middleware.http.bearer), without which calls would pass unchecked: no component x", "", 0},
		"mistyped":         {handler("a", "baerer"), "the component a is of type middleware.http.bearer", "", 0},
		"mistyped as such": {handler("a", "uppercase"), "the component a is of type middleware.http.bearer", "", 0},
		"harmless both":    {handler("u", "sentinel"), "", "the component u is of type middleware.http.uppercase", 200},
		"version":          {middleware.Handler{Name: "a", Type: "middleware.http.bearer", Version: "v2"}, "has version v1, the pipeline names v2", "", 0},
		"same version":     {middleware.Handler{Name: "a", Type: "middleware.http.bearer", Version: "V0"}, "", "", 200},
		"tolerated":        {middleware.Handler{Name: "x", Type: "middleware.http.opa", Tolerated: true}, "", "calls are answered with 503", 503},
	} {
		t.Run(name, func(t *testing.T) {
			s, hook := newService(t)
			add(t, s, "a", "bearer", newTag("a"))
			add(t, s, "u", "uppercase", newTag("u"))
			err := s.HTTP.Set([]middleware.Handler{test.handler})
			if (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), test.fails) {
				t.Fatalf("error %v", err)
			}
			if test.warns != "" && !strings.Contains(hook.LastEntry().Message, test.warns) {
				t.Errorf("the log says %q", hook.LastEntry().Message)
			}
			if err != nil {
				if s.HTTP.Take() != nil {
					t.Error("the pipeline did not stay as it was")
				}
				return
			}
			if _, status := way(t, s.HTTP); status != test.status {
				t.Errorf("status %d", status)
			}
		})
	}
}

func TestLateComponentOpensTheClosedPipeline(t *testing.T) {
	s, _ := newService(t)
	if err := s.HTTP.Set([]middleware.Handler{{Name: "x", Type: "middleware.http.opa", Tolerated: true}}); err != nil {
		t.Fatal(err)
	}
	if _, status := way(t, s.HTTP); status != 503 {
		t.Errorf("without it: %d", status)
	}
	add(t, s, "x", "opa", newTag("x"))
	if names, status := way(t, s.HTTP); status != 200 || len(names) != 1 {
		t.Errorf("with it: %d %v", status, names)
	}
	if err := s.Add("x", newTag("x"), settings("opa")); err == nil {
		t.Error("a second one of that name was taken")
	}
	s.Remove("x")
	if _, status := way(t, s.HTTP); status != 503 {
		t.Errorf("removed: %d", status)
	}
}

// TestSwap: calls in flight end in the old instance, which is closed then; new ones go through the new one at once.
func TestSwap(t *testing.T) {
	s, _ := newService(t)
	old, next := newTag("old"), newTag("new")
	add(t, s, "m", "uppercase", old)
	handlers := []middleware.Handler{handler("m", "uppercase")}
	if err := errors.Join(s.HTTP.Set(handlers), s.App.Set(handlers)); err != nil {
		t.Fatal(err)
	}
	goOn := make(chan struct{})
	answer := serve(t, s.App, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Header.Get("X-Way"))
		http.NewResponseController(w).Flush()
		<-goOn
	})
	s.Swap("m", next, settings("uppercase"))
	for _, p := range []*middleware.Pipeline{s.HTTP, s.App} {
		if names, _ := way(t, p); !slices.Equal(names, []string{"new"}) {
			t.Errorf("a new call went through %v", names)
		}
	}
	if old.isClosed() {
		t.Error("the old instance was closed while a call was in it")
	}
	close(goOn)
	if body, err := io.ReadAll(answer.Stream); err != nil || string(body) != "old" {
		t.Errorf("the call in flight: %q, %v", body, err)
	}
	<-old.closed
	if next.isClosed() {
		t.Error("the new instance is closed")
	}
}

// TestCloseCuts: the end of the service does not wait for calls that do not end.
func TestCloseCuts(t *testing.T) {
	log, _ := logtest.NewNullLogger()
	s := middleware.NewService(log)
	old := newTag("old")
	add(t, s, "m", "uppercase", old)
	if err := s.HTTP.Set([]middleware.Handler{handler("m", "uppercase")}); err != nil {
		t.Fatal(err)
	}
	answer := serve(t, s.HTTP, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	s.Remove("m")
	if err := s.Close(); err != nil || !old.isClosed() {
		t.Errorf("error %v, closed %v", err, old.isClosed())
	}
	_ = answer.Close()
}

func TestAnswers(t *testing.T) {
	big := strings.Repeat("x", 40<<10)
	for name, test := range map[string]struct {
		method string
		next   http.HandlerFunc
		want   middleware.Answer
		body   string
		stream bool
	}{
		"nothing":       {"GET", func(http.ResponseWriter, *http.Request) {}, middleware.Answer{Status: 200}, "", false},
		"small":         {"GET", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); io.WriteString(w, "ab") }, middleware.Answer{Status: 201, Length: 2}, "ab", false},
		"first status":  {"GET", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); w.WriteHeader(500) }, middleware.Answer{Status: 201}, "", false},
		"informational": {"GET", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(404) }, middleware.Answer{Status: 404}, "", false},
		"impossible":    {"GET", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(7) }, middleware.Answer{Status: 500}, "", false},
		"large":         {"GET", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, big) }, middleware.Answer{Status: 200, Length: -1}, big, true},
		"large, declared": {"GET", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "40960")
			io.WriteString(w, big)
		}, middleware.Answer{Status: 200, Length: 40960}, big, true},
		"flushed": {"GET", func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "a")
			http.NewResponseController(w).Flush()
			io.WriteString(w, "b")
		}, middleware.Answer{Status: 200, Length: -1}, "ab", true},
		"HEAD": {"HEAD", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "7")
			io.WriteString(w, big)
		}, middleware.Answer{Status: 200, Length: 7}, "", false},
		"no content": {"GET", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204); io.WriteString(w, "x") }, middleware.Answer{Status: 204, Length: -1}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newService(t)
			add(t, s, "m", "uppercase", newTag("m"))
			if err := s.HTTP.Set([]middleware.Handler{handler("m", "uppercase")}); err != nil {
				t.Fatal(err)
			}
			answer, err := s.HTTP.Take().Serve(httptest.NewRequest(test.method, "/", nil), test.next)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Close()
			body := answer.Bytes
			if answer.Stream != nil {
				if body, err = io.ReadAll(answer.Stream); err != nil {
					t.Fatal(err)
				}
			}
			if answer.Status != test.want.Status || answer.Length != test.want.Length || string(body) != test.body || (answer.Stream != nil) != test.stream {
				t.Errorf("status %d, length %d, %d bytes, stream %v", answer.Status, answer.Length, len(body), answer.Stream != nil)
			}
			if answer.Header.Get("Content-Length") != "" {
				t.Error("the length is in the headers, too")
			}
		})
	}
}

func TestPanics(t *testing.T) {
	s, hook := newService(t)
	add(t, s, "m", "uppercase", newTag("m"))
	if err := s.HTTP.Set([]middleware.Handler{handler("m", "uppercase")}); err != nil {
		t.Fatal(err)
	}
	run := func(next http.HandlerFunc) (*middleware.Answer, error) {
		return s.HTTP.Take().Serve(httptest.NewRequest("GET", "/", nil), next)
	}
	if _, err := run(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }); err != middleware.ErrAborted {
		t.Errorf("broken off before the head: %v", err)
	}
	hook.Reset()
	if _, err := run(func(http.ResponseWriter, *http.Request) { panic("oh") }); err == nil || !strings.Contains(err.Error(), "oh") || len(hook.AllEntries()) != 1 {
		t.Errorf("a panic: %v", err)
	}
	answer, err := run(func(w http.ResponseWriter, _ *http.Request) {
		http.NewResponseController(w).Flush()
		io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close()
	if body, err := io.ReadAll(answer.Stream); err != io.ErrUnexpectedEOF || string(body) != "half" {
		t.Errorf("broken off in the middle: %q, %v", body, err)
	}
	// A context that does not descend from the request's hides what is behind the chain.
	s.Swap("m", wrapper(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, r.WithContext(context.Background())) })
	}), settings("uppercase"))
	if _, err := run(func(http.ResponseWriter, *http.Request) { t.Error("it passed") }); err == nil {
		t.Error("a lost context is no error")
	}
}

type wrapper func(http.Handler) http.Handler

func (w wrapper) Wrap(next http.Handler) http.Handler { return w(next) }

// TestClose ends what is behind the chain: its context, and its writes.
func TestClose(t *testing.T) {
	s, _ := newService(t)
	add(t, s, "m", "uppercase", newTag("m"))
	if err := s.HTTP.Set([]middleware.Handler{handler("m", "uppercase")}); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	answer := serve(t, s.HTTP, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		_, err := w.Write([]byte("x"))
		failed <- err
	})
	if err := answer.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-failed:
		if err == nil {
			t.Error("a write after the end did not fail")
		}
	case <-time.After(time.Second):
		t.Error("Close did not wait for the chain")
	}
}

func TestReplace(t *testing.T) {
	r := httptest.NewRequest("POST", "/", strings.NewReader("old text"))
	original := r.Body
	if got := middleware.Length(r, original); got != 8 {
		t.Errorf("of the original: %d", got)
	}
	if _, ok := middleware.Whole(r); ok {
		t.Error("the original is said to be whole")
	}
	r.Body = io.NopCloser(strings.NewReader("other"))
	if got := middleware.Length(r, original); got != -1 {
		t.Errorf("of another body: %d", got)
	}
	middleware.Replace(r, []byte("new"))
	if whole, ok := middleware.Whole(r); !ok || string(whole) != "new" || middleware.Length(r, original) != 3 || r.Header.Get("Content-Length") != "3" {
		t.Errorf("%q, %v", whole, ok)
	}
	if _, err := r.Body.Read(make([]byte, 1)); err != nil || middleware.Length(r, original) != 2 {
		t.Errorf("read from: %d, %v", middleware.Length(r, original), err)
	}
	if _, ok := middleware.Whole(r); ok {
		t.Error("one that was read from is said to be whole")
	}
	for _, none := range []io.ReadCloser{nil, http.NoBody} {
		r.Body = none
		if got := middleware.Length(r, original); got != 0 {
			t.Errorf("of no body: %d", got)
		}
	}
}
