package messaging_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/messaging"
	"github.com/daprd/daprd/pkg/nameresolution"
	"github.com/daprd/daprd/pkg/ready"
)

// nowhere is an address at which nothing listens.
func nowhere(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// neverPause makes a caller of which a pause would outlast the test.
func neverPause(t testing.TB, addresses ...string) *caller {
	t.Helper()
	c := &caller{app: new(ready.Slot[channel.App]), directory: &directory{addresses: map[string][]string{"callee": addresses}}}
	resolver := new(ready.Slot[nameresolution.Resolver])
	resolver.Fill(c.directory)
	peers := messaging.NewPeers(messaging.Insecure{}, 4<<20)
	c.Direct = messaging.New(messaging.Deps{
		Self: messaging.Self{AppID: "caller", Namespace: "default"},
		App:  c.app, Resolver: resolver, Peers: peers, RetryInterval: messaging.RetryInterval(time.Hour),
	})
	t.Cleanup(func() {
		_ = peers.Close()
		_ = c.Close()
	})
	return c
}

func TestDeadAddressBesideALivingOne(t *testing.T) {
	for name, body := range map[string]func() channel.Body{
		"bytes":  func() channel.Body { return channel.Body{Bytes: []byte("hello")} },
		"stream": func() channel.Body { return channel.Body{Stream: strings.NewReader("hello"), Length: -1} },
	} {
		t.Run(name, func(t *testing.T) {
			peer := startCallee(t, "callee", serving(echo))
			dead := nowhere(t)
			forgotten := 0
			for _, order := range [][]string{{dead, peer.address}, {peer.address, dead}} {
				c := neverPause(t, order...)
				for range 4 {
					res, err := c.Invoke(within(t), "callee", &channel.Request{Verb: "POST", Method: "m", Body: body()})
					if err != nil {
						t.Fatal(err)
					}
					if got := readAll(t, res); got != "hello" {
						t.Errorf("answer %q", got)
					}
				}
				c.directory.mu.Lock()
				forgotten += len(c.directory.forgotten)
				if slices.Contains(c.directory.forgotten, peer.address) {
					t.Error("the living address was forgotten")
				}
				c.directory.mu.Unlock()
			}
			if forgotten == 0 {
				t.Error("the dead address was not forgotten")
			}
		})
	}
}

func TestNobodyAnswers(t *testing.T) {
	c := newCaller(t, map[string][]string{"callee": {nowhere(t)}})
	_, err := c.Invoke(within(t), "callee", post("m", nil))
	want := `failed to invoke, id: callee, err: failed to invoke target callee after 3 retries. Error: rpc error: code = Unavailable desc = `
	if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("error %v", err)
	}
	if row := apierr.From(err); row.Code != "ERR_DIRECT_INVOKE" || row.HTTP != 500 {
		t.Errorf("row %+v", row.Row)
	}
	t.Log(err)
}

// failingCallee answers every stream with err.
func failingCallee(t testing.TB, err error, calls *atomic.Int64) *callee {
	t.Helper()
	listener, lerr := net.Listen("tcp", "127.0.0.1:0")
	if lerr != nil {
		t.Fatal(lerr)
	}
	c := &callee{address: listener.Addr().String(), server: newServer()}
	desc := messaging.NewCallee(messaging.CalleeDeps{AppID: "callee", App: new(ready.Slot[channel.App]), Policy: allowAll{}}).ServiceDesc()
	desc.Streams[0].Handler = func(any, grpc.ServerStream) error {
		calls.Add(1)
		return err
	}
	c.server.RegisterService(desc, c)
	c.serve(t, listener)
	return c
}

func TestWhatIsRetried(t *testing.T) {
	for _, test := range []struct {
		code  codes.Code
		body  channel.Body
		calls int64
	}{
		{codes.Unavailable, channel.Body{Bytes: []byte("x")}, 4},
		{codes.Unauthenticated, channel.Body{}, 4},
		{codes.Unavailable, channel.Body{Stream: strings.NewReader("x"), Length: -1}, 1},
		{codes.Internal, channel.Body{}, 1},
		{codes.PermissionDenied, channel.Body{}, 1},
		{codes.DeadlineExceeded, channel.Body{}, 1},
	} {
		t.Run(fmt.Sprint(test.code, test.body.Stream != nil), func(t *testing.T) {
			var calls atomic.Int64
			peer := failingCallee(t, status.Error(test.code, "why"), &calls)
			c := newCaller(t, map[string][]string{"callee": {peer.address}})
			_, err := c.Invoke(within(t), "callee", &channel.Request{Verb: "POST", Method: "m", Body: test.body})
			if calls.Load() != test.calls {
				t.Errorf("%d calls, want %d", calls.Load(), test.calls)
			}
			if err == nil || !strings.HasSuffix(err.Error(), "desc = why") {
				t.Errorf("error %v", err)
			}
			wantStatus := 500
			if test.code == codes.PermissionDenied {
				wantStatus = 403
			}
			if row := apierr.From(err); row.HTTP != wantStatus {
				t.Errorf("status %d, want %d", row.HTTP, wantStatus)
			}
		})
	}
}

func TestPauseEndsWithTheCaller(t *testing.T) {
	var calls atomic.Int64
	peer := failingCallee(t, status.Error(codes.Unavailable, "why"), &calls)
	c := neverPause(t, peer.address)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Invoke(ctx, "callee", post("m", nil)); !strings.Contains(err.Error(), "deadline") {
		t.Errorf("error %v", err)
	}
}

// TestReplicaVanishesUnderLoad cuts one of two replicas off in the middle of calls.
func TestReplicaVanishesUnderLoad(t *testing.T) {
	first, second := startCallee(t, "callee", serving(echo)), startCallee(t, "callee", serving(echo))
	c := neverPause(t, first.address, second.address)
	calls, failed := load(t, c, func() { first.server.Stop() })
	if failed != nil {
		t.Errorf("a call failed: %v", failed)
	}
	t.Logf("%d calls", calls)
}

// TestReplicaDrainsUnderLoad has one of two replicas go away in order.
func TestReplicaDrainsUnderLoad(t *testing.T) {
	first, second := startCallee(t, "callee", serving(echo)), startCallee(t, "callee", serving(echo))
	c := neverPause(t, first.address, second.address)
	calls, failed := load(t, c, func() { first.server.GracefulStop() })
	if failed != nil {
		t.Errorf("a call failed: %v", failed)
	}
	t.Logf("%d calls", calls)
}

// load makes calls in parallel until some were made after event.
func load(t testing.TB, c *caller, event func()) (calls int64, failed error) {
	t.Helper()
	const warm, after = 200, 1000
	ctx := within(t)
	var made atomic.Int64
	var failure atomic.Pointer[error]
	warmed, happened := make(chan struct{}), make(chan struct{})
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			last := int64(-1)
			for failure.Load() == nil {
				n := made.Add(1)
				if n == warm {
					close(warmed)
				}
				select {
				case <-happened:
					if last < 0 {
						last = n + after
					}
				default:
				}
				if last > 0 && n > last {
					return
				}
				if err := oneCall(ctx, c, fmt.Sprint(n)); err != nil {
					failure.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	await(t, warmed)
	event()
	close(happened)
	callers.Wait()
	if f := failure.Load(); f != nil {
		failed = *f
	}
	return made.Load(), failed
}

func oneCall(ctx context.Context, c *caller, body string) error {
	res, err := c.Invoke(ctx, "callee", post("m", []byte(body)))
	if err != nil {
		return err
	}
	defer res.Close()
	got, err := io.ReadAll(res.Body.Reader())
	if err == nil && string(got) != body {
		err = fmt.Errorf("got %q, want %q", got, body)
	}
	return err
}

// TestDrainLetsCallsEnd holds a call open while its sidecar says goodbye.
func TestDrainLetsCallsEnd(t *testing.T) {
	arrived, answer := make(chan struct{}), make(chan struct{})
	slow := startCallee(t, "callee", serving(func(ctx context.Context, req *channel.Request) (*channel.Response, error) {
		close(arrived)
		<-answer
		return &channel.Response{Status: 200, Body: channel.Body{Bytes: []byte("slow")}}, nil
	}))
	c := neverPause(t, slow.address)
	done := make(chan string, 1)
	go func() {
		res, err := c.Invoke(within(t), "callee", post("m", nil))
		if err != nil {
			done <- err.Error()
			return
		}
		done <- readAll(t, res)
	}()
	await(t, arrived)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		slow.server.GracefulStop()
	}()
	// Another sidecar takes over; the call at the first one goes on meanwhile.
	fresh := startCallee(t, "callee", serving(echo))
	c.directory.mu.Lock()
	c.directory.addresses["callee"] = []string{fresh.address}
	c.directory.mu.Unlock()
	if err := oneCall(within(t), c, "fresh"); err != nil {
		t.Error(err)
	}
	close(answer)
	if got := <-done; got != "slow" {
		t.Errorf("the call that was there before: %s", got)
	}
	await(t, drained)
}

func TestBothReplicasGetCalls(t *testing.T) {
	var first, second atomic.Int64
	count := func(n *atomic.Int64) channel.App {
		return serving(func(ctx context.Context, req *channel.Request) (*channel.Response, error) {
			n.Add(1)
			return echo(ctx, req)
		})
	}
	a, b := startCallee(t, "callee", count(&first)), startCallee(t, "callee", count(&second))
	c := neverPause(t, a.address, b.address)
	for i := 0; i < 100 || (first.Load() < 20 || second.Load() < 20) && i < 100_000; i++ {
		if err := oneCall(within(t), c, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if first.Load() < 20 || second.Load() < 20 {
		t.Errorf("%d and %d calls", first.Load(), second.Load())
	}
}

// TestAddressOfAnother has a caller that remembers an address at which another sidecar listens by now.
func TestAddressOfAnother(t *testing.T) {
	other := startCallee(t, "other", serving(func(context.Context, *channel.Request) (*channel.Response, error) {
		t.Error("the other app got the call")
		return nil, errors.New("wrong app")
	}))
	peer := startCallee(t, "callee", serving(echo))
	c := neverPause(t, other.address, peer.address)
	for range 4 {
		if err := oneCall(within(t), c, "x"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOldSidecar calls one that knows CallLocal only, as those before Dapr 1.10.
func TestOldSidecar(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	slot := new(ready.Slot[channel.App])
	slot.Fill(serving(echo))
	desc := messaging.NewCallee(messaging.CalleeDeps{AppID: "callee", App: slot, Policy: allowAll{}}).ServiceDesc()
	desc.Streams = nil
	old := &callee{address: listener.Addr().String(), server: newServer()}
	old.server.RegisterService(desc, old)
	old.serve(t, listener)
	c := neverPause(t, old.address)
	for _, size := range []int{0, 5, 300 << 10} {
		if err := oneCall(within(t), c, strings.Repeat("x", size)); err != nil {
			t.Fatal(err)
		}
	}
	_, err = c.Invoke(within(t), "callee", &channel.Request{
		Verb: "POST", Method: "m", Body: channel.Body{Stream: strings.NewReader("x"), Length: -1},
	})
	if err == nil || !strings.Contains(err.Error(), "upgrade that sidecar") || !strings.Contains(err.Error(), old.address) {
		t.Errorf("error %v", err)
	}
}
