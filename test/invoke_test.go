package test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/config"
	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
	"github.com/daprd/daprd/pkg/security"
)

// neighbours are two sidecars, the callee's with an application.
type neighbours struct {
	caller, callee *runtimetest.Sidecar
	client         *http.Client
}

// together starts the sidecars "caller" and "callee", with the same further options.
func together(t *testing.T, app runtimetest.Option, options ...runtimetest.Option) *neighbours {
	t.Helper()
	runtimetest.Isolate(t)
	n := &neighbours{client: &http.Client{
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	t.Cleanup(n.client.CloseIdleConnections)
	n.callee = runtimetest.Start(t, "callee", append(slices.Clone(options), app)...)
	n.caller = runtimetest.Start(t, "caller", options...)
	return n
}

// handledBy is an HTTP application.
func handledBy(t *testing.T, handler http.HandlerFunc) runtimetest.Option {
	return appOn(startApplication(t, handler))
}

func limited(size int64) runtimetest.Option {
	return func(c *runtime.Config) { c.MaxBodySize = size }
}

// request is one to the caller's sidecar.
func (n *neighbours) request(t *testing.T, verb, path string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), verb, n.caller.URL(path), body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// do gives the answer with its body read.
func (n *neighbours) do(t *testing.T, r *http.Request) (*http.Response, string) {
	t.Helper()
	response, err := n.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	return response, string(body)
}

// seen is what an application that saw a call says of it.
func seen(t *testing.T, body string) sighting {
	t.Helper()
	var s sighting
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	return s
}

// TestTargetForms: the ways to name the application, and which of them wins.
func TestTargetForms(t *testing.T) {
	n := together(t, handledBy(t, saw("callee")))
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("dapr-app-id:callee"))
	other := "Basic " + base64.StdEncoding.EncodeToString([]byte("dapr-app-id:nobody"))
	const unknown = `{"errorCode":"ERR_DIRECT_INVOKE","message":"failed getting app id either from the URL path or the header dapr-app-id"}`
	for name, c := range map[string]struct {
		path   string
		header [][2]string
		// want is the path that the application saw, or the whole answer where it saw none.
		want string
	}{
		"path":                       {"/v1.0/invoke/callee/method/a/b?q=1", nil, "/a/b?q=1"},
		"path with an escaped id":    {"/v1.0/invoke/call%65e/method/a", nil, "/a"},
		"header":                     {"/a/b?q=1", [][2]string{{"dapr-app-id", "callee"}}, "/a/b?q=1"},
		"header, root":               {"/", [][2]string{{"Dapr-App-Id", "callee"}}, "/"},
		"header, odd path":           {"/a%20b//c/../d;e?x=%20&x", [][2]string{{"dapr-app-id", "callee"}}, "/a%20b/d;e?x=%20&x"},
		"header before path":         {"/v1.0/invoke/nobody/method/a", [][2]string{{"dapr-app-id", "callee"}}, "/v1.0/invoke/nobody/method/a"},
		"header before basic":        {"/a", [][2]string{{"dapr-app-id", "callee"}, {"Authorization", other}}, "/a"},
		"basic":                      {"/a/b?q=1", [][2]string{{"Authorization", basic}}, "/a/b?q=1"},
		"basic before path":          {"/v1.0/invoke/nobody/method/a", [][2]string{{"Authorization", basic}}, "/v1.0/invoke/nobody/method/a"},
		"a route is no invocation":   {"/v1.0/healthz", [][2]string{{"dapr-app-id", "callee"}}, "204 "},
		"an unknown route is one":    {"/v1.0/nothing", [][2]string{{"dapr-app-id", "callee"}}, "/v1.0/nothing"},
		"nobody is named":            {"/a/b", nil, "404 " + unknown},
		"another user":               {"/a/b", [][2]string{{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("ada:callee"))}}, "404 " + unknown},
		"method without a slash":     {"/v1.0/invoke/callee/method", nil, "404 " + unknown},
		"no method at all":           {"/v1.0/invoke/callee", nil, "404 " + unknown},
		"doubled slashes":            {"/v1.0//invoke//callee/method//a", nil, "/a"},
		"escaped slash":              {"/v1.0/invoke/callee/method/a%2Fb", nil, "/a/b"},
		"escaped percent":            {"/v1.0/invoke/callee/method/a%252Fb", nil, "/a%252Fb"},
		"escaped dots":               {"/v1.0/invoke/callee/method/a/%2e%2e/%2e%2e/b", nil, "/b"},
		"query alone":                {"/v1.0/invoke/callee/method/?a=1&a=2", nil, "/?a=1&a=2"},
		"an empty query's mark":      {"/v1.0/invoke/callee/method/a?", nil, "/a"},
		"a malformed percent escape": {"/v1.0/invoke/callee/method/a%zz", nil, "400 400 Bad Request"},
	} {
		t.Run(name, func(t *testing.T) {
			head := "GET " + c.path + " HTTP/1.1\r\nHost: sidecar\r\nConnection: close\r\n"
			for _, h := range c.header {
				head += h[0] + ": " + h[1] + "\r\n"
			}
			answer, body := rawly(t, n.caller.HTTPAddress().String(), head+"\r\n")
			if answer.StatusCode != http.StatusOK {
				if got := fmt.Sprintf("%d %s", answer.StatusCode, body); got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
				return
			}
			s := seen(t, body)
			if s.Query != "" {
				s.Path += "?" + s.Query
			}
			if s.Path != c.want || s.At != "callee" {
				t.Errorf("%s at %s, want %s", s.Path, s.At, c.want)
			}
		})
	}
}

// rawly sends the bytes of a request as they are.
func rawly(t *testing.T, address, text string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	verb, _, _ := strings.Cut(text, " ")
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: verb})
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

// TestHeadersThroughTwoSidecars: which headers arrive, and who says who the caller is.
func TestHeadersThroughTwoSidecars(t *testing.T) {
	got := make(chan http.Header, 1)
	n := together(t, handledBy(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/dapr/config" {
			return
		}
		h := r.Header.Clone()
		h.Set("Host", r.Host)
		got <- h
		w.Header()["Set-Cookie"] = []string{"a=1; Path=/", "b=2"}
		w.Header()["X-Multi"] = []string{"2", "1", "2"}
		w.Header().Set("Keep-Alive", "timeout=5")
		w.Header().Set("Trailer", "X-Trailer")
		_, _ = io.WriteString(w, "ok")
		w.Header().Set("X-Trailer", "dropped")
	}), func(c *runtime.Config) { c.AppToken, c.Namespace = security.NewToken("for the app"), "ns1" })
	r := n.request(t, "POST", "/v1.0/invoke/callee/method/h", strings.NewReader("body"))
	r.Header = http.Header{
		"Accept": {"a/b", "c/d"}, "Cookie": {"x=1; y=2"}, "Authorization": {"Bearer t"}, "X-Multi": {"2", "1", "2"}, "X-Empty": {""},
		"User-Agent": {"me"}, "Content-Type": {"text/x"}, "X-Forwarded-For": {"1.2.3.4"},
		"Connection": {"X-Private"}, "X-Private": {"p"}, "Te": {"trailers"}, "Proxy-Authorization": {"p"}, "Keep-Alive": {"5"},
		"Dapr-App-Id": {"callee"}, "Dapr-Caller-App-Id": {"forged"}, "Dapr-Caller-Namespace": {"forged"}, "Dapr-Callee-App-Id": {"forged"},
		"Dapr-Api-Token": {"forged"}, "X-Bin-Bin": {"AAAA"}, "Destination-App-Id": {"forged"},
	}
	response, body := n.do(t, r)
	if response.StatusCode != http.StatusOK || body != "ok" {
		t.Fatalf("%s %s", response.Status, body)
	}
	h := <-got
	want := map[string][]string{
		"Accept": {"a/b", "c/d"}, "Cookie": {"x=1; y=2"}, "Authorization": {"Bearer t"}, "X-Multi": {"2", "1", "2"}, "X-Empty": {""},
		"User-Agent": {"me"}, "Content-Type": {"text/x"}, "X-Forwarded-For": {"1.2.3.4", "127.0.0.1"},
		"Dapr-Caller-App-Id": {"caller"}, "Dapr-Caller-Namespace": {"ns1"}, "Dapr-Callee-App-Id": {"callee"}, "Dapr-Api-Token": {"for the app"},
		"Content-Length": {"4"}, "Traceparent": {"00-00000000000000000000000000000000-0000000000000000-00"},
	}
	for name, values := range want {
		if diff := cmp.Diff(values, h[name]); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		delete(h, name)
	}
	for _, name := range []string{"Host", "X-Forwarded-Host", "Forwarded"} {
		if len(h[name]) != 1 {
			t.Errorf("%s: %q", name, h[name])
		}
		delete(h, name)
	}
	if len(h) > 0 {
		t.Errorf("also: %v", h)
	}
	for name, values := range map[string][]string{"Set-Cookie": {"a=1; Path=/", "b=2"}, "X-Multi": {"2", "1", "2"}, "Keep-Alive": nil, "X-Trailer": nil,
		"Traceparent": {"00-00000000000000000000000000000000-0000000000000000-00"}} {
		if diff := cmp.Diff(values, response.Header[name]); diff != "" {
			t.Errorf("answer, %s:\n%s", name, diff)
		}
	}
	if len(response.Trailer) > 0 {
		t.Errorf("trailers: %v", response.Trailer)
	}
}

// TestAnswersWithoutBody: HEAD, 204 and 304 through two sidecars, and the connection can be used on.
func TestAnswersWithoutBody(t *testing.T) {
	n := together(t, handledBy(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(http.StatusNoContent)
		case "/304":
			w.Header().Set("Etag", `"x"`)
			w.WriteHeader(http.StatusNotModified)
		case "/empty":
			w.WriteHeader(http.StatusOK)
		default:
			w.Header().Set("Content-Type", "text/x")
			w.Header().Set("Content-Length", "5")
			_, _ = io.WriteString(w, "12345")
		}
	}))
	for ask, want := range map[string]string{
		"HEAD /full": "200 text/x ", "GET /full": "200 text/x 12345", "HEAD /204": "204  ", "GET /204": "204  ", "GET /304": "304  ", "GET /empty": "200  ",
	} {
		verb, path, _ := strings.Cut(ask, " ")
		for range 2 {
			response, body := n.do(t, n.request(t, verb, "/v1.0/invoke/callee/method"+path, nil))
			if got := fmt.Sprintf("%d %s %s", response.StatusCode, response.Header.Get("Content-Type"), body); got != want {
				t.Errorf("%s: %q, want %q", ask, got, want)
			}
		}
	}
}

// TestHTTP2Caller calls over cleartext HTTP/2 on the same port.
func TestHTTP2Caller(t *testing.T) {
	n := together(t, handledBy(t, saw("callee")))
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	n.client.Transport = &http.Transport{Protocols: protocols}
	body := strings.Repeat("x", 1<<20)
	r := n.request(t, "POST", "/v1.0/invoke/callee/method/h2?q=1", strings.NewReader(body))
	r.Header["X-Test"] = []string{"1", "2"}
	response, answer := n.do(t, r)
	s := seen(t, answer)
	if response.ProtoMajor != 2 || s.Body != body || s.Path != "/h2" || !slices.Equal(s.Header["x-test"], []string{"1", "2"}) {
		t.Errorf("%s %s %s, %d bytes", response.Proto, s.Path, s.Header, len(s.Body))
	}
}

// TestAppProtocols calls applications of every protocol, each of which is shown its token.
func TestAppProtocols(t *testing.T) {
	certificate := httptest.NewUnstartedServer(nil)
	certificate.StartTLS()
	defer certificate.Close()
	secure := &tls.Config{Certificates: certificate.TLS.Certificates}
	onHTTP := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Token", r.Header.Get("Dapr-Api-Token"))
		fmt.Fprintf(w, "%s %s %s", r.Proto, r.URL.Path, body)
	}
	web := func(protocol config.Protocol) net.Addr {
		server := httptest.NewUnstartedServer(http.HandlerFunc(onHTTP))
		server.Config.Protocols = new(http.Protocols)
		server.Config.Protocols.SetHTTP1(protocol != config.H2C)
		server.Config.Protocols.SetUnencryptedHTTP2(protocol == config.H2C)
		if protocol == config.HTTPS {
			server.StartTLS()
		} else {
			server.Start()
		}
		t.Cleanup(server.Close)
		return server.Listener.Addr()
	}
	register := func(s *grpc.Server) { runtimev1.RegisterAppCallbackServer(s, tokenSeer{}) }
	for protocol, c := range map[config.Protocol]struct {
		address net.Addr
		want    string
	}{
		config.HTTP:  {web(config.HTTP), "HTTP/1.1 /m body"},
		config.HTTPS: {web(config.HTTPS), "HTTP/1.1 /m body"},
		config.H2C:   {web(config.H2C), "HTTP/2.0 /m body"},
		config.GRPC:  {serveGRPC(t, register), "gRPC m body"},
		config.GRPCS: {serveGRPC(t, register, grpc.Creds(credentials.NewTLS(secure))), "gRPC m body"},
	} {
		t.Run(string(protocol), func(t *testing.T) {
			n := together(t, runtimetest.App(c.address, protocol), func(c *runtime.Config) { c.AppToken = security.NewToken("for the app") })
			response, body := n.do(t, n.request(t, "POST", "/v1.0/invoke/callee/method/m", strings.NewReader("body")))
			if body != c.want || response.Header.Get("X-Token") != "for the app" {
				t.Errorf("%q, token %q", body, response.Header.Get("X-Token"))
			}
		})
	}
}

// tokenSeer is a gRPC application that answers with the token that it is shown.
type tokenSeer struct {
	runtimev1.UnimplementedAppCallbackServer
}

func (tokenSeer) OnInvoke(ctx context.Context, req *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
	_ = grpc.SetHeader(ctx, metadata.Pairs("x-token", strings.Join(metadata.ValueFromIncomingContext(ctx, "dapr-api-token"), ",")))
	answer := &commonv1.InvokeResponse{Data: req.GetData()}
	answer.Data.Value = append([]byte("gRPC "+req.GetMethod()+" "), answer.Data.Value...)
	return answer, nil
}

// crowd counts how many calls are inside at once and holds them until it is told to let go.
type crowd struct {
	inside, most atomic.Int64
	arrived      chan struct{}
	release      chan struct{}
}

func newCrowd() *crowd {
	return &crowd{arrived: make(chan struct{}, 100), release: make(chan struct{})}
}

func (c *crowd) pass() {
	now := c.inside.Add(1)
	for most := c.most.Load(); now > most && !c.most.CompareAndSwap(most, now); most = c.most.Load() {
	}
	c.arrived <- struct{}{}
	<-c.release
	c.inside.Add(-1)
}

type crowdApp struct {
	runtimev1.UnimplementedAppCallbackServer
	*crowd
}

func (a crowdApp) OnInvoke(context.Context, *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
	a.pass()
	return &commonv1.InvokeResponse{}, nil
}

// TestMaxConcurrency: an application is never given more calls at once than it asked for, and all are
// answered in the end.
func TestMaxConcurrency(t *testing.T) {
	const most, calls = 3, 12
	for _, protocol := range []config.Protocol{config.HTTP, config.GRPC} {
		t.Run(string(protocol), func(t *testing.T) {
			c := newCrowd()
			var app runtimetest.Option
			if protocol == config.GRPC {
				app = runtimetest.App(serveGRPC(t, func(s *grpc.Server) { runtimev1.RegisterAppCallbackServer(s, crowdApp{crowd: c}) }), protocol)
			} else {
				app = handledBy(t, func(_ http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/m" {
						c.pass()
					}
				})
			}
			n := together(t, app, func(c *runtime.Config) { c.AppMaxConcurrency = most })
			var wait sync.WaitGroup
			for range calls {
				wait.Go(func() {
					if response, _ := n.do(t, n.request(t, "GET", "/v1.0/invoke/callee/method/m", nil)); response.StatusCode != http.StatusOK {
						t.Error(response.Status)
					}
				})
			}
			for range most {
				within(t, c.arrived, "a call's arrival")
			}
			// That no other comes can only be seen by looking for a while.
			select {
			case <-c.arrived:
				t.Errorf("more than %d calls at once", most)
			case <-time.After(150 * time.Millisecond):
			}
			for range calls {
				c.release <- struct{}{}
			}
			wait.Wait()
			if got := c.most.Load(); got != most {
				t.Errorf("%d calls at once, want %d", got, most)
			}
		})
	}
}

// TestHTTPEndpointWithTLS: a service outside, reached by a resource with its authority, a client
// certificate and a header from a secret.
func TestHTTPEndpointWithTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %q %q %q %d", r.Method, r.URL, r.Header["X-Key"], r.Header["Dapr-Api-Token"], r.Header["Dapr-Caller-App-Id"], len(r.TLS.PeerCertificates))
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	authority := pemText("CERTIFICATE", server.Certificate().Raw)
	key, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("OUTSIDE_KEY", "from a secret")
	runtimetest.Isolate(t)
	s := runtimetest.Start(t, "tls-caller", func(c *runtime.Config) { c.AppToken = security.NewToken("never leaves") },
		runtimetest.Manifests(t, fmt.Sprintf(`
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: environment}
spec: {type: secretstores.local.env, version: v1}
---
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {name: outside}
auth: {secretStore: environment}
spec:
  baseUrl: %s
  headers:
    - {name: X-Key, secretKeyRef: {name: OUTSIDE_KEY, key: OUTSIDE_KEY}}
  clientTLS:
    rootCA: {value: %q}
    certificate: {value: %q}
    privateKey: {value: %q}
---
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {name: distrusted}
spec: {baseUrl: %q}
`, server.URL, authority, authority, pemText("PRIVATE KEY", key), server.URL)))
	n := &neighbours{caller: s, client: http.DefaultClient}
	r := n.request(t, "PUT", "/v1.0/invoke/outside/method/a%20b?c=%20", strings.NewReader("x"))
	r.Header.Set("X-Key", "the client's")
	if _, body := n.do(t, r); body != `PUT /a%20b?c=%20 ["from a secret"] [] [] 1` {
		t.Error(body)
	}
	response, body := n.do(t, n.request(t, "GET", "/v1.0/invoke/distrusted/method/a", nil))
	if response.StatusCode != http.StatusInternalServerError || !strings.Contains(body, "failed to invoke, id: distrusted") || !strings.Contains(body, "certificate") {
		t.Errorf("%s %s", response.Status, body)
	}
}

func pemText(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// TestTraceParents: a trace goes through two sidecars unchanged, from both transports to both kinds of
// applications, and without one there is the zero parent.
func TestTraceParents(t *testing.T) {
	const parent, zero = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-00000000000000000000000000000000-0000000000000000-00"
	address := serveGRPC(t, func(s *grpc.Server) { runtimev1.RegisterAppCallbackServer(s, traceSeer{}) })
	for name, app := range map[string]runtimetest.Option{
		"http": handledBy(t, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.Header["Traceparent"], r.Header["Tracestate"])
		}),
		"grpc": runtimetest.App(address, config.GRPC),
	} {
		t.Run(name, func(t *testing.T) {
			n := together(t, app)
			for _, sent := range []string{parent, ""} {
				r := n.request(t, "GET", "/v1.0/invoke/callee/method/m", nil)
				want, state := "["+zero+"]", "[]"
				ctx := t.Context()
				if sent != "" {
					r.Header.Set("traceparent", sent)
					r.Header.Set("tracestate", "a=b,c=d")
					ctx = metadata.AppendToOutgoingContext(ctx, "traceparent", sent, "tracestate", "a=b,c=d")
					want, state = "["+parent+"]", "[a=b,c=d]"
				}
				if _, body := n.do(t, r); body != want+state && body != want+" "+state {
					t.Errorf("over HTTP: %s, want %s%s", body, want, state)
				}
				answer, err := runtimev1.NewDaprClient(dial(t, n.caller.GRPCAddress().String())).InvokeService(ctx, &runtimev1.InvokeServiceRequest{Id: "callee",
					Message: &commonv1.InvokeRequest{Method: "m", HttpExtension: &commonv1.HTTPExtension{Verb: commonv1.HTTPExtension_GET}}})
				if body := string(answer.GetData().GetValue()); err != nil || body != want+state && body != want+" "+state {
					t.Errorf("over gRPC: %s (%v), want %s%s", body, err, want, state)
				}
			}
		})
	}
}

type traceSeer struct {
	runtimev1.UnimplementedAppCallbackServer
}

// OnInvoke shows the binary form as the text that it stands for.
func (traceSeer) OnInvoke(ctx context.Context, req *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if binary := md.Get("grpc-trace-bin"); len(binary) != 1 || len(binary[0]) != 29 && !strings.Contains(fmt.Sprint(md["traceparent"]), "0000000000000000-00") {
		return nil, status.Errorf(codes.DataLoss, "grpc-trace-bin: %x", binary)
	} else if parents := md.Get("traceparent"); len(binary[0]) == 29 && !strings.Contains(parents[0], hex.EncodeToString([]byte(binary[0][2:18]))) {
		return nil, status.Errorf(codes.DataLoss, "%x is not %s", binary, parents)
	}
	answer := &commonv1.InvokeResponse{Data: req.GetData()}
	answer.Data.Value = fmt.Append(nil, md["traceparent"], md["tracestate"])
	return answer, nil
}

// TestBodyLimits: exactly the limit passes, one byte more gives the documented answer, and 0 is no limit, on
// every path.
func TestBodyLimits(t *testing.T) {
	const limit = 1 << 20
	for name, c := range map[string]struct {
		limit, size int64
		refused     bool
	}{
		"at the limit":   {limit, limit, false},
		"over the limit": {limit, limit + 1, true},
		"without limit":  {0, 8 << 20, false},
	} {
		t.Run(name, func(t *testing.T) {
			app := startApplication(t, func(w http.ResponseWriter, r *http.Request) {
				n, err := io.Copy(io.Discard, r.Body)
				fmt.Fprint(w, n, err)
			})
			n := together(t, appOn(app), limited(c.limit), runtimetest.Manifests(t, memoryStore))
			body := bytes.Repeat([]byte("x"), int(c.size))
			for id, s := range map[string]*runtimetest.Sidecar{"remote": n.caller, "self": n.callee} {
				from := &neighbours{caller: s, client: n.client}
				for kind, reader := range map[string]io.Reader{"plain": bytes.NewReader(body), "chunked": struct{ io.Reader }{bytes.NewReader(body)}} {
					response, answer := from.do(t, from.request(t, "POST", "/v1.0/invoke/callee/method/m", reader))
					got, want := fmt.Sprintf("%d %s", response.StatusCode, answer), fmt.Sprintf("200 %d <nil>", c.size)
					if c.refused {
						want = `500 {"errorCode":"ERR_DIRECT_INVOKE","message":"failed to invoke, id: callee, err: stream too large"}`
					}
					if got != want {
						t.Errorf("invoke %s, %s: %s, want %s", id, kind, got, want)
					}
				}
			}
			item := append([]byte(`[{"key":"k","value":"`), body[:c.size-int64(len(`[{"key":"k","value":""}]`))]...)
			n.refuses(t, "POST", "/v1.0/state/store", append(item, `"}]`...), c.refused,
				`400 {"errorCode":"ERR_MALFORMED_REQUEST","message":"stream too large"}`)
			n.refuses(t, "POST", "/v1.0/state/store/transaction", pad(`{"operations":[],"metadata":{"a":"`, `"}}`, c.size), c.refused,
				`400 {"errorCode":"ERR_MALFORMED_REQUEST","message":"failed deserializing HTTP body: stream too large"}`)
			if c.refused { // below the limit attributes have a bound of their own, 1 MiB together
				n.refuses(t, "PUT", "/v1.0/metadata/k", body, true,
					`400 {"errorCode":"ERR_BODY_READ","message":"failed to read request body: stream too large"}`)
			}
		})
	}
}

// pad makes a text of size bytes.
func pad(before, after string, size int64) []byte {
	text := append([]byte(before), bytes.Repeat([]byte("x"), int(size)-len(before)-len(after))...)
	return append(text, after...)
}

func (n *neighbours) refuses(t *testing.T, verb, path string, body []byte, refused bool, want string) {
	t.Helper()
	if !refused {
		want = "204 "
	}
	response, answer := n.do(t, n.request(t, verb, path, bytes.NewReader(body)))
	if got := fmt.Sprintf("%d %s", response.StatusCode, answer); got != want {
		t.Errorf("%s %s: %s, want %s", verb, path, got, want)
	}
}

// TestMessageLimits: the same over gRPC, where the whole message counts, and the answer too.
func TestMessageLimits(t *testing.T) {
	const limit = 1 << 20
	app := startApplication(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		var size int
		_, _ = fmt.Sscanf(r.URL.RawQuery, "answer=%d", &size)
		_, _ = w.Write(make([]byte, size))
	})
	call := func(t *testing.T, s *runtimetest.Sidecar, request, answer int) (int, error) {
		message := &runtimev1.InvokeServiceRequest{Id: "callee", Message: &commonv1.InvokeRequest{Method: "m", Data: anyOf(nil),
			HttpExtension: &commonv1.HTTPExtension{Verb: commonv1.HTTPExtension_POST, Querystring: fmt.Sprintf("answer=%d", answer)}}}
		for size := request; ; size-- {
			message.Message.Data.Value = make([]byte, max(size, 0))
			if message.SizeVT() <= request || size <= 0 {
				break
			}
		}
		got, err := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String())).InvokeService(t.Context(), message, grpc.MaxCallRecvMsgSize(64<<20), grpc.MaxCallSendMsgSize(64<<20))
		return len(got.GetData().GetValue()), err
	}
	t.Run("limit", func(t *testing.T) {
		n := together(t, appOn(app), limited(limit))
		for _, s := range []*runtimetest.Sidecar{n.caller, n.callee} {
			if _, err := call(t, s, limit, 1); err != nil {
				t.Errorf("a message of exactly the limit: %v", err)
			}
			_, err := call(t, s, limit+1, 1)
			if want := fmt.Sprintf("grpc: received message larger than max (%d vs. %d)", limit+1, limit); status.Code(err) != codes.ResourceExhausted ||
				status.Convert(err).Message() != want {
				t.Errorf("a message over the limit: %v", err)
			}
			if got, err := call(t, s, 100, limit-100); err != nil || got != limit-100 {
				t.Errorf("an answer within the limit: %d bytes, %v", got, err)
			}
			if _, err := call(t, s, 100, limit+1); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "trying to send message larger than max") {
				t.Errorf("an answer over the limit: %v", err)
			}
		}
		// Over HTTP answers have no limit.
		if _, body := n.do(t, n.request(t, "GET", "/v1.0/invoke/callee/method/m?answer=4194304", nil)); len(body) != 4<<20 {
			t.Errorf("an answer of %d bytes", len(body))
		}
	})
	t.Run("no limit", func(t *testing.T) {
		n := together(t, appOn(app), limited(0))
		for _, s := range []*runtimetest.Sidecar{n.caller, n.callee} {
			if got, err := call(t, s, 8<<20, 8<<20); err != nil || got != 8<<20 {
				t.Errorf("%d bytes, %v", got, err)
			}
		}
	})
	t.Run("only the caller's limit counts", func(t *testing.T) {
		runtimetest.Isolate(t)
		callee := runtimetest.Start(t, "callee", appOn(app), limited(limit))
		caller := runtimetest.Start(t, "caller", limited(16<<20))
		n := &neighbours{caller: caller, callee: callee, client: http.DefaultClient}
		response, body := n.do(t, n.request(t, "POST", "/v1.0/invoke/callee/method/m?answer=8388608", bytes.NewReader(make([]byte, 8<<20))))
		if response.StatusCode != http.StatusOK || len(body) != 8<<20 {
			t.Errorf("%s, %d bytes", response.Status, len(body))
		}
	})
}

// testService is a gRPC application of its own making, which no sidecar knows.
type testService struct {
	testgrpc.UnimplementedTestServiceServer
	gone chan struct{}
}

func (s *testService) UnaryCall(ctx context.Context, req *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	_ = grpc.SetHeader(ctx, metadata.Pairs("x-header", "h1", "x-header", "h2", "x-data-bin", "\x00\xff"))
	_ = grpc.SetTrailer(ctx, metadata.Pairs("x-trailer", "t1", "x-trailer-bin", "\x01\xfe"))
	if st := req.GetResponseStatus(); st != nil {
		failed, err := status.New(codes.Code(st.GetCode()), st.GetMessage()).WithDetails(&errdetails.ErrorInfo{Reason: "because", Domain: "here"})
		if err != nil {
			return nil, err
		}
		return nil, failed.Err()
	}
	return &testgrpc.SimpleResponse{Username: strings.Join(md.Get("x-test"), ","), Hostname: strings.Join(md.Get("dapr-caller-app-id"), ","),
		Payload: req.GetPayload()}, nil
}

func (s *testService) StreamingInputCall(stream testgrpc.TestService_StreamingInputCallServer) error {
	var size int
	for {
		req, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&testgrpc.StreamingInputCallResponse{AggregatedPayloadSize: int32(size)})
		}
		if err != nil {
			return err
		}
		size += len(req.GetPayload().GetBody())
	}
}

func (s *testService) StreamingOutputCall(req *testgrpc.StreamingOutputCallRequest, stream testgrpc.TestService_StreamingOutputCallServer) error {
	for _, p := range req.GetResponseParameters() {
		if err := stream.Send(&testgrpc.StreamingOutputCallResponse{Payload: &testgrpc.Payload{Body: make([]byte, p.GetSize())}}); err != nil {
			return err
		}
	}
	return nil
}

// FullDuplexCall answers each message before it reads the next; the empty one ends in an error.
func (s *testService) FullDuplexCall(stream testgrpc.TestService_FullDuplexCallServer) error {
	for {
		req, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			if s.gone != nil {
				s.gone <- struct{}{}
			}
			return err
		}
		if len(req.GetPayload().GetBody()) == 0 {
			return status.Error(codes.OutOfRange, "enough")
		}
		if err := stream.Send(&testgrpc.StreamingOutputCallResponse{Payload: req.GetPayload()}); err != nil {
			return err
		}
	}
}

func (n *neighbours) proxied(t *testing.T, s *runtimetest.Sidecar) (testgrpc.TestServiceClient, context.Context) {
	t.Helper()
	return testgrpc.NewTestServiceClient(dial(t, s.GRPCAddress().String())), metadata.AppendToOutgoingContext(t.Context(), "dapr-app-id", "callee", "x-test", "1", "x-test", "2")
}

func payload(text string) *testgrpc.Payload { return &testgrpc.Payload{Body: []byte(text)} }

// TestProxying: calls of a service that no sidecar knows, of every kind, from beside the application and
// from another sidecar.
func TestProxying(t *testing.T) {
	address := serveGRPC(t, func(s *grpc.Server) { testgrpc.RegisterTestServiceServer(s, &testService{}) })
	n := together(t, runtimetest.App(address, config.GRPC))
	for name, s := range map[string]*runtimetest.Sidecar{"local": n.callee, "remote": n.caller} {
		t.Run(name, func(t *testing.T) {
			client, ctx := n.proxied(t, s)
			t.Run("unary", func(t *testing.T) {
				var header, trailer metadata.MD
				answer, err := client.UnaryCall(ctx, &testgrpc.SimpleRequest{Payload: payload("hello")}, grpc.Header(&header), grpc.Trailer(&trailer))
				if err != nil || string(answer.GetPayload().GetBody()) != "hello" || answer.GetUsername() != "1,2" {
					t.Fatalf("%v %v", answer, err)
				}
				if caller := answer.GetHostname(); caller != map[string]string{"local": "", "remote": "caller"}[name] {
					t.Errorf("the application sees the caller %q", caller)
				}
				checkMarks(t, header, trailer)
			})
			t.Run("status", func(t *testing.T) {
				var header, trailer metadata.MD
				_, err := client.UnaryCall(ctx, &testgrpc.SimpleRequest{ResponseStatus: &testgrpc.EchoStatus{Code: int32(codes.Aborted), Message: "märchen"}}, grpc.Header(&header), grpc.Trailer(&trailer))
				st := status.Convert(err)
				if st.Code() != codes.Aborted || st.Message() != "märchen" || len(st.Details()) != 1 || st.Details()[0].(*errdetails.ErrorInfo).GetReason() != "because" {
					t.Errorf("%v %v", err, st.Details())
				}
				checkMarks(t, header, trailer)
			})
			t.Run("client stream", func(t *testing.T) {
				stream, err := client.StreamingInputCall(ctx)
				if err != nil {
					t.Fatal(err)
				}
				for i := range 100 {
					if err := stream.Send(&testgrpc.StreamingInputCallRequest{Payload: &testgrpc.Payload{Body: make([]byte, i*100)}}); err != nil {
						t.Fatal(err)
					}
				}
				if answer, err := stream.CloseAndRecv(); err != nil || answer.GetAggregatedPayloadSize() != 4950*100 {
					t.Errorf("%v %v", answer, err)
				}
			})
			t.Run("server stream", func(t *testing.T) {
				request := &testgrpc.StreamingOutputCallRequest{}
				for i := range 100 {
					request.ResponseParameters = append(request.ResponseParameters, &testgrpc.ResponseParameters{Size: int32(i * 100)})
				}
				stream, err := client.StreamingOutputCall(ctx, request)
				if err != nil {
					t.Fatal(err)
				}
				for i := 0; ; i++ {
					answer, err := stream.Recv()
					if err == io.EOF && i == 100 {
						break
					}
					if err != nil || len(answer.GetPayload().GetBody()) != i*100 {
						t.Fatalf("message %d: %v", i, err)
					}
				}
			})
			t.Run("both ways", func(t *testing.T) { pingPong(t, client, ctx, 50) })
			t.Run("unknown method", func(t *testing.T) {
				if _, err := client.CacheableUnaryCall(ctx, &testgrpc.SimpleRequest{}); status.Code(err) != codes.Unimplemented {
					t.Error(err)
				}
			})
			t.Run("unknown service", func(t *testing.T) {
				_, err := testgrpc.NewUnimplementedServiceClient(dial(t, s.GRPCAddress().String())).UnimplementedCall(ctx, &testgrpc.Empty{})
				if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "unknown service") {
					t.Error(err)
				}
			})
			t.Run("nobody is named", func(t *testing.T) {
				_, err := client.EmptyCall(t.Context(), &testgrpc.Empty{})
				if want := "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found"; status.Code(err) != codes.Unknown || status.Convert(err).Message() != want {
					t.Error(err)
				}
			})
			t.Run("many at once", func(t *testing.T) {
				var wait sync.WaitGroup
				for range 50 {
					wait.Go(func() { pingPong(t, client, ctx, 20) })
				}
				wait.Wait()
			})
		})
	}
}

func checkMarks(t *testing.T, header, trailer metadata.MD) {
	t.Helper()
	if !slices.Equal(header.Get("x-header"), []string{"h1", "h2"}) || !slices.Equal(header.Get("x-data-bin"), []string{"\x00\xff"}) {
		t.Errorf("header: %v", header)
	}
	if !slices.Equal(trailer.Get("x-trailer"), []string{"t1"}) || !slices.Equal(trailer.Get("x-trailer-bin"), []string{"\x01\xfe"}) {
		t.Errorf("trailer: %v", trailer)
	}
}

// pingPong sends each message once the one before has come back, and then has the application end the call.
func pingPong(t *testing.T, client testgrpc.TestServiceClient, ctx context.Context, rounds int) {
	stream, err := client.FullDuplexCall(ctx)
	if err != nil {
		t.Error(err)
		return
	}
	for i := range rounds {
		text := fmt.Sprint(i, " ", strings.Repeat("x", i))
		if err := stream.Send(&testgrpc.StreamingOutputCallRequest{Payload: payload(text)}); err != nil {
			t.Error(err)
			return
		}
		if answer, err := stream.Recv(); err != nil || string(answer.GetPayload().GetBody()) != text {
			t.Errorf("round %d: %v %v", i, answer, err)
			return
		}
	}
	if err := stream.Send(&testgrpc.StreamingOutputCallRequest{}); err != nil {
		t.Error(err)
		return
	}
	if _, err := stream.Recv(); status.Code(err) != codes.OutOfRange || status.Convert(err).Message() != "enough" {
		t.Errorf("the end: %v", err)
	}
}

// richApp is a gRPC application whose answers have all that an answer can have.
type richApp struct {
	runtimev1.UnimplementedAppCallbackServer
}

func (richApp) OnInvoke(ctx context.Context, req *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
	_ = grpc.SetHeader(ctx, metadata.Pairs("x-header", "h1", "x-header", "h2", "x-data-bin", "\x00\xff"))
	_ = grpc.SetTrailer(ctx, metadata.Pairs("x-trailer", "t1", "x-trailer-bin", "\x01\xfe"))
	if req.GetMethod() == "fail" {
		failed, err := status.New(codes.Aborted, "märchen").WithDetails(&errdetails.ErrorInfo{Reason: "because", Domain: "here"})
		if err != nil {
			return nil, err
		}
		return nil, failed.Err()
	}
	answer := &commonv1.InvokeResponse{Data: req.GetData(), ContentType: "a/b"}
	answer.Data.TypeUrl += "/answer"
	return answer, nil
}

// TestRichAnswers: status, details, headers, trailers and type of a gRPC application's answer come through
// two sidecars to a gRPC caller, and as far as HTTP has a place for them to an HTTP caller.
func TestRichAnswers(t *testing.T) {
	address := serveGRPC(t, func(s *grpc.Server) { runtimev1.RegisterAppCallbackServer(s, richApp{}) })
	n := together(t, runtimetest.App(address, config.GRPC))
	for name, s := range map[string]*runtimetest.Sidecar{"local": n.callee, "remote": n.caller} {
		client := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String()))
		for _, method := range []string{"fine", "fail"} {
			message := &commonv1.InvokeRequest{Method: method, Data: anyOf([]byte{0, 0xff})}
			message.Data.TypeUrl = "types/T"
			var header, trailer metadata.MD
			answer, err := client.InvokeService(t.Context(), &runtimev1.InvokeServiceRequest{Id: "callee", Message: message}, grpc.Header(&header), grpc.Trailer(&trailer))
			st := status.Convert(err)
			switch {
			case method == "fine" && (err != nil || answer.GetContentType() != "a/b" || answer.GetData().GetTypeUrl() != "types/T/answer" ||
				!bytes.Equal(answer.GetData().GetValue(), []byte{0, 0xff})):
				t.Errorf("%s: %v %v", name, answer, err)
			case method == "fail" && (st.Code() != codes.Aborted || st.Message() != "märchen" || len(st.Details()) != 1 ||
				st.Details()[0].(*errdetails.ErrorInfo).GetReason() != "because"):
				t.Errorf("%s: %v %v", name, err, st.Details())
			}
			checkMarks(t, header, trailer)
		}
		from := &neighbours{caller: s, client: n.client}
		response, body := from.do(t, from.request(t, "POST", "/v1.0/invoke/callee/method/fail", strings.NewReader("x")))
		var printed struct {
			Code    int
			Message string
			Details []map[string]any
		}
		if err := json.Unmarshal([]byte(body), &printed); err != nil || response.StatusCode != http.StatusConflict || printed.Code != int(codes.Aborted) ||
			printed.Message != "märchen" || len(printed.Details) != 1 || printed.Details[0]["reason"] != "because" {
			t.Errorf("%s over HTTP: %s %s (%v)", name, response.Status, body, err)
		}
		if !slices.Equal(response.Header["X-Header"], []string{"h1", "h2"}) {
			t.Errorf("%s over HTTP: %v", name, response.Header)
		}
	}
}

// TestProxyBeforeApp: while the application is awaited a proxied call is answered, from beside it and from
// another sidecar.
func TestProxyBeforeApp(t *testing.T) {
	runtimetest.Isolate(t)
	callee := runtimetest.Launch(t, "callee", runtimetest.App(&net.TCPAddr{Port: holdPort(t)}, config.GRPC))
	callee.Await(t, "/v1.0/healthz/outbound")
	n := &neighbours{callee: callee, caller: runtimetest.Start(t, "caller")}
	for name, s := range map[string]*runtimetest.Sidecar{"local": n.callee, "remote": n.caller} {
		client, ctx := n.proxied(t, s)
		if _, err := client.UnaryCall(ctx, &testgrpc.SimpleRequest{}); err == nil || status.Convert(err).Message() == "" {
			t.Errorf("%s, unary: %v", name, err)
		} else {
			t.Logf("%s: %v", name, err)
		}
		stream, err := client.FullDuplexCall(ctx)
		if err == nil {
			_, err = stream.Recv()
		}
		if err == nil || err == io.EOF {
			t.Errorf("%s, stream: %v", name, err)
		}
	}
}

// TestProxyAsksForTheToken: a proxied call shows the token like any other, and the application does not see
// it.
func TestProxyAsksForTheToken(t *testing.T) {
	shown := make(chan []string, 1)
	address := serveGRPC(t, func(s *grpc.Server) { testgrpc.RegisterTestServiceServer(s, &testService{}) },
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			shown <- metadata.ValueFromIncomingContext(ctx, "dapr-api-token")
			return next(ctx, req)
		}))
	n := together(t, runtimetest.App(address, config.GRPC), func(c *runtime.Config) {
		c.APIToken, c.AppToken = security.NewToken("for the sidecar"), security.NewToken("for the app")
	})
	for name, s := range map[string]*runtimetest.Sidecar{"local": n.callee, "remote": n.caller} {
		client, ctx := n.proxied(t, s)
		for _, wrong := range []context.Context{ctx, metadata.AppendToOutgoingContext(ctx, "dapr-api-token", "guess")} {
			if _, err := client.UnaryCall(wrong, &testgrpc.SimpleRequest{}); status.Code(err) != codes.Unauthenticated {
				t.Errorf("%s, without the token: %v", name, err)
			}
		}
		if _, err := client.UnaryCall(metadata.AppendToOutgoingContext(ctx, "dapr-api-token", "for the sidecar"), &testgrpc.SimpleRequest{}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := <-shown; !slices.Equal(got, []string{"for the app"}) {
			t.Errorf("%s: the application is shown %q", name, got)
		}
	}
}
