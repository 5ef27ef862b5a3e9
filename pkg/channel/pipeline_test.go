package channel

import (
	"context"
	"errors"
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
	if err := s.App.Set([]middleware.Handler{{Name: "m", Type: "middleware.http.m"}}); err != nil {
		t.Fatal(err)
	}
	return s.App
}

// TestThroughAPipeline: with a middleware that changes nothing, everything is as without (see openTest), but for the
// order and the case of headers.
func TestThroughAPipeline(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"protocols": TestProtocols, "away": TestProtocolsAway, "refused": TestRefusedRequests, "answers": TestAnswers, "bad answers": TestBadAnswers,
		"configuration": TestConfiguration, "many": TestManyCalls, "events": TestServerSentEvents, "large": TestLargeBodies, "both ways": TestBothWaysAtOnce,
		"early": TestEarlyAnswer, "body errors": TestBodyErrors, "cancel": TestCancel, "withheld": TestWithheld, "stale": TestStaleConnections,
		"closed": TestClosedChannel, "dies": TestAppDiesInItsAnswer, "memory": TestStreamMemory, "paths": TestPathCaptures,
	} {
		t.Run(name, test)
	}
}

// TestPipelineChanges: what a middleware changes reaches the application and the caller; the token is not its matter.
func TestPipelineChanges(t *testing.T) {
	for _, protocol := range []string{"http", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			token := ""
			app := openTest(t, Settings{Protocol: protocol, Token: security.NewToken("tok"), Address: serveHTTP(t, protocol, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				w.Header().Set("X-Got", r.Method+" "+r.URL.String()+" "+r.Header.Get("X-New")+" "+r.Header.Get("Dapr-Api-Token"))
				w.WriteHeader(http.StatusAccepted)
				w.Write(body)
			}), Pipeline: pipelineOf(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					token = r.Header.Get("Dapr-Api-Token")
					body, _ := io.ReadAll(r.Body)
					middleware.Replace(r, append(body, '!'))
					r.URL.Path, r.URL.RawQuery = "/new/../path", "q=1"
					r.Header.Set("X-New", "n")
					w.Header().Set("X-Added", "a")
					next.ServeHTTP(w, r)
				})
			})})
			res, err := app.Invoke(testContext(t), &Request{Verb: "POST", Method: "old", Query: "p=1", Body: Body{Bytes: []byte("text")}})
			if err != nil {
				t.Fatal(err)
			}
			defer res.Close()
			got := []string{res.Header.Value("X-Got"), res.Header.Value("X-Added"), readBody(t, res)}
			if diff := cmp.Diff([]string{"POST /path?q=1 n tok", "a", "text!"}, got); diff != "" || res.Status != 202 {
				t.Error(res.Status, diff)
			}
			if token != "" {
				t.Errorf("the middleware saw the token %q", token)
			}
		})
	}
}

// TestPipelineAnswersItself: the application is not called.
func TestPipelineAnswersItself(t *testing.T) {
	app := openTest(t, Settings{Address: "127.0.0.1:1", Pipeline: pipelineOf(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	})})
	res, err := app.Invoke(testContext(t), &Request{Verb: "GET", Method: "x"})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	if body := readBody(t, res); res.Status != 403 || body != "no\n" || !strings.HasPrefix(res.ContentType, "text/plain") {
		t.Errorf("%d %s %s", res.Status, body, res.ContentType)
	}
}

// TestPipelineFails: failures keep their cause, and a panic is an error.
func TestPipelineFails(t *testing.T) {
	app := openTest(t, Settings{Address: serveHTTP(t, "http", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
		Pipeline: pipelineOf(t, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.RawQuery != "" {
					panic(r.URL.RawQuery)
				}
				next.ServeHTTP(w, r)
			})
		})})
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	if _, err := app.Invoke(ctx, &Request{Verb: "GET", Method: "x"}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := app.Invoke(testContext(t), &Request{Verb: "GET", Method: "x", Query: "oh"}); err == nil || !strings.Contains(err.Error(), "spec.appHttpPipeline: a middleware failed at this call: oh") {
		t.Errorf("a panic: %v", err)
	}
	if _, err := app.Invoke(testContext(t), &Request{Verb: "NONE", Method: "x"}); err == nil {
		t.Error("a verb that is none was taken")
	}
}
