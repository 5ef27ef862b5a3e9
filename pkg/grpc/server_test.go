package grpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	googlegrpc "google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/daprd/daprd/pkg/grpc"
	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
)

func TestMessageLimit(t *testing.T) {
	const limit = 64 << 10
	big := strings.Repeat("v", limit)
	save := func(s *sidecar) error {
		_, err := s.SaveState(t.Context(), &runtimev1.SaveStateRequest{StoreName: "st", States: []*commonv1.StateItem{{Key: "k", Value: []byte(big)}}})
		return err
	}
	s := start(t, func(s *sidecar) { withStore(t)(s); s.config.MaxBodySize = limit })
	failedWith(t, save(s), codes.ResourceExhausted, "grpc: received message larger than max (65551 vs. 65536)")

	none := start(t, func(s *sidecar) { withStore(t)(s); s.config.MaxBodySize = 0 })
	big = strings.Repeat("v", 20<<20)
	if err := save(none); err != nil {
		t.Fatal(err)
	}
	answer, err := none.GetState(t.Context(), &runtimev1.GetStateRequest{StoreName: "st", Key: "k"}, googlegrpc.MaxCallRecvMsgSize(32<<20))
	if err != nil || len(answer.GetData()) != len(big) {
		t.Errorf("read %d bytes, %v", len(answer.GetData()), err)
	}
}

func TestSendLimit(t *testing.T) {
	s := start(t, func(s *sidecar) { withStore(t)(s); s.config.MaxBodySize = 1 << 10 })
	for _, key := range []string{"a", "b"} {
		_, err := s.SaveState(t.Context(), &runtimev1.SaveStateRequest{StoreName: "st", States: []*commonv1.StateItem{{Key: key, Value: make([]byte, 900)}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.GetBulkState(t.Context(), &runtimev1.GetBulkStateRequest{StoreName: "st", Keys: []string{"a", "b"}})
	if st := status.Convert(err); st.Code() != codes.ResourceExhausted || !strings.Contains(st.Message(), "trying to send message larger than max") {
		t.Errorf("answered %v", err)
	}
}

func TestHeaderLimit(t *testing.T) {
	s := start(t, func(s *sidecar) { withStore(t)(s); s.config.ReadBufferSize = 4 << 10 })
	get := func(size int) error {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "x-large", strings.Repeat("h", size))
		_, err := s.GetState(ctx, &runtimev1.GetStateRequest{StoreName: "st", Key: "k"})
		return err
	}
	// What worked with the original works here.
	for _, size := range []int{5 << 10, 1 << 20} {
		if err := get(size); err != nil {
			t.Errorf("%d bytes of metadata: %v", size, err)
		}
	}
	if err := get(5 << 20); err == nil {
		t.Error("5 MiB of metadata passed")
	}
	if err := get(1); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestGzip(t *testing.T) {
	s := start(t, withStore(t))
	if _, err := s.GetState(t.Context(), &runtimev1.GetStateRequest{StoreName: "st", Key: "k"}, googlegrpc.UseCompressor(gzip.Name)); err != nil {
		t.Error(err)
	}
}

func TestWithoutProxy(t *testing.T) {
	s := start(t, nil)
	if err := s.conn.Invoke(t.Context(), unknownMethod, &emptypb.Empty{}, &emptypb.Empty{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("answered %v", err)
	}
}

func TestGarbage(t *testing.T) {
	s := start(t, withStore(t))
	address := s.server.Addresses()[0].String()
	for name, bytes := range map[string]string{
		"http/1":           "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"nonsense":         strings.Repeat("\xff\x00", 5000),
		"half a preface":   "PRI * HTTP/2.0\r\n",
		"huge frame":       "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x00\x00\x00\x00\x00\x01",
		"frame of no kind": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\xee\x00\x00\x00\x00\x00\xff",
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, bytes); err != nil {
				t.Fatal(err)
			}
			_ = conn.(*net.TCPConn).CloseWrite()
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection stays open")
			}
		})
	}
	garbled := []byte("\x0a\xff\xff\xff\xff\x0f")
	var answer []byte
	err := s.conn.Invoke(t.Context(), runtimev1.Dapr_GetState_FullMethodName, &garbled, &answer, googlegrpc.ForceCodecV2(rawCodec{}))
	if status.Code(err) != codes.Internal {
		t.Errorf("a message that is none: %v", err)
	}
	if _, err := s.GetState(t.Context(), &runtimev1.GetStateRequest{StoreName: "st", Key: "k"}); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func quiet(log io.Writer) *logrus.Logger {
	logger := logrus.New()
	logger.SetOutput(log)
	return logger
}

func closed(t *testing.T, server *grpc.Server) {
	t.Cleanup(func() {
		if err := server.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestListen(t *testing.T) {
	busy := listen(t)
	defer busy.Close()
	port := busy.Addr().(*net.TCPAddr).Port
	log := new(logs)
	server := grpc.New(grpc.Config{}, grpc.Deps{Log: quiet(log)})
	closed(t, server)
	err := server.Listen(t.Context(), []string{"127.0.0.1"}, port)
	if err == nil || !strings.HasPrefix(err.Error(), "could not listen on any endpoint: ") {
		t.Errorf("a port in use: %v", err)
	}
	if want := fmt.Sprintf("Failed to listen on 127.0.0.1:%d with error: listen tcp 127.0.0.1:%d: bind: address already in use", port, port); !strings.Contains(log.String(), want) {
		t.Errorf("log: %s", log)
	}
	if err := server.Listen(t.Context(), []string{"192.0.2.1", " 127.0.0.2"}, port); err != nil {
		t.Fatal(err)
	}
	if got := server.Addresses(); len(got) != 1 || got[0].String() != fmt.Sprintf("127.0.0.2:%d", port) {
		t.Errorf("listens on %v", got)
	}
	if got := strings.Count(log.String(), "enabled gRPC tracing middleware"); got != 1 {
		t.Errorf("log: %s", log)
	}
}

func TestListenEverywhere(t *testing.T) {
	server := grpc.New(grpc.Config{}, grpc.Deps{Log: quiet(io.Discard)})
	closed(t, server)
	if err := server.Listen(t.Context(), nil, 0); err != nil {
		t.Fatal(err)
	}
	if !server.Addresses()[0].(*net.TCPAddr).IP.IsUnspecified() {
		t.Errorf("listens on %v", server.Addresses())
	}
}

func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dapr-myapp-grpc.socket")
	// A dead process has left its socket.
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	server := grpc.New(grpc.Config{}, grpc.Deps{Log: quiet(io.Discard)})
	closed(t, server)
	if err := server.ListenUnix(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	server.Serve()
	if _, err := services(t.Context(), dial(t, "unix:"+path)); err != nil {
		t.Error(err)
	}
	second := grpc.New(grpc.Config{}, grpc.Deps{Log: quiet(io.Discard)})
	closed(t, second)
	if err := second.ListenUnix(t.Context(), path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a socket that is served: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := second.ListenUnix(t.Context(), file); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a file: %v", err)
	}
	if kept, err := os.ReadFile(file); err != nil || string(kept) != "keep" {
		t.Errorf("the file holds %q, %v", kept, err)
	}
}

// waiting is a proxy whose calls last until they are let go.
type waiting struct{ arrived, leave chan struct{} }

func (w waiting) serve(_ any, stream googlegrpc.ServerStream) error {
	w.arrived <- struct{}{}
	select {
	case <-w.leave:
		return status.Error(codes.DataLoss, "let go")
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
}

func newWaiting() waiting { return waiting{make(chan struct{}, 1), make(chan struct{})} }

func TestQuiesceWaits(t *testing.T) {
	calls := newWaiting()
	s := start(t, func(s *sidecar) { s.deps.Proxy = calls.serve })
	answer := make(chan error, 1)
	go func() { answer <- s.conn.Invoke(t.Context(), unknownMethod, &emptypb.Empty{}, &emptypb.Empty{}) }()
	<-calls.arrived
	drained := make(chan error, 1)
	go func() { drained <- s.server.Quiesce(t.Context()) }()
	// The listener goes first.
	address := s.server.Addresses()[0].String()
	for deadline := time.Now().Add(5 * time.Second); ; {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		_ = conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("still accepts")
		}
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-drained:
		t.Fatalf("drained with a call in flight: %v", err)
	default:
	}
	close(calls.leave)
	if err := <-answer; status.Code(err) != codes.DataLoss {
		t.Errorf("the call in flight: %v", err)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// TestQuiesceEndsReflection: a client that asks for nothing does not hold the drain.
func TestQuiesceEndsReflection(t *testing.T) {
	s := start(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	stream, err := reflectionv1.NewServerReflectionClient(s.conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := s.server.Quiesce(ctx); err != nil {
		t.Error(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "the sidecar is shutting down") {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestQuiesceIsBounded(t *testing.T) {
	calls := newWaiting()
	s := start(t, func(s *sidecar) { s.deps.Proxy = calls.serve })
	answer := make(chan error, 1)
	go func() { answer <- s.conn.Invoke(t.Context(), unknownMethod, &emptypb.Empty{}, &emptypb.Empty{}) }()
	<-calls.arrived
	errGrace := errors.New("grace is over")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errGrace)
	if err := s.server.Quiesce(ctx); !errors.Is(err, errGrace) {
		t.Errorf("quiesce: %v", err)
	}
	if err := s.server.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-answer; status.Code(err) != codes.Unavailable {
		t.Errorf("the call that was cut: %v", err)
	}
}

func TestCloseIsBounded(t *testing.T) {
	arrived, leave := make(chan struct{}, 1), make(chan struct{})
	s := start(t, func(s *sidecar) {
		s.deps.Proxy = func(any, googlegrpc.ServerStream) error {
			arrived <- struct{}{}
			<-leave
			return nil
		}
	})
	go func() { _ = s.conn.Invoke(t.Context(), unknownMethod, &emptypb.Empty{}, &emptypb.Empty{}) }()
	<-arrived
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.server.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("close: %v", err)
	}
	close(leave)
}
