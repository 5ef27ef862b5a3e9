package channel

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/security"
)

// serveHTTP runs handler over the protocol; the result is its address.
func serveHTTP(t *testing.T, protocol string, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	switch protocol {
	case "h2c":
		server.Config.Protocols = new(http.Protocols)
		server.Config.Protocols.SetUnencryptedHTTP2(true)
		server.Start()
	case "https":
		server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		server.StartTLS()
	default:
		server.Start()
	}
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// TestProtocols runs the same calls over each protocol of HTTP.
func TestProtocols(t *testing.T) {
	for _, protocol := range []string{"http", "https", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			gone := make(chan struct{}, 10)
			address := serveHTTP(t, protocol, func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/echo":
					w.Header().Set("X-Proto", r.Proto)
					w.Header()["X-Seen"] = []string{r.RequestURI, r.Host, r.Header.Get("Content-Type"), r.Header.Get("Traceparent"), r.Header.Get("Dapr-Api-Token")}
					w.Header()["X-Rep"] = r.Header["X-Rep"]
					// Go's server cannot read on once it has begun to answer.
					body, _ := io.ReadAll(r.Body)
					_, _ = w.Write(body)
				case "/status":
					w.Header().Set("X-A", "1")
					w.WriteHeader(http.StatusConflict)
				case "/wait":
					_ = http.NewResponseController(w).Flush()
					<-r.Context().Done()
					gone <- struct{}{}
				case "/dapr/config":
					w.WriteHeader(http.StatusNotFound)
				case "/die":
					_, _ = io.WriteString(w, strings.Repeat("x", 100<<10))
					_ = http.NewResponseController(w).Flush()
					panic(http.ErrAbortHandler)
				}
			})
			channel := openTest(t, Settings{Protocol: protocol, Address: address, Token: security.NewToken("s3cret"), DefaultContentType: "application/json"})
			proto := map[string]string{"http": "HTTP/1.1", "https": "HTTP/1.1", "h2c": "HTTP/2.0"}[protocol]
			for name, body := range map[string]Body{
				"bytes": {Bytes: pattern(100)}, "empty": {},
				"large":    {Bytes: pattern(2 << 20)},
				"stream":   {Stream: strings.NewReader(string(pattern(2 << 20))), Length: -1},
				"measured": {Stream: strings.NewReader(string(pattern(300 << 10))), Length: 300 << 10},
			} {
				size := body.Size()
				if size < 0 {
					size = 2 << 20
				}
				res, err := channel.Invoke(testContext(t), &Request{Verb: "POST", Method: "echo", Query: "a=1&b=%20", Body: body,
					Header: Header{{"X-Rep", "1"}, {"X-Rep", "2"}, {"Dapr-Api-Token", "forged"}, {"Connection", "x"}}})
				if err != nil {
					t.Fatal(name, err)
				}
				if got := readBody(t, res); int64(len(got)) != size || !samePattern([]byte(got)) {
					t.Errorf("%s: %d bytes of %d", name, len(got), size)
				}
				seen := []string{"/echo?a=1&b=%20", address, "application/json", "00-00000000000000000000000000000000-0000000000000000-00", "s3cret"}
				if diff := cmp.Diff(seen, values(res.Header, "X-Seen")); diff != "" {
					t.Errorf("%s: seen (-want +got):\n%s", name, diff)
				}
				if diff := cmp.Diff([]string{"1", "2"}, values(res.Header, "X-Rep")); diff != "" || res.Header.Value("X-Proto") != proto {
					t.Errorf("%s %s", diff, res.Header.Value("X-Proto"))
				}
				res.Close()
			}
			for _, verb := range []string{"GET", "HEAD"} {
				res, err := channel.Invoke(testContext(t), &Request{Verb: verb, Method: "status"})
				if err != nil {
					t.Fatal(err)
				}
				if res.Status != 409 || res.Header.Value("x-a") != "1" || readBody(t, res) != "" {
					t.Errorf("%+v", res)
				}
				res.Close()
			}
			res, err := channel.Invoke(testContext(t), &Request{Verb: "GET", Method: "die"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(res.Body.Reader()); err == nil {
				t.Error("a body cut off looked complete")
			}
			res.Close()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			res, err = channel.Invoke(ctx, &Request{Verb: "GET", Method: "wait"})
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			await(t, gone, "the end of the cancelled call")
			if _, err := io.ReadAll(res.Body.Reader()); !errors.Is(err, context.Canceled) {
				t.Errorf("a cancelled answer: %v", err)
			}
			res.Close()
			r, w := io.Pipe()
			_ = w.CloseWithError(errTooLarge)
			if _, err := channel.Invoke(testContext(t), &Request{Verb: "POST", Method: "echo", Body: Body{Stream: r, Length: -1}}); !errors.Is(err, errTooLarge) {
				t.Errorf("a broken body: %v", err)
			}
			if config, err := channel.Configuration(testContext(t)); err != nil || len(config.Entities) != 0 {
				t.Errorf("configuration: %v, %v", config, err)
			}
		})
	}
}

func values(h Header, name string) (list []string) {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			list = append(list, f.Value)
		}
	}
	return slices.Clip(list)
}

func TestProtocolsAway(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	for protocol, scheme := range map[string]string{"http": "http", "https": "https", "h2c": "http"} {
		_, err := openTest(t, Settings{Protocol: protocol, Address: address}).Invoke(testContext(t), &Request{Verb: "GET", Method: "hello"})
		want := `Get "` + scheme + `://` + address + `/hello": dial tcp ` + address + `: connect: connection refused`
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", protocol, err, want)
		}
	}
}

func TestOpen(t *testing.T) {
	for _, c := range []struct {
		settings Settings
		fails    bool
	}{
		{Settings{Address: "a:1"}, false}, {Settings{Protocol: "grpcs", Address: "a:1"}, false}, {Settings{Protocol: "h2c", Address: "a:1"}, false},
		{Settings{Protocol: "http"}, true}, {Settings{Protocol: "http3", Address: "a:1"}, true},
	} {
		app, err := Open(c.settings)
		if (err != nil) != c.fails {
			t.Errorf("%+v: %v", c.settings, err)
		}
		if err == nil {
			_ = app.Close()
		}
	}
	for settings, want := range map[Settings]string{
		{Address: "a:1", TLS: true}: "https", {Address: "a:1", Protocol: "https"}: "https", {Address: "a:1", Protocol: "http"}: "http",
	} {
		app := openTest(t, settings)
		if got := app.(*http1).target.scheme; got != want {
			t.Errorf("%+v: %s", settings, got)
		}
	}
}
