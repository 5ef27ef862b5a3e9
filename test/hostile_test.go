package test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
)

// TestManyConnections: five thousand clients at once, each of which stays; then the sidecar ends in order.
func TestManyConnections(t *testing.T) {
	const many = 5000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < many+500 {
		t.Skipf("this needs %d open files; the limit is %d (ulimit -n)", many+500, limit.Cur)
	}
	m := newMesh(t)
	p := m.start(t, m.id("app"), "--log-level", "info")
	address := p.httpAddress(t)
	conns := make([]net.Conn, many)
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}()
	each := func(do func(i int) error) {
		t.Helper()
		var wait sync.WaitGroup
		for worker := range 16 {
			wait.Go(func() {
				for i := worker; i < many; i += 16 {
					if err := do(i); err != nil {
						t.Errorf("connection %d: %v", i, err)
						return
					}
				}
			})
		}
		wait.Wait()
	}
	each(func(i int) (err error) {
		conns[i], err = net.Dial("tcp", address)
		return err
	})
	if t.Failed() {
		return
	}
	for range 2 {
		each(func(i int) error { return health(conns[i]) })
	}
	p.signal(t, syscall.SIGTERM)
	each(func(i int) error {
		if err := conns[i].SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if n, err := conns[i].Read(make([]byte, 1)); err == nil || n != 0 {
			return fmt.Errorf("read %d bytes, %v; want the end", n, err)
		}
		return nil
	})
	p.exits(t, 0)
}

// health asks over a connection that stays open.
func health(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "GET /v1.0/healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReaderSize(c, 1024), nil)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusNoContent || response.Close {
		return fmt.Errorf("status %d, close %t", response.StatusCode, response.Close)
	}
	return nil
}

// TestGarbage: bytes that are no protocol end their connection at most.
func TestGarbage(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	app := startApplication(t, echo)
	p := m.start(t, m.id("app"), app.flag(), manifests(t, map[string]string{"store.yaml": memoryStore}))
	other := m.start(t, m.id("other"))
	random := make([]byte, 64<<10)
	_, _ = rand.Read(random)
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	garbage := map[string][]byte{
		"nothing":            nil,
		"zeros":              make([]byte, 64<<10),
		"random":             random,
		"TLS":                append([]byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3}, random[:512]...),
		"a line":             []byte("hello\r\n"),
		"half a header":      []byte("GET /v1.0/healthz HTTP/1.1\r\nHost: x\r\nX-"),
		"endless header":     []byte("GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 1<<20)),
		"bad length":         []byte("POST /v1.0/state/store HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n[]"),
		"two lengths":        []byte("POST /v1.0/state/store HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n[]"),
		"bad chunk":          []byte("POST /v1.0/state/store HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[]"),
		"cut body":           []byte("POST /v1.0/invoke/" + p.id + "/method/m HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc"),
		"half the preface":   []byte(preface[:10]),
		"preface and random": append([]byte(preface), random[:4096]...),
		"preface and zeros":  append([]byte(preface), make([]byte, 4096)...),
		"giant frame":        append([]byte(preface), 0xff, 0xff, 0xff, 1, 5, 0, 0, 0, 1),
		"settings flood":     append([]byte(preface), bytes.Repeat([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0}, 10000)...),
		"reset flood":        append([]byte(preface), bytes.Repeat([]byte{0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8}, 10000)...),
	}
	for port, address := range map[string]string{"HTTP": p.httpAddress(t), "gRPC": p.grpcAddress(t), "internal": p.internalAddress(t)} {
		for name, data := range garbage {
			t.Run(port+", "+name, func(t *testing.T) {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				// The sidecar may end the connection before it has taken all.
				_, _ = conn.Write(data)
				_ = conn.(*net.TCPConn).CloseWrite()
				_ = conn.SetReadDeadline(time.Now().Add(patience))
				if _, err := io.Copy(io.Discard, io.LimitReader(conn, 1<<20)); err != nil && strings.Contains(err.Error(), "timeout") {
					t.Error("the connection stays open although its client has said all")
				}
			})
		}
	}
	wants(t, call(t, "POST", other.invoke(t, p.id, "m"), "x"), 200, "x")
	if _, err := p.dapr(t).GetState(t.Context(), &runtimev1.GetStateRequest{StoreName: "store", Key: "k"}); err != nil {
		t.Error(err)
	}
}

// TestHugeBodies: a body of 100 MB against the limit of 4 MiB is refused in the documented way, by every path,
// and never handed on as if it were whole.
func TestHugeBodies(t *testing.T) {
	t.Parallel()
	const size = 100_000_000
	var whole atomic.Int64
	app := startApplication(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			if n, err := io.Copy(io.Discard, r.Body); err == nil {
				whole.Store(n)
			}
		}
	})
	m := newMesh(t)
	p := m.start(t, m.id("app"), app.flag(), manifests(t, map[string]string{"store.yaml": memoryStore}))
	caller := m.start(t, m.id("caller"))
	for name, tc := range map[string]struct {
		url    string
		status int
		texts  []string
	}{
		"state":       {p.url(t, "/v1.0/state/store"), 400, []string{"ERR_MALFORMED_REQUEST", "stream too large"}},
		"transaction": {p.url(t, "/v1.0/state/store/transaction"), 400, []string{"ERR_MALFORMED_REQUEST", "stream too large"}},
		"own app":     {p.invoke(t, p.id, "m"), 500, []string{"ERR_DIRECT_INVOKE", p.id, "stream too large"}},
		"remote app":  {caller.invoke(t, p.id, "m"), 500, []string{"ERR_DIRECT_INVOKE", p.id, "stream too large"}},
	} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, chunked %t", name, chunked), func(t *testing.T) {
				got := raw(t, tc.url, size, chunked)
				wants(t, got, tc.status, tc.texts...)
			})
		}
	}
	if n := whole.Load(); n != 0 {
		t.Errorf("the application got %d bytes as a whole body", n)
	}
	_, err := p.dapr(t).SaveState(t.Context(), &runtimev1.SaveStateRequest{StoreName: "store",
		States: []*commonv1.StateItem{{Key: "k", Value: make([]byte, size)}}}, grpc.MaxCallSendMsgSize(2*size))
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("gRPC: %v, want ResourceExhausted", err)
	}
	wants(t, call(t, "POST", caller.invoke(t, p.id, "m"), "x"), 200)
	if whole.Load() != 1 {
		t.Error("the sidecars do not work any more")
	}
}

// raw sends a body of so many bytes while it reads the answer, as clients do that heed early answers.
func raw(t *testing.T, url string, size int64, chunked bool) answer {
	t.Helper()
	body := io.LimitReader(zeros{}, size)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, io.NopCloser(body))
	if err != nil {
		t.Fatal(err)
	}
	if !chunked {
		request.ContentLength = size
	}
	response, err := client(t).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return answer{response.StatusCode, string(text)}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
