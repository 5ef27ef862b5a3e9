package grpc_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	googlegrpc "google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/grpc"
	"github.com/daprd/daprd/pkg/messaging"
	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/ready"
	"github.com/daprd/daprd/pkg/state"
)

func load(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// recorded is what Dapr 1.18.3 answered to a call.
type recorded struct {
	Name     string
	Call     string
	Request  string
	Response *string
	Code     codes.Code
	Message  string
	// Status is grpc-status-details-bin, "" without details.
	Status string
	// Trace is grpc-trace-bin.
	Trace           string
	Header, Trailer metadata.MD
}

// replay makes the call with its bytes as they were on the wire, and checks the answer.
func (r *recorded) replay(t *testing.T, ctx context.Context, conn *googlegrpc.ClientConn) (header, trailer metadata.MD) {
	t.Helper()
	request, response := decode(t, r.Request), []byte(nil)
	err := conn.Invoke(ctx, r.Call, &request, &response, googlegrpc.ForceCodecV2(rawCodec{}),
		googlegrpc.Header(&header), googlegrpc.Trailer(&trailer))
	st := status.Convert(err)
	if st.Code() != r.Code || st.Message() != r.Message {
		t.Fatalf("answered %s %q, want %s %q", st.Code(), st.Message(), r.Code, r.Message)
	}
	if r.Status != "" {
		want := new(statuspb.Status)
		if err := proto.Unmarshal(decode(t, r.Status), want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, st.Proto(), protocmp.Transform()); diff != "" {
			t.Errorf("status (-want +got):\n%s", diff)
		}
	} else if len(st.Details()) > 0 {
		t.Errorf("details: %v", st.Details())
	}
	if r.Response == nil {
		return header, trailer
	}
	if diff := cmp.Diff(canonical(t, decode(t, *r.Response)), canonical(t, response)); diff != "" {
		t.Errorf("response (-want +got):\n%s", diff)
	}
	return header, trailer
}

// canonical has the fields of a message in the order of their numbers: Dapr writes the value of an Any before
// its type and the other way round.
func canonical(t *testing.T, message []byte) []byte {
	t.Helper()
	type field struct {
		number protowire.Number
		raw    []byte
	}
	var fields []field
	for len(message) > 0 {
		number, _, n := protowire.ConsumeField(message)
		if n < 0 {
			t.Fatalf("not a message: %x", message)
		}
		fields = append(fields, field{number, message[:n]})
		message = message[n:]
	}
	slices.SortStableFunc(fields, func(a, b field) int { return int(a.number - b.number) })
	var sorted []byte
	for _, f := range fields {
		sorted = append(sorted, f.raw...)
	}
	return sorted
}

func TestCapturedState(t *testing.T) {
	var steps []struct {
		Name string
		Ops  []struct {
			recorded
			Set []struct{ Key, Value string }
		}
	}
	load(t, "state-1.18.3.json", &steps)
	for _, step := range steps {
		t.Run(step.Name, func(t *testing.T) {
			s := start(t, withStore(t))
			s.shelf.conflict = "ERR user_script:14: failed to set key myapp||k script: d908b9553add63a82e03589b5c6d01a7654ef0f2, on @user_script:14."
			for _, op := range step.Ops {
				for _, item := range op.Set {
					if err := s.state.Set(t.Context(), "st", []state.SetRequest{{Key: item.Key, Value: []byte(item.Value)}}); err != nil {
						t.Fatal(err)
					}
				}
				if op.Set != nil {
					continue
				}
				header, trailer := op.replay(t, t.Context(), s.conn)
				trace := append(header["grpc-trace-bin"], trailer["grpc-trace-bin"]...)
				if diff := cmp.Diff([]string{string(decode(t, op.Trace))}, trace); diff != "" {
					t.Errorf("grpc-trace-bin (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// allowAll is a policy that lets every call pass.
type allowAll struct{}

func (allowAll) Allow(context.Context, string, string) error { return nil }

// callee starts the port for other sidecars in front of an application, and gives its address.
func callee(t *testing.T, app channel.App) string {
	t.Helper()
	slot := new(ready.Slot[channel.App])
	slot.Fill(app)
	policy := allowAll{}
	proxy := grpc.NewProxy(grpc.ProxyDeps{Self: messaging.Self{AppID: "callee", Namespace: "default"}, Policy: policy})
	server := grpc.NewInternal(grpc.InternalDeps{Callee: messaging.NewCallee(messaging.CalleeDeps{AppID: "callee", App: slot, Policy: policy}), Proxy: proxy})
	l := listen(t)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := app.Close(); err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func open(t *testing.T, protocol, address string) channel.App {
	t.Helper()
	app, err := channel.Open(channel.Settings{Protocol: protocol, Address: address, AppID: "callee"})
	if err != nil {
		t.Fatal(err)
	}
	return app
}

type capturedInvoke struct {
	recorded
	App *struct {
		RequestLine string `json:"request_line"`
		Headers     [][2]string
		Body        struct{ B64, Text string }
		Answer      struct {
			Status  int
			Headers [][2]string
			Body    struct{ B64, Text string }
		}
	}
}

func content(t *testing.T, b64, text string) []byte {
	if b64 != "" {
		return decode(t, b64)
	}
	return []byte(text)
}

// headers compares what came with what Dapr sent.
func headers(t *testing.T, what string, want, got metadata.MD) {
	t.Helper()
	plain := metadata.MD{}
	for name, values := range want {
		for _, value := range values {
			if strings.HasSuffix(name, "-bin") {
				value = string(decode(t, value))
			}
			plain[name] = append(plain[name], value)
		}
	}
	got = got.Copy()
	for _, name := range []string{"content-type", "grpc-status-details-bin"} {
		delete(got, name)
	}
	if diff := cmp.Diff(plain, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestCapturedInvokeOfHTTPApp(t *testing.T) {
	var steps []capturedInvoke
	load(t, "invoke-http-app-1.18.3.json", &steps)
	for _, step := range steps {
		t.Run(step.Name, func(t *testing.T) {
			step.Call = runtimev1.Dapr_InvokeService_FullMethodName
			var s *sidecar
			seen := make(chan string, 1)
			app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				seen <- r.Method + " " + r.RequestURI + " " + r.Proto + " " + strings.Join(r.Header["X-Md"], ",") + " " + r.Header.Get("Content-Type")
				w.Header()["Date"] = nil
				for _, h := range step.App.Answer.Headers {
					w.Header().Add(h[0], h[1])
				}
				w.WriteHeader(step.App.Answer.Status)
				_, _ = w.Write(content(t, step.App.Answer.Body.B64, step.App.Answer.Body.Text))
			}))
			s = start(t, func(s *sidecar) {
				app.Start()
				t.Cleanup(app.Close)
				s.peers["callee"] = callee(t, open(t, "http", app.Listener.Addr().String()))
			})
			ctx := t.Context()
			if strings.Contains(step.Name, "with metadata") {
				ctx = metadata.AppendToOutgoingContext(ctx, "x-md", "1", "x-md", "2")
			}
			header, trailer := step.replay(t, ctx, s.conn)
			headers(t, "header", step.Header, header)
			headers(t, "trailer", step.Trailer, trailer)
			if step.App == nil {
				return
			}
			var md, contentType []string
			for _, h := range step.App.Headers {
				switch h[0] {
				case "X-Md":
					md = append(md, h[1])
				case "Content-Type":
					contentType = append(contentType, h[1])
				}
			}
			want := step.App.RequestLine + " " + strings.Join(md, ",") + " " + strings.Join(contentType, ",")
			if got := <-seen; got != want {
				t.Errorf("the app saw %q, want %q", got, want)
			}
		})
	}
}

// grpcApp answers as the recorded application did.
type grpcApp struct {
	runtimev1.UnimplementedAppCallbackServer
}

func (grpcApp) OnInvoke(ctx context.Context, req *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
	body := `{"ok":true}`
	switch req.GetMethod() {
	case "fail":
		return nil, status.Error(codes.NotFound, "no such thing")
	case "internal":
		return nil, status.Error(codes.Internal, "broken")
	case "hdr":
		body = `{"h":1}`
		_ = googlegrpc.SetHeader(ctx, metadata.Pairs("x-resp", "r1", "content-type-x", "y"))
	}
	return &commonv1.InvokeResponse{ContentType: "application/json", Data: bytesValue(body)}, nil
}

func serveApp(t *testing.T, app runtimev1.AppCallbackServer) string {
	t.Helper()
	server := googlegrpc.NewServer()
	runtimev1.RegisterAppCallbackServer(server, app)
	l := listen(t)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestCapturedInvokeOfGRPCApp(t *testing.T) {
	var steps []capturedInvoke
	load(t, "invoke-grpc-app-1.18.3.json", &steps)
	for _, step := range steps {
		t.Run(step.Name, func(t *testing.T) {
			step.Call = runtimev1.Dapr_InvokeService_FullMethodName
			s := start(t, func(s *sidecar) {
				s.peers["callee"] = callee(t, open(t, "grpc", serveApp(t, grpcApp{})))
			})
			header, trailer := step.replay(t, t.Context(), s.conn)
			headers(t, "header", step.Header, header)
			headers(t, "trailer", step.Trailer, trailer)
		})
	}
}

func bytesValue(text string) *anypb.Any {
	packed, err := anypb.New(wrapperspb.Bytes([]byte(text)))
	if err != nil {
		panic(err)
	}
	return packed
}
