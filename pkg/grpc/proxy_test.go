package grpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/messaging"
	"github.com/daprd/daprd/pkg/nameresolution"
	"github.com/daprd/daprd/pkg/proto/wire"
	"github.com/daprd/daprd/pkg/ready"
	"github.com/daprd/daprd/pkg/resiliency"
	"github.com/daprd/daprd/pkg/security"
)

const patience = 20 * time.Second

// grpcApp is an application whose service no sidecar knows.
type grpcApp struct {
	address string

	mu        sync.Mutex
	metadata  metadata.MD
	cancelled chan struct{}
}

func (a *grpcApp) seen() metadata.MD {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.metadata
}

// handle echoes messages one by one; /test.App/Fail fails after the first, /test.App/Hang waits for the
// end of the call.
func (a *grpcApp) handle(_ any, stream grpc.ServerStream) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	a.mu.Lock()
	a.metadata = md
	a.mu.Unlock()
	method, _ := grpc.MethodFromServerStream(stream)
	_ = stream.SetHeader(metadata.Pairs("x-header", "h1", "x-header", "h2", "h-bin", "\x00\xff"))
	stream.SetTrailer(metadata.Pairs("x-trailer", "t"))
	if method == "/test.App/Hang" {
		_ = stream.SendHeader(nil)
		<-stream.Context().Done()
		close(a.cancelled)
		return stream.Context().Err()
	}
	for {
		var frame wire.Frame
		if err := stream.RecvMsg(&frame); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if method == "/test.App/Fail" {
			return failure(&frame)
		}
		err := stream.SendMsg(&frame)
		frame.Free()
		if err != nil {
			return err
		}
	}
}

func failure(frame *wire.Frame) error {
	frame.Free()
	st, err := status.New(codes.Aborted, "no: ünïcode").WithDetails(wrapperspb.String("detail"))
	if err != nil {
		return err
	}
	return st.Err()
}

// serveOn serves until the test ends.
func serveOn(t testing.TB, server *grpc.Server) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		served.Wait()
	})
	return listener.Addr().String()
}

func startApp(t testing.TB) *grpcApp {
	t.Helper()
	a := &grpcApp{cancelled: make(chan struct{})}
	a.address = serveOn(t, grpc.NewServer(grpc.ForceServerCodecV2(wire.Codec{}), grpc.UnknownServiceHandler(a.handle), grpc.WaitForHandlers(true)))
	return a
}

type fixed map[string][]string

func (f fixed) Resolve(_ context.Context, target nameresolution.Target) ([]string, error) {
	if a := f[target.AppID]; len(a) > 0 {
		return a, nil
	}
	return nil, &nameresolution.NotFoundError{AppID: target.AppID}
}

// sidecar is one with both servers.
type sidecar struct {
	api, internal string
	server        *Internal
}

type policyFunc func(method, verb string) error

func (f policyFunc) Allow(_ context.Context, method, verb string) error {
	if f == nil {
		return nil
	}
	return f(method, verb)
}

func startSidecar(t testing.TB, appID string, app *grpcApp, directory nameresolution.Resolver, policy policyFunc, policies ...*resiliency.Policies) *sidecar {
	t.Helper()
	slot, resolver := new(ready.Slot[channel.App]), new(ready.Slot[nameresolution.Resolver])
	if app != nil {
		opened, err := channel.Open(channel.Settings{Protocol: "grpc", Address: app.address, AppID: appID, Token: security.NewToken("apptoken")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = opened.Close() })
		slot.Fill(opened)
	}
	if directory != nil {
		resolver.Fill(directory)
	}
	self := messaging.Self{AppID: appID, Namespace: "default", HostIP: "127.0.0.1", HostName: "host"}
	peers := messaging.NewPeers(messaging.Insecure{}, 0)
	deps := messaging.Deps{Self: self, App: slot, Resolver: resolver, Peers: peers}
	if len(policies) > 0 {
		deps.Policies = policies[0]
	}
	direct := messaging.New(deps)
	proxy := NewProxy(ProxyDeps{Self: self, Direct: direct, Policy: policy})
	t.Cleanup(func() {
		proxy.Wait()
		_ = peers.Close()
		_ = direct.Close()
	})
	s := &sidecar{}
	s.server = NewInternal(InternalDeps{
		Callee: messaging.NewCallee(messaging.CalleeDeps{AppID: appID, App: slot, Policy: policy}), Proxy: proxy,
		Options: []grpc.ServerOption{grpc.WaitForHandlers(true)},
	})
	s.internal = serveInternal(t, s.server)
	s.api = serveOn(t, grpc.NewServer(grpc.ForceServerCodecV2(wire.Codec{}), grpc.UnknownServiceHandler(proxy.Serve), grpc.WaitForHandlers(true)))
	return s
}

func serveInternal(t testing.TB, server *Internal) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		if err := server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		server.Stop()
		served.Wait()
	})
	return listener.Addr().String()
}

// client is a connection to the API of a sidecar.
func client(t testing.TB, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wire.Codec{})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func calling(t testing.TB, pairs ...string) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

func frameOf(s string) *wire.Frame {
	return wire.NewFrame(mem.BufferSlice{mem.SliceBuffer([]byte(s))})
}

var bidi = &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}

// twoSidecars gives an app and connections to the API of its own sidecar and of another one.
func twoSidecars(t testing.TB) (app *grpcApp, conns map[string]*grpc.ClientConn) {
	t.Helper()
	app = startApp(t)
	callee := startSidecar(t, "callee", app, nil, nil)
	caller := startSidecar(t, "caller", nil, fixed{"callee": {callee.internal}}, nil)
	return app, map[string]*grpc.ClientConn{"local": client(t, callee.api), "remote": client(t, caller.api)}
}

func TestProxyUnary(t *testing.T) {
	app, conns := twoSidecars(t)
	for leg, conn := range conns {
		t.Run(leg, func(t *testing.T) {
			ctx := calling(t, "dapr-app-id", "callee", "x-md", "1", "x-md", "2", "raw-bin", "\x00\xff",
				"dapr-api-token", "secret", "dapr-caller-app-id", "liar")
			var answer wire.Frame
			var header, trailer metadata.MD
			if err := conn.Invoke(ctx, "/test.App/Echo", frameOf("hello"), &answer, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
				t.Fatal(err)
			}
			if string(answer.Bytes()) != "hello" {
				t.Errorf("answer %q", answer.Bytes())
			}
			if diff := cmp.Diff([]string{"h1", "h2"}, header["x-header"]); diff != "" || header["h-bin"][0] != "\x00\xff" {
				t.Errorf("header %v", header)
			}
			if diff := cmp.Diff([]string{"t"}, trailer["x-trailer"]); diff != "" {
				t.Errorf("trailer %v", trailer)
			}
			if got := header["content-type"]; len(got) != 1 {
				t.Errorf("content type %q", got)
			}
			seen := app.seen()
			want := map[string][]string{"x-md": {"1", "2"}, "raw-bin": {"\x00\xff"}, "dapr-api-token": {"apptoken"}, "dapr-app-id": nil,
				"dapr-caller-app-id": {"liar"}}
			if leg == "remote" {
				want["dapr-caller-app-id"], want["dapr-callee-app-id"] = []string{"caller"}, []string{"callee"}
				want["dapr-caller-namespace"] = []string{"default"}
			}
			for name, values := range want {
				if diff := cmp.Diff(values, seen[name]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
			if len(seen["user-agent"]) != 1 || len(seen["grpc-accept-encoding"]) != 1 || len(seen["content-type"]) != 1 {
				t.Errorf("headers of the connection are doubled: %v", seen)
			}
		})
	}
}

// A server may read a name in more than one way; what is no plain name of a method reaches none.
func TestProxyRefusesOddMethods(t *testing.T) {
	app := startApp(t)
	asked := make(chan string, 10)
	callee := startSidecar(t, "callee", app, nil, func(method, _ string) error {
		asked <- method
		return nil
	})
	for leg, address := range map[string]string{"own application": callee.api, "another sidecar": callee.internal} {
		conn := client(t, address)
		for _, method := range []string{"//test.App/Echo", "/test.App//Echo", "/x/../test.App/Echo", "/./test.App/Echo", "/test.App/Ec%68o", "/test.App/Echo#", "/test.App/Echo?x"} {
			err := conn.Invoke(calling(t, "dapr-app-id", "callee"), method, frameOf("x"), new(wire.Frame))
			if status.Code(err) != codes.InvalidArgument {
				t.Errorf("%s, %s: %v, want InvalidArgument", leg, method, err)
			}
		}
		if app.seen() != nil {
			t.Fatal("the application was called")
		}
	}
	if err := client(t, callee.api).Invoke(calling(t, "dapr-app-id", "callee"), "/test.App/Echo", frameOf("x"), new(wire.Frame)); err != nil {
		t.Error(err)
	}
	if got := <-asked; got != "test.App/Echo" || len(asked) > 0 {
		t.Errorf("the policy was asked for %q, and %d times more", got, len(asked))
	}
}

func TestProxyStatus(t *testing.T) {
	_, conns := twoSidecars(t)
	for leg, conn := range conns {
		t.Run(leg, func(t *testing.T) {
			var trailer metadata.MD
			err := conn.Invoke(calling(t, "dapr-app-id", "callee"), "/test.App/Fail", frameOf("x"), new(wire.Frame), grpc.Trailer(&trailer))
			st := status.Convert(err)
			if st.Code() != codes.Aborted || st.Message() != "no: ünïcode" {
				t.Errorf("status %v", err)
			}
			want := []any{wrapperspb.String("detail")}
			if diff := cmp.Diff(want, st.Details(), protocmp.Transform()); diff != "" {
				t.Errorf("details (-want +got):\n%s", diff)
			}
			if len(trailer["x-trailer"]) != 1 {
				t.Errorf("trailer %v", trailer)
			}
		})
	}
}

// TestProxyManyStreams has many calls on one connection at once; each must get its own answers, in order,
// each answer before the next message is sent.
func TestProxyManyStreams(t *testing.T) {
	_, conns := twoSidecars(t)
	for leg, conn := range conns {
		t.Run(leg, func(t *testing.T) {
			var calls sync.WaitGroup
			for i := range 40 {
				calls.Go(func() {
					if err := pingPong(calling(t, "dapr-app-id", "callee"), conn, fmt.Sprint("stream ", i)); err != nil {
						t.Error(err)
					}
				})
			}
			calls.Wait()
		})
	}
}

func pingPong(ctx context.Context, conn *grpc.ClientConn, name string) error {
	stream, err := conn.NewStream(ctx, bidi, "/test.App/Echo")
	if err != nil {
		return err
	}
	for i := range 30 {
		message := name + " message " + strconv.Itoa(i) + strings.Repeat("x", i*100)
		if err := stream.SendMsg(frameOf(message)); err != nil {
			return err
		}
		var answer wire.Frame
		if err := stream.RecvMsg(&answer); err != nil {
			return err
		}
		if got := string(answer.Bytes()); got != message {
			return fmt.Errorf("got %.60q, want %.60q", got, message)
		}
		answer.Free()
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if err := stream.RecvMsg(new(wire.Frame)); err != io.EOF {
		return fmt.Errorf("end of %s: %w", name, err)
	}
	return nil
}

// TestProxyClientStream sends all before it reads anything.
func TestProxyClientStream(t *testing.T) {
	_, conns := twoSidecars(t)
	for leg, conn := range conns {
		t.Run(leg, func(t *testing.T) {
			stream, err := conn.NewStream(calling(t, "dapr-app-id", "callee"), bidi, "/test.App/Echo")
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				for range 500 {
					_ = stream.SendMsg(frameOf(strings.Repeat("y", 10_000)))
				}
				_ = stream.CloseSend()
			}()
			n := 0
			for ; ; n++ {
				var answer wire.Frame
				if err := stream.RecvMsg(&answer); err == io.EOF {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				answer.Free()
			}
			if n != 500 {
				t.Errorf("%d messages came back", n)
			}
		})
	}
}

func TestProxyCancel(t *testing.T) {
	for _, leg := range []string{"local", "remote"} {
		t.Run(leg, func(t *testing.T) {
			app, conns := twoSidecars(t)
			ctx, cancel := context.WithCancel(calling(t, "dapr-app-id", "callee"))
			defer cancel()
			stream, err := conns[leg].NewStream(ctx, bidi, "/test.App/Hang")
			if err != nil {
				t.Fatal(err)
			}
			// The header comes before any message.
			if header, err := stream.Header(); err != nil || len(header["x-header"]) != 2 {
				t.Fatalf("header %v, %v", header, err)
			}
			cancel()
			select {
			case <-app.cancelled:
			case <-time.After(patience):
				t.Error("the app's call goes on")
			}
		})
	}
}

func TestProxyDeadline(t *testing.T) {
	app, conns := twoSidecars(t)
	ctx, cancel := context.WithTimeout(calling(t, "dapr-app-id", "callee"), time.Second)
	defer cancel()
	stream, err := conns["remote"].NewStream(ctx, bidi, "/test.App/Hang")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(new(wire.Frame)); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("error %v", err)
	}
	<-app.cancelled
}

func TestProxySubtypeAndCompression(t *testing.T) {
	app, conns := twoSidecars(t)
	var answer wire.Frame
	var header metadata.MD
	err := conns["remote"].Invoke(calling(t, "dapr-app-id", "callee"), "/test.App/Echo", frameOf("{}"), &answer,
		grpc.CallContentSubtype("json"), grpc.UseCompressor(gzip.Name), grpc.Header(&header))
	if err != nil || string(answer.Bytes()) != "{}" {
		t.Fatalf("%q, %v", answer.Bytes(), err)
	}
	if got := app.seen()["content-type"]; len(got) != 1 || got[0] != "application/grpc+json" {
		t.Errorf("the app sees %q", got)
	}
	if got := header["content-type"]; len(got) != 1 || got[0] != "application/grpc+json" {
		t.Errorf("the client sees %q", got)
	}
}

func TestProxyErrors(t *testing.T) {
	app := startApp(t)
	other := startSidecar(t, "other", app, nil, nil)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = dead.Close()
	s := startSidecar(t, "caller", nil, fixed{"stale": {other.internal}, "dead": {dead.Addr().String()}}, nil)
	early := startSidecar(t, "caller", nil, nil, nil)
	api, before, internal := client(t, s.api), client(t, early.api), client(t, other.internal)
	for _, test := range []struct {
		name string
		conn *grpc.ClientConn
		md   []string
		code codes.Code
		want string
	}{
		{"no id", api, nil, codes.Unknown, "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found"},
		{"invalid id", api, []string{"dapr-app-id", "a.b.c"}, codes.Unknown, "invalid app id a.b.c"},
		{"unknown id", api, []string{"dapr-app-id", "nobody"}, codes.Unknown, "couldn't find service: nobody"},
		{"callee id first", api, []string{"dapr-app-id", "other", "dapr-callee-app-id", "nobody"}, codes.Unknown, "couldn't find service: nobody"},
		{"no app", api, []string{"dapr-app-id", "caller"}, codes.Unavailable, "connection error"},
		{"nobody there", api, []string{"dapr-app-id", "dead"}, codes.Unavailable, "connection refused"},
		{"another's address", api, []string{"dapr-app-id", "stale"}, codes.Unavailable, "the sidecar at this address is that of other, not of stale"},
		{"too early", before, []string{"dapr-app-id", "callee"}, codes.Unknown, "failed to proxy request: proxy not initialized; daprd startup may be incomplete"},
		{"peer without id", internal, nil, codes.Unknown, "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.conn.Invoke(calling(t, test.md...), "/test.App/Echo", frameOf("x"), new(wire.Frame))
			if status.Code(err) != test.code || !strings.Contains(status.Convert(err).Message(), test.want) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestProxyPolicy(t *testing.T) {
	app := startApp(t)
	policy := policyFunc(func(method, verb string) error {
		if method != "test.App/Echo" || verb != "" {
			t.Errorf("asked for %q %q", method, verb)
		}
		return status.Error(codes.PermissionDenied, "denied")
	})
	callee := startSidecar(t, "callee", app, nil, policy)
	caller := startSidecar(t, "caller", nil, fixed{"callee": {callee.internal}}, nil)
	for leg, address := range map[string]string{"local": callee.api, "remote": caller.api} {
		err := client(t, address).Invoke(calling(t, "dapr-app-id", "callee"), "/test.App/Echo", frameOf("x"), new(wire.Frame))
		if status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v", leg, err)
		}
	}
	if app.seen() != nil {
		t.Error("the app was called")
	}
}

// TestSidecarOf17 calls as a sidecar of Dapr 1.7 does: the callee's id under the older name.
func TestSidecarOf17(t *testing.T) {
	app := startApp(t)
	callee := startSidecar(t, "callee", app, nil, nil)
	var answer wire.Frame
	err := client(t, callee.internal).Invoke(calling(t, "dapr-app-id", "callee"), "/test.App/Echo", frameOf("x"), &answer)
	if err != nil || string(answer.Bytes()) != "x" {
		t.Errorf("%q, %v", answer.Bytes(), err)
	}
}
