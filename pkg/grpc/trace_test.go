package grpc

import (
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/daprd/daprd/pkg/tracing"
)

// TestWithoutSpansNothingIsAllocated: the gate's part in tracing where no spans are made.
func TestWithoutSpansNothingIsAllocated(t *testing.T) {
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("user-agent", "grpc-go", "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
	for name, g := range map[string]*gate{"off": {}, "default": {untraced: zeroHeader(), tracer: tracing.New(tracing.Deps{})}} {
		if n := testing.AllocsPerRun(100, func() {
			within, span, err := g.begin(ctx, "/dapr.proto.runtime.v1.Dapr/GetState", nil)
			if within != ctx || err != nil {
				t.Fatal(within, err)
			}
			endSpan(span, nil)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
