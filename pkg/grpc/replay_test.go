package grpc

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/proto/wire"
	"github.com/daprd/daprd/pkg/resiliency"
)

// failingApp is an application whose service plays one part of a script for each call: "Unavailable", "NotFound" and
// "Internal" fail with the code when the first message came, "late" after its answer to the first message, "second" after
// the second message, "hang" waits for the end of the call, "echo" answers each message with itself.
type failingApp struct {
	address string

	mu     sync.Mutex
	script []string
	// got are the messages of each call.
	got [][]string
}

func newFailingApp(t *testing.T, script ...string) *failingApp {
	a := &failingApp{script: script}
	a.address = serveOn(t, grpc.NewServer(grpc.ForceServerCodecV2(wire.Codec{}), grpc.UnknownServiceHandler(a.handle), grpc.WaitForHandlers(true)))
	return a
}

func (a *failingApp) handle(_ any, stream grpc.ServerStream) error {
	a.mu.Lock()
	n := len(a.got)
	part := a.script[min(n, len(a.script)-1)]
	a.got = append(a.got, nil)
	a.mu.Unlock()
	_ = stream.SetHeader(metadata.Pairs("x-part", part))
	stream.SetTrailer(metadata.Pairs("x-end", part))
	for received := 1; ; received++ {
		var frame wire.Frame
		if err := stream.RecvMsg(&frame); err != nil {
			return nil
		}
		text := string(frame.Bytes())
		a.mu.Lock()
		a.got[n] = append(a.got[n], text)
		a.mu.Unlock()
		frame.Free()
		switch part {
		case "Unavailable":
			return status.Error(codes.Unavailable, "not now")
		case "NotFound":
			return status.Error(codes.NotFound, "no such thing")
		case "hang":
			_ = stream.SendHeader(nil)
			<-stream.Context().Done()
			return stream.Context().Err()
		case "second":
			if received == 2 {
				return status.Error(codes.Unavailable, "not now")
			}
			continue
		}
		if err := stream.SendMsg(frameOf(text)); err != nil {
			return err
		}
		if part == "late" {
			return status.Error(codes.Unavailable, "not now")
		}
	}
}

func (a *failingApp) calls() [][]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([][]string(nil), a.got...)
}

const proxyPolicies = `
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: policies}
spec:
  policies:
    timeouts: {quick: 100ms}
    retries: {often: {policy: constant, duration: 1ms, maxRetries: 3}}
    circuitBreakers: {fuse: {trip: consecutiveFailures >= 2, timeout: 1h}}
  targets:
    apps:
      callee: {retry: often}
      quick: {timeout: quick}
      fused: {circuitBreaker: fuse}
`

// guardedConn gives a connection to a sidecar that calls the application under the policies, by other names too.
func guardedConn(t *testing.T, app *failingApp) *grpc.ClientConn {
	t.Helper()
	policies := resiliency.New()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "policies.yaml"), []byte(proxyPolicies), 0o600); err != nil {
		t.Fatal(err)
	}
	resources, err := config.ReadFolders(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := policies.Set(resources.Resiliencies...); err != nil {
		t.Fatal(err)
	}
	directory := fixed{}
	for _, id := range []string{"callee", "quick", "fused"} {
		directory[id] = []string{startSidecar(t, id, &grpcApp{address: app.address}, nil, nil).internal}
	}
	return client(t, startSidecar(t, "caller", nil, directory, nil, policies).api)
}

func invokeText(t *testing.T, conn *grpc.ClientConn, id, text string, options ...grpc.CallOption) (string, error) {
	t.Helper()
	var answer wire.Frame
	err := conn.Invoke(calling(t, "dapr-app-id", id), "/test.App/Call", frameOf(text), &answer, options...)
	return string(answer.Bytes()), err
}

// TestProxyRetries: a proxied call is made again under the policy of its target, as long as nothing but its first message
// was sent and nothing was answered. What the caller gets is the last attempt's.
func TestProxyRetries(t *testing.T) {
	big := strings.Repeat("big", 1<<19)
	for name, c := range map[string]struct {
		script []string
		text   string
		part   string
		code   codes.Code
		calls  int
	}{
		"until it works":          {[]string{"Unavailable", "Unavailable", "echo"}, "hello", "echo", codes.OK, 3},
		"a large message":         {[]string{"Unavailable", "echo"}, big, "echo", codes.OK, 2},
		"not what is no failure":  {[]string{"NotFound", "echo"}, "hello", "NotFound", codes.NotFound, 1},
		"not after an answer":     {[]string{"late", "echo"}, "hello", "late", codes.Unavailable, 1},
		"until there are no more": {[]string{"Unavailable"}, "hello", "Unavailable", codes.Unavailable, 4},
	} {
		t.Run(name, func(t *testing.T) {
			app := newFailingApp(t, c.script...)
			var header, trailer metadata.MD
			answer, err := invokeText(t, guardedConn(t, app), "callee", c.text, grpc.Header(&header), grpc.Trailer(&trailer))
			if status.Code(err) != c.code {
				t.Fatal(err)
			}
			if c.code == codes.OK && answer != c.text {
				t.Errorf("the answer has %d bytes", len(answer))
			}
			if c.code != codes.OK && status.Convert(err).Message() != map[codes.Code]string{codes.Unavailable: "not now", codes.NotFound: "no such thing"}[c.code] {
				t.Error(err)
			}
			part := append(header["x-part"], trailer["x-end"]...)
			if diff := cmp.Diff([]string{c.part, c.part}, part); diff != "" {
				t.Errorf("header and trailer: %s", diff)
			}
			calls := app.calls()
			if len(calls) != c.calls {
				t.Errorf("the application was called %d times", len(calls))
			}
			for _, got := range calls {
				if len(got) != 1 || got[0] != c.text {
					t.Errorf("the application got %d messages", len(got))
				}
			}
		})
	}
}

// TestProxyRetriesOfStreams: a stream whose first message alone was sent is made again and goes on; one of which more was
// sent is not.
func TestProxyRetriesOfStreams(t *testing.T) {
	begin := func(t *testing.T, app *failingApp, pairs ...string) grpc.ClientStream {
		t.Helper()
		stream, err := guardedConn(t, app).NewStream(calling(t, append(pairs, "dapr-app-id", "callee")...), bidi, "/test.App/Call")
		if err != nil {
			t.Fatal(err)
		}
		return stream
	}
	send := func(t *testing.T, stream grpc.ClientStream, text string) {
		t.Helper()
		if err := stream.SendMsg(frameOf(text)); err != nil {
			t.Fatal(err)
		}
	}
	receive := func(stream grpc.ClientStream) (string, error) {
		var frame wire.Frame
		err := stream.RecvMsg(&frame)
		return string(frame.Bytes()), err
	}
	t.Run("goes on", func(t *testing.T) {
		app := newFailingApp(t, "Unavailable", "echo")
		stream := begin(t, app)
		for _, text := range []string{"one", "two", "three"} {
			send(t, stream, text)
			if got, err := receive(stream); got != text || err != nil {
				t.Fatalf("%q, %v", got, err)
			}
		}
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if _, err := receive(stream); err != io.EOF {
			t.Error(err)
		}
		if diff := cmp.Diff([][]string{{"one"}, {"one", "two", "three"}}, app.calls()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("stands", func(t *testing.T) {
		app := newFailingApp(t, "second", "echo")
		stream := begin(t, app)
		send(t, stream, "one")
		send(t, stream, "two")
		if _, err := receive(stream); status.Code(err) != codes.Unavailable || status.Convert(err).Message() != "not now" {
			t.Error(err)
		}
		if diff := cmp.Diff([][]string{{"one", "two"}}, app.calls()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("says that it is one", func(t *testing.T) {
		app := newFailingApp(t, "Unavailable", "echo")
		stream := begin(t, app, "dapr-stream", "true")
		send(t, stream, "one")
		if _, err := receive(stream); status.Code(err) != codes.Unavailable {
			t.Error(err)
		}
		if diff := cmp.Diff([][]string{{"one"}}, app.calls()); diff != "" {
			t.Error(diff)
		}
	})
}

// TestProxyTimeout: a call ends when its policy's time is over; a stream that says so does not.
func TestProxyTimeout(t *testing.T) {
	conn := guardedConn(t, newFailingApp(t, "hang"))
	_, err := invokeText(t, conn, "quick", "hello")
	const want = `context deadline exceeded: the app quick, method test.App/Call did not answer within 100ms (timeout policy "quick")`
	if s := status.Convert(err); s.Code() != codes.DeadlineExceeded || s.Message() != want {
		t.Error(err)
	}
	stream, err := conn.NewStream(calling(t, "dapr-app-id", "quick", "dapr-stream", "1"), bidi, "/test.App/Call")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendMsg(frameOf("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- stream.RecvMsg(new(wire.Frame)) }()
	select {
	case err := <-ended:
		t.Errorf("the stream ended with %v", err)
	case <-time.After(300 * time.Millisecond): // its policy's time is long over
	}
}

// TestProxyBreaker: a breaker counts proxied calls by method, and says what it is when it is open.
func TestProxyBreaker(t *testing.T) {
	app := newFailingApp(t, "Unavailable")
	conn := guardedConn(t, app)
	for range 2 {
		if _, err := invokeText(t, conn, "fused", "hello"); status.Convert(err).Message() != "not now" {
			t.Fatal(err)
		}
	}
	_, err := invokeText(t, conn, "fused", "hello")
	const want = `circuit breaker is open: "fuse" of the app fused, method test.App/Call, since 2`
	if s := status.Convert(err); s.Code() != codes.Unavailable || !strings.HasPrefix(s.Message(), want) {
		t.Error(err)
	}
	if n := len(app.calls()); n != 2 {
		t.Errorf("the application was called %d times", n)
	}
	if err := conn.Invoke(calling(t, "dapr-app-id", "fused"), "/test.App/Other", frameOf("hello"), new(wire.Frame)); status.Convert(err).Message() != "not now" {
		t.Error(err)
	}
}

// TestProxyGuardedLeak: callers that leave at any moment leave nothing behind (TestMain looks).
func TestProxyGuardedLeak(t *testing.T) {
	conn := guardedConn(t, newFailingApp(t, "hang", "Unavailable"))
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			stream, err := conn.NewStream(metadata.AppendToOutgoingContext(ctx, "dapr-app-id", "callee"), bidi, "/test.App/Call")
			if err == nil {
				err = stream.SendMsg(frameOf("hello"))
			}
			if err != nil && !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			cancel()
		})
	}
	wait.Wait()
}
