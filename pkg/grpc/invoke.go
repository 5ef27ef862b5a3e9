package grpc

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/channel"
	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/tracing"
)

// Headers of an answer that describe what came from an HTTP application.
const (
	httpStatusHeader  = "dapr-http-status"
	contentTypeHeader = "dapr-content-type"
)

// errNoMessage is Dapr's text.
var errNoMessage = errors.New("message is nil")

// InvokeService brings the call to an application and its answer back.
func (h *handlers) InvokeService(ctx context.Context, req *runtimev1.InvokeServiceRequest) (*commonv1.InvokeResponse, error) {
	if req.GetMessage() == nil {
		return nil, apierr.Invoke.New(req.GetId(), errNoMessage)
	}
	origin := tracing.Incoming(ctx)
	res, err := h.blocks.Messaging.Invoke(ctx, req.GetId(), outgoing(ctx, origin, req.GetMessage()))
	if err != nil {
		return nil, err
	}
	defer res.Close()
	announce(ctx, res, origin)
	// What the answer borrows is gone when gRPC writes it.
	res.Message = strings.Clone(res.Message)
	if st := res.GRPCStatus(); st.Code() != codes.OK {
		return nil, st.Err()
	}
	data, err := h.whole(res.Body)
	if err != nil {
		return nil, err
	}
	return &commonv1.InvokeResponse{
		Data:        &anypb.Any{TypeUrl: strings.Clone(res.TypeURL), Value: data},
		ContentType: strings.Clone(res.ContentType),
	}, nil
}

func outgoing(ctx context.Context, origin string, message *commonv1.InvokeRequest) *channel.Request {
	call := &channel.Request{
		Method:      message.GetMethod(),
		Header:      incoming(ctx, origin),
		ContentType: message.GetContentType(),
		TypeURL:     message.GetData().GetTypeUrl(),
		Body:        channel.Body{Bytes: message.GetData().GetValue()},
	}
	if extension := message.GetHttpExtension(); extension != nil {
		call.Verb = verb(extension.GetVerb())
		call.Query = extension.GetQuerystring()
	}
	return call
}

// verb is the verb's name; a number that nobody knows is as good as none.
func verb(number commonv1.HTTPExtension_Verb) string {
	if name, ok := commonv1.HTTPExtension_Verb_name[int32(number)]; ok {
		return name
	}
	return commonv1.HTTPExtension_Verb_name[0]
}

// incoming are the caller's headers, all values. Of the two forms of the trace parent one goes on: the
// channel to the application makes the other.
func incoming(ctx context.Context, origin string) channel.Header {
	md, _ := metadata.FromIncomingContext(ctx)
	header := make(channel.Header, 0, len(md)+1)
	for name, values := range md {
		switch name {
		case "content-type", tracing.BinaryHeader, tracing.ParentHeader:
			continue
		}
		for _, value := range values {
			header = append(header, channel.Field{Name: name, Value: value})
		}
	}
	if origin != tracing.ZeroParent {
		header = header.With(tracing.ParentHeader, origin)
	}
	return header
}

// announce sets the headers of the answer and, for a gRPC application, its trailers.
func announce(ctx context.Context, res *channel.Response, origin string) {
	header := traced(fields(res.Header), origin)
	if res.IsHTTP() {
		header.Set(httpStatusHeader, strconv.Itoa(res.Status))
		if res.ContentType != "" {
			header.Set(contentTypeHeader, strings.Clone(res.ContentType))
		}
	} else {
		_ = grpc.SetTrailer(ctx, traced(fields(res.Trailer), origin))
	}
	if state := metadata.ValueFromIncomingContext(ctx, tracing.StateHeader); len(state) > 0 && len(header[tracing.StateHeader]) == 0 {
		header[tracing.StateHeader] = state
	}
	_ = grpc.SetHeader(ctx, header)
}

// fields are headers of an application as gRPC carries them: the permanent ones of HTTP with a prefix.
func fields(header channel.Header) metadata.MD {
	md := make(metadata.MD, len(header)+4)
	for _, f := range header {
		if name, ok := channel.GRPCName(f.Name); ok {
			name = strings.Clone(name)
			md[name] = append(md[name], strings.Clone(f.Value))
		}
	}
	return md
}

// traced has the trace parent in both of its forms: the one that the application named, else the caller's.
func traced(md metadata.MD, origin string) metadata.MD {
	if named := md[tracing.ParentHeader]; len(named) > 0 {
		if _, ok := tracing.Binary(named[0]); ok {
			origin = named[0]
		}
	}
	binary, _ := tracing.Binary(origin)
	md[tracing.ParentHeader] = []string{origin}
	md[tracing.BinaryHeader] = []string{binary}
	return md
}

// whole reads an answer's body, since it goes out as one message. One that is too large has gRPC's own words,
// which it would use itself a little later.
func (h *handlers) whole(body channel.Body) ([]byte, error) {
	data, err := body.Whole(h.limit)
	if large, ok := errors.AsType[*channel.SizeError](err); ok {
		return nil, status.Errorf(codes.ResourceExhausted, "trying to send message larger than max (%d vs. %d)", large.Size, large.Limit)
	}
	if err != nil {
		return nil, status.Errorf(codes.Internal, "read the application's answer: %s", err)
	}
	if body.Stream == nil {
		return bytes.Clone(data), nil
	}
	return data, nil
}
