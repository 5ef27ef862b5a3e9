package messaging_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/messaging"
	"github.com/daprd/daprd/pkg/nameresolution"
	"github.com/daprd/daprd/pkg/ready"
)

func withEndpoints(t testing.TB, all ...messaging.Endpoint) *messaging.Direct {
	t.Helper()
	slot := new(ready.Slot[*messaging.Endpoints])
	endpoints := messaging.NewEndpoints(all)
	slot.Fill(endpoints)
	peers := messaging.NewPeers(messaging.Insecure{}, 0)
	d := messaging.New(messaging.Deps{
		Self: messaging.Self{AppID: "caller", Namespace: "default"},
		App:  new(ready.Slot[channel.App]), Resolver: new(ready.Slot[nameresolution.Resolver]),
		Peers: peers, Endpoints: slot,
	})
	t.Cleanup(func() {
		_ = endpoints.Close()
		_ = peers.Close()
		_ = d.Close()
	})
	return d
}

func TestEndpoint(t *testing.T) {
	var got *http.Request
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.Header().Add("X-Multi", "a")
		w.Header().Add("X-Multi", "b")
		w.Header().Set("Location", "/elsewhere")
		w.Header().Set("Content-Type", "text/x")
		w.WriteHeader(302)
		_, _ = io.WriteString(w, "moved")
	}))
	defer server.Close()
	d := withEndpoints(t, messaging.Endpoint{
		Name: "shop", BaseURL: server.URL + "/base/", Header: channel.Header{{Name: "Authorization", Value: "resource"}},
	})
	for _, id := range []string{"shop", server.URL + "/base"} {
		t.Run(strings.Split(id, ":")[0], func(t *testing.T) {
			res, err := d.Invoke(within(t), id, &channel.Request{
				Verb: "PUT", Method: "a b/c", Query: "q=%20", ContentType: "text/y", Body: channel.Body{Bytes: []byte("hello")},
				Header: channel.Header{
					{Name: "Authorization", Value: "caller"}, {Name: "X-Rep", Value: "1"}, {Name: "X-Rep", Value: "2"},
					{Name: "Dapr-Api-Token", Value: "secret"}, {Name: "dapr-caller-app-id", Value: "x"}, {Name: "Host", Value: "caller"},
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if res.Status != 302 || res.ContentType != "text/x" || res.Header.Value("Location") != "/elsewhere" || res.Body.Size() != 5 {
				t.Errorf("answer %+v", res)
			}
			if got := readAll(t, res); got != "moved" {
				t.Errorf("body %q", got)
			}
			authorization := "caller"
			if id == "shop" {
				authorization = "resource"
			}
			want := http.Header{
				"Authorization": {authorization}, "X-Rep": {"1", "2"}, "Content-Type": {"text/y"}, "Content-Length": {"5"},
			}
			if diff := cmp.Diff(want, got.Header); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
			if got.RequestURI != "/base/a%20b/c?q=%20" || got.Method != "PUT" || string(body) != "hello" || got.Host == "caller" {
				t.Errorf("%s %s, host %s, body %q", got.Method, got.RequestURI, got.Host, body)
			}
		})
	}
}

func TestEndpointStreams(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		piece := make([]byte, 1)
		for {
			if _, err := io.ReadFull(r.Body, piece); err != nil {
				return
			}
			_, _ = w.Write(piece)
			_ = http.NewResponseController(w).Flush()
		}
	}))
	defer server.Close()
	r, w := io.Pipe()
	res, err := withEndpoints(t).Invoke(within(t), server.URL, &channel.Request{
		Verb: "POST", Method: "m", Body: channel.Body{Stream: r, Length: -1},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	for i := range 5 {
		if _, err := fmt.Fprint(w, i); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 1)
		if _, err := io.ReadFull(res.Body.Stream, got); err != nil || string(got) != fmt.Sprint(i) {
			t.Fatalf("%q, %v", got, err)
		}
	}
	_ = w.Close()
	if rest, err := io.ReadAll(res.Body.Stream); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestEndpointTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "secure")
	}))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	d := withEndpoints(t,
		messaging.Endpoint{Name: "trusted", BaseURL: server.URL, TLS: &tls.Config{RootCAs: roots}},
		messaging.Endpoint{Name: "unknown", BaseURL: server.URL})
	res, err := d.Invoke(within(t), "trusted", &channel.Request{Verb: "GET"})
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, res); got != "secure" {
		t.Errorf("body %q", got)
	}
	_, err = d.Invoke(within(t), "unknown", &channel.Request{Verb: "GET", Query: "password=1"})
	if err == nil || !strings.Contains(err.Error(), "certificate") || strings.Contains(err.Error(), "password") {
		t.Errorf("error %v", err)
	}
}

// TestEndpointRequestLine: a gRPC caller's query is any text, and must stay one part of one line.
func TestEndpointRequestLine(t *testing.T) {
	listener := listen(t)
	defer listener.Close()
	lines := make(chan string, 10)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(conn).ReadString('\n')
			lines <- line
			_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
			_ = conn.Close()
		}
	}()
	d := withEndpoints(t)
	for query, want := range map[string]string{
		"a=1 HTTP/1.1\r\nX: y": "GET /m?a=1%20HTTP/1.1%0D%0AX:%20y HTTP/1.1\r\n",
		"a=%20&b=\x00":         "GET /m?a=%20&b=%00 HTTP/1.1\r\n",
		"":                     "GET /m HTTP/1.1\r\n",
	} {
		res, err := d.Invoke(within(t), "http://"+listener.Addr().String(), &channel.Request{Verb: "GET", Method: "m", Query: query})
		if err != nil {
			t.Errorf("%q: %v", query, err)
			continue
		}
		res.Close()
		if got := <-lines; got != want {
			t.Errorf("%q: the request line is %q, want %q", query, got, want)
		}
	}
}

// TestEndpointErrorsHideUsers: the password in a URL is a secret.
func TestEndpointErrorsHideUsers(t *testing.T) {
	d := withEndpoints(t, messaging.Endpoint{Name: "away", BaseURL: "http://user:hunter2@127.0.0.1:1"},
		messaging.Endpoint{Name: "broken", BaseURL: "http://user:hunter2@127.0.0.1:x"})
	for _, id := range []string{"away", "broken", "http://user:hunter2@127.0.0.1:1", "http://user:hunter2@127.0.0.1:x",
		"https://user:hun%2@127.0.0.1", "http://user:pa/hunter2@x"} {
		_, err := d.Invoke(within(t), id, &channel.Request{Verb: "GET", Method: "m"})
		if err == nil || strings.Contains(err.Error(), "hunter2@") || strings.Contains(err.Error(), "hun%2") {
			t.Errorf("%s: error %v", id, err)
		}
	}
}
