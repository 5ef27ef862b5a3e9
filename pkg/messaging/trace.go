package messaging

import (
	"context"
	"encoding/hex"

	"google.golang.org/grpc/metadata"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/tracing"
)

// The binary form of a trace parent: version 0, then fields 0 (trace id), 1 (span id) and 2 (flags).
const (
	binaryTraceSize = 29
	parentSize      = len(tracing.ZeroParent)
)

// withTrace puts the trace parent of a call where Dapr's sidecars look for it: into the metadata of gRPC.
// A call that nobody traces goes without.
func withTrace(ctx context.Context, h channel.Header) context.Context {
	parent := h.Value(tracing.ParentHeader)
	if parent == "" || parent == tracing.ZeroParent {
		return ctx
	}
	pairs := []string{tracing.ParentHeader, parent}
	if binary, ok := binaryTrace(parent); ok {
		pairs = append(pairs, tracing.BinaryHeader, binary)
	}
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

// traced is h with the trace parent that came in the metadata of gRPC alone.
func traced(ctx context.Context, h channel.Header) channel.Header {
	if h.Has(tracing.ParentHeader) {
		return h
	}
	parent := ""
	if binary := metadata.ValueFromIncomingContext(ctx, tracing.BinaryHeader); len(binary) > 0 {
		parent, _ = textTrace(binary[0])
	} else if text := metadata.ValueFromIncomingContext(ctx, tracing.ParentHeader); len(text) > 0 {
		parent = text[0]
	}
	if parent == "" || parent == tracing.ZeroParent {
		return h
	}
	return h.With(tracing.ParentHeader, parent)
}

func binaryTrace(parent string) (string, bool) {
	if len(parent) != parentSize || parent[:3] != "00-" {
		return "", false
	}
	b := make([]byte, 2, binaryTraceSize)
	var ok1, ok2, ok3 bool
	b, ok1 = appendHex(b, parent[3:35])
	b, ok2 = appendHex(append(b, 1), parent[36:52])
	b, ok3 = appendHex(append(b, 2), parent[53:55])
	return string(b), ok1 && ok2 && ok3
}

func appendHex(dst []byte, s string) ([]byte, bool) {
	out, err := hex.AppendDecode(dst, []byte(s))
	return out, err == nil
}

func textTrace(binary string) (string, bool) {
	if len(binary) != binaryTraceSize || binary[:2] != "\x00\x00" || binary[18] != 1 || binary[27] != 2 {
		return "", false
	}
	b := append(make([]byte, 0, parentSize), "00-"...)
	b = append(hex.AppendEncode(b, []byte(binary[2:18])), '-')
	b = append(hex.AppendEncode(b, []byte(binary[19:27])), '-')
	return string(hex.AppendEncode(b, []byte(binary[28:]))), true
}
