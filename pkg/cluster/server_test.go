package cluster

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestClient asks a server over TLS that is told of in the ways that a file has.
func TestClient(t *testing.T) {
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		fmt.Fprintf(w, `{"path": %q, "agent": %q, "authorization": %q, "user": %q}`, r.URL.EscapedPath(), r.UserAgent(), r.Header.Get("Authorization"), user+password)
	}))
	defer api.Close()
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw})
	dir := t.TempDir()
	write(t, dir, "ca.crt", string(authority))
	write(t, dir, "token", "from-a-file")

	for name, c := range map[string]struct {
		cluster, user string
		authorization string
	}{
		"files beside it": {"certificate-authority: ca.crt", "tokenFile: token", "Bearer from-a-file"},
		"data":            {"certificate-authority-data: " + base64.StdEncoding.EncodeToString(authority), "token: t", "Bearer t"},
		"no proof":        {"insecure-skip-tls-verify: true", "username: u, password: p", "Basic dTpw"},
	} {
		t.Run(name, func(t *testing.T) {
			outside(t)
			file := write(t, dir, "config", fmt.Sprintf(`{current-context: c, contexts: [{name: other}, {name: c, context: {cluster: k, user: u}}],
				clusters: [{name: k, cluster: {server: "%s/under", %s}}], users: [{name: u, user: {%s}}]}`, api.URL, c.cluster, c.user))
			client, err := New(file, "tester")
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			var got map[string]string
			if err := client.Get(t.Context(), &got, "api", "a/b"); err != nil {
				t.Fatal(err)
			}
			if got["path"] != "/under/api/a%2Fb" || got["agent"] != "tester" || got["authorization"] != c.authorization {
				t.Errorf("the server was asked as %v", got)
			}
		})
	}
}

// TestPod: in a pod the environment tells where the API server is.
func TestPod(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "::1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "6443")
	found, err := find("")
	if err != nil {
		t.Fatal(err)
	}
	if want := "https://" + net.JoinHostPort("::1", "6443"); found.address != want || found.way.BearerTokenFile != tokenFile || found.way.TLS.CAFile != authorityFile {
		t.Errorf("found %s with %s and %s", found.address, found.way.BearerTokenFile, found.way.TLS.CAFile)
	}
}

func TestUnusableFiles(t *testing.T) {
	const good = `contexts: [{name: c, context: {cluster: k, user: u}}], clusters: [{name: k, cluster: {server: "https://x"}}], `
	for name, c := range map[string]struct{ text, want string }{
		"no YAML":       {"{", "read "},
		"no context":    {"{}", "no context is chosen"},
		"other context": {"current-context: d", `there is no context "d"`},
		"no cluster":    {"{current-context: c, contexts: [{name: c, context: {cluster: k}}]}", `there is no cluster "k"`},
		"no server":     {"{current-context: c, contexts: [{name: c, context: {cluster: k}}], clusters: [{name: k}]}", `cluster "k" has no URL as its server`},
		"no user":       {"{current-context: c, " + good + "}", `there is no user "u"`},
		"a program":     {"{current-context: c, " + good + "users: [{name: u, user: {exec: {command: aws}}}]}", "use a token or a client certificate"},
		"no base64":     {"{current-context: c, " + good + "users: [{name: u, user: {client-key-data: '%'}}]}", "line 1: this is no base64"},
	} {
		t.Run(name, func(t *testing.T) {
			outside(t)
			_, err := New(write(t, t.TempDir(), "config", c.text), "tester")
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "--kubeconfig") {
				t.Errorf("%v, want %q and what to do", err, c.want)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		outside(t)
		if _, err := New(filepath.Join(t.TempDir(), "config"), "tester"); err == nil || !strings.Contains(err.Error(), "no such file") {
			t.Errorf("%v, want one that names the file", err)
		}
	})
}

// outside leaves the cluster that the tests may run in.
func outside(t *testing.T) {
	t.Helper()
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
