package messaging_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/daprd/daprd/pkg/channel"
)

// patience is how long a test waits for what must come, on a machine that is busy.
const patience = 20 * time.Second

// echoStream answers with what it is sent, as it is sent.
func echoStream(_ context.Context, req *channel.Request) (*channel.Response, error) {
	return &channel.Response{Status: 200, Body: channel.Body{Stream: req.Body.Reader(), Length: -1}}, nil
}

// within gives a context that ends the test's calls when they hang.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestBodiesFlowBothWaysAtOnce(t *testing.T) {
	peer := startCallee(t, "callee", serving(echoStream))
	c := newCaller(t, map[string][]string{"callee": {peer.address}})
	r, w := io.Pipe()
	res, err := c.Invoke(within(t), "callee", &channel.Request{
		Verb: "POST", Method: "m", Body: channel.Body{Stream: r, Length: -1},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	// Each piece is written only when the one before has come back.
	for i := range 20 {
		piece := fmt.Appendf(nil, "piece %d;", i)
		if _, err := w.Write(piece); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(piece))
		if _, err := io.ReadFull(res.Body.Stream, got); err != nil || !bytes.Equal(got, piece) {
			t.Fatalf("got %q, %v, want %q", got, err, piece)
		}
	}
	_ = w.Close()
	if rest, err := io.ReadAll(res.Body.Stream); err != nil || len(rest) > 0 {
		t.Errorf("after the end: %q, %v", rest, err)
	}
}

func TestBodySizes(t *testing.T) {
	const chunk = 32<<10 - 64 // what one message carries
	peer := startCallee(t, "callee", serving(func(ctx context.Context, req *channel.Request) (*channel.Response, error) {
		res, err := echo(ctx, req)
		if err == nil && req.Query == "stream" {
			res.Body = channel.Body{Stream: bytes.NewReader(res.Body.Bytes), Length: -1}
		}
		if err == nil && req.Query == "measured" {
			res.Body = channel.Body{Stream: bytes.NewReader(res.Body.Bytes), Length: int64(len(res.Body.Bytes))}
		}
		return res, err
	}))
	c := newCaller(t, map[string][]string{"callee": {peer.address}})
	for _, size := range []int{0, 1, 1024, chunk - 1, chunk, chunk + 1, 64 << 10, 200 << 10, 3 << 20} {
		body := bytes.Repeat([]byte("abcdefg\n"), size/8+1)[:size]
		// Each call has a reader of its own: the sending of one may outlive its answer.
		for name, given := range map[string]func() channel.Body{
			"bytes":    func() channel.Body { return channel.Body{Bytes: body} },
			"measured": func() channel.Body { return channel.Body{Stream: bytes.NewReader(body), Length: int64(size)} },
			"stream":   func() channel.Body { return channel.Body{Stream: bytes.NewReader(body), Length: -1} },
		} {
			for _, verb := range []string{"POST", "GET"} {
				t.Run(fmt.Sprintf("%s/%s/%d", verb, name, size), func(t *testing.T) {
					res, err := c.Invoke(within(t), "callee", &channel.Request{Verb: verb, Method: "m", Query: name, Body: given()})
					if err != nil {
						t.Fatal(err)
					}
					if name == "bytes" && size <= chunk && res.Body.Stream != nil {
						t.Error("a small answer of known length comes as a stream")
					}
					if name != "stream" && res.Body.Size() != int64(size) {
						t.Errorf("size %d", res.Body.Size())
					}
					if got := readAll(t, res); got != string(body) {
						t.Errorf("%d bytes came back", len(got))
					}
				})
			}
		}
	}
}

// endless gives bytes without end and without memory.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestGibibyteInBoundedMemory(t *testing.T) {
	size, bound := int64(1<<30), int64(20<<20)
	if raceDetector {
		size, bound = 64<<20, 60<<20
	}
	peer := startCallee(t, "callee", serving(echoStream))
	c := newCaller(t, map[string][]string{"callee": {peer.address}})
	runtime.GC()
	before := heapInUse()
	res, err := c.Invoke(context.Background(), "callee", &channel.Request{
		Verb: "POST", Method: "m", Body: channel.Body{Stream: io.LimitReader(endless{}, size), Length: size},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	sampled, begun := &sampler{}, time.Now()
	n, err := io.Copy(sampled, res.Body.Stream)
	if err != nil || n != size {
		t.Fatalf("%d bytes, %v", n, err)
	}
	// Both sidecars are in this process, so each has half of it.
	if grown := int64(sampled.most) - int64(before); grown > bound {
		t.Errorf("the heap grew by %d KiB", grown>>10)
	} else {
		t.Logf("the heap grew by %d KiB for both sidecars, in %v", grown>>10, time.Since(begun))
	}
}

type sampler struct {
	n, next int64
	most    uint64
}

func (s *sampler) Write(p []byte) (int, error) {
	if s.n += int64(len(p)); s.n >= s.next {
		s.next += 16 << 20
		s.most = max(s.most, heapInUse())
	}
	return len(p), nil
}

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

func TestEventsArriveAsTheyAreSent(t *testing.T) {
	r, w := io.Pipe()
	peer := startCallee(t, "callee", serving(func(context.Context, *channel.Request) (*channel.Response, error) {
		return &channel.Response{Status: 200, ContentType: "text/event-stream", Body: channel.Body{Stream: r, Length: -1}}, nil
	}))
	c := newCaller(t, map[string][]string{"callee": {peer.address}})
	// The head comes before there is any event.
	res, err := c.Invoke(within(t), "callee", &channel.Request{Verb: "GET", Method: "events"})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	for i := range 3 {
		event := fmt.Sprintf("data: %d\n\n", i)
		if _, err := io.WriteString(w, event); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 100)
		if n, err := res.Body.Stream.Read(got); err != nil || string(got[:n]) != event {
			t.Fatalf("got %q, %v", got[:n], err)
		}
	}
	_ = w.Close()
	if _, err := res.Body.Stream.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("end: %v", err)
	}
}

func TestCancelReachesTheApp(t *testing.T) {
	arrived, cancelled := make(chan struct{}), make(chan error, 1)
	peer := startCallee(t, "callee", serving(func(ctx context.Context, _ *channel.Request) (*channel.Response, error) {
		close(arrived)
		<-ctx.Done()
		cancelled <- ctx.Err()
		return nil, ctx.Err()
	}))
	c := newCaller(t, map[string][]string{"callee": {peer.address}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := c.Invoke(ctx, "callee", &channel.Request{Verb: "GET", Method: "m"})
		done <- err
	}()
	await(t, arrived)
	cancel()
	if err := <-cancelled; err == nil {
		t.Error("the app's context did not end")
	}
	if err := <-done; err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("error %v", err)
	}
}

func TestClosingAnAnswerEndsTheApp(t *testing.T) {
	ended := make(chan struct{})
	peer := startCallee(t, "callee", serving(func(ctx context.Context, _ *channel.Request) (*channel.Response, error) {
		context.AfterFunc(ctx, func() { close(ended) })
		return &channel.Response{Status: 200, Body: channel.Body{Stream: endless{}, Length: -1}}, nil
	}))
	c := newCaller(t, map[string][]string{"callee": {peer.address}})
	res, err := c.Invoke(within(t), "callee", &channel.Request{Verb: "GET", Method: "m"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(res.Body.Stream, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	body := res.Body.Stream
	res.Close()
	res.Close()
	await(t, ended)
	if _, err := body.Read(make([]byte, 1)); err == nil {
		t.Error("a closed answer can be read")
	}
}

func await(t testing.TB, signal <-chan struct{}) {
	t.Helper()
	select {
	case <-signal:
	case <-time.After(patience):
		t.Fatal("it did not come")
	}
}

func TestAppBreaksOff(t *testing.T) {
	for name, length := range map[string]int64{"of unknown length": -1, "of known length": 100 << 10} {
		t.Run(name, func(t *testing.T) {
			peer := startCallee(t, "callee", serving(func(context.Context, *channel.Request) (*channel.Response, error) {
				stream := io.MultiReader(strings.NewReader("begun"), failing{io.ErrUnexpectedEOF})
				return &channel.Response{Status: 200, Body: channel.Body{Stream: stream, Length: length}}, nil
			}))
			c := newCaller(t, map[string][]string{"callee": {peer.address}})
			res, err := c.Invoke(within(t), "callee", &channel.Request{Verb: "GET", Method: "m"})
			if err != nil {
				t.Fatal(err)
			}
			defer res.Close()
			got, err := io.ReadAll(res.Body.Stream)
			if err == nil || string(got) != "begun" {
				t.Errorf("got %q, %v: it looks complete", got, err)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestRequestBreaksOff(t *testing.T) {
	tooLarge := errors.New("stream too large")
	for _, test := range []struct {
		name string
		body channel.Body
		want string
	}{
		{"an error", channel.Body{Stream: io.MultiReader(strings.NewReader("x"), failing{tooLarge}), Length: -1}, "stream too large"},
		{"too short", channel.Body{Stream: strings.NewReader("12345"), Length: 10}, "unexpected EOF"},
		{"too long", channel.Body{Stream: strings.NewReader("12345"), Length: 3}, "longer than the length"},
	} {
		t.Run(test.name, func(t *testing.T) {
			read := make(chan error, 1)
			peer := startCallee(t, "callee", serving(func(_ context.Context, req *channel.Request) (*channel.Response, error) {
				_, err := io.ReadAll(req.Body.Reader())
				read <- err
				return nil, err
			}))
			c := newCaller(t, map[string][]string{"callee": {peer.address}})
			_, err := c.Invoke(within(t), "callee", &channel.Request{Verb: "POST", Method: "m", Body: test.body})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v", err)
			}
			select {
			case err := <-read:
				if err == nil {
					t.Error("to the app the body looks complete")
				}
			default: // the call was cancelled before the app got it
			}
		})
	}
}

// TestEarlyAnswer has an application that answers without reading what it is sent.
func TestEarlyAnswer(t *testing.T) {
	peer := startCallee(t, "callee", serving(func(context.Context, *channel.Request) (*channel.Response, error) {
		return &channel.Response{Status: 413, Body: channel.Body{Bytes: []byte("too much")}}, nil
	}))
	c := newCaller(t, map[string][]string{"callee": {peer.address}})
	r, w := io.Pipe()
	defer w.Close()
	res, err := c.Invoke(within(t), "callee", &channel.Request{
		Verb: "POST", Method: "m", Body: channel.Body{Stream: io.MultiReader(io.LimitReader(endless{}, 8<<20), r), Length: -1},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, res); res.Status != 413 || got != "too much" {
		t.Errorf("answer %d %q", res.Status, got)
	}
}

// client is the body of a client that sends nothing more and goes on waiting.
type client struct{ closed chan struct{} }

func (c *client) Read([]byte) (int, error) {
	<-c.closed
	return 0, net.ErrClosed
}

func (c *client) Close() error {
	close(c.closed)
	return nil
}

// TestClosingAnAnswerEndsTheUpload has an application that answers while the client still sends.
func TestClosingAnAnswerEndsTheUpload(t *testing.T) {
	peer := startCallee(t, "callee", serving(func(context.Context, *channel.Request) (*channel.Response, error) {
		return &channel.Response{Status: 200}, nil
	}))
	c := newCaller(t, map[string][]string{"callee": {peer.address}})
	body := &client{closed: make(chan struct{})}
	res, err := c.Invoke(within(t), "callee", &channel.Request{Verb: "POST", Method: "m", Body: channel.Body{Stream: body, Length: -1}})
	if err != nil {
		t.Fatal(err)
	}
	res.Close()
	await(t, body.closed)
}
