package channel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/security"
)

// sentBytes gives the exact bytes that the application received for req.
func sentBytes(t *testing.T, settings Settings, req *Request, want string) string {
	t.Helper()
	got := make(chan string, 1)
	app := serveRaw(t, func(c *rawConn) {
		b := make([]byte, len(strings.ReplaceAll(want, "APP", c.LocalAddr().String())))
		n, _ := io.ReadFull(c.r, b)
		b = b[:n]
		rest, _ := c.r.Peek(c.r.Buffered())
		got <- string(b) + string(rest)
		c.say(okEmpty)
	})
	settings.Address = app.address
	res, err := openTest(t, settings).Invoke(testContext(t), req)
	if err != nil {
		t.Fatal(err)
	}
	res.Close()
	return strings.ReplaceAll(await(t, got, "the request"), app.address, "APP")
}

func TestExactBytes(t *testing.T) {
	const zero = "Traceparent: 00-00000000000000000000000000000000-0000000000000000-00\r\n"
	const agent = "User-Agent: Go-http-client/1.1\r\n"
	cases := []struct {
		name     string
		settings Settings
		req      Request
		want     string
	}{
		{
			name: "a bare GET",
			req:  Request{Verb: "GET", Method: "hello"},
			want: "GET /hello HTTP/1.1\r\nHost: APP\r\n" + agent + zero + "\r\n",
		},
		{
			name: "the empty method, query as it was sent",
			req:  Request{Verb: "GET", Query: "a=1&b=x%20y&a=2&c"},
			want: "GET /?a=1&b=x%20y&a=2&c HTTP/1.1\r\nHost: APP\r\n" + agent + zero + "\r\n",
		},
		{
			name: "a query cannot end the request line",
			req:  Request{Verb: "GET", Method: "m", Query: "a=b c\r\nX: y"},
			want: "GET /m?a=b%20c%0D%0AX:%20y HTTP/1.1\r\nHost: APP\r\n" + agent + zero + "\r\n",
		},
		{
			name:     "a body, the default content type",
			settings: Settings{DefaultContentType: "application/json"},
			req:      Request{Verb: "POST", Method: "m", Body: Body{Bytes: []byte("{}")}},
			want: "POST /m HTTP/1.1\r\nHost: APP\r\n" + agent + zero +
				"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
		},
		{
			name: "an empty body of a verb that has one",
			req:  Request{Verb: "PUT", Method: "m"},
			want: "PUT /m HTTP/1.1\r\nHost: APP\r\n" + agent + zero + "Content-Length: 0\r\n\r\n",
		},
		{
			name: "a typed message of a gRPC caller",
			req:  Request{Verb: "POST", Method: "m", ContentType: "application/json", TypeURL: "type.googleapis.com/x", Body: Body{Bytes: []byte("b")}},
			want: "POST /m HTTP/1.1\r\nHost: APP\r\n" + agent + zero +
				"Content-Type: application/x-protobuf\r\nContent-Length: 1\r\n\r\nb",
		},
		{
			name:     "the app token in place of the caller's",
			settings: Settings{Token: security.NewToken("s3cret")},
			req:      Request{Verb: "GET", Method: "m", Header: Header{{"Dapr-Api-Token", "forged"}, {"DAPR-API-TOKEN", "forged"}}},
			want:     "GET /m HTTP/1.1\r\nHost: APP\r\n" + agent + zero + "Dapr-Api-Token: s3cret\r\n\r\n",
		},
		{
			name: "hop-by-hop headers, those named by Connection, and the sidecars' own stay behind",
			req: Request{Verb: "GET", Method: "m", Header: Header{
				{"connection", "close, X-Hop"}, {"X-Hop", "1"}, {"Keep-Alive", "5"}, {"Proxy-Connection", "x"}, {"Transfer-Encoding", "chunked"},
				{"Upgrade", "h2c"}, {"HTTP2-Settings", "x"}, {"TE", "trailers"}, {"Trailer", "x"}, {"Proxy-Authorization", "x"},
				{"Proxy-Authenticate", "x"}, {"Content-Length", "99"}, {"Content-Type", "x/y"}, {"Host", "evil"}, {"x-bin", "AA=="},
				{"Grpc-Trace-Bin", "AA=="}, {"destination-app-id", "x"}, {"X-Stays", "1"}}},
			want: "GET /m HTTP/1.1\r\nHost: APP\r\nX-Stays: 1\r\n" + agent + zero + "\r\n",
		},
		{
			name: "order, repeated, empty and cookies as they were sent, names canonical, gRPC's own renamed",
			req: Request{Verb: "GET", Method: "m", Header: Header{
				{"x-rep", "1"}, {"Cookie", "b=2;a=1"}, {"user-agent", "ua"}, {"X-REP", "2"}, {"x-empty", ""}, {"grpc-foo", "g"},
				{":authority", "a:1"}, {"traceparent", "p"}, {"cookie", "c"}}},
			want: "GET /m HTTP/1.1\r\nHost: APP\r\nX-Rep: 1\r\nCookie: b=2;a=1\r\nUser-Agent: ua\r\nX-Rep: 2\r\nX-Empty: \r\n" +
				"Dapr-Grpc-Foo: g\r\nDapr-Authority: a:1\r\nTraceparent: p\r\nCookie: c\r\n\r\n",
		},
		{
			name: "a stream of unknown length",
			req:  Request{Verb: "POST", Method: "m", Body: Body{Stream: &pieced{"ab", "cdefghijklmnopqrst", ""}, Length: -1}},
			want: "POST /m HTTP/1.1\r\nHost: APP\r\n" + agent + zero +
				"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n12\r\ncdefghijklmnopqrst\r\n0\r\n\r\n",
		},
		{
			name: "a stream of known length",
			req:  Request{Verb: "GET", Method: "m", Body: Body{Stream: &pieced{"ab", "cd"}, Length: 4}},
			want: "GET /m HTTP/1.1\r\nHost: APP\r\n" + agent + zero + "Content-Length: 4\r\n\r\nabcd",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, sentBytes(t, c.settings, &c.req, c.want)); diff != "" {
				t.Errorf("bytes (-want +sent):\n%s", diff)
			}
		})
	}
}

// pieced gives one piece a read, so that the chunks are known.
type pieced []string

func (p *pieced) Read(b []byte) (int, error) {
	if len(*p) == 0 {
		return 0, io.EOF
	}
	n := copy(b, (*p)[0])
	*p = (*p)[1:]
	return n, nil
}

func TestRefusedRequests(t *testing.T) {
	channel := openTest(t, Settings{Address: "127.0.0.1:1"})
	cases := []struct {
		name string
		req  Request
		want string
		code codes.Code
	}{
		{"no extension", Request{Method: "m"}, "rpc error: code = InvalidArgument desc = missing HTTP extension field", codes.InvalidArgument},
		{"no verb", Request{Verb: "NONE", Method: "m"}, "rpc error: code = InvalidArgument desc = invalid HTTP verb", codes.InvalidArgument},
		{"connect", Request{Verb: "CONNECT", Method: "m"}, "rpc error: code = InvalidArgument desc = invalid HTTP verb", codes.InvalidArgument},
		{"a line break in a value", Request{Verb: "GET", Method: "m", Header: Header{{"X-A", "s3cret\r\nX: y"}}},
			`Get "http://127.0.0.1:1/m": invalid header field value for "X-A"`, codes.Unknown},
		{"a space in a name", Request{Verb: "GET", Method: "m", Header: Header{{"X A", "v"}}},
			`Get "http://127.0.0.1:1/m": invalid header field name "X A"`, codes.Unknown},
		{"a line break in the content type", Request{Verb: "GET", Method: "m", ContentType: "a\nb"},
			`Get "http://127.0.0.1:1/m": invalid header field value for "Content-Type"`, codes.Unknown},
		{"nobody listens", Request{Verb: "POST", Method: "a b", Query: "secret=1"},
			`Post "http://127.0.0.1:1/a%20b": dial tcp 127.0.0.1:1: connect: connection refused`, codes.Unknown},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := channel.Invoke(testContext(t), &c.req)
			if err == nil || err.Error() != c.want || status.Code(err) != c.code {
				t.Errorf("got %v (code %v), want %s", err, status.Code(err), c.want)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	big := strings.Repeat("h", 12<<10)
	cases := []struct {
		name   string
		verb   string
		answer string
		want   Response
		body   string
		// kept says whether the connection may serve another call.
		kept bool
	}{
		{"length", "GET", "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 2\r\nX-A: 1\r\nx-a: 2\r\n\r\nhi",
			Response{Status: 200, ContentType: "a/b", Header: Header{{"X-A", "1"}, {"X-A", "2"}}}, "hi", true},
		{"empty", "GET", "HTTP/1.1 404 Gone Fishing\r\nContent-Length: 0\r\n\r\n", Response{Status: 404}, "", true},
		{"204 without length", "GET", "HTTP/1.1 204 No Content\r\n\r\n", Response{Status: 204}, "", true},
		{"304 with a length but no body", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\nEtag: x\r\n\r\n",
			Response{Status: 304, Header: Header{{"Etag", "x"}}, Body: Body{Withheld: true, Length: 10}}, "", true},
		{"304 without a length", "GET", "HTTP/1.1 304 Not Modified\r\n\r\n", Response{Status: 304, Body: Body{Withheld: true, Length: -1}}, "", true},
		{"204 with a length", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 10\r\n\r\n", Response{Status: 204}, "", true},
		{"HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nX-H: 1\r\n\r\n", Response{Status: 200, Header: Header{{"X-H", "1"}}, Body: Body{Withheld: true, Length: 10}}, "", true},
		{"HEAD of a large body", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n", Response{Status: 200, Body: Body{Withheld: true, Length: 5e9}}, "", true},
		{"HEAD of nothing", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Response{Status: 200, Body: Body{Withheld: true}}, "", true},
		{"HEAD with 204", "HEAD", "HTTP/1.1 204 No Content\r\n\r\n", Response{Status: 204}, "", true},
		{"HEAD of a chunked body", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Response{Status: 200, Body: Body{Withheld: true, Length: -1}}, "", true},
		{"chunked, with extensions and trailers", "GET",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-T: dropped\r\nX-U: too\r\n\r\n",
			Response{Status: 200}, "abcde", true},
		{"until close", "GET", "HTTP/1.1 200 OK\r\n\r\nto the end", Response{Status: 200}, "to the end", false},
		{"HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", Response{Status: 200}, "hi", false},
		{"connection close", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", Response{Status: 200}, "hi", false},
		{"connection close among others", "GET",
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Hop, Close\r\nX-Hop: 1\r\nX-Stays: 1\r\n\r\nhi",
			Response{Status: 200, Header: Header{{"X-Stays", "1"}}}, "hi", false},
		{"hop-by-hop headers", "GET",
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive\r\nUpgrade: h2c\r\nx-bin: AA\r\nProxy-Authenticate: b\r\n\r\nhi",
			Response{Status: 200}, "hi", true},
		{"interim answers", "GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nhi",
			Response{Status: 201}, "hi", true},
		{"cookies", "GET", "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: a=2\r\nContent-Length: 0\r\n\r\n",
			Response{Status: 200, Header: Header{{"Set-Cookie", "a=1; Path=/"}, {"Set-Cookie", "a=2"}}}, "", true},
		{"a header larger than the buffer", "GET", "HTTP/1.1 200 OK\r\nX-Big: " + big + "\r\nContent-Length: 2\r\n\r\nhi",
			Response{Status: 200, Header: Header{{"X-Big", big}}}, "hi", true},
		{"bytes that nobody asked for", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n\r\n", Response{Status: 200}, "hi", false},
		{"a redirect", "POST", "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
			Response{Status: 302, Header: Header{{"Location", "/x"}}}, "", true},
		{"an error with Retry-After", "GET", "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
			Response{Status: 503, Header: Header{{"Retry-After", "1"}}}, "", true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			app := serveRaw(t, func(conn *rawConn) {
				for {
					if _, err := conn.request(); err != nil {
						return
					}
					conn.say(c.answer)
					if !c.kept {
						return
					}
				}
			})
			channel := openTest(t, Settings{Address: app.address})
			for range 2 {
				res, err := channel.Invoke(testContext(t), &Request{Verb: c.verb, Method: "m"})
				if err != nil {
					t.Fatal(err)
				}
				if body := readBody(t, res); body != c.body {
					t.Errorf("body %q, want %q", body, c.body)
				}
				if want := c.want.Body; want.Withheld != res.Body.Withheld || want.Withheld && want.Length != res.Body.Length {
					t.Errorf("body %+v, want %+v", res.Body, want)
				}
				if res.Status != c.want.Status || res.ContentType != c.want.ContentType {
					t.Errorf("status %d, type %q", res.Status, res.ContentType)
				}
				if diff := cmp.Diff([]Field(c.want.Header), append([]Field(nil), res.Header...)); diff != "" {
					t.Errorf("headers (-want +got):\n%s", diff)
				}
				res.Close()
				res.Close()
				if idle := len(channel.(*http1).pool.idle); (idle == 1) != c.kept {
					t.Errorf("%d idle connections, want one: %v", idle, c.kept)
				}
			}
			want := 1
			if !c.kept {
				want = 2
			}
			if got := len(app.accepted); got != want {
				t.Errorf("%d connections for two calls, want %d", got, want)
			}
		})
	}
}

func TestBadAnswers(t *testing.T) {
	cases := []struct{ name, answer, want string }{
		{"nothing", "", "EOF"},
		{"half a head", "HTTP/1.1 200 OK\r\nX-A: s3cret", "unexpected EOF"},
		{"no HTTP", "SSH-2.0 s3cret\r\n\r\n", "malformed HTTP response"},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "malformed HTTP response"},
		{"a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "malformed HTTP response"},
		{"an unknown encoding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "malformed HTTP response"},
		{"a switch of protocols", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", errSwitched.Error()},
		{"interim answers without end", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 30), "malformed HTTP response"},
		{"a head without end", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("s3cret", 20000), errHeadSize.Error()},
		{"a small body cut off", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhi", "unexpected EOF"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			app := serveRaw(t, func(conn *rawConn) {
				if _, err := conn.request(); err == nil {
					conn.say(c.answer)
				}
			})
			channel := openTest(t, Settings{Address: app.address})
			_, err := channel.Invoke(testContext(t), &Request{Verb: "GET", Method: "m"})
			want := `Get "http://` + app.address + `/m": ` + c.want
			if err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

func TestStaleConnections(t *testing.T) {
	// closing answers once on each connection and closes it without a word, as servers do that have
	// counted enough requests or were idle for long.
	closing := func(closed chan<- struct{}) func(c *rawConn) {
		return func(c *rawConn) {
			if _, err := c.request(); err == nil {
				c.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
			_ = c.Close()
			closed <- struct{}{}
		}
	}
	for _, verb := range []string{"GET", "POST"} {
		t.Run("closed while idle: "+verb, func(t *testing.T) {
			closed := make(chan struct{}, 10)
			app := serveRaw(t, closing(closed))
			channel := openTest(t, Settings{Address: app.address})
			for range 5 {
				res, err := channel.Invoke(testContext(t), &Request{Verb: verb, Method: "m", Body: Body{Bytes: []byte("x")}})
				if err != nil {
					t.Fatal(err)
				}
				if body := readBody(t, res); body != "ok" {
					t.Errorf("body %q", body)
				}
				res.Close()
				await(t, closed, "the close")
				makeOld(channel)
			}
		})
	}
	// dying closes the second call's connection after it has read the request.
	dying := func(requests chan<- *rawRequest) func(c *rawConn) {
		return func(c *rawConn) {
			for i := 0; ; i++ {
				req, err := c.request()
				if err != nil {
					return
				}
				requests <- req
				if i == 1 {
					return
				}
				c.say(okEmpty)
			}
		}
	}
	cases := []struct {
		verb  string
		body  Body
		again bool
	}{
		{"GET", Body{}, true},
		{"PUT", Body{Bytes: []byte("x")}, true},
		{"DELETE", Body{}, true},
		{"POST", Body{Bytes: []byte("x")}, false},
		{"PUT", Body{Stream: strings.NewReader("x"), Length: 1}, false},
	}
	for _, c := range cases {
		t.Run("died with a request in hand: "+c.verb, func(t *testing.T) {
			requests := make(chan *rawRequest, 10)
			app := serveRaw(t, dying(requests))
			channel := openTest(t, Settings{Address: app.address})
			first, err := channel.Invoke(testContext(t), &Request{Verb: "GET", Method: "m"})
			if err != nil {
				t.Fatal(err)
			}
			first.Close()
			second, err := channel.Invoke(testContext(t), &Request{Verb: c.verb, Method: "m", Body: c.body})
			if (err == nil) != c.again {
				t.Errorf("error %v, want another try: %v", err, c.again)
			}
			second.Close()
			if got, want := len(requests), map[bool]int{true: 3, false: 2}[c.again]; got != want {
				t.Errorf("the app got %d requests, want %d", got, want)
			}
		})
	}
	t.Run("a fresh connection is not tried twice", func(t *testing.T) {
		app := serveRaw(t, func(c *rawConn) { _, _ = c.request() })
		channel := openTest(t, Settings{Address: app.address})
		if _, err := channel.Invoke(testContext(t), &Request{Verb: "GET", Method: "m"}); !errors.Is(err, io.EOF) {
			t.Errorf("got %v", err)
		}
		if got := len(app.accepted); got != 1 {
			t.Errorf("%d connections", got)
		}
	})
}

// makeOld lets the idle connections look as if they were not used just now.
func makeOld(app App) {
	p := app.(*http1).pool
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		c.since = c.since.Add(-freshFor)
	}
}

func TestPoolBounds(t *testing.T) {
	app := serveRaw(t, answerAll(okEmpty, nil))
	channel := openTest(t, Settings{Address: app.address})
	p := channel.(*http1).pool
	var conns []*conn
	for range maxIdle + 3 {
		c, err := p.dial(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	for _, c := range conns {
		p.put(c)
	}
	if len(p.idle) != maxIdle || len(p.open) != maxIdle {
		t.Errorf("%d idle, %d open", len(p.idle), len(p.open))
	}
	p.mu.Lock()
	for _, c := range p.idle[:maxIdle-2] {
		c.since = c.since.Add(-2 * maxIdleAge)
	}
	p.mu.Unlock()
	p.pruneOld()
	if len(p.idle) != 2 || len(p.open) != 2 {
		t.Errorf("after the age: %d idle, %d open", len(p.idle), len(p.open))
	}
	if c, err := p.take(testContext(t)); err != nil || c != conns[maxIdle-1] {
		t.Errorf("not the one used last: %v", err)
	}
}

func TestClosedChannel(t *testing.T) {
	entered := make(chan struct{})
	app := serveRaw(t, func(c *rawConn) {
		if _, err := c.request(); err != nil {
			return
		}
		close(entered)
		_, _ = c.request()
	})
	channel, err := Open(Settings{Address: app.address})
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	go func() {
		_, err := channel.Invoke(context.Background(), &Request{Verb: "GET", Method: "m"})
		failed <- err
	}()
	await(t, entered, "the call")
	if err := channel.Close(); err != nil {
		t.Fatal(err)
	}
	if err := await(t, failed, "the end of the call in flight"); err == nil {
		t.Error("the call in flight did not fail")
	}
	if _, err := channel.Invoke(testContext(t), &Request{Verb: "GET", Method: "m"}); !errors.Is(err, errClosed) {
		t.Errorf("a later call: %v", err)
	}
}

func TestConfiguration(t *testing.T) {
	cases := []struct {
		name, answer string
		want         *AppConfiguration
		fails        bool
	}{
		{"some", "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n{\"entities\":[\"A\",\"B\"],\"x\":{}} ", &AppConfiguration{Entities: []string{"A", "B"}}, false},
		{"none", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", &AppConfiguration{}, false},
		{"no JSON", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", nil, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := make(chan *rawRequest, 1)
			app := serveRaw(t, answerAll(c.answer, got))
			config, err := openTest(t, Settings{Address: app.address, AppID: "pubapp"}).Configuration(testContext(t))
			if (err != nil) != c.fails {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(c.want, config); diff != "" {
				t.Error(diff)
			}
			req := await(t, got, "the request")
			if req.line != "GET /dapr/config HTTP/1.1" || req.value("Dapr-App-Id") != "pubapp" || req.value("Content-Type") != "application/json" {
				t.Errorf("got %q %v", req.line, req.headers)
			}
		})
	}
}

func TestManyCalls(t *testing.T) {
	app := serveRaw(t, func(c *rawConn) {
		for {
			req, err := c.request()
			if err != nil {
				return
			}
			var answer bytes.Buffer
			answer.WriteString("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Echo: " + req.value("X-Id") + "\r\n\r\n")
			answer.WriteString("5\r\n" + req.value("X-Id") + "\r\n0\r\n\r\n")
			if req.value("X-Id")[4]%2 == 0 {
				answer.Reset()
				answer.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Echo: " + req.value("X-Id") + "\r\n\r\n" + req.value("X-Id"))
			}
			_, _ = c.Write(answer.Bytes())
		}
	})
	channel := openTest(t, Settings{Address: app.address})
	done := make(chan struct{})
	for worker := range 8 {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range 300 {
				id := string([]byte{'w', byte('0' + worker), byte('0' + i/100), byte('0' + i/10%10), byte('0' + i%10)})
				ctx, cancel := context.WithCancel(context.Background())
				res, err := channel.Invoke(ctx, &Request{Verb: "POST", Method: "m", Header: Header{{"X-Id", id}}, Body: Body{Bytes: []byte(id)}})
				if err != nil {
					t.Error(err)
					cancel()
					return
				}
				if body := readBody(t, res); body != id || res.Header.Value("x-echo") != id {
					t.Errorf("%s got %s, %s", id, body, res.Header.Value("x-echo"))
				}
				res.Close()
				cancel()
			}
		}()
	}
	for range 8 {
		await(t, done, "a worker's end")
	}
}

func TestHeader(t *testing.T) {
	h := Header{{"A", "1"}, {"b", "2"}, {"a", "3"}}
	if h.Value("a") != "1" || h.Value("c") != "" || !h.Has("B") || h.Has("c") {
		t.Error(h)
	}
	if diff := cmp.Diff(Header{{"b", "2"}, {"C", "4"}}, h.Without("a").With("C", "4")); diff != "" {
		t.Error(diff)
	}
	if _, err := CanonicalMethod("a?b"); err == nil || err.Error() != `method contains forbidden character: "a?b"` {
		t.Error(err)
	}
}
