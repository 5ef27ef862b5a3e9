package wire_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	internalsv1 "github.com/daprd/daprd/pkg/proto/internals/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/proto/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store answers with what it was asked.
type store struct {
	runtimev1.UnimplementedDaprServer
}

func (store) GetState(_ context.Context, in *runtimev1.GetStateRequest) (*runtimev1.GetStateResponse, error) {
	if in.Key == "" {
		return nil, status.Error(codes.InvalidArgument, "no key")
	}
	return &runtimev1.GetStateResponse{Data: []byte(in.Key), Etag: in.StoreName}, nil
}

// echo streams every payload back.
type echo struct {
	internalsv1.UnimplementedServiceInvocationServer
}

func (echo) CallLocalStream(stream grpc.BidiStreamingServer[internalsv1.InternalInvokeRequestStream, internalsv1.InternalInvokeResponseStream]) error {
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&internalsv1.InternalInvokeResponseStream{Payload: in.Payload}); err != nil {
			return err
		}
	}
}

// serve starts a server on a free port and returns a connection to it.
func serve(t *testing.T, register func(*grpc.Server), extra ...grpc.ServerOption) *grpc.ClientConn {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(append(extra, grpc.ForceServerCodecV2(wire.Codec{}))...)
	register(server)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func backend(s *grpc.Server) {
	runtimev1.RegisterDaprServer(s, store{})
	internalsv1.RegisterServiceInvocationServer(s, echo{})
}

// forward passes any call on to next, message by message, unread.
func forward(next *grpc.ClientConn) grpc.StreamHandler {
	return func(_ any, in grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(in)
		ctx, cancel := context.WithCancel(in.Context())
		defer cancel()
		out, err := next.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method, grpc.ForceCodecV2(wire.Codec{}))
		if err != nil {
			return err
		}
		// Ends with in, at the latest when this handler returns.
		go func() {
			if relay(in, out) == nil {
				_ = out.CloseSend()
			}
		}()
		return relay(out, in)
	}
}

type messenger interface {
	RecvMsg(any) error
	SendMsg(any) error
}

func relay(from, to messenger) error {
	var frame wire.Frame
	defer frame.Free()
	for {
		if err := from.RecvMsg(&frame); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := to.SendMsg(&frame); err != nil {
			return err
		}
	}
}

func TestOverGRPC(t *testing.T) {
	direct := serve(t, backend)
	proxied := serve(t, func(*grpc.Server) {}, grpc.UnknownServiceHandler(forward(direct)))
	for name, test := range map[string]struct {
		conn    *grpc.ClientConn
		options []grpc.CallOption
	}{
		"own codec":                  {direct, []grpc.CallOption{grpc.ForceCodecV2(wire.Codec{})}},
		"standard codec":             {direct, nil},
		"own codec, frames between":  {proxied, []grpc.CallOption{grpc.ForceCodecV2(wire.Codec{})}},
		"standard codec and a proxy": {proxied, nil},
	} {
		t.Run(name, func(t *testing.T) {
			for size, key := range map[string]string{"small": "key", "large": strings.Repeat("k", 300_000)} {
				out, err := runtimev1.NewDaprClient(test.conn).GetState(t.Context(), &runtimev1.GetStateRequest{StoreName: "store", Key: key}, test.options...)
				if err != nil {
					t.Fatalf("%s: %v", size, err)
				}
				if string(out.Data) != key || out.Etag != "store" {
					t.Errorf("%s: answered %d bytes, etag %q", size, len(out.Data), out.Etag)
				}
			}
			_, err := runtimev1.NewDaprClient(test.conn).GetState(t.Context(), &runtimev1.GetStateRequest{}, test.options...)
			if status.Code(err) != codes.InvalidArgument {
				t.Errorf("without a key: %v", err)
			}
			stream(t, test.conn, test.options)
		})
	}
}

func stream(t *testing.T, conn *grpc.ClientConn, options []grpc.CallOption) {
	t.Helper()
	calls, err := internalsv1.NewServiceInvocationClient(conn).CallLocalStream(t.Context(), options...)
	if err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(5) {
		data := []byte(strings.Repeat("p", int(seq)*1000))
		if err := calls.Send(&internalsv1.InternalInvokeRequestStream{Payload: &commonv1.StreamPayload{Data: data, Seq: seq}}); err != nil {
			t.Fatal(err)
		}
		in, err := calls.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if in.Payload.Seq != seq || string(in.Payload.Data) != string(data) {
			t.Errorf("payload %d came back as %d with %d bytes", seq, in.Payload.Seq, len(in.Payload.Data))
		}
	}
	if err := calls.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := calls.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v", err)
	}
}
