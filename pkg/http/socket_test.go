package http

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/daprd/daprd/pkg/state"
)

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	s := start(t, setup{app: http.HandlerFunc(echo)})
	conn := s.dial(t)
	defer conn.Close()
	const calls = 50
	var raw strings.Builder
	for i := range calls {
		raw.WriteString(request("POST", "/v1.0/invoke/myapp/method/echo", fmt.Sprint("call ", i)))
		raw.WriteString(request("GET", "/v1.0/healthz", ""))
	}
	if _, err := io.WriteString(conn, raw.String()); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	for i := range calls {
		if _, body := answer(t, r, "POST "); body != fmt.Sprint("call ", i) {
			t.Fatalf("answer %d is %q", i, body)
		}
		if response, _ := answer(t, r, "GET "); response.StatusCode != http.StatusNoContent {
			t.Fatalf("health answer %d is %s", i, response.Status)
		}
	}
}

func echo(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).EnableFullDuplex()
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.Copy(w, r.Body)
}

func TestBrokenRequests(t *testing.T) {
	s := start(t, setup{config: Config{ReadBufferSize: 4 << 10}})
	big := "X-Big: " + strings.Repeat("y", 9000)
	for name, c := range map[string]struct {
		raw    string
		status int
	}{
		"garbage":                {"\x00\x01\x02 nonsense\r\n\r\n", 400},
		"no version":             {"GET /\r\n\r\n", 400},
		"almost HTTP/2":          {"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 400},
		"two hosts":              {"GET /v1.0/healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
		"no host":                {"GET /v1.0/healthz HTTP/1.1\r\n\r\n", 400},
		"header too large":       {request("GET", "/v1.0/healthz", "", big), 431},
		"header within slack":    {request("GET", "/v1.0/healthz", "", big[:5000]), 204},
		"bad escape":             {request("GET", "/v1.0/state/st/%zz", ""), 400},
		"bad escape at the end":  {request("GET", "/v1.0/state/st/a%2", ""), 400},
		"negative length":        {"POST /v1.0/state/st HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", 400},
		"bad chunk":              {"POST /v1.0/state/st HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
		"absolute form":          {"GET http://x.example/v1.0/healthz HTTP/1.1\r\nHost: a\r\n\r\n", 204},
		"HTTP/1.0":               {"GET /v1.0/healthz HTTP/1.0\r\n\r\n", 204},
		"two lengths":            {"POST /v1.0/state/st HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n[]", 400},
		"expecting to be called": {request("POST", "/v1.0/state/st", "[]", "Expect: 100-continue"), 100},
	} {
		t.Run(name, func(t *testing.T) {
			response, body := s.exchange(t, c.raw)
			if response.StatusCode != c.status {
				t.Errorf("got %s %q, want %d", response.Status, body, c.status)
			}
			if c.status == 431 && (body != "431 Request Header Fields Too Large" || !response.Close) {
				t.Errorf("got %q, close %v", body, response.Close)
			}
		})
	}
	// The server is none the worse for it.
	if response, _ := s.get(t, "GET", "/v1.0/healthz"); response.StatusCode != 204 {
		t.Errorf("afterwards: %s", response.Status)
	}
}

func TestSlowClient(t *testing.T) {
	s := start(t, setup{app: http.HandlerFunc(echo)})
	for name, raw := range map[string]string{
		"byte by byte":       request("POST", "/v1.0/invoke/myapp/method/echo", "slowly"),
		"byte by byte, P..I": request("PRINT", "/v1.0/invoke/myapp/method/echo", "slowly"),
		"chunks": "POST /v1.0/invoke/myapp/method/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
			"3\r\nslo\r\n3\r\nwly\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn := s.dial(t)
			defer conn.Close()
			for i := range len(raw) {
				if _, err := io.WriteString(conn, raw[i:i+1]); err != nil {
					t.Fatal(err)
				}
			}
			if _, body := answer(t, bufio.NewReader(conn), raw); body != "slowly" {
				t.Errorf("got %q", body)
			}
		})
	}
}

func TestHalfRequest(t *testing.T) {
	reached := make(chan error, 1)
	s := start(t, setup{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		reached <- err
	})})
	for name, length := range map[string]int{"small": 100, "large": 100 << 10} {
		t.Run(name, func(t *testing.T) {
			conn := s.dial(t)
			_, _ = fmt.Fprintf(conn, "POST /v1.0/invoke/myapp/method/x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\nhalf", length)
			if length > inMemory {
				_, _ = io.WriteString(conn, strings.Repeat("x", 2*inMemory))
			}
			_ = conn.(*net.TCPConn).CloseWrite()
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err == nil {
				_ = response.Body.Close()
				if response.StatusCode < 400 {
					t.Errorf("half a body was answered with %s", response.Status)
				}
			}
			_ = conn.Close()
			if length > inMemory {
				if err := <-reached; err == nil {
					t.Error("the application took half a body for a whole one")
				}
			}
		})
	}
}

// TestHalfChunkedRequest: a client that leaves between two chunks has not sent a whole body.
func TestHalfChunkedRequest(t *testing.T) {
	reached := make(chan error, 1)
	s := start(t, setup{app: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		reached <- err
	})})
	for name, c := range map[string]struct {
		rest  string
		whole bool
	}{"between chunks": {"", false}, "in a size": {"1", false}, "in a chunk": {"5\r\nab", false}, "in the last": {"0\r\n", false}, "whole": {"0\r\n\r\n", true}} {
		t.Run(name, func(t *testing.T) {
			conn := s.dial(t)
			_, _ = io.WriteString(conn, "POST /v1.0/invoke/myapp/method/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"+c.rest)
			_ = conn.(*net.TCPConn).CloseWrite()
			if err := <-reached; (err == nil) != c.whole {
				t.Errorf("the application saw the body end with %v", err)
			}
			_ = conn.Close()
		})
	}
}

func TestClientGoneCancelsTheCall(t *testing.T) {
	entered, cancelled := make(chan bool), make(chan bool)
	s := start(t, setup{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			_, _ = io.WriteString(w, "first")
			_ = http.NewResponseController(w).Flush()
		} else {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		entered <- true
		<-r.Context().Done()
		cancelled <- true
	})})
	for name, raw := range map[string]string{
		"waiting":     request("GET", "/v1.0/invoke/myapp/method/wait", ""),
		"with body":   request("POST", "/v1.0/invoke/myapp/method/wait", "body"),
		"large body":  request("POST", "/v1.0/invoke/myapp/method/wait", strings.Repeat("x", 100<<10)),
		"being given": request("GET", "/v1.0/invoke/myapp/method/stream", ""),
	} {
		t.Run(name, func(t *testing.T) {
			conn := s.dial(t)
			if _, err := io.WriteString(conn, raw); err != nil {
				t.Fatal(err)
			}
			<-entered
			_ = conn.Close()
			select {
			case <-cancelled:
			case <-time.After(10 * time.Second):
				t.Fatal("the application's request was not cancelled")
			}
		})
	}
}

// A byte that was read ahead to notice the client's going away belongs to the next request.
func TestPipelinedBehindASlowCall(t *testing.T) {
	entered, release := make(chan bool), make(chan bool)
	s := start(t, setup{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			entered <- true
			<-release
		}
		echo(w, r)
	})})
	conn := s.dial(t)
	defer conn.Close()
	r := bufio.NewReader(conn)
	for range 3 {
		_, _ = io.WriteString(conn, request("POST", "/v1.0/invoke/myapp/method/slow", "slow"))
		<-entered
		_, _ = io.WriteString(conn, request("POST", "/v1.0/invoke/myapp/method/fast", "fast"))
		// Long enough for the byte to be read ahead; the test holds without, too.
		time.Sleep(4 * watchDelay)
		release <- true
		if _, body := answer(t, r, "POST "); body != "slow" {
			t.Fatalf("got %q", body)
		}
		if _, body := answer(t, r, "POST "); body != "fast" {
			t.Fatalf("got %q", body)
		}
	}
}

func TestServerSentEventsComeAsTheyAreSent(t *testing.T) {
	next := make(chan bool)
	s := start(t, setup{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		for i := 0; <-next; i++ {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
		}
	})})
	for _, client := range []*http.Client{{Transport: &http.Transport{}}, http2Client()} {
		response, err := client.Get("http://" + s.address + "/v1.0/invoke/myapp/method/events")
		if err != nil {
			t.Fatal(err)
		}
		// The header is here although nothing of the body is.
		if got := response.Header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("content type %q", got)
		}
		lines := bufio.NewReader(response.Body)
		for i := range 5 {
			next <- true
			if line, err := lines.ReadString('\n'); err != nil || line != fmt.Sprintf("data: %d\n", i) {
				t.Fatalf("event %d: %q, %v", i, line, err)
			}
			_, _ = lines.ReadString('\n')
		}
		next <- false
		if _, err := lines.ReadByte(); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
		_ = response.Body.Close()
		client.CloseIdleConnections()
	}
}

func http2Client() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: &http.Transport{Protocols: protocols}}
}

func TestAnswerThatBreaksIsSeenToBreak(t *testing.T) {
	s := start(t, setup{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", "1000000")
		}
		_, _ = io.WriteString(w, "short")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})})
	for _, client := range []*http.Client{{Transport: &http.Transport{}}, http2Client()} {
		for _, path := range []string{"/length", "/chunked"} {
			response, err := client.Get("http://" + s.address + "/v1.0/invoke/myapp/method" + path)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			if err == nil || string(body) != "short" {
				t.Errorf("%s %s: %q and no error", response.Proto, path, body)
			}
			_ = response.Body.Close()
		}
		client.CloseIdleConnections()
	}
}

func TestHTTP2(t *testing.T) {
	s := start(t, setup{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["X-Got"] = r.Header["X-Rep"]
		echo(w, r)
	})})
	client := http2Client()
	defer client.CloseIdleConnections()
	base := "http://" + s.address
	body := strings.Repeat("0123456789", 50<<10)
	r, _ := http.NewRequest("POST", base+"/v1.0/invoke/myapp/method/echo", struct{ io.Reader }{strings.NewReader(body)})
	r.Header["X-Rep"] = []string{"1", "2"}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil || string(got) != body || response.ProtoMajor != 2 || fmt.Sprint(response.Header["X-Got"]) != "[1 2]" {
		t.Errorf("%s: %d bytes, %v, %v", response.Proto, len(got), err, response.Header)
	}
	response, err = client.Post(base+"/v1.0/state/st", "application/json", strings.NewReader(`[{"key":"k","value":1}]`))
	if err != nil || response.StatusCode != 204 {
		t.Fatal(response, err)
	}
	response, err = client.Get(base + "/v1.0/state/st/k")
	if err != nil {
		t.Fatal(err)
	}
	got, _ = io.ReadAll(response.Body)
	_ = response.Body.Close()
	if string(got) != "1" || response.Header.Get("Etag") != "1" {
		t.Errorf("%q %v", got, response.Header)
	}
	response, err = client.Get(base + "/v1.0/st%2")
	if err == nil {
		t.Errorf("a malformed path was sent: %s", response.Status)
	}
}

func TestHTTP2ClientGone(t *testing.T) {
	entered, cancelled := make(chan bool), make(chan bool)
	s := start(t, setup{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered <- true
		<-r.Context().Done()
		cancelled <- true
	})})
	client := http2Client()
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithCancel(context.Background())
	r, _ := http.NewRequestWithContext(ctx, "GET", "http://"+s.address+"/v1.0/invoke/myapp/method/x", nil)
	done := make(chan error)
	go func() {
		_, err := client.Do(r)
		done <- err
	}()
	<-entered
	cancel()
	<-cancelled
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestHTTP2CanBeSwitchedOff(t *testing.T) {
	s := start(t, setup{config: Config{DisableHTTP2: true}})
	client := http2Client()
	defer client.CloseIdleConnections()
	if response, err := client.Get("http://" + s.address + "/v1.0/healthz"); err == nil {
		t.Errorf("answered: %s", response.Status)
	}
}

func TestEarlyAnswer(t *testing.T) {
	s := start(t, setup{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "no")
	})})
	conn := s.dial(t)
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST /v1.0/invoke/myapp/method/x HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n"+strings.Repeat("x", 20000))
	response, body := answer(t, bufio.NewReader(conn), "POST ")
	if response.StatusCode != http.StatusUnauthorized || body != "no" || !response.Close {
		t.Errorf("%s %q close=%v", response.Status, body, response.Close)
	}
}

func TestEarlyAnswerOverHTTP2(t *testing.T) {
	s := start(t, setup{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.ReadFull(r.Body, make([]byte, 5))
		w.WriteHeader(http.StatusUnauthorized)
		_ = http.NewResponseController(w).Flush()
	})})
	client := http2Client()
	defer client.CloseIdleConnections()
	// The body never ends.
	body, w := io.Pipe()
	defer w.Close()
	go func() { _, _ = io.WriteString(w, "begin") }()
	r, _ := http.NewRequest("POST", "http://"+s.address+"/v1.0/invoke/myapp/method/x", body)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	response, err := client.Do(r.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Error(response.Status)
	}
	if _, err := io.ReadAll(response.Body); err != nil {
		t.Errorf("the answer has no end: %v", err)
	}
}

func TestBodyLimit(t *testing.T) {
	const limit = 64 << 10
	s := start(t, setup{config: Config{MaxBodySize: limit}, app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, len(body))
	})})
	chunked := func(target string, size int) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", target, size, strings.Repeat("1", size))
	}
	plain := func(target string, size int) string { return request("POST", target, strings.Repeat("1", size)) }
	put := func(target string, size int) string { return request("PUT", target, strings.Repeat("1", size)) }
	const invoke = `{"errorCode":"ERR_DIRECT_INVOKE","message":"failed to invoke, id: myapp, err: stream too large"}`
	const malformed = `{"errorCode":"ERR_MALFORMED_REQUEST","message":"failed deserializing HTTP body: stream too large"}`
	for name, c := range map[string]struct {
		raw    string
		status int
		body   string
	}{
		"invoke":         {plain("/v1.0/invoke/myapp/method/x", limit+1), 500, invoke},
		"invoke chunked": {chunked("/v1.0/invoke/myapp/method/x", limit+1), 500, invoke},
		"save":           {plain("/v1.0/state/st", limit+1), 400, `{"errorCode":"ERR_MALFORMED_REQUEST","message":"stream too large"}`},
		"save chunked":   {chunked("/v1.0/state/st", limit+1), 400, `{"errorCode":"ERR_MALFORMED_REQUEST","message":"stream too large"}`},
		"transaction":    {plain("/v1.0/state/st/transaction", limit+1), 400, malformed},
		"bulk get":       {plain("/v1.0/state/st/bulk", limit+1), 400, malformed},
		"metadata":       {put("/v1.0/metadata/k", limit+1), 400, `{"errorCode":"ERR_BODY_READ","message":"failed to read request body: stream too large"}`},
		"much too large": {plain("/v1.0/state/st", 40*limit), 400, `{"errorCode":"ERR_MALFORMED_REQUEST","message":"stream too large"}`},
	} {
		t.Run(name, func(t *testing.T) {
			conn := s.dial(t)
			defer conn.Close()
			go func() { _, _ = io.WriteString(conn, c.raw) }()
			response, body := answer(t, bufio.NewReader(conn), c.raw)
			if response.StatusCode != c.status || body != c.body || !response.Close {
				t.Errorf("got %s %s, close=%v", response.Status, body, response.Close)
			}
		})
	}
	for name, raw := range map[string]string{
		"exactly the limit":          plain("/v1.0/invoke/myapp/method/x", limit),
		"exactly the limit, chunked": chunked("/v1.0/invoke/myapp/method/x", limit),
	} {
		t.Run(name, func(t *testing.T) {
			if response, body := s.exchange(t, raw); response.StatusCode != 200 || body != strconv.Itoa(limit) {
				t.Errorf("got %s, the application %s bytes, want %d", response.Status, body, limit)
			}
		})
	}
	// What cannot be read is another error than what is too large.
	unlimited := start(t, setup{})
	for _, raw := range []string{plain("/v1.0/state/st", 5<<20), chunked("/v1.0/state/st", 5<<20)} {
		if response, body := unlimited.exchange(t, raw); response.StatusCode != 400 || !strings.Contains(body, "cannot unmarshal number") {
			t.Errorf("without limit: %s %s", response.Status, body)
		}
	}
}

func TestLargeBodiesFlowBothWays(t *testing.T) {
	s := start(t, setup{app: http.HandlerFunc(echo)})
	const size = 32 << 20
	r, _ := http.NewRequest("POST", "http://"+s.address+"/v1.0/invoke/myapp/method/echo", io.LimitReader(zeros{}, size))
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if n, err := io.Copy(io.Discard, response.Body); n != size || err != nil {
		t.Errorf("%d bytes came back, %v", n, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestManyIdleConnections(t *testing.T) {
	want := 5000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil && limit.Cur < 11000 {
		want = int(limit.Cur)/2 - 200
	}
	s := start(t, setup{})
	conns := make([]net.Conn, 0, want)
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	raw := request("GET", "/v1.0/healthz", "")
	for i := range want {
		c := s.dial(t)
		conns = append(conns, c)
		// Every second one was in use once.
		if i%2 == 0 {
			_, _ = io.WriteString(c, raw)
			answer(t, bufio.NewReader(c), raw)
		}
	}
	if response, _ := s.get(t, "GET", "/v1.0/healthz"); response.StatusCode != 204 {
		t.Errorf("with %d idle connections: %s", want, response.Status)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	begun := time.Now()
	if err := s.Quiesce(ctx); err != nil {
		t.Error(err)
	}
	t.Logf("%d idle connections closed in %s", want, time.Since(begun))
}

func TestQuiesce(t *testing.T) {
	entered, release := make(chan bool), make(chan bool)
	s := start(t, setup{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		entered <- true
		<-release
		_, _ = io.WriteString(w, "the end")
	})})
	idle := s.dial(t)
	defer idle.Close()
	fresh := s.dial(t)
	defer fresh.Close()
	_, _ = io.WriteString(idle, request("GET", "/v1.0/healthz", ""))
	answer(t, bufio.NewReader(idle), "GET ")
	streaming, waiting := s.dial(t), s.dial(t)
	defer streaming.Close()
	defer waiting.Close()
	_, _ = io.WriteString(streaming, request("GET", "/v1.0/invoke/myapp/method/x", ""))
	<-entered
	// Only the first byte of this one is there when draining begins.
	_, _ = io.WriteString(waiting, "G")
	awaitBusy(t, s.Server, 2)
	client := http2Client()
	defer client.CloseIdleConnections()
	second := make(chan string)
	go func() {
		response, err := client.Get("http://" + s.address + "/v1.0/invoke/myapp/method/x")
		if err != nil {
			second <- err.Error()
			return
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		second <- fmt.Sprint(string(body), err)
	}()
	<-entered

	quiesced := make(chan error)
	go func() { quiesced <- s.Quiesce(context.Background()) }()
	for name, c := range map[string]net.Conn{"idle": idle, "fresh": fresh} {
		if n, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s connection: %d, %v", name, n, err)
		}
	}
	if _, err := net.DialTimeout("tcp", s.address, time.Second); err == nil {
		t.Error("a new connection was accepted")
	}
	_, _ = io.WriteString(waiting, request("GET", "/v1.0/healthz", "")[1:])
	if response, _ := answer(t, bufio.NewReader(waiting), "GET "); response.StatusCode != 204 || !response.Close {
		t.Errorf("the call that had begun: %s, close=%v", response.Status, response.Close)
	}
	select {
	case err := <-quiesced:
		t.Fatalf("did not wait for the streamed answers: %v", err)
	default:
	}
	release <- true
	release <- true
	if _, body := answer(t, bufio.NewReader(streaming), "GET "); body != "the end" {
		t.Errorf("streamed answer %q", body)
	}
	if got := <-second; got != "the end<nil>" {
		t.Errorf("streamed answer over HTTP/2: %s", got)
	}
	if err := <-quiesced; err != nil {
		t.Error(err)
	}
}

// awaitBusy waits until so many connections have a request.
func awaitBusy(t *testing.T, s *Server, want int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		busy := 0
		s.mu.Lock()
		for c := range s.conns {
			c.mu.Lock()
			if c.busy {
				busy++
			}
			c.mu.Unlock()
		}
		s.mu.Unlock()
		if busy == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are busy, want %d", busy, want)
		}
	}
}

func TestQuiesceIsBounded(t *testing.T) {
	entered := make(chan bool)
	s := start(t, setup{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered <- true
		<-r.Context().Done()
	})})
	conn := s.dial(t)
	defer conn.Close()
	_, _ = io.WriteString(conn, request("GET", "/v1.0/invoke/myapp/method/x", ""))
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := s.Quiesce(ctx); err == nil {
		t.Error("no error although a call was in flight")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
}

func TestListen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	s := start(t, setup{})
	err = s.Listen(context.Background(), []string{"127.0.0.1"}, port)
	if err == nil || !strings.HasPrefix(err.Error(), "could not listen on any endpoint") {
		t.Errorf("got %v", err)
	}
	if err := s.Listen(context.Background(), []string{"127.0.0.1", "[::ffff:127.0.0.2]"}, port); err != nil {
		t.Errorf("one of two addresses is free: %v", err)
	}
	want := "Failed to listen on 127.0.0.1:" + strconv.Itoa(port) + " with error: listen tcp 127.0.0.1:" + strconv.Itoa(port) + ": bind: address already in use"
	for _, entry := range s.log.AllEntries() {
		if entry.Message == want {
			return
		}
	}
	t.Errorf("no warning %q", want)
}

func TestUnixSocket(t *testing.T) {
	path := t.TempDir() + "/dapr-myapp-http.socket"
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = dead.Close()
	log, _ := nullLog()
	s := New(Config{}, Deps{Log: log, Blocks: start(t, setup{}).blocks})
	if err := s.ListenUnix(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	s.Serve()
	defer s.Close()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, request("GET", "/v1.0/healthz", ""))
	if response, _ := answer(t, bufio.NewReader(conn), "GET "); response.StatusCode != 204 {
		t.Error(response.Status)
	}
	other := New(Config{}, Deps{Log: log})
	if err := other.ListenUnix(context.Background(), path); err == nil {
		t.Error("took a socket that somebody serves")
	}
}

func TestPanicIsAnswered(t *testing.T) {
	s := start(t, setup{})
	if err := s.state.Add("broken", panicking{newVersions()}, state.Settings{}); err != nil {
		t.Fatal(err)
	}
	response, body := s.get(t, "GET", "/v1.0/state/broken/k")
	if response.StatusCode != 500 || !strings.Contains(body, `"errorCode":"ERROR"`) {
		t.Errorf("%s %s", response.Status, body)
	}
	if entry := s.log.LastEntry(); !strings.Contains(fmt.Sprint(logged(s)), "panic: no such thing") {
		t.Errorf("not logged: %v", entry)
	}
}

type panicking struct{ *versions }

func (panicking) Get(context.Context, *state.GetRequest) (*state.Item, error) { panic("no such thing") }

// A short answer of unknown length leaves in one write.
func TestShortChunkedAnswerIsOneWrite(t *testing.T) {
	s := start(t, setup{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "short")
		_ = http.NewResponseController(w).Flush()
	})})
	client, server := loopback(t)
	defer client.Close()
	counting := &countingConn{Conn: server}
	s.take(counting, false)
	r := bufio.NewReader(client)
	raw := request("GET", "/v1.0/invoke/myapp/method/x", "")
	writes := 0
	for range 100 {
		before := counting.writes.Load()
		_, _ = io.WriteString(client, raw)
		if response, body := answer(t, r, raw); body != "short" || len(response.TransferEncoding) == 0 {
			t.Fatalf("got %q, %v", body, response.TransferEncoding)
		}
		if counting.writes.Load() == before+1 {
			writes++
		}
	}
	// A machine that is busy may let the moment pass.
	if writes < 50 {
		t.Errorf("only %d of 100 answers left in one write", writes)
	}
}

type countingConn struct {
	net.Conn
	writes atomic.Int64
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

func loopback(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l := listenLocal(t)
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

func TestIdleConnectionsGiveTheirBuffersBack(t *testing.T) {
	s := start(t, setup{app: http.HandlerFunc(echo)})
	conn := s.dial(t)
	defer conn.Close()
	r := bufio.NewReader(conn)
	raw := request("POST", "/v1.0/invoke/myapp/method/echo", "hello")
	for range 3 {
		for range 2 {
			_, _ = io.WriteString(conn, raw)
			if _, body := answer(t, r, raw); body != "hello" {
				t.Fatalf("got %q", body)
			}
		}
		await(t, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			for c := range s.conns {
				c.parkIfIdle()
				c.mu.Lock()
				isParked := !c.served
				c.mu.Unlock()
				if isParked {
					return true
				}
			}
			return false
		})
	}
	// Parked connections end when the server drains, too.
	if err := s.Quiesce(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("after draining: %v", err)
	}
}

func TestHeaderThatNeverEnds(t *testing.T) {
	s := start(t, setup{headerTime: 20 * time.Millisecond, app: http.HandlerFunc(echo)})
	for _, begun := range []string{"G", "GET /v1.0/healthz HTTP/1.1\r\nHost: a\r\nX-", "PRI * HT"} {
		conn := s.dial(t)
		_, _ = io.WriteString(conn, begun)
		if _, err := io.ReadAll(conn); err != nil {
			t.Errorf("%q: %v", begun, err)
		}
		_ = conn.Close()
	}
	// A body has all the time it wants.
	conn := s.dial(t)
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST /v1.0/invoke/myapp/method/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na")
	time.Sleep(60 * time.Millisecond)
	_, _ = io.WriteString(conn, "b")
	if _, body := answer(t, bufio.NewReader(conn), "POST "); body != "ab" {
		t.Errorf("got %q", body)
	}
}

// Clients that come, send too much or too little, and go, leave a server that answers.
func TestCommotion(t *testing.T) {
	s := start(t, setup{config: Config{MaxBodySize: 1 << 20}, app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/early" {
			w.WriteHeader(http.StatusConflict)
			return
		}
		echo(w, r)
	})})
	bodies := []int{0, 10, 5000, 9000, 200 << 10, 2 << 20}
	var clients sync.WaitGroup
	for seed := range 8 {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(uint64(seed), 1))
			for range 40 {
				path := []string{"echo", "early"}[random.IntN(2)]
				raw := request("POST", "/v1.0/invoke/myapp/method/"+path, strings.Repeat("x", bodies[random.IntN(len(bodies))]))
				raw += request("GET", "/v1.0/healthz", "")
				conn, err := net.Dial("tcp", s.address)
				if err != nil {
					t.Error(err)
					return
				}
				_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
				if random.IntN(2) == 0 {
					raw = raw[:random.IntN(len(raw))]
				}
				sent := make(chan bool)
				go func() {
					_, _ = io.WriteString(conn, raw)
					close(sent)
				}()
				if random.IntN(2) == 0 {
					// To half a request there is no answer.
					_ = conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
					_, _ = conn.Read(make([]byte, random.IntN(1000)+1))
				}
				_ = conn.Close()
				<-sent
			}
		})
	}
	clients.Wait()
	if response, _ := s.get(t, "GET", "/v1.0/healthz"); response.StatusCode != 204 {
		t.Error(response.Status)
	}
	for _, line := range logged(s) {
		if strings.Contains(line, "panic") {
			t.Error(line)
		}
	}
}
