package messaging

import (
	"context"

	"google.golang.org/grpc/metadata"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/tracing"
)

// withTrace puts the trace parent of a call where Dapr's sidecars look for it: into the metadata of gRPC.
// A call that nobody traces goes without.
func withTrace(ctx context.Context, h channel.Header) context.Context {
	parent := h.Value(tracing.ParentHeader)
	if parent == "" || parent == tracing.ZeroParent {
		return ctx
	}
	pairs := []string{tracing.ParentHeader, parent}
	if binary, ok := tracing.Binary(parent); ok {
		pairs = append(pairs, tracing.BinaryHeader, binary)
	}
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

// traced is h with the trace parent that came in the metadata of gRPC alone.
func traced(ctx context.Context, h channel.Header) channel.Header {
	if h.Has(tracing.ParentHeader) {
		return h
	}
	parent := tracing.Incoming(ctx)
	if parent == tracing.ZeroParent {
		return h
	}
	return h.With(tracing.ParentHeader, parent)
}
