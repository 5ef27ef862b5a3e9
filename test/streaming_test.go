package test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/config"
	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// h2cApp is an application on cleartext HTTP/2.
func h2cApp(t *testing.T, handler http.HandlerFunc) runtimetest.Option {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, Protocols: new(http.Protocols)}
	server.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return runtimetest.App(listener.Addr(), config.H2C)
}

// bothKinds runs a test with an application on HTTP/1.1 and one on HTTP/2.
func bothKinds(t *testing.T, handler http.HandlerFunc, run func(t *testing.T, n *neighbours), options ...runtimetest.Option) {
	for name, app := range map[string]func(*testing.T, http.HandlerFunc) runtimetest.Option{"http": handledBy, "h2c": h2cApp} {
		t.Run(name, func(t *testing.T) { run(t, together(t, app(t, handler), options...)) })
	}
}

// within ends the test when a signal does not come.
func within[T any](t *testing.T, signal <-chan T, what string) (value T) {
	t.Helper()
	select {
	case value = <-signal:
	case <-time.After(patience):
		t.Fatalf("%s did not happen", what)
	}
	return value
}

// TestEvents: server-sent events arrive through two sidecars as they are sent. The application sends an event
// only after the client has confirmed the one before.
func TestEvents(t *testing.T) {
	confirmed := make(chan int)
	bothKinds(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/events" {
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		flusher := http.NewResponseController(w)
		for i := range 20 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = flusher.Flush()
			if got := <-confirmed; got != i {
				return
			}
		}
	}, func(t *testing.T, n *neighbours) {
		for name, s := range map[string]*runtimetest.Sidecar{"remote": n.caller, "self": n.callee} {
			from := &neighbours{caller: s, client: n.client}
			response, err := n.client.Do(from.request(t, "GET", "/v1.0/invoke/callee/method/events", nil))
			if err != nil {
				t.Fatal(err)
			}
			if response.Header.Get("Content-Type") != "text/event-stream" {
				t.Errorf("%s: %v", name, response.Header)
			}
			events := bufio.NewScanner(response.Body)
			for i := range 20 {
				for events.Scan() && events.Text() == "" {
				}
				if want := fmt.Sprint("data: ", i); events.Text() != want {
					t.Fatalf("%s: %q (%v), want %q", name, events.Text(), events.Err(), want)
				}
				confirmed <- i
			}
			for events.Scan() {
			}
			if err := events.Err(); err != nil {
				t.Errorf("%s: the end: %v", name, err)
			}
			response.Body.Close()
		}
	})
}

// TestHeaderBeforeBody: the header of an answer arrives although nothing of its body has been sent.
func TestHeaderBeforeBody(t *testing.T) {
	arrived := make(chan struct{})
	bothKinds(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/m" {
			return
		}
		// Without a type the sidecar looks at the first bytes for one, as Dapr does, and so waits for them.
		w.Header().Set("Content-Type", "text/x")
		w.WriteHeader(http.StatusAccepted)
		_ = http.NewResponseController(w).Flush()
		<-arrived
		_, _ = io.WriteString(w, "done")
	}, func(t *testing.T, n *neighbours) {
		response, err := n.client.Do(n.request(t, "GET", "/v1.0/invoke/callee/method/m", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		arrived <- struct{}{}
		if body, err := io.ReadAll(response.Body); response.StatusCode != http.StatusAccepted || string(body) != "done" || err != nil {
			t.Errorf("%s %q %v", response.Status, body, err)
		}
	})
}

// TestBothWaysAtOnce: request and answer stream at the same time; each piece is sent once the echo of the
// one before is there.
func TestBothWaysAtOnce(t *testing.T) {
	bothKinds(t, echoing, func(t *testing.T, n *neighbours) {
		reader, writer := io.Pipe()
		answers := make(chan *http.Response, 1)
		go func() {
			response, err := n.client.Do(n.request(t, "POST", "/v1.0/invoke/callee/method/echo", reader))
			if err != nil {
				t.Error(err)
			}
			answers <- response
		}()
		var response *http.Response
		for i := range 20 {
			text := strings.Repeat(strconv.Itoa(i), 100+i)
			if _, err := io.WriteString(writer, text); err != nil {
				t.Fatal(err)
			}
			if response == nil {
				response = within(t, answers, "the answer's header")
				if response == nil {
					t.FailNow()
				}
			}
			got := make([]byte, len(text))
			if _, err := io.ReadFull(response.Body, got); err != nil || string(got) != text {
				t.Fatalf("piece %d: %q %v", i, got, err)
			}
		}
		writer.Close()
		if rest, err := io.ReadAll(response.Body); err != nil || len(rest) > 0 {
			t.Errorf("the end: %q %v", rest, err)
		}
		response.Body.Close()
	})
}

// echoing sends back each piece as it comes.
func echoing(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/echo" {
		return
	}
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex()
	piece := make([]byte, 32<<10)
	for {
		n, err := r.Body.Read(piece)
		if n > 0 {
			if _, err := w.Write(piece[:n]); err != nil {
				return
			}
			_ = control.Flush()
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

// counted gives size bytes and tells how much heap there was at most while it did.
type counted struct {
	left, next int64
	most       *atomic.Uint64
}

const heapEvery = 16 << 20

func (c *counted) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n := min(c.left, int64(len(p)))
	c.left -= n
	if c.left <= c.next {
		c.next = c.left - heapEvery
		var stats goruntime.MemStats
		goruntime.ReadMemStats(&stats)
		for most := c.most.Load(); stats.HeapInuse > most && !c.most.CompareAndSwap(most, stats.HeapInuse); most = c.most.Load() {
		}
	}
	return int(n), nil
}

// TestStreamInBoundedMemory: 256 MiB go up and 256 MiB come down through two sidecars of this process, and
// its heap does not grow by the size of the bodies.
func TestStreamInBoundedMemory(t *testing.T) {
	const size, bound = 256 << 20, 48 << 20
	var most atomic.Uint64
	app := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/up":
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n, err)
		case "/down":
			_, _ = io.Copy(w, &counted{left: size, next: size, most: &most})
		}
	}
	n := together(t, handledBy(t, app), limited(0))
	goruntime.GC()
	var before goruntime.MemStats
	goruntime.ReadMemStats(&before)
	_, answer := n.do(t, n.request(t, "POST", "/v1.0/invoke/callee/method/up", &counted{left: size, next: size, most: &most}))
	if want := fmt.Sprint(size, " <nil>"); answer != want {
		t.Errorf("up: %s, want %s", answer, want)
	}
	up := most.Swap(0)
	response, err := n.client.Do(n.request(t, "GET", "/v1.0/invoke/callee/method/down", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got, err := io.Copy(io.Discard, response.Body); got != size || err != nil {
		t.Errorf("down: %d bytes, %v", got, err)
	}
	for name, heap := range map[string]uint64{"up": up, "down": most.Load()} {
		grown := int64(heap) - int64(before.HeapInuse)
		t.Logf("%s: the heap grew by %d KiB", name, grown>>10)
		if grown > bound {
			t.Errorf("%s: the heap grew by %d MiB", name, grown>>20)
		}
	}
}

// TestSlowReader: an application cannot send more than the sidecars hold while the client does not read,
// and the client still gets all of it.
func TestSlowReader(t *testing.T) {
	const size = 64 << 20
	var sent atomic.Int64
	n := together(t, handledBy(t, func(w http.ResponseWriter, r *http.Request) {
		piece := make([]byte, 64<<10)
		for sent.Load() < size && r.URL.Path == "/m" {
			if _, err := w.Write(piece); err != nil {
				return
			}
			sent.Add(int64(len(piece)))
		}
	}), limited(0))
	response, err := n.client.Do(n.request(t, "GET", "/v1.0/invoke/callee/method/m", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	// It has stopped when it has not moved for many looks. Should it only have been slow, the test says too little.
	still := 0
	for last := int64(-1); still < 20; time.Sleep(5 * time.Millisecond) {
		if now := sent.Load(); now != last {
			last, still = now, 0
		}
		still++
	}
	if held := sent.Load(); held > 32<<20 {
		t.Errorf("%d MiB were taken from the application before the client read", held>>20)
	}
	if got, err := io.Copy(io.Discard, response.Body); got != size || err != nil {
		t.Errorf("%d bytes, %v", got, err)
	}
}

// TestClientLeaves: when the client goes away, the application sees its request cancelled, whatever stage
// the call is in.
func TestClientLeaves(t *testing.T) {
	begun, gone := make(chan struct{}, 1), make(chan error, 1)
	handler := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/answering":
			_, _ = io.WriteString(w, "begun")
			_ = http.NewResponseController(w).Flush()
		case "/receiving":
			begun <- struct{}{}
			_, err := io.Copy(io.Discard, r.Body)
			gone <- err
			return
		case "/thinking":
		default:
			return
		}
		begun <- struct{}{}
		<-r.Context().Done()
		gone <- r.Context().Err()
	}
	bothKinds(t, handler, func(t *testing.T, n *neighbours) {
		for name, s := range map[string]*runtimetest.Sidecar{"remote": n.caller, "self": n.callee} {
			from := &neighbours{caller: s, client: n.client}
			for _, stage := range []string{"thinking", "answering", "receiving"} {
				t.Run(name+"/"+stage, func(t *testing.T) {
					ctx, leave := context.WithCancel(t.Context())
					verb, body := "GET", io.Reader(nil)
					reader, writer := io.Pipe()
					if stage == "receiving" {
						verb, body = "POST", reader
						go func() { _, _ = writer.Write(make([]byte, 1<<10)) }()
					}
					ended := make(chan struct{})
					go func() {
						defer close(ended)
						response, err := n.client.Do(from.request(t, verb, "/v1.0/invoke/callee/method/"+stage, body).WithContext(ctx))
						if err == nil {
							_, _ = io.Copy(io.Discard, response.Body)
							response.Body.Close()
						}
					}()
					within(t, begun, "the application's part")
					leave()
					if err := within(t, gone, "the application's request being cancelled"); err == nil {
						t.Error("the application saw a body that ended well")
					}
					// net/http waits for the reader of the body.
					writer.CloseWithError(context.Canceled)
					<-ended
				})
			}
			t.Run(name+"/grpc", func(t *testing.T) {
				ctx, leave := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				client := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String()))
				go func() {
					_, err := client.InvokeService(ctx, &runtimev1.InvokeServiceRequest{Id: "callee",
						Message: &commonv1.InvokeRequest{Method: "thinking", HttpExtension: &commonv1.HTTPExtension{Verb: commonv1.HTTPExtension_GET}}})
					ended <- err
				}()
				within(t, begun, "the application's part")
				leave()
				within(t, gone, "the application's request being cancelled")
				if err := <-ended; status.Code(err) != codes.Canceled {
					t.Error(err)
				}
			})
		}
	})
}

// TestClientLeavesProxiedStream: the same for a stream that is proxied.
func TestClientLeavesProxiedStream(t *testing.T) {
	service := &testService{gone: make(chan struct{}, 1)}
	address := serveGRPC(t, func(s *grpc.Server) { testgrpc.RegisterTestServiceServer(s, service) })
	n := together(t, runtimetest.App(address, config.GRPC))
	for name, s := range map[string]*runtimetest.Sidecar{"remote": n.caller, "local": n.callee} {
		t.Run(name, func(t *testing.T) {
			client, ctx := n.proxied(t, s)
			ctx, leave := context.WithCancel(ctx)
			defer leave()
			stream, err := client.FullDuplexCall(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.Send(&testgrpc.StreamingOutputCallRequest{Payload: payload("x")}); err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
			leave()
			within(t, service.gone, "the end of the application's stream")
		})
	}
}

// TestAppCrashes: an application that dies in the middle of its answer leaves an answer that is visibly cut
// off; one that dies before leaves an error.
func TestAppCrashes(t *testing.T) {
	read := make(chan struct{})
	bothKinds(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/chunked":
		case "/measured":
			w.Header().Set("Content-Length", "1000000")
		case "/before":
			panic(http.ErrAbortHandler)
		default:
			return
		}
		_, _ = io.WriteString(w, "beginning")
		_ = http.NewResponseController(w).Flush()
		<-read
		panic(http.ErrAbortHandler)
	}, func(t *testing.T, n *neighbours) {
		for name, s := range map[string]*runtimetest.Sidecar{"remote": n.caller, "self": n.callee} {
			from := &neighbours{caller: s, client: n.client}
			for _, framing := range []string{"chunked", "measured"} {
				response, err := n.client.Do(from.request(t, "GET", "/v1.0/invoke/callee/method/"+framing, nil))
				if err != nil {
					t.Fatal(err)
				}
				beginning := make([]byte, len("beginning"))
				if _, err := io.ReadFull(response.Body, beginning); err != nil || string(beginning) != "beginning" {
					t.Fatalf("%s %s: %q %v", name, framing, beginning, err)
				}
				read <- struct{}{}
				if rest, err := io.ReadAll(response.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%s %s: %q %v looks like a whole answer", name, framing, rest, err)
				}
				response.Body.Close()
			}
			response, body := from.do(t, from.request(t, "GET", "/v1.0/invoke/callee/method/before", nil))
			if response.StatusCode != http.StatusInternalServerError || !strings.Contains(body, "ERR_DIRECT_INVOKE") {
				t.Errorf("%s, before the answer: %s %s", name, response.Status, body)
			}
			response, _ = from.do(t, from.request(t, "GET", "/v1.0/invoke/callee/method/alive", nil))
			if response.StatusCode != http.StatusOK {
				t.Errorf("%s, afterwards: %s", name, response.Status)
			}
		}
	})
}

// TestEarlyAnswers: an answer that comes before the request was sent arrives, and the request need not be
// sent any more.
func TestEarlyAnswers(t *testing.T) {
	bothKinds(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/refuse" {
			return
		}
		if r.ProtoMajor == 1 {
			refuseAtOnce(w)
			return
		}
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		_, _ = io.WriteString(w, "too much")
	}, func(t *testing.T, n *neighbours) {
		for name, s := range map[string]*runtimetest.Sidecar{"remote": n.caller, "self": n.callee} {
			from := &neighbours{caller: s, client: n.client}
			reader, writer := io.Pipe()
			response, err := n.client.Do(from.request(t, "POST", "/v1.0/invoke/callee/method/refuse", reader))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			body, err := io.ReadAll(response.Body)
			if response.StatusCode != http.StatusRequestEntityTooLarge || string(body) != "too much" || err != nil {
				t.Errorf("%s: %s %q %v", name, response.Status, body, err)
			}
			response.Body.Close()
			writer.Close()
			// A large body of known length that nobody reads does no harm either.
			response, err = n.client.Do(from.request(t, "POST", "/v1.0/invoke/callee/method/refuse", bytes.NewReader(make([]byte, 3<<20))))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if response.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("%s: %s", name, response.Status)
			}
			response.Body.Close()
		}
	})
}

// refuseAtOnce answers over HTTP/1.1 without reading the body, and then waits for the other end to go.
// net/http would do the same with a pause that outlives the test.
func refuseAtOnce(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 413 Request Entity Too Large\r\nConnection: close\r\nContent-Length: 8\r\n\r\ntoo much")
	_ = conn.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, conn)
}
