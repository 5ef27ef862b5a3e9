package messaging

import (
	"context"
	"encoding/base64"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/tracing"
)

// The two forms as captured from Dapr 1.18.
const (
	capturedParent = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01"
	capturedBinary = "AACqqqqqqqqqqqqqqqqqqqqqAbu7u7u7u7u7AgE="
)

func binaryOf(t *testing.T) string {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(capturedBinary)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestTraceLeaves(t *testing.T) {
	ctx := withTrace(context.Background(), channel.Header{{Name: "Traceparent", Value: capturedParent}})
	md, _ := metadata.FromOutgoingContext(ctx)
	if md.Get(tracing.ParentHeader)[0] != capturedParent || md.Get(tracing.BinaryHeader)[0] != binaryOf(t) {
		t.Errorf("metadata %q", md)
	}
	for _, parent := range []string{"", tracing.ZeroParent} {
		if _, ok := metadata.FromOutgoingContext(withTrace(context.Background(), channel.Header{{Name: "traceparent", Value: parent}})); ok {
			t.Errorf("%q: metadata", parent)
		}
	}
}

func TestTraceArrives(t *testing.T) {
	mine := channel.Header{{Name: "Traceparent", Value: "mine"}}
	for _, test := range []struct {
		name string
		md   metadata.MD
		h    channel.Header
		want string
	}{
		{"binary", metadata.Pairs(tracing.BinaryHeader, binaryOf(t)), nil, capturedParent},
		{"text", metadata.Pairs(tracing.ParentHeader, capturedParent), nil, capturedParent},
		{"in the call itself", metadata.Pairs(tracing.ParentHeader, capturedParent), mine, "mine"},
		{"none", nil, nil, ""},
		{"all zero", metadata.Pairs(tracing.ParentHeader, tracing.ZeroParent), nil, ""},
		{"not a trace", metadata.Pairs(tracing.BinaryHeader, "xyz"), nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := traced(metadata.NewIncomingContext(context.Background(), test.md), test.h)
			if got.Value(tracing.ParentHeader) != test.want {
				t.Errorf("got %q", got)
			}
		})
	}
}
