package grpc_test

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/sirupsen/logrus"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	googlegrpc "google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/daprd/daprd/pkg/grpc"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/security"
	"github.com/daprd/daprd/pkg/state"
	"github.com/daprd/daprd/pkg/tracing"
)

const unknownMethod = "/acme.Orders/Place"

// proxied is a Proxy that ends every call with what it sees of the caller's metadata.
func proxied(_ any, stream googlegrpc.ServerStream) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	return status.Errorf(codes.DataLoss, "proxied, token %q", md["dapr-api-token"])
}

// refusedWith checks code, message and the text in the one detail that a refusal has.
func refusedWith(t *testing.T, err error, code codes.Code, message, httpCode, reason string) {
	t.Helper()
	st := status.Convert(err)
	if st.Code() != code || st.Message() != message {
		t.Fatalf("answered %s %q, want %s %q", st.Code(), st.Message(), code, message)
	}
	want := []any{&errdetails.ErrorInfo{Reason: message, Domain: "dapr.io",
		Metadata: map[string]string{"http.code": httpCode, "http.error_message": reason}}}
	if diff := cmp.Diff(want, st.Details(), protocmp.Transform()); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
}

func TestToken(t *testing.T) {
	s := start(t, func(s *sidecar) {
		withStore(t)(s)
		s.config.Token = security.NewToken("secret")
		s.deps.Proxy = proxied
	})
	calls := map[string]func(context.Context) error{
		"unary": func(ctx context.Context) error {
			_, err := s.GetState(ctx, &runtimev1.GetStateRequest{StoreName: "st", Key: "k"})
			return err
		},
		"not implemented": func(ctx context.Context) error {
			_, err := s.StartWorkflowBeta1(ctx, &runtimev1.StartWorkflowRequest{})
			return err
		},
		"proxied": func(ctx context.Context) error {
			return s.conn.Invoke(ctx, unknownMethod, &emptypb.Empty{}, &emptypb.Empty{})
		},
		"reflection": func(ctx context.Context) error { _, err := services(ctx, s.conn); return err },
	}
	allowed := map[string]string{
		"unary":           "OK",
		"not implemented": `Unimplemented the workflow API is not implemented by this daprd yet; see the table "what works today" in its README`,
		"proxied":         "DataLoss proxied, token []",
		"reflection":      "OK",
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			shown := func(tokens ...string) context.Context {
				ctx := t.Context()
				for _, token := range tokens {
					ctx = metadata.AppendToOutgoingContext(ctx, "dapr-api-token", token)
				}
				return ctx
			}
			refusedWith(t, call(shown()), codes.Unauthenticated, "Unauthorized", "401", "missing api token in request metadata")
			const mismatch = "authentication error: api token mismatch"
			refusedWith(t, call(shown("wrong")), codes.Unauthenticated, "Unauthorized", "401", mismatch)
			refusedWith(t, call(shown("")), codes.Unauthenticated, "Unauthorized", "401", mismatch)
			refusedWith(t, call(shown("wrong", "secret")), codes.Unauthenticated, "Unauthorized", "401", mismatch)
			err := status.Convert(call(shown("secret", "wrong")))
			if got := strings.TrimSpace(err.Code().String() + " " + err.Message()); got != allowed[name] {
				t.Errorf("with the token: %s, want %s", got, allowed[name])
			}
		})
	}
	if strings.Contains(s.log.String(), "secret") {
		t.Error("the token is in the log")
	}
}

func services(ctx context.Context, conn *googlegrpc.ClientConn) ([]string, error) {
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		return nil, err
	}
	if err := stream.Send(&reflectionv1.ServerReflectionRequest{
		MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil && err != io.EOF {
		return nil, err
	}
	answer, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, service := range answer.GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	_, _ = stream.Recv()
	return names, nil
}

func TestReflection(t *testing.T) {
	s := start(t, nil)
	names, err := services(t.Context(), s.conn)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"dapr.proto.runtime.v1.Dapr", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := reflectionv1alpha.NewServerReflectionClient(s.conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionv1alpha.ServerReflectionRequest{
		MessageRequest: &reflectionv1alpha.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "dapr.proto.runtime.v1.Dapr"},
	}); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil || len(answer.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
		t.Errorf("no descriptor of the Dapr service: %v, %v", answer, err)
	}
}

func TestAccessList(t *testing.T) {
	rule := func(name, version string) grpc.Rule { return grpc.Rule{Name: name, Version: version} }
	const (
		get, query, shutdown, unknown = "GetState", "QueryStateAlpha1", "SetMetadata", "NoSuchMethod"
	)
	for name, test := range map[string]struct {
		allowed, denied []grpc.Rule
		// open are the methods that are reached.
		open []string
		warn string
	}{
		"none":                 {nil, nil, []string{get, query, shutdown, unknown}, ""},
		"allowed":              {[]grpc.Rule{rule("state", "v1"), rule("metadata", "v1")}, nil, []string{get, shutdown}, ""},
		"denied":               {nil, []grpc.Rule{rule("state", "v1")}, []string{query, shutdown, unknown}, ""},
		"denied wins":          {[]grpc.Rule{rule("state", "v1"), rule("state", "v1alpha1")}, []grpc.Rule{rule("state", "v1")}, []string{query}, ""},
		"unknown is no opener": {[]grpc.Rule{rule("states", "v1")}, nil, nil, "states.v1"},
		"unknown denial":       {nil, []grpc.Rule{rule("state", "v1.0")}, []string{get, query, shutdown, unknown}, "state.v1.0"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, func(s *sidecar) {
				s.config.Allowed, s.config.Denied = test.allowed, test.denied
				s.deps.Proxy = proxied
			})
			for _, method := range []string{get, query, shutdown, unknown} {
				err := s.conn.Invoke(t.Context(), "/dapr.proto.runtime.v1.Dapr/"+method, &emptypb.Empty{}, &emptypb.Empty{})
				if strings.Contains(strings.Join(test.open, " "), method) {
					if status.Code(err) == codes.Unimplemented {
						t.Errorf("%s: %v", method, err)
					}
					continue
				}
				refusedWith(t, err, codes.Unimplemented, "Not Implemented", "501", "requested endpoint is not available")
			}
			if err := s.conn.Invoke(t.Context(), unknownMethod, &emptypb.Empty{}, &emptypb.Empty{}); status.Code(err) != codes.DataLoss {
				t.Errorf("a proxied call: %v", err)
			}
			if _, err := services(t.Context(), s.conn); err != nil {
				t.Errorf("reflection: %v", err)
			}
			if got := strings.Contains(s.log.String(), "enabled API access list on gRPC server"); got != (len(test.allowed)+len(test.denied) > 0) {
				t.Errorf("log: %s", s.log)
			}
			if warned := strings.Contains(s.log.String(), "which does not exist"); warned != (test.warn != "") ||
				!strings.Contains(s.log.String(), test.warn) {
				t.Errorf("log: %s", s.log)
			}
		})
	}
}

// TestEveryMethod calls every method of the service: those of a block answer for themselves, all others
// that they are not implemented, by name.
func TestEveryMethod(t *testing.T) {
	s := start(t, nil)
	served := map[string]bool{}
	for _, name := range strings.Fields(`InvokeService GetState GetBulkState SaveState DeleteState DeleteBulkState
		ExecuteStateTransaction QueryStateAlpha1 GetSecret GetBulkSecret GetMetadata SetMetadata Shutdown InvokeBinding PublishEvent BulkPublishEvent
		BulkPublishEventAlpha1 SubscribeTopicEventsAlpha1 GetConfiguration SubscribeConfiguration UnsubscribeConfiguration
		GetConfigurationAlpha1 SubscribeConfigurationAlpha1 UnsubscribeConfigurationAlpha1 TryLockAlpha1 UnlockAlpha1
		EncryptAlpha1 DecryptAlpha1 SubtleGetKeyAlpha1 SubtleEncryptAlpha1 SubtleDecryptAlpha1 SubtleWrapKeyAlpha1
		SubtleUnwrapKeyAlpha1 SubtleSignAlpha1 SubtleVerifyAlpha1 InvokeActor GetActorState ExecuteActorStateTransaction
		SubscribeActorEventsAlpha1 RegisterActorTimer UnregisterActorTimer RegisterActorReminder UnregisterActorReminder
		UnregisterActorRemindersByType ListActorReminders GetActorReminder RenameActorReminder`) {
		served[name] = true
	}
	text := regexp.MustCompile(`^the [a-z ]+ API is not implemented by this daprd yet; see the table "what works today" in its README$`)
	check := func(name string, err error) {
		st := status.Convert(err)
		if served[name] {
			if st.Code() == codes.Unimplemented {
				t.Errorf("%s: %v", name, err)
			}
		} else if st.Code() != codes.Unimplemented || !text.MatchString(st.Message()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	service := runtimev1.Dapr_ServiceDesc
	for _, method := range service.Methods {
		check(method.MethodName, s.conn.Invoke(t.Context(), "/"+service.ServiceName+"/"+method.MethodName, &emptypb.Empty{}, &emptypb.Empty{}))
	}
	for _, desc := range service.Streams {
		stream, err := s.conn.NewStream(t.Context(), &googlegrpc.StreamDesc{ServerStreams: true, ClientStreams: true},
			"/"+service.ServiceName+"/"+desc.StreamName)
		if err == nil {
			_ = stream.CloseSend()
			err = stream.RecvMsg(&emptypb.Empty{})
		}
		check(desc.StreamName, err)
	}
	if len(service.Methods)+len(service.Streams) < 70 {
		t.Errorf("only %d methods", len(service.Methods)+len(service.Streams))
	}
	if !<-s.shutdown {
		// The one Shutdown above was not forced.
		return
	}
	t.Error("forced")
}

func TestWorkflowServiceIsNotProxied(t *testing.T) {
	s := start(t, func(s *sidecar) { s.deps.Proxy = proxied })
	err := s.conn.Invoke(t.Context(), "/TaskHubSidecarService/Hello", &emptypb.Empty{}, &emptypb.Empty{})
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "the workflow API") {
		t.Errorf("answered %v", err)
	}
}

type observation struct {
	Method         string
	Code           codes.Code
	Received, Sent int
}

type observer struct {
	mu   sync.Mutex
	seen []observation
}

func (o *observer) GRPCServed(method string, code codes.Code, received, sent int, elapsed time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if elapsed <= 0 {
		code = 99
	}
	o.seen = append(o.seen, observation{method, code, received, sent})
}

func TestObserverAndAPILog(t *testing.T) {
	watch := new(observer)
	s := start(t, func(s *sidecar) {
		withStore(t)(s)
		s.deps.Proxy = proxied
		s.deps.Observer = watch
		s.deps.APILog = s.deps.Log.(*logrus.Logger).WithField("scope", "dapr.runtime.grpc.api-info")
		s.config.Denied = []grpc.Rule{{Name: "secrets", Version: "v1"}}
	})
	save := &runtimev1.SaveStateRequest{StoreName: "st"}
	for _, call := range []func() error{
		func() error { _, err := s.SaveState(t.Context(), save); return err },
		func() error {
			_, err := s.GetState(t.Context(), &runtimev1.GetStateRequest{StoreName: "no"})
			return err
		},
		func() error { _, err := s.GetSecret(t.Context(), &runtimev1.GetSecretRequest{}); return err },
		func() error { return s.conn.Invoke(t.Context(), unknownMethod, save, save) },
	} {
		_ = call()
	}
	want := []observation{
		{runtimev1.Dapr_SaveState_FullMethodName, codes.OK, 4, 0},
		{runtimev1.Dapr_GetState_FullMethodName, codes.FailedPrecondition, 4, 0},
	}
	want[1].Code = codes.InvalidArgument
	// The line of a call may be written a little after its answer.
	deadline := time.Now().Add(5 * time.Second)
	line := regexp.MustCompile(`level=info msg="gRPC API Called" code=(\d+) duration=\d+ method=(\S+) scope=dapr.runtime.grpc.api-info useragent=(\S+)`)
	for len(line.FindAllString(s.log.String(), -1)) < 3 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	watch.mu.Lock()
	defer watch.mu.Unlock()
	if diff := cmp.Diff(want, watch.seen, cmpopts.SortSlices(func(a, b observation) bool { return a.Method > b.Method })); diff != "" {
		t.Errorf("observed (-want +got):\n%s", diff)
	}
	var lines []string
	for _, found := range line.FindAllStringSubmatch(s.log.String(), -1) {
		if !strings.HasPrefix(found[3], "grpc-go/") {
			t.Errorf("user agent %s", found[3])
		}
		lines = append(lines, found[2]+" "+found[1])
	}
	wantLines := []string{runtimev1.Dapr_SaveState_FullMethodName + " 0", runtimev1.Dapr_GetState_FullMethodName + " 3", unknownMethod + " 15"}
	if diff := cmp.Diff(wantLines, lines, cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
		t.Errorf("API log (-want +got):\n%s\n%s", diff, s.log)
	}
	for _, line := range []string{"enabled API access list on gRPC server", "enabled gRPC tracing middleware", "enabled gRPC metrics middleware"} {
		if !strings.Contains(s.log.String(), line) {
			t.Errorf("no line %q", line)
		}
	}
}

func TestPanic(t *testing.T) {
	s := start(t, func(s *sidecar) {
		withStore(t)(s)
		s.deps.Proxy = func(any, googlegrpc.ServerStream) error { panic("lost the way") }
	})
	_, err := s.GetState(t.Context(), &runtimev1.GetStateRequest{StoreName: "st", Key: "panic"})
	if got, want := fmt.Sprint(err), "rpc error: code = Unknown desc = the sidecar failed at this call: out of shelves; its log has the details"; got != want {
		t.Errorf("answered %s", got)
	}
	err = s.conn.Invoke(t.Context(), unknownMethod, &emptypb.Empty{}, &emptypb.Empty{})
	if got, want := fmt.Sprint(err), "rpc error: code = Unknown desc = the sidecar failed at this call: lost the way; its log has the details"; got != want {
		t.Errorf("answered %s", got)
	}
	if log := s.log.String(); !strings.Contains(log, "sidecar_test.go") || !strings.Contains(log, ".Dapr/GetState: panic: out of shelves") {
		t.Errorf("log: %s", log)
	}
	if _, err := s.GetState(t.Context(), &runtimev1.GetStateRequest{StoreName: "st", Key: "k"}); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestTraceHeader(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	binary, _ := tracing.Binary(parent)
	zero, _ := tracing.Binary(tracing.ZeroParent)
	for name, test := range map[string]struct {
		off  bool
		sent []string
		want []string
	}{
		"none":              {false, nil, []string{zero}},
		"text":              {false, []string{"traceparent", parent}, []string{binary}},
		"binary":            {false, []string{"grpc-trace-bin", binary}, []string{binary}},
		"binary wins":       {false, []string{"traceparent", parent, "grpc-trace-bin", "?"}, []string{zero}},
		"unreadable parent": {false, []string{"traceparent", "00-x"}, []string{zero}},
		"switched off":      {true, []string{"traceparent", parent}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, func(s *sidecar) {
				withStore(t)(s)
				s.config.NoTracing = test.off
			})
			var header, trailer metadata.MD
			ctx := metadata.AppendToOutgoingContext(t.Context(), test.sent...)
			for _, store := range []string{"st", "none"} {
				_, err := s.GetState(ctx, &runtimev1.GetStateRequest{StoreName: store}, googlegrpc.Header(&header), googlegrpc.Trailer(&trailer))
				if (err == nil) != (store == "st") {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, append(header["grpc-trace-bin"], trailer["grpc-trace-bin"]...), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("store %s (-want +got):\n%s", store, diff)
				}
			}
			stream, err := s.SubscribeConfiguration(ctx, &runtimev1.SubscribeConfigurationRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if header, err = stream.Header(); err != nil {
				t.Fatal(err)
			}
			_, _ = stream.Recv()
			if diff := cmp.Diff(test.want, append(header["grpc-trace-bin"], stream.Trailer()["grpc-trace-bin"]...), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("stream (-want +got):\n%s", diff)
			}
		})
	}
}

var _ state.Store = (*shelf)(nil)
