package channel

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/security"
)

// callbackApp is a gRPC application whose OnInvoke is a function of the test's.
type callbackApp struct {
	runtimev1.UnimplementedAppCallbackServer
	onInvoke func(ctx context.Context, in *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error)
}

func (a *callbackApp) OnInvoke(ctx context.Context, in *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
	return a.onInvoke(ctx, in)
}

func serveCallback(t *testing.T, onInvoke func(ctx context.Context, in *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	runtimev1.RegisterAppCallbackServer(server, &callbackApp{onInvoke: onInvoke})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return listener.Addr().String()
}

type grpcRecord struct {
	Name     string
	Request  recordedRequest
	Received struct {
		Metadata map[string][]string
		Message  []byte
	}
	Answer struct {
		Message []byte
		Code    int
		Text    string
	}
	Response *struct {
		Headers, Trailers map[string]struct{ Values []string }
		Message           struct {
			ContentType string
			Data        struct {
				Type string `json:"@type"`
			}
		}
		Status struct {
			Code    int
			Message string
		}
	}
	ResponseBody []byte
	Caller       *struct {
		StatusLine string `json:"status_line"`
		Headers    [][2]string
		Body       recordedBody
	}
}

func TestGRPCCaptures(t *testing.T) {
	var records []grpcRecord
	load(t, "grpc-app.json", &records)
	for _, record := range records {
		t.Run(record.Name, func(t *testing.T) {
			var md metadata.MD
			var message []byte
			address := serveCallback(t, func(ctx context.Context, in *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
				md, _ = metadata.FromIncomingContext(ctx)
				message, _ = proto.Marshal(in)
				if record.Answer.Code != 0 {
					return nil, status.Error(codes.Code(record.Answer.Code), record.Answer.Text)
				}
				_ = grpc.SetHeader(ctx, recordedHeader(record))
				out := &commonv1.InvokeResponse{}
				return out, proto.Unmarshal(record.Answer.Message, out)
			})
			res, err := openTest(t, Settings{Protocol: "grpc", Address: address}).Invoke(testContext(t), record.Request.request())
			if err != nil {
				t.Fatal(err)
			}
			defer res.Close()
			if string(message) != string(record.Received.Message) {
				t.Errorf("message %q, recorded %q", message, record.Received.Message)
			}
			compareMetadata(t, record, md, address)
			compareGRPCAnswer(t, record, res)
		})
	}
}

func recordedHeader(record grpcRecord) metadata.MD {
	md := metadata.MD{}
	for name, list := range record.Response.Headers {
		if name != "content-type" {
			md[name] = list.Values
		}
	}
	return md
}

func compareMetadata(t *testing.T, record grpcRecord, md metadata.MD, address string) {
	t.Helper()
	want := metadata.MD{}
	for name, values := range record.Received.Metadata {
		// What the gRPC library says of itself.
		if name == "user-agent" || name == "grpc-accept-encoding" {
			continue
		}
		for _, value := range values {
			if strings.HasSuffix(name, "-bin") {
				raw, err := base64.StdEncoding.DecodeString(value)
				if err != nil {
					t.Fatal(err)
				}
				value = string(raw)
			}
			want.Append(name, strings.ReplaceAll(value, "127.0.0.1:6000", address))
		}
	}
	got := md.Copy()
	for _, name := range []string{"user-agent", "grpc-accept-encoding"} {
		got.Delete(name)
	}
	// This library names its codec; the recorded one had none.
	got.Set("content-type", "application/grpc")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metadata (-recorded +sent):\n%s", diff)
	}
}

func compareGRPCAnswer(t *testing.T, record grpcRecord, res *Response) {
	t.Helper()
	want := record.Response
	if res.Status != want.Status.Code || res.Message != want.Status.Message || res.IsHTTP() {
		t.Errorf("status %d %q, recorded %d %q", res.Status, res.Message, want.Status.Code, want.Status.Message)
	}
	if res.ContentType != want.Message.ContentType || res.TypeURL != want.Message.Data.Type {
		t.Errorf("type %q %q, recorded %q %q", res.ContentType, res.TypeURL, want.Message.ContentType, want.Message.Data.Type)
	}
	if string(res.Body.Bytes) != string(record.ResponseBody) {
		t.Errorf("body %q, recorded %q", res.Body.Bytes, record.ResponseBody)
	}
	got := metadata.MD{}
	for _, f := range res.Header {
		got.Append(f.Name, f.Value)
	}
	if diff := cmp.Diff(recordedHeader(record), got); diff != "" {
		t.Errorf("headers (-recorded +given):\n%s", diff)
	}
	if record.Caller == nil {
		return
	}
	httpStatus, contentType, body := res.HTTPAnswer()
	if want := record.Caller.StatusLine; want != "HTTP/1.1 "+decimal(httpStatus)+" "+http.StatusText(httpStatus) {
		t.Errorf("status %d for HTTP callers, recorded %s", httpStatus, want)
	}
	// The recorded body of an error has protojson's random spaces, and the type was guessed from it.
	wantBody, wantType := record.Caller.Body.bytes(t), ""
	for _, h := range record.Caller.Headers {
		if h[0] == "Content-Type" {
			wantType = h[1]
		}
	}
	if httpStatus != 200 {
		wantBody, wantType = strings.ReplaceAll(wantBody, ", ", ","), "application/json"
	}
	if string(body.Bytes) != wantBody || contentType != wantType {
		t.Errorf("%q %q for HTTP callers, recorded %q %q", contentType, body.Bytes, wantType, wantBody)
	}
}

func TestGRPCMetadata(t *testing.T) {
	var got metadata.MD
	address := serveCallback(t, func(ctx context.Context, in *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
		got, _ = metadata.FromIncomingContext(ctx)
		_ = grpc.SetHeader(ctx, metadata.Pairs("x-multi", "1", "x-multi", "2", "raw-bin", "\x00\xff"))
		_ = grpc.SetTrailer(ctx, metadata.Pairs("x-trailer", "t"))
		return &commonv1.InvokeResponse{}, nil
	})
	channel := openTest(t, Settings{Protocol: "grpc", Address: address, Token: security.NewToken("s3cret")})
	res, err := channel.Invoke(testContext(t), &Request{Method: "m", Header: Header{
		{"Accept", "a"}, {"accept", "b"}, {"Cookie", "c=1"}, {"Connection", "close"}, {"te", "trailers"}, {"Te", "x"}, {":authority", "evil"},
		{"destination-app-id", "x"}, {"X-Rep", "1"}, {"x-rep", "2"}, {"raw-bin", "\x01\xfe"}, {"dapr-api-token", "forged"}, {"user-agent", "ua"},
		{"traceparent", "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01"}, {"grpc-timeout", "1n"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	want := map[string][]string{
		"dapr-accept": {"a"}, "accept": {"b"}, "dapr-cookie": {"c=1"}, "dapr-connection": {"close"}, "x-rep": {"1", "2"},
		"raw-bin": {"\x01\xfe"}, "dapr-api-token": {"s3cret"},
		"traceparent":    {"00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01"},
		"grpc-trace-bin": {"\x00\x00" + strings.Repeat("\xaa", 16) + "\x01" + strings.Repeat("\xbb", 8) + "\x02\x01"},
		":authority":     {address},
	}
	for name := range got {
		if slices.Contains([]string{"user-agent", "content-type", "grpc-accept-encoding"}, name) {
			delete(got, name)
		}
	}
	if diff := cmp.Diff(metadata.MD(want), got); diff != "" {
		t.Errorf("metadata (-want +sent):\n%s", diff)
	}
	if diff := cmp.Diff(Header{{"raw-bin", "\x00\xff"}, {"x-multi", "1"}, {"x-multi", "2"}}, res.Header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Header{{"x-trailer", "t"}}, res.Trailer); diff != "" {
		t.Errorf("trailer (-want +got):\n%s", diff)
	}
}

func TestGRPCDetails(t *testing.T) {
	address := serveCallback(t, func(context.Context, *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
		st, err := status.New(codes.FailedPrecondition, "not yet").WithDetails(&errdetails.ErrorInfo{Reason: "R"})
		if err != nil {
			return nil, err
		}
		return nil, st.Err()
	})
	res, err := openTest(t, Settings{Protocol: "grpc", Address: address}).Invoke(testContext(t), &Request{Method: "m"})
	if err != nil {
		t.Fatal(err)
	}
	st := res.GRPCStatus()
	if st.Code() != codes.FailedPrecondition || st.Message() != "not yet" || len(st.Details()) != 1 {
		t.Errorf("got %v with %v", st, st.Details())
	}
	_, _, body := res.HTTPAnswer()
	want := `{"code":9,"message":"not yet","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"R"}]}`
	if string(body.Bytes) != want {
		t.Errorf("got %s, want %s", body.Bytes, want)
	}
	res.Details.Details = []*anypb.Any{{TypeUrl: "nobody.knows/this", Value: []byte{1}}}
	if _, _, body := res.HTTPAnswer(); string(body.Bytes) != `{"code":9,"message":"not yet"}` {
		t.Errorf("with a detail of unknown type: %s", body.Bytes)
	}
}

func TestGRPCBodies(t *testing.T) {
	address := serveCallback(t, func(_ context.Context, in *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
		if in.GetMethod() == "huge" {
			return &commonv1.InvokeResponse{Data: &anypb.Any{Value: make([]byte, 2000)}}, nil
		}
		return &commonv1.InvokeResponse{Data: in.GetData()}, nil
	})
	channel := openTest(t, Settings{Protocol: "grpc", Address: address, MaxBodySize: 1000})
	cases := []struct {
		name string
		body Body
		size int
		err  string
	}{
		{"bytes", Body{Bytes: pattern(500)}, 500, ""},
		{"stream", Body{Stream: oneByte{strings.NewReader(string(pattern(500)))}, Length: -1}, 500, ""},
		{"measured stream", Body{Stream: strings.NewReader(string(pattern(500))), Length: 500}, 500, ""},
		{"bytes over the limit", Body{Bytes: pattern(1001)}, 0, "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (1001 vs. 1000)"},
		{"stream over the limit", Body{Stream: endless{}, Length: -1}, 0, "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (1001 vs. 1000)"},
		{"a broken stream", Body{Stream: failing{errTooLarge}, Length: -1}, 0, "read the request's body: stream too large"},
		{"a stream shorter than said", Body{Stream: strings.NewReader("abc"), Length: 10}, 0, "read the request's body: unexpected EOF"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			res, err := channel.Invoke(testContext(t), &Request{Method: "m", Body: c.body})
			if c.err != "" {
				if err == nil || err.Error() != c.err {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || res.Status != 0 {
				t.Fatal(err, res)
			}
			if len(res.Body.Bytes) != c.size || !samePattern(res.Body.Bytes) {
				t.Errorf("got %d bytes", len(res.Body.Bytes))
			}
		})
	}
	res, err := channel.Invoke(testContext(t), &Request{Method: "huge"})
	if err != nil || codes.Code(res.Status) != codes.ResourceExhausted {
		t.Errorf("an answer over the limit: %+v, %v", res, err)
	}
}

func TestGRPCAppAway(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	channel := openTest(t, Settings{Protocol: "grpc", Address: address})
	res, err := channel.Invoke(testContext(t), &Request{Method: "m"})
	if err != nil {
		t.Fatal(err)
	}
	want := `connection error: desc = "transport: Error while dialing: dial tcp ` + address + `: connect: connection refused"`
	if codes.Code(res.Status) != codes.Unavailable || res.Message != want {
		t.Errorf("got %d %s, want %s", res.Status, res.Message, want)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := channel.Invoke(ctx, &Request{Method: "m"}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled call: %v", err)
	}
}

func TestProxiedCalls(t *testing.T) {
	var got metadata.MD
	address := serveCallback(t, func(ctx context.Context, in *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
		got, _ = metadata.FromIncomingContext(ctx)
		return &commonv1.InvokeResponse{ContentType: "x"}, nil
	})
	ctx := metadata.AppendToOutgoingContext(testContext(t), "dapr-api-token", "forged", "x", "1")
	call := func(app App) error {
		out := &commonv1.InvokeResponse{}
		return Conn(app).Invoke(ctx, runtimev1.AppCallback_OnInvoke_FullMethodName, &commonv1.InvokeRequest{Method: "m"}, out)
	}
	for _, c := range []struct {
		name  string
		token security.Token
		want  []string
	}{{"with a token", security.NewToken("s3cret"), []string{"s3cret"}}, {"without", security.Token{}, nil}} {
		t.Run(c.name, func(t *testing.T) {
			app := openTest(t, Settings{Protocol: "grpc", Address: address, Token: c.token, MaxConcurrency: 1})
			if err := call(app); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got.Get("dapr-api-token")); diff != "" || got.Get("x")[0] != "1" {
				t.Errorf("%s %v", diff, got)
			}
			stream, err := Conn(app).NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, runtimev1.AppCallback_OnInvoke_FullMethodName)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(stream.SendMsg(&commonv1.InvokeRequest{}), stream.CloseSend(), stream.RecvMsg(&commonv1.InvokeResponse{})); err != nil {
				t.Fatal(err)
			}
			if err := stream.RecvMsg(&commonv1.InvokeResponse{}); err != io.EOF {
				t.Errorf("end of the stream: %v", err)
			}
			if diff := cmp.Diff(c.want, got.Get("dapr-api-token")); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, protocol := range []string{"http", "https", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			err := call(openTest(t, Settings{Protocol: protocol, Address: address}))
			if status.Code(err) != codes.Unavailable || !strings.HasPrefix(status.Convert(err).Message(), "connection error: desc = ") {
				t.Errorf("got %v", err)
			}
		})
	}
}
