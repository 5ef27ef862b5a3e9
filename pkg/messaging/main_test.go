package messaging_test

import (
	"context"
	"io"
	"math"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/messaging"
	"github.com/daprd/daprd/pkg/nameresolution"
	"github.com/daprd/daprd/pkg/proto/wire"
	"github.com/daprd/daprd/pkg/ready"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// invoked is an application in the test's own process that takes invocations only.
type invoked struct {
	channel.App
	answer func(ctx context.Context, req *channel.Request) (*channel.Response, error)
}

func serving(answer func(context.Context, *channel.Request) (*channel.Response, error)) channel.App {
	return invoked{answer: answer}
}

func (i invoked) Invoke(ctx context.Context, req *channel.Request) (*channel.Response, error) {
	return i.answer(ctx, req)
}
func (i invoked) Close() error { return nil }

// echo answers with the body that it got.
func echo(_ context.Context, req *channel.Request) (*channel.Response, error) {
	body, err := io.ReadAll(req.Body.Reader())
	if err != nil {
		return nil, err
	}
	return &channel.Response{Status: 200, ContentType: req.ContentType, Body: channel.Body{Bytes: body}}, nil
}

// allowAll is a policy that lets every call pass.
type allowAll struct{}

func (allowAll) Allow(context.Context, string, string) error { return nil }

// callee is the side of another sidecar that is called.
type callee struct {
	address string
	server  *grpc.Server
	served  sync.WaitGroup
}

func startCallee(t testing.TB, appID string, app channel.App) *callee {
	t.Helper()
	listener := listen(t)
	c := &callee{address: listener.Addr().String(), server: newServer()}
	service := messaging.NewCallee(messaging.CalleeDeps{AppID: appID, App: filled(app), Policy: allowAll{}})
	c.server.RegisterService(service.ServiceDesc(), service)
	c.serve(t, listener)
	return c
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// filled is a slot with app in it, an empty one for nil.
func filled(app channel.App) *ready.Slot[channel.App] {
	slot := new(ready.Slot[channel.App])
	if app != nil {
		slot.Fill(app)
	}
	return slot
}

func newServer() *grpc.Server {
	return grpc.NewServer(
		grpc.ForceServerCodecV2(wire.Codec{}),
		grpc.MaxRecvMsgSize(math.MaxInt32),
		grpc.StaticStreamWindowSize(messaging.StreamWindow),
		grpc.StaticConnWindowSize(messaging.ConnWindow),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 8 * time.Second, PermitWithoutStream: true}),
		grpc.NumStreamWorkers(32),
		grpc.WaitForHandlers(true),
	)
}

func (c *callee) serve(t testing.TB, listener net.Listener) {
	c.served.Go(func() { _ = c.server.Serve(listener) })
	t.Cleanup(c.stop)
}

func (c *callee) stop() {
	c.server.Stop()
	c.served.Wait()
}

// directory is a resolver that a test fills.
type directory struct {
	mu        sync.Mutex
	addresses map[string][]string
	forgotten []string
}

func (d *directory) Resolve(_ context.Context, target nameresolution.Target) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a := d.addresses[target.AppID]; len(a) > 0 {
		return a, nil
	}
	return nil, &nameresolution.NotFoundError{AppID: target.AppID}
}

func (d *directory) Forget(_ nameresolution.Target, address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forgotten = append(d.forgotten, address)
}

// caller is the side of a sidecar that calls.
type caller struct {
	*messaging.Direct
	app       *ready.Slot[channel.App]
	directory *directory
}

func newCaller(t testing.TB, addresses map[string][]string) *caller {
	t.Helper()
	c := &caller{app: new(ready.Slot[channel.App]), directory: &directory{addresses: addresses}}
	resolver := new(ready.Slot[nameresolution.Resolver])
	resolver.Fill(c.directory)
	peers := messaging.NewPeers(messaging.Insecure{}, 4<<20)
	c.Direct = messaging.New(messaging.Deps{
		Self: messaging.Self{
			AppID: "caller", Namespace: "default", HostIP: "127.0.0.1", HostName: "host", InternalPort: 50002,
		},
		App: c.app, Resolver: resolver, Peers: peers, RetryInterval: messaging.RetryInterval(time.Millisecond),
	})
	t.Cleanup(func() {
		_ = peers.Close()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func post(method string, body []byte) *channel.Request {
	return &channel.Request{Verb: "POST", Method: method, ContentType: "text/plain", Body: channel.Body{Bytes: body}}
}

// readAll reads the body of res and closes it.
func readAll(t testing.TB, res *channel.Response) string {
	t.Helper()
	defer res.Close()
	body, err := io.ReadAll(res.Body.Reader())
	if err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	return string(body)
}
