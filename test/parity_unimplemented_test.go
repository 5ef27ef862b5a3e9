package test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// notYet are the routes of Dapr's API that this sidecar does not have (reference: http-api A and B2), by
// what users call them.
var notYet = map[string]string{
	"workflow": "POST /v1.0/workflows/w/name/start; GET /v1.0-beta1/workflows/w/id; POST /v1.0-alpha1/workflows/w/id/pause; " +
		"POST /v1.0/workflows/w/id/resume; POST /v1.0/workflows/w/id/terminate; POST /v1.0/workflows/w/id/purge; POST /v1.0/workflows/w/id/raiseEvent/e",
	"jobs":         "POST,GET,DELETE /v1.0/jobs/j; POST,GET,DELETE /v1.0-alpha1/jobs/j",
	"conversation": "POST /v1.0-alpha1/conversation/c/converse; POST /v1.0-alpha2/conversation/c/converse",
}

// served are the methods of the gRPC API that this sidecar has.
var served = []string{"InvokeService", "InvokeBinding", "GetState", "GetBulkState", "SaveState", "QueryStateAlpha1", "DeleteState", "DeleteBulkState",
	"ExecuteStateTransaction", "GetConfiguration", "SubscribeConfiguration", "UnsubscribeConfiguration", "GetConfigurationAlpha1",
	"SubscribeConfigurationAlpha1", "UnsubscribeConfigurationAlpha1", "TryLockAlpha1", "UnlockAlpha1", "PublishEvent", "BulkPublishEvent", "BulkPublishEventAlpha1", "SubscribeTopicEventsAlpha1", "EncryptAlpha1", "DecryptAlpha1", "SubtleGetKeyAlpha1", "SubtleEncryptAlpha1", "SubtleDecryptAlpha1",
	"SubtleWrapKeyAlpha1", "SubtleUnwrapKeyAlpha1", "SubtleSignAlpha1", "SubtleVerifyAlpha1", "GetSecret", "GetBulkSecret", "GetMetadata", "SetMetadata", "Shutdown",
	"InvokeActor", "GetActorState", "ExecuteActorStateTransaction", "SubscribeActorEventsAlpha1", "RegisterActorTimer", "UnregisterActorTimer",
	"RegisterActorReminder", "UnregisterActorReminder", "UnregisterActorRemindersByType", "ListActorReminders", "GetActorReminder", "RenameActorReminder"}

// TestNotYet: every part of Dapr's API that is not there says so, over both transports and in the same
// words, and is never taken for an invocation.
func TestNotYet(t *testing.T) {
	runtimetest.Isolate(t)
	app := newApplication(t, saw("not-yet"))
	s := runtimetest.Launch(t, "not-yet", appOn(app))
	s.Await(t, "/v1.0/healthz/outbound")
	const text = ` API is not implemented by this daprd yet; see the table "what works today" in its README`
	routes := 0
	overHTTP := transports(t, s)[0].(*httpAPI)
	for api, list := range notYet {
		for row := range strings.SplitSeq(list, "; ") {
			verbs, path, _ := strings.Cut(row, " ")
			for verb := range strings.SplitSeq(verbs, ",") {
				routes++
				answer := overHTTP.call(t.Context(), verb, path, "{}", nil)
				want := &fault{HTTP: 501, Code: "ERR_API_UNIMPLEMENTED", Text: "the " + api + text}
				if got := answer.fault(); got == nil || *got != *want {
					t.Errorf("%s %s: %+v, want %+v", verb, path, got, want)
				}
			}
		}
	}
	if routes < 14 {
		t.Errorf("%d routes were asked for", routes)
	}
	conn := dial(t, s.GRPCAddress().String())
	methods := 0
	for method, call := range unaryAndStreams(conn) {
		err := call(t.Context())
		if slices.Contains(served, method) {
			if status.Code(err) == codes.Unimplemented {
				t.Errorf("%s: %v", method, err)
			}
			continue
		}
		methods++
		st := status.Convert(err)
		api, known := strings.CutSuffix(strings.TrimPrefix(st.Message(), "the "), text)
		if st.Code() != codes.Unimplemented || !known {
			t.Errorf("%s: %v", method, err)
		}
		if _, named := notYet[api]; !named {
			t.Errorf("%s: HTTP does not call it %q", method, api)
		}
	}
	if methods < 25 {
		t.Errorf("%d methods were called", methods)
	}
}

// unaryAndStreams are calls of every method but Shutdown, with an empty message.
func unaryAndStreams(conn *grpc.ClientConn) map[string]func(context.Context) error {
	calls := map[string]func(context.Context) error{}
	for _, method := range runtimev1.Dapr_ServiceDesc.Methods {
		if method.MethodName == "Shutdown" {
			continue
		}
		calls[method.MethodName] = func(ctx context.Context) error {
			return conn.Invoke(ctx, "/dapr.proto.runtime.v1.Dapr/"+method.MethodName, &emptypb.Empty{}, &emptypb.Empty{})
		}
	}
	for _, desc := range runtimev1.Dapr_ServiceDesc.Streams {
		calls[desc.StreamName] = func(ctx context.Context) error {
			stream, err := conn.NewStream(ctx, &desc, "/dapr.proto.runtime.v1.Dapr/"+desc.StreamName)
			if err != nil {
				return err
			}
			_ = stream.CloseSend()
			return stream.RecvMsg(&emptypb.Empty{})
		}
	}
	return calls
}
