package http

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// fragile fails as a Prometheus client does when it is given labels that are no UTF-8.
type fragile struct{ labels chan string }

func (f *fragile) HTTPServed(_, path string, _ int, _, _ int64, _ time.Duration) {
	f.labels <- path
	if !utf8.ValidString(path) {
		panic("label value is not valid UTF-8")
	}
}

func TestLabelsOfHostilePaths(t *testing.T) {
	t.Parallel()
	long := "/v1.0/invoke/myapp/method/" + strings.Repeat("x", 300)
	for name, tc := range map[string]struct{ path, label string }{
		"no UTF-8":                {"/v1.0/invoke/myapp/method/a\xff\xfe", "/v1.0/invoke/myapp/method/a\uFFFD"},
		"no UTF-8, a state store": {"/v1.0/state/\xffst/k", "/v1.0/state/\uFFFDst"},
		"long":                    {long, "/v1.0/invoke/{target:*}"},
		"long, a state store":     {"/v1.0/state/" + strings.Repeat("x", 300) + "/k", "/v1.0/state/{name}/{key}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fragile{labels: make(chan string, 1)}
			s := start(t, setup{observer: f})
			s.get(t, "GET", tc.path)
			if label := <-f.labels; label != tc.label {
				t.Errorf("label %q, want %q", label, tc.label)
			}
		})
	}
}

// broken is an observer that always fails.
type broken struct{}

func (broken) HTTPServed(string, string, int, int64, int64, time.Duration) { panic("no counter") }

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
