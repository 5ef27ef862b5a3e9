package wire_test

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/proto/wire"
)

// BenchmarkCodec writes and reads one call of a kilobyte with this codec and
// with gRPC's own.
func BenchmarkCodec(b *testing.B) {
	message := &runtimev1.InvokeServiceRequest{Id: "orders", Message: &commonv1.InvokeRequest{
		Method: "orders/new", ContentType: "application/json",
		Data:          &anypb.Any{Value: bytes.Repeat([]byte("x"), 1024)},
		HttpExtension: &commonv1.HTTPExtension{Verb: commonv1.HTTPExtension_POST},
	}}
	raw, err := proto.Marshal(message)
	if err != nil {
		b.Fatal(err)
	}
	for name, codec := range map[string]encoding.CodecV2{
		"wire":     wire.Codec{},
		"standard": encoding.GetCodecV2(protocodec.Name),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				data, err := codec.Marshal(message)
				if err != nil {
					b.Fatal(err)
				}
				if err := codec.Unmarshal(data, new(runtimev1.InvokeServiceRequest)); err != nil {
					b.Fatal(err)
				}
				data.Free()
			}
		})
	}
}
