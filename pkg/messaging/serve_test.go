package messaging_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/messaging"
	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	internalsv1 "github.com/daprd/daprd/pkg/proto/internals/v1"
)

// daprClient speaks to a callee as another implementation would, with generated code.
func daprClient(t testing.TB, c *callee) internalsv1.ServiceInvocationClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+c.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return internalsv1.NewServiceInvocationClient(conn)
}

func internalRequest(method string) *internalsv1.InternalInvokeRequest {
	return &internalsv1.InternalInvokeRequest{
		Ver: internalsv1.APIVersion_V1,
		Message: &commonv1.InvokeRequest{
			Method: method, HttpExtension: &commonv1.HTTPExtension{Verb: commonv1.HTTPExtension_POST},
		},
	}
}

func payload(seq uint64, data string) *commonv1.StreamPayload {
	return &commonv1.StreamPayload{Seq: seq, Data: []byte(data)}
}

func TestCallLocalStreamChecks(t *testing.T) {
	type messages = []*internalsv1.InternalInvokeRequestStream
	withHeader := func(name string, values ...string) *internalsv1.InternalInvokeRequest {
		r := internalRequest("m")
		r.Metadata = map[string]*internalsv1.ListStringValue{name: {Values: values}}
		return r
	}
	old := internalRequest("m")
	old.Ver = 0
	for _, test := range []struct {
		name string
		send messages
		code codes.Code
		want string // of the error, or the body
	}{
		{"whole", messages{{Request: internalRequest("m"), Payload: payload(0, "hello")}}, 0, "hello"},
		{"in pieces", messages{{Request: internalRequest("m"), Payload: payload(0, "a")}, {Payload: payload(1, "b")}, {Payload: payload(2, "c")}}, 0, "abc"},
		{"head alone, then pieces", messages{{Request: internalRequest("m")}, {Payload: payload(0, "a")}, {Payload: payload(1, "b")}}, 0, "ab"},
		{"empty request in a later piece", messages{{Request: internalRequest("m")}, {Request: &internalsv1.InternalInvokeRequest{}, Payload: payload(0, "a")}}, 0, "a"},
		{"measured", messages{{Request: withHeader("Content-Length", "2"), Payload: payload(0, "ab")}}, 0, "ab"},
		{"length of gRPC's framing", messages{{Request: withHeader("content-length", "77"), Payload: payload(0, "ab")}}, 0, "ab"},
		{"longer than measured", messages{{Request: withHeader("Content-Length", "1"), Payload: payload(0, "ab")}}, codes.InvalidArgument, "the body is longer than its Content-Length"},
		{"shorter than measured", messages{{Request: withHeader("Content-Length", "5"), Payload: payload(0, "ab")}}, codes.Internal, "error invoking app channel: unexpected EOF"},
		{"nothing", nil, codes.InvalidArgument, "parsing InternalInvokeRequest error: request does not contain the required fields in the leading chunk"},
		{"payload first", messages{{Payload: payload(0, "a")}}, codes.InvalidArgument, "parsing InternalInvokeRequest error: request does not contain the required fields in the leading chunk"},
		{"no message", messages{{Request: &internalsv1.InternalInvokeRequest{Ver: 1}}}, codes.InvalidArgument, "parsing InternalInvokeRequest error: request does not contain the required fields in the leading chunk"},
		{"gap in the sequence", messages{{Request: internalRequest("m"), Payload: payload(0, "a")}, {Payload: payload(2, "b")}}, codes.Internal, "error invoking app channel: rpc error: code = InvalidArgument desc = invalid sequence number received: 2 (expected: 1)"},
		{"late request", messages{{Request: internalRequest("m"), Payload: payload(0, "a")}, {Request: internalRequest("m")}}, codes.Internal, "error invoking app channel: rpc error: code = InvalidArgument desc = request metadata found in non-leading chunk"},
		{"method", messages{{Request: internalRequest("a?b")}}, codes.InvalidArgument, `invalid method: method contains forbidden character: "a?b"`},
		{"version", messages{{Request: old}}, codes.Unimplemented, "Unsupported spec version: 0"},
		{"for another app", messages{{Request: withHeader("destination-app-id", "other")}}, codes.Unavailable, "the sidecar at this address is that of callee, not of other: the caller's address of it is out of date"},
		{"for this app, among others", messages{{Request: withHeader("destination-app-id", "other", "callee")}}, 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := daprClient(t, startCallee(t, "callee", serving(echo)))
			stream, err := client.CallLocalStream(within(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range test.send {
				if err := stream.Send(m); err != nil && err != io.EOF {
					t.Fatal(err)
				}
			}
			_ = stream.CloseSend()
			var body strings.Builder
			for seq := uint64(0); ; {
				m, err := stream.Recv()
				if err != nil {
					if err != io.EOF && (status.Code(err) != test.code || status.Convert(err).Message() != test.want) {
						t.Errorf("error %v", err)
					}
					if err == io.EOF && (test.code != 0 || body.String() != test.want) {
						t.Errorf("answer %q", body.String())
					}
					return
				}
				if p := m.GetPayload(); p != nil {
					if p.Seq != seq {
						t.Errorf("sequence %d, want %d", p.Seq, seq)
					}
					seq++
					body.Write(p.Data)
				}
			}
		})
	}
}

func TestCallLocal(t *testing.T) {
	client := daprClient(t, startCallee(t, "callee", serving(echo)))
	req := internalRequest("m")
	req.Message.Data = dataOf(strings.Repeat("x", 200_000))
	res, err := client.CallLocal(within(t), req)
	if err != nil {
		t.Fatal(err)
	}
	if res.Status.Code != 200 || len(res.Message.Data.Value) != 200_000 {
		t.Errorf("answer %v, %d bytes", res.Status, len(res.Message.Data.GetValue()))
	}
	_, err = client.CallLocal(within(t), &internalsv1.InternalInvokeRequest{Ver: 1})
	if got := status.Convert(err); got.Code() != codes.InvalidArgument || got.Message() != "parsing InternalInvokeRequest error: field Message is nil" {
		t.Errorf("error %v", err)
	}
}

func TestCalleeWithoutApp(t *testing.T) {
	peer := startCallee(t, "callee", nil)
	c := newCaller(t, map[string][]string{"callee": {peer.address}})
	_, err := c.Invoke(within(t), "callee", post("m", nil))
	if want := "failed to invoke, id: callee, err: rpc error: code = Internal desc = app channel is not initialized"; err == nil || err.Error() != want {
		t.Errorf("error %v", err)
	}
}

func TestWorkflowsAnswerUnimplemented(t *testing.T) {
	client := daprClient(t, startCallee(t, "callee", serving(echo)))
	stream, err := client.CallActorStream(within(t), internalRequest("m"))
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "does not have workflows yet") {
		t.Errorf("CallActorStream: %v", err)
	}
}

// answering is a sidecar that answers with given messages.
type answering struct {
	internalsv1.UnimplementedServiceInvocationServer
	messages []*internalsv1.InternalInvokeResponseStream
}

func (a *answering) CallLocalStream(stream internalsv1.ServiceInvocation_CallLocalStreamServer) error {
	for _, m := range a.messages {
		if err := stream.Send(m); err != nil {
			return err
		}
	}
	return nil
}

func TestAnswersOfOthers(t *testing.T) {
	type messages = []*internalsv1.InternalInvokeResponseStream
	head := func(length string) *internalsv1.InternalInvokeResponse {
		r := &internalsv1.InternalInvokeResponse{Status: &internalsv1.Status{Code: 200}, Message: &commonv1.InvokeResponse{ContentType: "text/plain"}}
		if length != "" {
			r.Headers = map[string]*internalsv1.ListStringValue{"Content-Length": {Values: []string{length}}}
		}
		return r
	}
	for _, test := range []struct {
		name    string
		answer  messages
		want    string
		invoke  string // what is wrong with the call
		reading string // what is wrong with the body
	}{
		{name: "in pieces", answer: messages{{Response: head(""), Payload: payload(0, "a")}, {Payload: payload(1, "b")}}, want: "ab"},
		{name: "event stream of Dapr", answer: messages{
			{Response: &internalsv1.InternalInvokeResponse{Status: &internalsv1.Status{}, Headers: map[string]*internalsv1.ListStringValue{"Content-Type": {Values: []string{"text/event-stream"}}}}, Payload: payload(0, "a")},
			{Response: &internalsv1.InternalInvokeResponse{}, Payload: payload(1, "b")},
		}, want: "ab"},
		{name: "no message", invoke: "response does not contain the required fields in the leading chunk"},
		{name: "payload first", answer: messages{{Payload: payload(0, "a")}}, invoke: "response does not contain the required fields in the leading chunk"},
		{name: "wrong first number", answer: messages{{Response: head(""), Payload: payload(1, "a")}}, invoke: "invalid sequence number received: 1 (expected: 0)"},
		{name: "gap", answer: messages{{Response: head(""), Payload: payload(0, "a")}, {Payload: payload(3, "b")}}, want: "a", reading: "invalid sequence number received: 3 (expected: 1)"},
		{name: "late response", answer: messages{{Response: head("")}, {Response: head("")}}, reading: "response metadata found in non-leading chunk"},
		{name: "too long at once", answer: messages{{Response: head("1"), Payload: payload(0, "ab")}}, invoke: "longer than the length"},
		{name: "too long", answer: messages{{Response: head("2"), Payload: payload(0, "a")}, {Payload: payload(1, "bc")}}, want: "a", reading: "longer than the length"},
		{name: "too short", answer: messages{{Response: head("3"), Payload: payload(0, "a")}}, want: "a", reading: "unexpected EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			listener := listen(t)
			peer := &callee{address: listener.Addr().String(), server: grpc.NewServer()}
			internalsv1.RegisterServiceInvocationServer(peer.server, &answering{messages: test.answer})
			peer.serve(t, listener)
			c := newCaller(t, map[string][]string{"callee": {peer.address}})
			res, err := c.Invoke(within(t), "callee", post("m", nil))
			if test.invoke != "" {
				if err == nil || !strings.Contains(err.Error(), test.invoke) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer res.Close()
			got, err := io.ReadAll(res.Body.Reader())
			if string(got) != test.want {
				t.Errorf("body %q", got)
			}
			if test.reading == "" && err != nil || test.reading != "" && (err == nil || !strings.Contains(err.Error(), test.reading)) {
				t.Errorf("error of the body: %v", err)
			}
			if strings.HasPrefix(test.name, "event") && res.ContentType != "text/event-stream" {
				t.Errorf("content type %q", res.ContentType)
			}
		})
	}
}

// denying refuses one method.
type denying struct{ method string }

func (d denying) Allow(_ context.Context, method, verb string) error {
	if method != d.method {
		return nil
	}
	return status.Errorf(codes.PermissionDenied, "access control policy has denied access to id: spiffe://x operation: %s verb: %s", method, verb)
}

func TestPolicySeesTheCanonicalMethod(t *testing.T) {
	listener := listen(t)
	peer := &callee{address: listener.Addr().String(), server: newServer()}
	service := messaging.NewCallee(messaging.CalleeDeps{AppID: "callee", App: filled(serving(echo)), Policy: denying{method: "admin/delete"}})
	peer.server.RegisterService(service.ServiceDesc(), service)
	peer.serve(t, listener)
	client := daprClient(t, peer)
	for _, method := range []string{"admin/delete", "/admin//delete", "x/../admin/./delete"} {
		_, err := client.CallLocal(within(t), internalRequest(method))
		if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "operation: admin/delete verb: POST") {
			t.Errorf("%s: %v", method, err)
		}
	}
	if _, err := client.CallLocal(within(t), internalRequest("admin")); err != nil {
		t.Error(err)
	}
}

// TestGRPCAnswer carries status, details and trailers of a gRPC application.
func TestGRPCAnswer(t *testing.T) {
	details, err := status.New(codes.NotFound, "no such thing").WithDetails(internalRequest("detail"))
	if err != nil {
		t.Fatal(err)
	}
	peer := startCallee(t, "callee", serving(func(context.Context, *channel.Request) (*channel.Response, error) {
		return &channel.Response{
			Status: int(codes.NotFound), Message: "no such thing", Details: details.Proto(),
			Trailer: channel.Header{{Name: "x-t", Value: "1"}, {Name: "y-bin", Value: "\xff\x00"}},
			TypeURL: "type.googleapis.com/x.Y", ContentType: "application/x",
			Body: channel.Body{Bytes: []byte("data")},
		}, nil
	}))
	c := newCaller(t, map[string][]string{"callee": {peer.address}})
	res, err := c.Invoke(within(t), "callee", &channel.Request{Method: "m"})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	if res.Status != int(codes.NotFound) || res.Message != "no such thing" || res.TypeURL != "type.googleapis.com/x.Y" || res.ContentType != "application/x" {
		t.Errorf("answer %+v", res)
	}
	if len(res.Details.GetDetails()) != 1 || res.Details.Details[0].TypeUrl != details.Proto().Details[0].TypeUrl {
		t.Errorf("details %v", res.Details)
	}
	if res.Trailer.Value("x-t") != "1" || res.Trailer.Value("y-bin") != "\xff\x00" {
		t.Errorf("trailers %q", res.Trailer)
	}
}

func dataOf(s string) *anypb.Any { return &anypb.Any{Value: []byte(s)} }

// TestUnaryAnswerLimit: what goes out in one message is not read without bound.
func TestUnaryAnswerLimit(t *testing.T) {
	const maxBody = 1 << 20
	limit := messaging.MessageLimit(maxBody)
	for name, test := range map[string]struct {
		body channel.Body
		code codes.Code
	}{
		"endless":            {channel.Body{Stream: endless{}, Length: -1}, codes.ResourceExhausted},
		"declared too large": {channel.Body{Stream: endless{}, Length: int64(limit) + 1}, codes.ResourceExhausted},
		"in memory":          {channel.Body{Bytes: make([]byte, limit+1)}, codes.ResourceExhausted},
		"fits":               {channel.Body{Stream: io.LimitReader(endless{}, maxBody), Length: -1}, codes.OK},
	} {
		t.Run(name, func(t *testing.T) {
			listener := listen(t)
			c := &callee{address: listener.Addr().String(), server: newServer()}
			service := messaging.NewCallee(messaging.CalleeDeps{AppID: "callee", App: filled(serving(func(context.Context, *channel.Request) (*channel.Response, error) {
				return &channel.Response{Status: 200, Body: test.body}, nil
			})), Policy: allowAll{}, MaxBodySize: maxBody})
			c.server.RegisterService(service.ServiceDesc(), service)
			c.serve(t, listener)
			answer, err := daprClient(t, c).CallLocal(within(t), internalRequest("m"))
			if status.Code(err) != test.code {
				t.Fatalf("error %v", err)
			}
			if err == nil && len(answer.GetMessage().GetData().GetValue()) != maxBody {
				t.Errorf("%d bytes", len(answer.GetMessage().GetData().GetValue()))
			}
			if err != nil && !strings.Contains(err.Error(), "the application's answer is larger than") {
				t.Errorf("error %v", err)
			}
		})
	}
}
