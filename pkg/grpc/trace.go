package grpc

import (
	"context"
	"strings"

	"google.golang.org/grpc/metadata"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/tracing"
)

// traces says whether answers of method get their trace header from the gate: those of the API do, but that
// of an invocation is made with its other headers, and a proxied one is the application's.
func (g *gate) traces(method string) bool {
	return g.untraced != nil && method != runtimev1.Dapr_InvokeService_FullMethodName && strings.HasPrefix(method, daprService)
}

// traceHeader is what an answer tells of the trace. The sidecar makes no spans: it is the caller's own, or
// the zero one.
func (g *gate) traceHeader(ctx context.Context) metadata.MD {
	origin := tracing.Incoming(ctx)
	if origin == tracing.ZeroParent {
		return g.untraced
	}
	return traceHeader(origin)
}

func zeroHeader() metadata.MD { return traceHeader(tracing.ZeroParent) }

func traceHeader(origin string) metadata.MD {
	binary, _ := tracing.Binary(origin)
	return metadata.MD{tracing.BinaryHeader: {binary}}
}
