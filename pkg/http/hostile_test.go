package http

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
)

// TestConnectionOptionsOfAllHeaders: a client may name its hop-by-hop headers in several Connection headers.
func TestConnectionOptionsOfAllHeaders(t *testing.T) {
	t.Parallel()
	got := make(chan http.Header, 1)
	s := start(t, setup{app: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header })})
	for _, headers := range [][]string{
		{"Connection: close", "Connection: X-Hop"},
		{"Connection: X-Hop", "Connection: close"},
		{"Connection: close, X-Hop"},
		{"X-Before: 1", "connection: x-hop", "Connection: keep-alive", "Connection: close"},
	} {
		conn := s.dial(t)
		r := bufio.NewReader(conn)
		raw := request("GET", "/v1.0/invoke/myapp/method/x", "", append(headers, "X-Hop: 1", "X-End: 2")...)
		if _, err := io.WriteString(conn, raw); err != nil {
			t.Fatal(err)
		}
		response, _ := answer(t, r, raw)
		seen := <-got
		if seen.Get("X-Hop") != "" || seen.Get("Connection") != "" || seen.Get("X-End") != "2" {
			t.Errorf("%q: the application saw %v", headers, seen)
		}
		if !response.Close {
			t.Errorf("%q: the answer does not say that the connection ends", headers)
		}
		if _, err := r.ReadByte(); err != io.EOF {
			t.Errorf("%q: %v, want the end of the connection", headers, err)
		}
		conn.Close()
	}
}

// TestUsersOfURLsAreSecrets: a URL as the target of an invocation may hold a password.
func TestUsersOfURLsAreSecrets(t *testing.T) {
	t.Parallel()
	apiLog, lines := logtest.NewNullLogger()
	f := &labelled{paths: make(chan [2]string, 100)}
	s := start(t, setup{apiLog: apiLog, observer: f, config: Config{MaxBodySize: 10}})
	obfuscated := start(t, setup{apiLog: apiLog, config: Config{ObfuscateURLs: true}})
	for _, path := range []string{
		"/v1.0/invoke/http://user:hunter2@127.0.0.1:1/method/x", "/v1.0/invoke/http%3A%2F%2Fuser:hunter2%40127.0.0.1:1/method/x@y",
		"/v1.0/invoke/http://user:hunter2@127.0.0.1:1", "/v1.0/invoke/http://user:hunter2@127.0.0.1:x/method/x",
	} {
		for name, one := range map[string]*sidecar{"plain": s, "obfuscated": obfuscated} {
			if _, body := one.get(t, "GET", path); strings.Contains(body, "hunter2") {
				t.Errorf("%s, %s: the answer %s shows the password", name, path, body)
			}
		}
		if _, body := s.send(t, "POST", path, "longer than ten bytes"); strings.Contains(body, "hunter2") {
			t.Errorf("%s: the answer %s shows the password", path, body)
		}
	}
	for i, hook := range []*logtest.Hook{lines, s.log, obfuscated.log} {
		if len(hook.AllEntries()) == 0 {
			t.Errorf("log %d is empty", i)
		}
		for _, entry := range hook.AllEntries() {
			text, err := new(logrus.TextFormatter).Format(entry)
			if err != nil || strings.Contains(string(text), "hunter2") {
				t.Errorf("log %d shows the password: %s", i, text)
			}
		}
	}
	for len(f.paths) > 0 {
		if paths := <-f.paths; strings.Contains(paths[0]+paths[1], "hunter2") {
			t.Errorf("the labels %q show the password", paths)
		}
	}
}

// TestItemsAreBounded: an item of two bytes takes a hundred in memory.
func TestItemsAreBounded(t *testing.T) {
	t.Parallel()
	s := start(t, setup{})
	const many = 100_001
	for path, body := range map[string]string{
		"/v1.0/state/st":             "[" + strings.Repeat("{},", many-1) + "{}]",
		"/v1.0/state/st/transaction": `{"operations":[` + strings.Repeat("{},", many-1) + "{}]}",
		"/v1.0/state/st/bulk":        `{"keys":[` + strings.Repeat(`"",`, many-1) + `""]}`,
	} {
		response, answer := s.send(t, "POST", path, body)
		if response.StatusCode != 400 || !strings.Contains(answer, "more than 100000 items") {
			t.Errorf("%s: %s %s", path, response.Status, answer)
		}
	}
	keys := `{"keys":[` + strings.Repeat(`"a",`, 999) + `"a"]}`
	if response, answer := s.send(t, "POST", "/v1.0/state/st/bulk", keys); response.StatusCode != 200 {
		t.Errorf("a thousand keys: %s %.100s", response.Status, answer)
	}
}
