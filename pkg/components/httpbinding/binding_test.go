package httpbinding_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/daprd/daprd/pkg/bindings"
	"github.com/daprd/daprd/pkg/bindings/bindingstest"
	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/components/httpbinding"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type properties = map[string]string

func output(t *testing.T, p properties) bindings.Output {
	t.Helper()
	o, err := httpbinding.NewOutput(t.Context(), componentstest.Spec("bindings.http", p))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.(io.Closer).Close() })
	return o
}

// echo answers with what it saw.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	for _, name := range []string{"Content-Type", "Accept", "X-Own", "X-Token", "Traceparent", "Tracestate", "Baggage", "lower"} {
		if value := r.Header.Get(name); value != "" {
			fmt.Fprintf(w, "%s: %s\n", name, value)
		}
	}
	fmt.Fprintf(w, "%s %s %s", r.Method, r.RequestURI, body)
}

func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func TestReadmeManifest(t *testing.T) {
	o, err := httpbinding.NewOutput(t.Context(), componentstest.FromReadme(t, "bindings.http", "http://orders.example:8080", serve(t, echo)))
	if err != nil {
		t.Fatal(err)
	}
	defer o.(io.Closer).Close()
	answer, err := o.Invoke(t.Context(), &bindings.Request{Operation: "get"})
	if err != nil || !strings.Contains(string(answer.Data), "X-Token: from-a-secret-store\nGET /api") {
		t.Errorf("%s, %v", answer.Data, err)
	}
}

func TestConformance(t *testing.T) {
	bindingstest.Output(t, output(t, properties{"url": serve(t, echo)}),
		bindings.Request{Operation: "create", Data: []byte("x"), Metadata: properties{"X-Own": "1", "path": "a"}}, bindings.Request{Operation: "get"})
}

func TestRequests(t *testing.T) {
	const json = "application/json; charset=utf-8"
	const plain, withBody = "Accept: " + json + "\n", "Content-Type: " + json + "\nAccept: " + json + "\n"
	base := serve(t, echo)
	tests := map[string]struct {
		component properties
		request   bindings.Request
		want      string
	}{
		"create":  {nil, bindings.Request{Operation: "create", Data: []byte(`"x"`)}, withBody + `POST /base "x"`},
		"put":     {nil, bindings.Request{Operation: "put", Data: []byte("x")}, withBody + "PUT /base x"},
		"patch":   {nil, bindings.Request{Operation: "patch", Data: []byte("x")}, withBody + "PATCH /base x"},
		"get":     {nil, bindings.Request{Operation: "get", Data: []byte("left out")}, plain + "GET /base "},
		"delete":  {nil, bindings.Request{Operation: "delete", Data: []byte("left out")}, plain + "DELETE /base "},
		"options": {nil, bindings.Request{Operation: "options"}, plain + "OPTIONS /base "},
		"trace":   {nil, bindings.Request{Operation: "trace"}, plain + "TRACE /base "},
		"a path":  {nil, bindings.Request{Operation: "get", Metadata: properties{"path": "//a/b%20c?q=1&r=2"}}, plain + "GET /base/a/b%20c?q=1&r=2 "},
		"a path behind a query": {properties{"url": base + "/base?key=1"}, bindings.Request{Operation: "get", Metadata: properties{"path": "a?b=2"}},
			plain + "GET /base/a?b=2&key=1 "},
		"dots in a name": {nil, bindings.Request{Operation: "get", Metadata: properties{"path": "a..b/...?x=../y"}}, plain + "GET /base/a..b/...?x=../y "},
		"headers": {nil, bindings.Request{Operation: "post", Metadata: properties{"Content-Type": "text/plain", "Accept": "*/*", "X-Own": "1", "lower": "no"}},
			"Content-Type: text/plain\nAccept: */*\nX-Own: 1\nPOST /base "},
		"traces": {nil, bindings.Request{Operation: "get", Metadata: properties{"traceparent": "p", "tracestate": "s", "baggage": "b"}},
			plain + "Traceparent: p\nTracestate: s\nBaggage: b\nGET /base "},
		"a token": {properties{"securityToken": "secret", "securityTokenHeader": "X-Token"},
			bindings.Request{Operation: "get", Metadata: properties{"X-Token": "another"}}, plain + "X-Token: secret\nGET /base "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := properties{"url": base + "/base"}
			for k, v := range test.component {
				p[k] = v
			}
			answer, err := output(t, p).Invoke(t.Context(), &test.request)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(answer.Data)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPathsThatLeadOut(t *testing.T) {
	base := serve(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s was asked for", r.RequestURI) })
	for _, path := range []string{"..", "../x", "a/../x", "a/%2e%2e/x", "%2E%2E", `a\..\x`, "/../", "a/..", "a/..?x", "a\x00b", "a b\r\nX: y", "%zz"} {
		for _, url := range []string{base + "/base", base} {
			_, err := output(t, properties{"url": url}).Invoke(t.Context(), &bindings.Request{Operation: "get", Metadata: properties{"path": path}})
			if err == nil || !strings.Contains(err.Error(), `the metadata "path"`) {
				t.Errorf("%q: %v", path, err)
			}
		}
	}
	// What follows the host never becomes part of it.
	for _, path := range []string{"@evil.example/", ".evil.example", ":1/"} {
		o := output(t, properties{"url": serve(t, echo)})
		if _, err := o.Invoke(t.Context(), &bindings.Request{Operation: "get", Metadata: properties{"path": path}}); err != nil {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestAnswers(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["X-Many"] = []string{"a", "b"}
		w.Header()["Date"] = nil
		if r.URL.Path == "/418" {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = io.WriteString(w, "tea")
	})
	headers := properties{"Content-Length": "3", "Content-Type": "text/plain; charset=utf-8", "X-Many": "a, b"}
	with := func(code, status string) *bindings.Response {
		all := properties{"statusCode": code, "status": status}
		for k, v := range headers {
			all[k] = v
		}
		return &bindings.Response{Data: []byte("tea"), Metadata: all}
	}
	ok, pot := with("200", "200 OK"), with("418", "418 I'm a teapot")
	tests := map[string]struct {
		component, request properties
		want               *bindings.Response
		err                string
	}{
		"success":                  {nil, nil, ok, ""},
		"another status":           {nil, properties{"path": "418"}, pot, "received status code 418"},
		"allowed by the request":   {nil, properties{"path": "418", "errorIfNot2XX": "false"}, pot, ""},
		"allowed by the component": {properties{"errorIfNot2XX": "false"}, properties{"path": "418"}, pot, ""},
		"not allowed by the request": {properties{"errorIfNot2XX": "false"}, properties{"path": "418", "errorIfNot2XX": "true"}, pot,
			"received status code 418"},
		"at the limit": {properties{"maxResponseBodySize": "3"}, nil, ok, ""},
		"over the limit": {properties{"maxResponseBodySize": "2"}, nil, nil,
			"the answer of HOST has more than 2 bytes; the metadata property maxResponseBodySize allows more"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := properties{"url": base}
			for k, v := range test.component {
				p[k] = v
			}
			got, err := output(t, p).Invoke(t.Context(), &bindings.Request{Operation: "get", Metadata: test.request})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			want := strings.ReplaceAll(test.err, "HOST", strings.TrimPrefix(base, "http://"))
			if (err == nil) != (want == "") || err != nil && err.Error() != want {
				t.Errorf("%v, want %q", err, want)
			}
			var statused interface{ HTTPStatus() int }
			if strings.Contains(want, "received") && (!errors.As(err, &statused) || statused.HTTPStatus() != http.StatusTeapot) {
				t.Errorf("%v does not tell its status", err)
			}
		})
	}
}

// TestFailuresShowNoSecrets: an error names the host, and no password or key of the URL.
func TestFailuresShowNoSecrets(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	host := strings.TrimPrefix(closed.URL, "http://")
	o := output(t, properties{"url": "http://me:hunter2@" + host + "/hunter2?key=hunter2", "securityToken": "hunter2", "securityTokenHeader": "X-T"})
	_, err := o.Invoke(t.Context(), &bindings.Request{Operation: "get", Metadata: properties{"path": "x"}})
	if err == nil || !strings.HasPrefix(err.Error(), "GET to "+host+": ") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
	_, err = o.Invoke(t.Context(), &bindings.Request{Operation: "get", Metadata: properties{"X-Bad": "hunter2\r\n"}})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}

func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	base := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-release })
	defer close(release)
	_, err := output(t, properties{"url": base, "responseTimeout": "20ms"}).Invoke(t.Context(), &bindings.Request{Operation: "get"})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := output(t, properties{"url": base}).Invoke(ctx, &bindings.Request{Operation: "get"}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestRedirects: the token goes to the component's own host only.
func TestRedirects(t *testing.T) {
	elsewhere := serve(t, echo)
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, elsewhere+"/target", http.StatusFound)
		case "/here":
			http.Redirect(w, r, "/target", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		default:
			echo(w, r)
		}
	})
	o := output(t, properties{"url": base, "securityToken": "secret", "securityTokenHeader": "X-Token"})
	for path, shown := range map[string]bool{"here": true, "away": false} {
		answer, err := o.Invoke(t.Context(), &bindings.Request{Operation: "get", Metadata: properties{"path": path}})
		if err != nil || !strings.Contains(string(answer.Data), "GET /target") || strings.Contains(string(answer.Data), "X-Token: secret") != shown {
			t.Errorf("%s: %s, %v", path, answer.Data, err)
		}
	}
	if _, err := o.Invoke(t.Context(), &bindings.Request{Operation: "get", Metadata: properties{"path": "loop"}}); err == nil ||
		!strings.Contains(err.Error(), "stopped after 10 redirects") {
		t.Errorf("%v", err)
	}
}

func TestUnusableProperties(t *testing.T) {
	tests := map[string]struct {
		p    properties
		want string
	}{
		"no url":                {properties{}, "metadata property url is missing"},
		"no scheme":             {properties{"url": "hunter2.example"}, "metadata property url: the value (not shown) is no address"},
		"another scheme":        {properties{"url": "file:///hunter2"}, "metadata property url: the value (not shown) is no address"},
		"broken":                {properties{"url": "http://h:hunter2"}, "metadata property url: the value (not shown) is no address"},
		"size":                  {properties{"maxResponseBodySize": "many"}, `metadata property maxResponseBodySize: "many" is no size`},
		"no size":               {properties{"maxResponseBodySize": "0"}, "metadata property maxResponseBodySize: it has to be more than 0"},
		"timeout":               {properties{"responseTimeout": "soon"}, "metadata property responseTimeout"},
		"negative timeout":      {properties{"responseTimeout": "-1s"}, "metadata property responseTimeout: -1s is negative"},
		"half a token":          {properties{"securityToken": "hunter2"}, "securityToken and securityTokenHeader go together"},
		"a token that is none":  {properties{"securityToken": "hunter2\n", "securityTokenHeader": "X"}, "securityToken: the value (not shown)"},
		"a header that is none": {properties{"securityToken": "hunter2", "securityTokenHeader": "X Y"}, `securityTokenHeader: "X Y"`},
		"half a pair":           {properties{"mtlsClientKey": "hunter2"}, "mtlsClientCert and mtlsClientKey go together"},
		"no file":               {properties{"mtlsRootCA": "/no/hunter2"}, "metadata property mtlsRootCA: the value (not shown) is no PEM text, and as the path of a file it cannot be read: no such file"},
		"broken PEM":            {properties{"mtlsRootCA": "-----BEGIN hunter2"}, "metadata property mtlsRootCA: the value (not shown) is neither"},
		"renegotiation":         {properties{"mtlsRenegotiation": "Sometimes"}, "metadata property mtlsRenegotiation"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, given := test.p["url"]; !given && name != "no url" {
				test.p["url"] = "http://h"
			}
			_, err := httpbinding.NewOutput(t.Context(), componentstest.Spec("bindings.http", test.p))
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// TestMutualTLS: the authority and the client's certificate, as text and as files.
func TestMutualTLS(t *testing.T) {
	cert, key := certificate(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, len(r.TLS.PeerCertificates))
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	defer server.Close()
	authority := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "part.pem")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, p := range map[string]properties{
		"text":  {"mtlsRootCA": authority, "mtlsClientCert": cert, "mtlsClientKey": key, "mtlsRenegotiation": "RenegotiateOnceAsClient"},
		"files": {"MTLSRootCA": file(authority), "MTLSClientCert": file(cert), "MTLSClientKey": file(key)},
	} {
		p["url"] = server.URL
		answer, err := output(t, p).Invoke(t.Context(), &bindings.Request{Operation: "get"})
		if err != nil || string(answer.Data) != "1" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := output(t, properties{"url": server.URL}).Invoke(t.Context(), &bindings.Request{Operation: "get"}); err == nil {
		t.Error("an unknown authority was trusted")
	}
}

func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

func FuzzPath(f *testing.F) {
	for _, seed := range []string{"a", "/a?b", "..", "%2e%2e/", "a\\..", "@host", "//host/x", "#x", "?", "\x00"} {
		f.Add(seed)
	}
	var seen string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.URL.Path }))
	defer server.Close()
	o, err := httpbinding.NewOutput(context.Background(), componentstest.Spec("bindings.http", properties{"url": server.URL + "/base", "responseTimeout": "5s"}))
	if err != nil {
		f.Fatal(err)
	}
	defer o.(io.Closer).Close()
	f.Fuzz(func(t *testing.T, path string) {
		if _, err := o.Invoke(t.Context(), &bindings.Request{Operation: "get", Metadata: properties{"path": path}}); err != nil {
			return
		}
		if seen != "/base" && !strings.HasPrefix(seen, "/base/") || strings.Contains("/"+seen+"/", "/../") {
			t.Errorf("%q led to %q", path, seen)
		}
	})
}
