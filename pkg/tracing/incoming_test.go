package tracing_test

import (
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/daprd/daprd/pkg/tracing"
)

func TestIncoming(t *testing.T) {
	const text, other = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	binary, _ := tracing.Binary(other)
	for name, test := range map[string]struct {
		came metadata.MD
		want string
	}{
		"nothing":           {nil, tracing.ZeroParent},
		"text":              {metadata.Pairs(tracing.ParentHeader, text), text},
		"no parent":         {metadata.Pairs(tracing.ParentHeader, "yes"), tracing.ZeroParent},
		"binary":            {metadata.Pairs(tracing.BinaryHeader, binary), other},
		"both":              {metadata.Pairs(tracing.ParentHeader, text, tracing.BinaryHeader, binary), other},
		"unreadable binary": {metadata.Pairs(tracing.ParentHeader, text, tracing.BinaryHeader, "x"), tracing.ZeroParent},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tracing.Incoming(metadata.NewIncomingContext(t.Context(), test.came)); got != test.want {
				t.Errorf("Incoming = %q, want %q", got, test.want)
			}
		})
	}
}
