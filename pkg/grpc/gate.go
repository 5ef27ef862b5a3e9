package grpc

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/proto/wire"
	"github.com/daprd/daprd/pkg/security"
	"github.com/daprd/daprd/pkg/tracing"
)

// workflowService is what workflow SDKs call beside the API. Dapr has it always, so it is never proxied.
const workflowService = "/TaskHubSidecarService/"

// gate is what every call passes, unary or stream, proxied or not: access list, token, span and trace headers,
// metrics, API log, and the end of panics. What is off costs nothing.
type gate struct {
	access *accessList
	// unserved maps full names of methods to the APIs that this sidecar does not have yet.
	unserved map[string]string
	token    security.Token
	// untraced is the trace header of a call that nobody traces, nil without trace headers.
	untraced metadata.MD
	tracer   *tracing.Tracer
	observer Observer
	log      logrus.FieldLogger
	apiLog   logrus.FieldLogger
}

func (g *gate) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	method := info.FullMethod
	ctx, err := g.admit(ctx, method)
	if err != nil {
		return nil, err
	}
	ctx, span, err := g.begin(ctx, method, req)
	if err != nil {
		return nil, err
	}
	if g.traces(method) {
		_ = grpc.SetHeader(ctx, g.traceHeader(ctx))
	}
	if span == nil && g.observer == nil && g.apiLog == nil {
		return g.call(ctx, req, method, next)
	}
	begun := time.Now()
	answer, err := g.call(ctx, req, method, next)
	elapsed := time.Since(begun)
	if g.observer != nil {
		g.observer.GRPCServed(method, status.Code(err), wire.Size(req), wire.Size(answer), elapsed)
	}
	g.write(ctx, method, err, elapsed)
	endSpan(span, err)
	return answer, err
}

func (g *gate) stream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	method := info.FullMethod
	ctx, err := g.admit(stream.Context(), method)
	if err != nil {
		return err
	}
	ctx, span, err := g.begin(ctx, method, nil)
	if err != nil {
		return err
	}
	if ctx != stream.Context() {
		stream = &admitted{ServerStream: stream, ctx: ctx}
	}
	if g.traces(method) {
		_ = stream.SetHeader(g.traceHeader(ctx))
	}
	begun := time.Now()
	err = g.relay(server, stream, method, next)
	g.write(ctx, method, err, time.Since(begun))
	endSpan(span, err)
	return err
}

// admitted is a stream with the context that the gate let pass.
type admitted struct {
	grpc.ServerStream
	ctx context.Context
}

func (a *admitted) Context() context.Context { return a.ctx }

// admit checks the access list, then the token, which goes no further.
func (g *gate) admit(ctx context.Context, method string) (context.Context, error) {
	if !g.access.allows(method) {
		return nil, refusal(notAllowed, "requested endpoint is not available")
	}
	if !g.token.Required() {
		return ctx, nil
	}
	md, ok := metadata.FromIncomingContext(ctx)
	if !ok {
		return nil, refusal(unauthorized, "missing metadata in request")
	}
	shown := md[apiTokenHeader]
	switch {
	case len(shown) == 0:
		return nil, refusal(unauthorized, "missing api token in request metadata")
	case !g.token.Matches(shown[0]):
		return nil, refusal(unauthorized, "authentication error: api token mismatch")
	}
	delete(md, apiTokenHeader)
	return metadata.NewIncomingContext(ctx, md), nil
}

// call makes the call of one message and makes a status of its error.
func (g *gate) call(ctx context.Context, req any, method string, next grpc.UnaryHandler) (answer any, err error) {
	defer g.settle(method, &err)
	if err := g.absent(method); err != nil {
		return nil, err
	}
	return next(ctx, req)
}

func (g *gate) relay(server any, stream grpc.ServerStream, method string, next grpc.StreamHandler) (err error) {
	defer g.settle(method, &err)
	if err := g.absent(method); err != nil {
		return err
	}
	return next(server, stream)
}

// absent is the answer of the APIs that have no block yet.
func (g *gate) absent(method string) error {
	if name, ok := g.unserved[method]; ok {
		return apierr.Unimplemented.New(name)
	}
	if strings.HasPrefix(method, workflowService) {
		return apierr.Unimplemented.New("workflow")
	}
	return nil
}

// settle is deferred: it makes a status of the error, or of a panic, which ends the call and nothing else.
func (g *gate) settle(method string, err *error) {
	if cause := recover(); cause != nil {
		g.log.Errorf("%s: panic: %v\n%s", method, cause, debug.Stack())
		*err = apierr.Uncategorised.New(fmt.Sprintf("the sidecar failed at this call: %v; its log has the details", cause))
	}
	if *err != nil {
		*err = statusError(*err)
	}
}

// write writes the line of the API log, in the form of Dapr 1.18.
func (g *gate) write(ctx context.Context, method string, err error, elapsed time.Duration) {
	if g.apiLog == nil {
		return
	}
	g.apiLog.WithFields(logrus.Fields{
		"method":    method,
		"useragent": first(metadata.ValueFromIncomingContext(ctx, "user-agent")),
		"duration":  elapsed.Milliseconds(),
		"code":      int(status.Code(err)),
	}).Info("gRPC API Called")
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// Observed tells observer of every unary call of a server.
func Observed(observer Observer) grpc.ServerOption {
	return grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		begun := time.Now()
		answer, err := next(ctx, req)
		observer.GRPCServed(info.FullMethod, status.Code(err), wire.Size(req), wire.Size(answer), time.Since(begun))
		return answer, err
	})
}
