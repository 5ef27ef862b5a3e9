package grpc

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/proto/wire"
)

func TestQuiesceWaitsForCalls(t *testing.T) {
	app := startApp(t)
	callee := startSidecar(t, "callee", app, nil, nil)
	stream, err := client(t, callee.internal).NewStream(calling(t, "dapr-app-id", "callee"), bidi, "/test.App/Echo")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendMsg(frameOf("a")); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(new(wire.Frame)); err != nil {
		t.Fatal(err)
	}
	quiesced := make(chan error, 1)
	go func() { quiesced <- callee.server.Quiesce(context.Background()) }()
	// The call that is there goes on.
	if err := stream.SendMsg(frameOf("b")); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(new(wire.Frame)); err != nil {
		t.Errorf("a call in flight broke: %v", err)
	}
	select {
	case <-quiesced:
		t.Error("quiesced before the call ended")
	default:
	}
	_ = stream.CloseSend()
	_ = stream.RecvMsg(new(wire.Frame))
	if err := <-quiesced; err != nil {
		t.Error(err)
	}
}

func TestQuiesceIsBounded(t *testing.T) {
	app := startApp(t)
	callee := startSidecar(t, "callee", app, nil, nil)
	stream, err := client(t, callee.internal).NewStream(calling(t, "dapr-app-id", "callee"), bidi, "/test.App/Hang")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := callee.server.Quiesce(ctx); err == nil {
		t.Error("it drained")
	}
	if err := stream.RecvMsg(new(wire.Frame)); status.Code(err) != codes.Unavailable && status.Code(err) != codes.Canceled {
		t.Errorf("the call ends with %v", err)
	}
}
