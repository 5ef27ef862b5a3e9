package grpc

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/tracing"
)

// traces says whether answers of method get their trace header from the gate: those of the API do, but that
// of an invocation is made with its other headers, and a proxied one is the application's.
func (g *gate) traces(method string) bool {
	return g.untraced != nil && method != runtimev1.Dapr_InvokeService_FullMethodName && strings.HasPrefix(method, daprService)
}

// traceHeader is what an answer tells of the trace: the context of the call's span, or where none is made the caller's
// own, or the zero one.
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

// begin begins the span of a call of the API, and refuses baggage that cannot be read. req is nil for streams.
func (g *gate) begin(ctx context.Context, method string, req any) (context.Context, *tracing.Span, error) {
	if g.untraced == nil {
		return ctx, nil, nil
	}
	if baggage := baggage(ctx); baggage != "" {
		if err := tracing.CheckBaggage(baggage); err != nil {
			return nil, nil, status.Errorf(codes.InvalidArgument, "invalid baggage header: %v", err)
		}
		if strings.HasPrefix(method, daprService) {
			_ = grpc.SetHeader(ctx, metadata.MD{tracing.BaggageHeader: {baggage}})
		}
	}
	if !g.tracer.On() {
		return ctx, nil, nil
	}
	ctx, span := within(ctx, g.tracer, tracing.Client, method)
	if span.Recording() {
		describe(span, method, req)
	}
	return ctx, span, nil
}

// baggage is the caller's, all values of it.
func baggage(ctx context.Context) string {
	return strings.Join(metadata.ValueFromIncomingContext(ctx, tracing.BaggageHeader), ",")
}

// within begins the span of a call. The span's context takes the place of the caller's in the metadata, so that
// everything that is made of them is within the span. tracer makes spans.
func within(ctx context.Context, tracer *tracing.Tracer, kind tracing.Kind, method string) (context.Context, *tracing.Span) {
	md, _ := metadata.FromIncomingContext(ctx) // a copy
	if md == nil {
		md = metadata.MD{}
	}
	span := tracer.Start(kind, tracing.Incoming(ctx), strings.Join(md[tracing.StateHeader], ","))
	md[tracing.ParentHeader] = []string{span.Parent()}
	delete(md, tracing.StateHeader)
	if state := span.State(); state != "" {
		md[tracing.StateHeader] = []string{state}
	}
	// Proxied calls go on with their metadata; all others are told the text form.
	delete(md, tracing.BinaryHeader)
	if !strings.HasPrefix(method, daprService) {
		md[tracing.BinaryHeader] = traceHeader(span.Parent())[tracing.BinaryHeader]
	}
	if span.Recording() {
		span.Name(method)
		span.API(tracing.GRPC, method)
		service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
		span.RPC(service, name)
		span.Headers(func(yield func(name, value string) bool) {
			for name, values := range md {
				if len(values) > 0 && !yield(name, values[0]) {
					return
				}
			}
		})
	}
	return metadata.NewIncomingContext(ctx, md), span
}

// spanned serves the proxied calls of other sidecars, each in a span of its own where spans are made.
func spanned(tracer *tracing.Tracer, serve grpc.StreamHandler) grpc.StreamHandler {
	return func(server any, stream grpc.ServerStream) error {
		if !tracer.On() {
			return serve(server, stream)
		}
		method, _ := grpc.MethodFromServerStream(stream)
		ctx, span := within(stream.Context(), tracer, tracing.Server, method)
		err := serve(server, &admitted{ServerStream: stream, ctx: ctx})
		endSpan(span, err)
		return err
	}
}

// describe tells of a call of the API what it is about; a proxied one tells nothing but its target.
func describe(span *tracing.Span, method string, req any) {
	name, ok := strings.CutPrefix(method, daprService)
	if !ok {
		return
	}
	span.RPC("Dapr", name)
	switch r := req.(type) {
	case *runtimev1.InvokeServiceRequest:
		span.RPC("ServiceInvocation", name)
		span.Set("dapr.invoke_method", r.GetMessage().GetMethod())
		span.Set("net.peer.name", r.GetId())
	case *runtimev1.InvokeActorRequest:
		span.Actor(r.GetActorType(), r.GetActorId(), r.GetMethod())
	case *runtimev1.InvokeBindingRequest:
		span.Operation(tracing.Bindings, r.GetName(), name)
	case *runtimev1.PublishEventRequest, *runtimev1.BulkPublishRequest:
		span.Topic(req.(interface{ GetTopic() string }).GetTopic(), "send")
	case *runtimev1.GetSecretRequest, *runtimev1.GetBulkSecretRequest:
		span.Operation(tracing.Secrets, req.(stored).GetStoreName(), name)
	case stored:
		if strings.Contains(name, "State") {
			span.Operation(tracing.State, r.GetStoreName(), name)
		}
	}
}

// stored is a request that names a store.
type stored interface{ GetStoreName() string }

// endSpan ends the span with what a handler returned.
func endSpan(span *tracing.Span, err error) {
	if span.Recording() {
		st := status.Convert(err)
		span.EndGRPC(st.Code(), st.Message())
	}
}
