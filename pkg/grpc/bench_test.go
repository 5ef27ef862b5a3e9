package grpc_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/daprd/daprd/pkg/channel"
	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/state"

	"google.golang.org/protobuf/types/known/anypb"
)

// BenchmarkGetState reads one kilobyte over a real connection; the client's costs are in it.
func BenchmarkGetState(b *testing.B) {
	s := start(b, withStore(b))
	if err := s.state.Set(b.Context(), "st", []state.SetRequest{{Key: "k", Value: bytes.Repeat([]byte("v"), 1024)}}); err != nil {
		b.Fatal(err)
	}
	req := &runtimev1.GetStateRequest{StoreName: "st", Key: "k"}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.GetState(context.Background(), req); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkInvoke brings one kilobyte to an application in this process and back.
func BenchmarkInvoke(b *testing.B) {
	body := bytes.Repeat([]byte("v"), 1024)
	s := start(b, withApp(func(_ context.Context, req *channel.Request) (*channel.Response, error) {
		return &channel.Response{Status: 200, ContentType: "text/plain", Body: req.Body}, nil
	}))
	req := &runtimev1.InvokeServiceRequest{Id: "myapp", Message: &commonv1.InvokeRequest{Method: "m", Data: &anypb.Any{Value: body},
		HttpExtension: &commonv1.HTTPExtension{Verb: commonv1.HTTPExtension_POST}}}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.InvokeService(context.Background(), req); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
