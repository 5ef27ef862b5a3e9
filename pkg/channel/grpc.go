package channel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/proto/wire"
	"github.com/daprd/daprd/pkg/security"
	"github.com/daprd/daprd/pkg/tracing"
)

// grpcApp is an application that speaks gRPC: it serves AppCallback.
type grpcApp struct {
	conn  *grpc.ClientConn
	token security.Token
	limit int64
	// inputs are the bindings that the application takes.
	inputs inputList
}

func openGRPC(settings Settings, secure bool) (*grpcApp, error) {
	creds := insecure.NewCredentials()
	if secure {
		creds = credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
	}
	limit := settings.MaxBodySize
	if limit <= 0 || limit > math.MaxInt32 {
		limit = math.MaxInt32
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithConnectParams(reconnect()),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(wire.Codec{}),
			grpc.MaxCallRecvMsgSize(int(limit)),
			grpc.MaxCallSendMsgSize(math.MaxInt32)),
	}
	if settings.Observer != nil {
		options = append(options, grpc.WithUnaryInterceptor(observed(settings.Observer)))
	}
	conn, err := grpc.NewClient("passthrough:///"+settings.Address, options...)
	if err != nil {
		return nil, fmt.Errorf("open app channel to %s: %w", settings.Address, err)
	}
	return &grpcApp{conn: conn, token: settings.Token, limit: limit}, nil
}

// reconnect keeps the pauses short: the application is beside us, and while it is away each call fails at
// once with the reason.
func reconnect() grpc.ConnectParams {
	return grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
		MinConnectTimeout: 20 * time.Second,
	}
}

// Invoke calls AppCallback/OnInvoke. Whatever status comes, that of a connection that could not be made
// included, is the application's answer, as in Dapr; an error is only a call that was ended, and a body
// that could not be read or is too large.
func (a *grpcApp) Invoke(ctx context.Context, req *Request) (*Response, error) {
	data, err := a.whole(req.Body)
	if err != nil {
		return nil, err
	}
	var (
		in              = message(req, data)
		out             commonv1.InvokeResponse
		header, trailer metadata.MD
	)
	md := a.metadata(req, len(data))
	err = a.conn.Invoke(metadata.NewOutgoingContext(ctx, md), runtimev1.AppCallback_OnInvoke_FullMethodName,
		in, &out, grpc.Header(&header), grpc.Trailer(&trailer))
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	st := status.Convert(err)
	res := &Response{
		Status:      int(st.Code()),
		Message:     st.Message(),
		Header:      fieldsOf(header),
		Trailer:     fieldsOf(trailer),
		ContentType: out.GetContentType(),
		TypeURL:     out.GetData().GetTypeUrl(),
		Body:        Body{Bytes: out.GetData().GetValue()},
	}
	if p := st.Proto(); len(p.GetDetails()) > 0 {
		res.Details = p
	}
	return res, nil
}

// whole reads the body, since a gRPC application takes it as one message. A body that is too large has gRPC's
// own words.
func (a *grpcApp) whole(body Body) ([]byte, error) {
	data, err := body.Whole(a.limit)
	if large, ok := errors.AsType[*SizeError](err); ok {
		return nil, status.Errorf(codes.ResourceExhausted, "grpc: received message larger than max (%d vs. %d)", large.Size, large.Limit)
	}
	if err != nil {
		return nil, fmt.Errorf("read the request's body: %w", err)
	}
	return data, nil
}

func message(req *Request, data []byte) *commonv1.InvokeRequest {
	m := &commonv1.InvokeRequest{
		Method:      req.Method,
		Data:        &anypb.Any{TypeUrl: req.TypeURL, Value: data},
		ContentType: req.ContentType,
	}
	if req.Verb != "" {
		m.HttpExtension = &commonv1.HTTPExtension{
			Verb:        commonv1.HTTPExtension_Verb(commonv1.HTTPExtension_Verb_value[req.Verb]),
			Querystring: req.Query,
		}
	}
	return m
}

// metadata makes the headers of a call. Values of keys that end in -bin are raw bytes in a Header: what
// base64 they had between sidecars is gone, and gRPC writes its own.
func (a *grpcApp) metadata(req *Request, size int) metadata.MD {
	md := make(metadata.MD, len(req.Header)+4)
	for _, f := range req.Header {
		if name, ok := GRPCName(f.Name); ok {
			md[name] = append(md[name], f.Value)
		}
	}
	if req.Verb != "" && req.TypeURL == "" {
		describe(md, req, size)
	}
	trace(md)
	if a.token.Required() {
		md.Set(tokenHeader, a.token.Reveal())
	}
	return md
}

// describe says in metadata what an HTTP caller said of its body in headers.
func describe(md metadata.MD, req *Request, size int) {
	if req.ContentType != "" {
		md.Set(prefix+"content-type", req.ContentType)
	}
	if size > 0 || req.Verb == http.MethodPost || req.Verb == http.MethodPut || req.Verb == http.MethodPatch {
		md.Set(prefix+"content-length", strconv.Itoa(size))
	}
}

// trace gives a call that nobody traces the all-zero parent, and every call its parent in both forms.
func trace(md metadata.MD) {
	if len(md[tracing.ParentHeader]) == 0 {
		md.Set(tracing.ParentHeader, tracing.ZeroParent)
	}
	if len(md[tracing.BinaryHeader]) > 0 {
		return
	}
	if binary, ok := tracing.Binary(md[tracing.ParentHeader][0]); ok {
		md.Set(tracing.BinaryHeader, binary)
	}
}

// fieldsOf leaves the content type out: it is gRPC's own, the answer's is in its message.
func fieldsOf(md metadata.MD) Header {
	return sorted(md, func(name string) bool { return name == "content-type" })
}

// Configuration is empty: gRPC applications tell their settings otherwise.
func (a *grpcApp) Configuration(context.Context) (*AppConfiguration, error) {
	return &AppConfiguration{}, nil
}

// Close ends the connection; calls in flight fail.
func (a *grpcApp) Close() error { return a.conn.Close() }

// Conn is the connection for proxied calls.
func (a *grpcApp) Conn() grpc.ClientConnInterface { return proxied{conn: a.conn, token: a.token} }
