package http

import (
	"strings"
	"testing"
	"time"
)

// labelled remembers the paths that an observer is told.
type labelled struct{ paths chan [2]string }

func (l *labelled) HTTPServed(_, path, label string, _ int, _, _ int64, _ time.Duration) {
	l.paths <- [2]string{strings.Clone(path), strings.Clone(label)}
}

// TestLabels: patterns see all of a path, metrics show the part that names what is called.
func TestLabels(t *testing.T) {
	t.Parallel()
	const invoke = "/v1.0/invoke/{target:*}"
	for path, want := range map[string][2]string{
		"/v1.0/state/st/k":                        {"/v1.0/state/st/k", "/v1.0/state/st"},
		"/v1.0/state/\xffst/k":                    {"/v1.0/state/\xffst/k", "/v1.0/state/\xffst"},
		"/v1.0/invoke/myapp/method/a\xff":         {"/v1.0/invoke/myapp/method/a\xff", "/v1.0/invoke/myapp/method/a\xff"},
		"/v1.0/invoke/http://u:p@h:1/method/x":    {invoke, invoke},
		"/v1.0/configuration/c/subscribe":         {"/v1.0/configuration/c/subscribe", "/v1.0/configuration/c/subscribe"},
		"/v1.0/configuration/c/an-id/unsubscribe": {"/v1.0/configuration/c/an-id/unsubscribe", "/v1.0/configuration/c"},
		"/nowhere": {invoke, invoke},
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			l := &labelled{paths: make(chan [2]string, 1)}
			s := start(t, setup{observer: l})
			s.get(t, "GET", path)
			if got := <-l.paths; got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

// broken is an observer that always fails.
type broken struct{}

func (broken) HTTPServed(string, string, string, int, int64, int64, time.Duration) {
	panic("no counter")
}

func TestCallsThatCannotBeCountedAreAnswered(t *testing.T) {
	t.Parallel()
	s := start(t, setup{observer: broken{}})
	for _, path := range []string{"/v1.0/healthz", "/v1.0/invoke/myapp/method/x"} {
		if response, _ := s.get(t, "GET", path); response.StatusCode == 0 {
			t.Errorf("%s: no status", path)
		}
	}
	for _, entry := range s.log.AllEntries() {
		if strings.Contains(entry.Message, "no counter") {
			return
		}
	}
	t.Error("the log does not tell of the panic")
}
