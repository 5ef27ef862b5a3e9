package tracing

import (
	"context"

	"google.golang.org/grpc/metadata"
)

// Incoming is the trace parent that came in the metadata of a gRPC call, ZeroParent where none came that can
// be read. The binary form wins, even when it cannot be read.
func Incoming(ctx context.Context) string {
	if binary := metadata.ValueFromIncomingContext(ctx, BinaryHeader); len(binary) > 0 {
		if parent, ok := Parent(binary[0]); ok {
			return parent
		}
		return ZeroParent
	}
	if text := metadata.ValueFromIncomingContext(ctx, ParentHeader); len(text) > 0 {
		if _, ok := Binary(text[0]); ok {
			return text[0]
		}
	}
	return ZeroParent
}
