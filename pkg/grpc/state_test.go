package grpc_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/state"
)

func failedWith(t *testing.T, err error, code codes.Code, message string, details ...any) {
	t.Helper()
	st := status.Convert(err)
	if st.Code() != code || st.Message() != message {
		t.Errorf("answered %s %q, want %s %q", st.Code(), st.Message(), code, message)
	}
	if len(details) == 0 && len(st.Details()) == 0 {
		return
	}
	if diff := cmp.Diff(details, st.Details(), protocmp.Transform()); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
}

func reason(name string, pairs ...string) *errdetails.ErrorInfo {
	info := &errdetails.ErrorInfo{Reason: name, Domain: "dapr.io"}
	for i := 0; i < len(pairs); i += 2 {
		if info.Metadata == nil {
			info.Metadata = map[string]string{}
		}
		info.Metadata[pairs[i]] = pairs[i+1]
	}
	return info
}

func TestStateFailures(t *testing.T) {
	s := start(t, func(s *sidecar) {
		withStore(t)(s)
		s.shelf.conflict = "taken"
		if err := s.state.Add("plain", bareShelf{s.shelf}, state.Settings{}); err != nil {
			t.Fatal(err)
		}
	})
	resource := &errdetails.ResourceInfo{ResourceType: "state", ResourceName: "st"}
	illegal := "input key/keyPrefix 'a||b' can't contain '||'"
	violation := &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "a||b", Description: illegal}}}
	item := func(key, value string) *commonv1.StateItem {
		return &commonv1.StateItem{Key: key, Value: []byte(value)}
	}
	tagged := func(tag string) *commonv1.StateItem {
		return &commonv1.StateItem{Key: "k", Etag: &commonv1.Etag{Value: tag}}
	}
	operation := func(kind, key string) *runtimev1.TransactionalStateOperation {
		return &runtimev1.TransactionalStateOperation{OperationType: kind, Request: item(key, "v")}
	}
	ctx := t.Context()
	save := func(items ...*commonv1.StateItem) error {
		_, err := s.SaveState(ctx, &runtimev1.SaveStateRequest{StoreName: "st", States: items})
		return err
	}
	transact := func(store string, ops ...*runtimev1.TransactionalStateOperation) error {
		_, err := s.ExecuteStateTransaction(ctx, &runtimev1.ExecuteStateTransactionRequest{StoreName: store, Operations: ops})
		return err
	}
	for name, test := range map[string]struct {
		call    func() error
		code    codes.Code
		message string
		details []any
	}{
		"unknown store": {func() error {
			_, err := s.GetState(ctx, &runtimev1.GetStateRequest{StoreName: "none"})
			return err
		}, codes.InvalidArgument, "state store none is not found", []any{reason("DAPR_STATE_NOT_FOUND", "appID", "myapp")}},
		"unknown store, bulk": {func() error {
			_, err := s.GetBulkState(ctx, &runtimev1.GetBulkStateRequest{StoreName: "none", Keys: []string{"a"}})
			return err
		}, codes.InvalidArgument, "state store none is not found", []any{reason("DAPR_STATE_NOT_FOUND", "appID", "myapp")}},
		"no keys": {func() error {
			_, err := s.GetBulkState(ctx, &runtimev1.GetBulkStateRequest{StoreName: "st"})
			return err
		}, codes.OK, "", nil},
		"unknown store, no keys": {func() error {
			_, err := s.GetBulkState(ctx, &runtimev1.GetBulkStateRequest{StoreName: "none"})
			return err
		}, codes.InvalidArgument, "state store none is not found", []any{reason("DAPR_STATE_NOT_FOUND", "appID", "myapp")}},
		"illegal key": {func() error {
			_, err := s.GetState(ctx, &runtimev1.GetStateRequest{StoreName: "st", Key: "a||b"})
			return err
		}, codes.InvalidArgument, illegal, []any{violation, resource, reason("DAPR_STATE_ILLEGAL_KEY")}},
		"illegal key in a transaction": {func() error { return transact("st", operation("nonsense", "a||b")) },
			codes.InvalidArgument, illegal, []any{violation, resource, reason("DAPR_STATE_ILLEGAL_KEY")}},
		"broken store": {func() error {
			_, err := s.GetState(ctx, &runtimev1.GetStateRequest{StoreName: "st", Key: "broken"})
			return err
		}, codes.Internal, "fail to get broken from state store st: the disk is on fire", []any{reason("ERR_STATE_GET")}},
		"empty key": {func() error { return save(item("", "v")) },
			codes.InvalidArgument, "state key cannot be empty", []any{reason("ERR_STATE_SAVE")}},
		"bad document": {func() error {
			bad := item("k", "{")
			bad.Metadata = map[string]string{"contentType": "application/json"}
			return save(bad)
		}, codes.Unknown, "unexpected end of JSON input", nil},
		"taken": {func() error { return save(tagged("9")) }, codes.Aborted,
			"failed saving state in state store st: possible etag mismatch. error from state store: taken", []any{reason("ERR_STATE_SAVE")}},
		"taken delete": {func() error {
			_, err := s.DeleteState(ctx, &runtimev1.DeleteStateRequest{StoreName: "st", Key: "k", Etag: &commonv1.Etag{Value: "9"}})
			return err
		}, codes.Aborted, "failed deleting state with key k: possible etag mismatch. error from state store: taken", []any{reason("ERR_STATE_DELETE")}},
		"taken bulk delete": {func() error {
			_, err := s.DeleteBulkState(ctx, &runtimev1.DeleteBulkStateRequest{StoreName: "st", States: []*commonv1.StateItem{tagged("9")}})
			return err
		}, codes.Aborted, "failed deleting state in state store st: possible etag mismatch. error from state store: taken", []any{reason("ERR_STATE_BULK_DELETE")}},
		"taken in a transaction": {func() error {
			return transact("st", &runtimev1.TransactionalStateOperation{OperationType: "upsert", Request: tagged("9")})
		}, codes.Internal, "error while executing state transaction: possible etag mismatch. error from state store: taken", []any{reason("ERR_STATE_TRANSACTION")}},
		"no transactions": {func() error { return transact("plain", operation("upsert", "k")) },
			codes.Unimplemented, "state store plain doesn't support transactions", []any{
				&errdetails.Help{Links: []*errdetails.Help_Link{{
					Url:         "https://docs.dapr.io/reference/components-reference/supported-state-stores/",
					Description: "Check the list of state stores and the features they support"}}},
				&errdetails.ResourceInfo{ResourceType: "state", ResourceName: "plain"},
				reason("DAPR_STATE_TRANSACTIONS_NOT_SUPPORTED")}},
		"unknown operation": {func() error { return transact("st", operation("replace", "k")) },
			codes.Unimplemented, "operation type replace not supported", []any{reason("ERR_NOT_SUPPORTED_STATE_OPERATION")}},
		"too many operations": {func() error {
			one := operation("upsert", "k")
			return transact("st", one, one, one, one)
		}, codes.InvalidArgument, "the transaction contains 4 operations, which is more than what the state store supports: 3",
			[]any{resource, reason("DAPR_STATE_TOO_MANY_TRANSACTIONS", "currentOpsTransaction", "4", "maxOpsPerTransaction", "3")}},
		"no queries": {func() error {
			_, err := s.QueryStateAlpha1(ctx, &runtimev1.QueryStateRequest{StoreName: "st", Query: "{}"})
			return err
		}, codes.Internal, "state store does not support querying", []any{resource, reason("DAPR_STATE_QUERYING_NOT_SUPPORTED")}},
	} {
		t.Run(name, func(t *testing.T) { failedWith(t, test.call(), test.code, test.message, test.details...) })
	}
}

func TestNoStateStore(t *testing.T) {
	s := start(t, nil)
	_, err := s.GetState(t.Context(), &runtimev1.GetStateRequest{StoreName: "st"})
	failedWith(t, err, codes.FailedPrecondition, "state store st is not configured", reason("DAPR_STATE_NOT_CONFIGURED", "appID", "myapp"))
}

func TestState(t *testing.T) {
	s := start(t, withStore(t))
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.SaveState(ctx, &runtimev1.SaveStateRequest{StoreName: "st"})
	must(err)
	_, err = s.SaveState(ctx, &runtimev1.SaveStateRequest{StoreName: "st", States: []*commonv1.StateItem{
		{Key: "a", Value: []byte{0, 0xff}}, {Key: "b", Value: []byte("2")}}})
	must(err)
	_, err = s.ExecuteStateTransaction(ctx, &runtimev1.ExecuteStateTransactionRequest{StoreName: "st",
		Operations: []*runtimev1.TransactionalStateOperation{{OperationType: "upsert"}}})
	must(err)
	many, err := s.GetBulkState(ctx, &runtimev1.GetBulkStateRequest{StoreName: "st", Keys: []string{"b", "none", "a", "", "broken"}})
	must(err)
	want := []*runtimev1.BulkStateItem{{Key: "b", Data: []byte("2"), Etag: "1"}, {Key: "none"}, {Key: "a", Data: []byte{0, 0xff}, Etag: "1"},
		{Etag: "1"}, {Key: "broken", Error: "the disk is on fire"}}
	if diff := cmp.Diff(want, many.GetItems(), protocmp.Transform()); diff != "" {
		t.Errorf("bulk (-want +got):\n%s", diff)
	}
	_, err = s.DeleteState(ctx, &runtimev1.DeleteStateRequest{StoreName: "st", Key: "a", Etag: &commonv1.Etag{Value: "1"}})
	must(err)
	// A tag that is there counts, also when it is empty.
	_, err = s.DeleteState(ctx, &runtimev1.DeleteStateRequest{StoreName: "st", Key: "b", Etag: &commonv1.Etag{}})
	if status.Code(err) != codes.Aborted {
		t.Errorf("delete with an empty tag: %v", err)
	}
	_, err = s.DeleteBulkState(ctx, &runtimev1.DeleteBulkStateRequest{StoreName: "st", States: []*commonv1.StateItem{{Key: "b"}, {Key: "none"}}})
	must(err)
	gone, err := s.GetState(ctx, &runtimev1.GetStateRequest{StoreName: "st", Key: "b"})
	must(err)
	if proto.Size(gone) != 0 {
		t.Errorf("an absent key gives %v", gone)
	}
}

// recording keeps what reached the store.
type recording struct {
	*shelf
	got  *state.GetRequest
	sets []state.SetRequest
}

func (r *recording) Get(_ context.Context, req *state.GetRequest) (*state.Item, error) {
	copied := *req
	r.got = &copied
	return &state.Item{Value: []byte("v"), Found: true, Metadata: map[string]string{"ttlExpireTime": "soon"}}, nil
}

func (r *recording) Set(_ context.Context, req *state.SetRequest) error {
	copied := *req
	copied.Value = []byte(strings.Clone(string(req.Value)))
	r.sets = append(r.sets, copied)
	return nil
}

func (r *recording) Query(_ context.Context, query *state.Query, metadata map[string]string) (*state.QueryResult, error) {
	return &state.QueryResult{Items: []state.Item{{Key: "myapp||a", Value: []byte("1"), ETag: "e"}}, Token: query.Token + "+", Metadata: metadata}, nil
}

func TestStateReachesStore(t *testing.T) {
	r := &recording{shelf: newShelf()}
	s := start(t, func(s *sidecar) {
		if err := s.state.Add("st", r, state.Settings{}); err != nil {
			t.Fatal(err)
		}
	})
	answer, err := s.GetState(t.Context(), &runtimev1.GetStateRequest{StoreName: "st", Key: "k",
		Consistency: commonv1.StateOptions_CONSISTENCY_STRONG, Metadata: map[string]string{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&runtimev1.GetStateResponse{Data: []byte("v"), Metadata: map[string]string{"ttlExpireTime": "soon"}}, answer, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(&state.GetRequest{Key: "myapp||k", Consistency: state.Strong, Metadata: map[string]string{"a": "b"}}, r.got); diff != "" {
		t.Error(diff)
	}
	empty := ""
	document := map[string]string{"contentType": "application/json"}
	for _, item := range []*commonv1.StateItem{
		{Key: "k", Value: []byte(` {"a": 1}`), Metadata: document, Etag: &commonv1.Etag{}},
		{Key: "k", Value: []byte("{"), Options: &commonv1.StateOptions{
			Concurrency: commonv1.StateOptions_CONCURRENCY_FIRST_WRITE, Consistency: commonv1.StateOptions_CONSISTENCY_EVENTUAL}},
		{Key: "k", Options: &commonv1.StateOptions{Concurrency: commonv1.StateOptions_CONCURRENCY_LAST_WRITE, Consistency: 77}},
	} {
		if _, err := s.SaveState(t.Context(), &runtimev1.SaveStateRequest{StoreName: "st", States: []*commonv1.StateItem{item}}); err != nil {
			t.Fatal(err)
		}
	}
	want := []state.SetRequest{
		{Key: "myapp||k", Value: []byte(` {"a": 1}`), JSON: true, ETag: &empty, Metadata: document},
		{Key: "myapp||k", Value: []byte("{"), Concurrency: state.FirstWrite, Consistency: state.Eventual},
		{Key: "myapp||k", Value: []byte{}, Concurrency: state.LastWrite},
	}
	if diff := cmp.Diff(want, r.sets); diff != "" {
		t.Error(diff)
	}
	page, err := s.QueryStateAlpha1(t.Context(), &runtimev1.QueryStateRequest{StoreName: "st", Query: `{"page":{"token":"t"}}`, Metadata: map[string]string{"i": "x"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&runtimev1.QueryStateResponse{Results: []*runtimev1.QueryStateItem{{Key: "a", Data: []byte("1"), Etag: "e"}},
		Token: "t+", Metadata: map[string]string{"i": "x"}}, page, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}
