package messaging

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

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

// spanned brings a call to the application, within a span of its own where spans are made.
func (c *Callee) spanned(ctx context.Context, app channel.App, req *channel.Request) (*channel.Response, error) {
	if !c.tracer.On() {
		return app.Invoke(ctx, req)
	}
	span := c.tracer.Start(tracing.Server, req.Header.Value(tracing.ParentHeader), req.Header.Value(tracing.StateHeader))
	within(req, span)
	span.Call(c.appID, req.Method)
	span.API(tracing.GRPC, callUnaryMethod)
	res, err := app.Invoke(ctx, req)
	switch {
	case err != nil:
		span.EndGRPC(status.Code(err), err.Error())
	case res.IsHTTP():
		span.EndHTTP(res.Status)
	default:
		span.EndGRPC(codes.Code(res.Status), res.Message)
	}
	return res, err
}

// within puts the span's context in the place of the caller's.
func within(req *channel.Request, span *tracing.Span) {
	req.Header = req.Header.Without(tracing.ParentHeader).Without(tracing.StateHeader).Without(tracing.BinaryHeader).
		With(tracing.ParentHeader, span.Parent())
	if state := span.State(); state != "" {
		req.Header = req.Header.With(tracing.StateHeader, state)
	}
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
