package grpc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	googlegrpc "google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/daprd/daprd/pkg/channel"
	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/tracing"
)

// appFunc is an application in the test's own process.
type appFunc func(ctx context.Context, req *channel.Request) (*channel.Response, error)

// invoked is an application that takes invocations only.
type invoked struct {
	channel.App
	appFunc
}

func (i invoked) Invoke(ctx context.Context, req *channel.Request) (*channel.Response, error) {
	return i.appFunc(ctx, req)
}
func (i invoked) Close() error { return nil }

func withApp(app appFunc) func(*sidecar) {
	return func(s *sidecar) { s.app.Fill(invoked{appFunc: app}) }
}

func TestInvokeReachesApp(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	binary, _ := tracing.Binary(parent)
	var got channel.Request
	s := start(t, withApp(func(_ context.Context, req *channel.Request) (*channel.Response, error) {
		got = *req
		got.Body = channel.Body{Bytes: bytes.Clone(req.Body.Bytes)}
		return &channel.Response{Status: 200}, nil
	}))
	for name, test := range map[string]struct {
		message *commonv1.InvokeRequest
		sent    []string
		verb    string
		query   string
		fields  map[string][]string
	}{
		"all": {
			&commonv1.InvokeRequest{Method: "/a//b/../c", ContentType: "text/plain", Data: &anypb.Any{TypeUrl: "t/x", Value: []byte("v")},
				HttpExtension: &commonv1.HTTPExtension{Verb: commonv1.HTTPExtension_PATCH, Querystring: "q=1&q=2"}},
			[]string{"x-a", "1", "x-a", "2", "x-bin", "\x00\xff", "cookie", "c=1"}, "PATCH", "q=1&q=2",
			map[string][]string{"x-a": {"1", "2"}, "x-bin": {"\x00\xff"}, "cookie": {"c=1"}},
		},
		"no extension": {&commonv1.InvokeRequest{Method: "m"}, nil, "", "", nil},
		"no verb":      {&commonv1.InvokeRequest{Method: "m", HttpExtension: &commonv1.HTTPExtension{}}, nil, "NONE", "", nil},
		"unknown verb": {&commonv1.InvokeRequest{Method: "m", HttpExtension: &commonv1.HTTPExtension{Verb: 99}}, nil, "NONE", "", nil},
		"trace":        {&commonv1.InvokeRequest{Method: "m"}, []string{"traceparent", parent, "tracestate", "a=b"}, "", "", map[string][]string{"traceparent": {parent}, "tracestate": {"a=b"}}},
		"binary trace": {&commonv1.InvokeRequest{Method: "m"}, []string{"traceparent", "00-x", "grpc-trace-bin", binary}, "", "", map[string][]string{"traceparent": {parent}}},
		"bad trace":    {&commonv1.InvokeRequest{Method: "m"}, []string{"traceparent", parent, "grpc-trace-bin", "x"}, "", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := metadata.AppendToOutgoingContext(t.Context(), test.sent...)
			var header metadata.MD
			_, err := s.InvokeService(ctx, &runtimev1.InvokeServiceRequest{Id: "myapp", Message: test.message}, googlegrpc.Header(&header))
			if err != nil {
				t.Fatal(err)
			}
			fields := map[string][]string{}
			for _, f := range got.Header {
				switch f.Name {
				case ":authority", "user-agent", "grpc-accept-encoding":
				default:
					fields[f.Name] = append(fields[f.Name], f.Value)
				}
			}
			if test.fields == nil {
				test.fields = map[string][]string{}
			}
			if diff := cmp.Diff(test.fields, fields); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
			method := test.message.GetMethod()
			if name == "all" {
				method = "a/c"
			}
			if got.Method != method || got.Verb != test.verb || got.Query != test.query || got.ContentType != test.message.GetContentType() ||
				got.TypeURL != test.message.GetData().GetTypeUrl() || string(got.Body.Bytes) != string(test.message.GetData().GetValue()) {
				t.Errorf("the app got %+v", got)
			}
			want := tracing.ZeroParent
			if sent := test.fields["traceparent"]; sent != nil {
				want = sent[0]
			}
			if diff := cmp.Diff([]string{want}, header["traceparent"]); diff != "" {
				t.Errorf("traceparent of the answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestInvokeAnswers(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	var answer *channel.Response
	s := start(t, withApp(func(context.Context, *channel.Request) (*channel.Response, error) { return answer, nil }))
	reader := func(text string) io.Reader { return io.MultiReader(strings.NewReader(text), strings.NewReader("!")) }
	for name, test := range map[string]struct {
		answer          channel.Response
		body            string
		typeURL         string
		header, trailer metadata.MD
	}{
		"http": {
			channel.Response{Status: 201, ContentType: "text/plain", Body: channel.Body{Bytes: []byte("hi")},
				Header: channel.Header{{Name: "Date", Value: "today"}, {Name: "X-Rep", Value: "1"}, {Name: "X-Rep", Value: "2"}, {Name: "date", Value: "lower"}}},
			"hi", "", metadata.MD{"dapr-http-status": {"201"}, "dapr-content-type": {"text/plain"}, "dapr-date": {"today"},
				"date": {"lower"}, "x-rep": {"1", "2"}, "traceparent": {tracing.ZeroParent}}, nil,
		},
		"streamed": {
			channel.Response{Status: 200, Body: channel.Body{Stream: reader("chunk"), Length: -1}},
			"chunk!", "", metadata.MD{"dapr-http-status": {"200"}, "traceparent": {tracing.ZeroParent}}, nil,
		},
		"the app's own trace": {
			channel.Response{Status: 204, Header: channel.Header{{Name: "Traceparent", Value: parent}}},
			"", "", metadata.MD{"dapr-http-status": {"204"}, "traceparent": {parent}}, nil,
		},
		"grpc": {
			channel.Response{Status: 0, TypeURL: "t/x", ContentType: "text/plain", Body: channel.Body{Bytes: []byte("hi")},
				Header: channel.Header{{Name: "x-h", Value: "1"}}, Trailer: channel.Header{{Name: "x-t", Value: "2"}, {Name: "x-bin", Value: "\x01"}}},
			"hi", "t/x", metadata.MD{"x-h": {"1"}, "traceparent": {tracing.ZeroParent}},
			metadata.MD{"x-t": {"2"}, "x-bin": {"\x01"}, "traceparent": {tracing.ZeroParent}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			released := make(chan struct{})
			response := test.answer
			response.Release = func() { close(released) }
			answer = &response
			var header, trailer metadata.MD
			got, err := s.InvokeService(t.Context(), &runtimev1.InvokeServiceRequest{Id: "myapp", Message: &commonv1.InvokeRequest{Method: "m"}},
				googlegrpc.Header(&header), googlegrpc.Trailer(&trailer))
			if err != nil {
				t.Fatal(err)
			}
			<-released
			want := &commonv1.InvokeResponse{Data: &anypb.Any{TypeUrl: test.typeURL, Value: []byte(test.body)}, ContentType: test.answer.ContentType}
			if !proto.Equal(want, got) {
				t.Errorf("answered %v, want %v", got, want)
			}
			for _, md := range []metadata.MD{header, trailer} {
				delete(md, "content-type")
				delete(md, "grpc-trace-bin")
			}
			if diff := cmp.Diff(test.header, header); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
			if len(test.trailer)+len(trailer) > 0 {
				if diff := cmp.Diff(test.trailer, trailer); diff != "" {
					t.Errorf("trailer (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestInvokeFailures(t *testing.T) {
	broken := errors.New("the app hung up")
	s := start(t, func(s *sidecar) {
		s.config.MaxBodySize = 1 << 10
		s.app.Fill(invoked{appFunc: func(_ context.Context, req *channel.Request) (*channel.Response, error) {
			switch req.Method {
			case "error":
				return nil, broken
			case "cut":
				return &channel.Response{Status: 200, Body: channel.Body{Stream: io.MultiReader(strings.NewReader("x"), failing{broken}), Length: -1}}, nil
			case "large":
				return &channel.Response{Status: 200, Body: channel.Body{Bytes: make([]byte, 1025)}}, nil
			case "stream":
				return &channel.Response{Status: 200, Body: channel.Body{Stream: strings.NewReader(strings.Repeat("x", 5000)), Length: -1}}, nil
			case "found":
				return &channel.Response{Status: 302, Body: channel.Body{Bytes: bytes.Repeat([]byte("0123456789"), 10)}}, nil
			}
			return &channel.Response{Status: int(codes.Aborted), Message: "lost"}, nil
		}})
	})
	message := func(method string) *commonv1.InvokeRequest { return &commonv1.InvokeRequest{Method: method} }
	for name, test := range map[string]struct {
		id      string
		message *commonv1.InvokeRequest
		code    codes.Code
		text    string
		details []any
	}{
		"no message": {"myapp", nil, codes.Internal, "failed to invoke, id: myapp, err: message is nil", nil},
		"bad method": {"myapp", message("a?b"), codes.Internal,
			`failed to invoke, id: myapp, err: rpc error: code = InvalidArgument desc = invalid method: method contains forbidden character: "a?b"`, nil},
		"no id":      {"", message("m"), codes.Internal, "failed to invoke, id: , err: app id is empty", nil},
		"bad id":     {"a.b.c", message("m"), codes.Internal, "failed to invoke, id: a.b.c, err: invalid app id a.b.c", nil},
		"unknown id": {"nobody", message("m"), codes.Internal, "failed to invoke, id: nobody, err: no host found with the given ID", nil},
		"app error":  {"myapp", message("error"), codes.Internal, "failed to invoke, id: myapp, err: the app hung up", nil},
		"cut body":   {"myapp", message("cut"), codes.Internal, "read the application's answer: the app hung up", nil},
		"large body": {"myapp", message("large"), codes.ResourceExhausted, "trying to send message larger than max (1025 vs. 1024)", nil},
		"large stream": {"myapp", message("stream"), codes.ResourceExhausted,
			"trying to send message larger than max (1025 vs. 1024)", nil},
		"grpc status": {"myapp", message("m"), codes.Aborted, "lost", nil},
		"http status": {"myapp", message("found"), codes.Unknown, "Found", []any{&errdetails.ErrorInfo{Reason: "Found", Domain: "dapr.io",
			Metadata: map[string]string{"http.code": "302", "http.error_message": "012345678901234567890123456789012345678901234567890123456789012"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.InvokeService(t.Context(), &runtimev1.InvokeServiceRequest{Id: test.id, Message: test.message})
			failedWith(t, err, test.code, test.text, test.details...)
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestInvokeBeforeApp(t *testing.T) {
	s := start(t, nil)
	_, err := s.InvokeService(t.Context(), &runtimev1.InvokeServiceRequest{Id: "myapp", Message: &commonv1.InvokeRequest{Method: "m"}})
	failedWith(t, err, codes.Internal, "failed to invoke, id: myapp, err: cannot invoke local endpoint: app channel not initialized")
}

func TestInvokeIsCancelled(t *testing.T) {
	arrived, seen := make(chan struct{}), make(chan error, 1)
	s := start(t, withApp(func(ctx context.Context, _ *channel.Request) (*channel.Response, error) {
		close(arrived)
		<-ctx.Done()
		seen <- ctx.Err()
		return nil, ctx.Err()
	}))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, _ = s.InvokeService(ctx, &runtimev1.InvokeServiceRequest{Id: "myapp", Message: &commonv1.InvokeRequest{Method: "m"}})
	if err := <-seen; !errors.Is(err, context.Canceled) {
		t.Errorf("the app saw %v", err)
	}
}
