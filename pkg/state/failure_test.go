package state

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/daprd/daprd/pkg/apierr"
)

// calls are one call of each method, on a key and a store of one's choice.
func calls(ctx context.Context, service *Service, store, key string) map[string]error {
	_, get := service.Get(ctx, store, GetRequest{Key: key})
	_, bulkGet := service.BulkGet(ctx, store, BulkGetRequest{Keys: []string{"fine", key}})
	_, query := service.Query(ctx, store, []byte(`{}`), nil)
	return map[string]error{
		"get":         get,
		"bulk get":    bulkGet,
		"query":       query,
		"set":         service.Set(ctx, store, []SetRequest{{Key: key}}),
		"set many":    service.Set(ctx, store, []SetRequest{{Key: "fine"}, {Key: key}}),
		"delete":      service.Delete(ctx, store, DeleteRequest{Key: key}),
		"bulk delete": service.BulkDelete(ctx, store, []DeleteRequest{{Key: "fine"}, {Key: key}}),
		"transaction": service.Transact(ctx, store, Transaction{Operations: []RawOperation{{Type: "upsert", Set: SetRequest{Key: key}}}}),
	}
}

// answer is what a transport prints of an error.
type answer struct {
	Code      string
	HTTP      int
	GRPC      codes.Code
	Message   string
	Reason    string
	Metadata  map[string]string
	Resource  *apierr.Resource
	Violation *apierr.Violation
	Help      *apierr.Link
}

func answered(t *testing.T, err error) answer {
	t.Helper()
	var e *apierr.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v, want an *apierr.Error", err)
	}
	return answer{e.Code, e.HTTP, e.GRPC, e.Message, e.Reason, e.Metadata, e.Resource, e.Violation, e.Help}
}

func TestUnknownStore(t *testing.T) {
	empty := NewService(Deps{AppID: "myapp"})
	for name, err := range calls(t.Context(), empty, "nope", "k") {
		want := answer{Code: "ERR_STATE_STORE_NOT_CONFIGURED", HTTP: 500, GRPC: codes.FailedPrecondition,
			Message: "state store nope is not configured", Reason: "DAPR_STATE_NOT_CONFIGURED", Metadata: map[string]string{"appID": "myapp"}}
		if diff := cmp.Diff(want, answered(t, err)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	service := serve(t, newShelf(), Settings{})
	for name, err := range calls(t.Context(), service, "nope", "k") {
		want := answer{Code: "ERR_STATE_STORE_NOT_FOUND", HTTP: 400, GRPC: codes.InvalidArgument,
			Message: "state store nope is not found", Reason: "DAPR_STATE_NOT_FOUND", Metadata: map[string]string{"appID": "myapp"}}
		if diff := cmp.Diff(want, answered(t, err)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	// Nothing to do is no reason to take an unknown name.
	if _, err := service.BulkGet(t.Context(), "nope", BulkGetRequest{}); err == nil {
		t.Error("an unknown store is read when there is nothing to read")
	}
	if service.Set(t.Context(), "nope", nil) == nil || service.BulkDelete(t.Context(), "nope", nil) == nil {
		t.Error("an unknown store is taken when there is nothing to do")
	}
}

func TestStoreFailures(t *testing.T) {
	down := errors.New("connection refused")
	mismatch := &ETagError{Kind: ETagMismatch, Cause: errors.New("cause")}
	invalid := &ETagError{Kind: ETagInvalid, Cause: errors.New("cause")}
	own := apierr.Row{Code: "TAG", HTTP: 418, GRPC: codes.ResourceExhausted, Format: "own words", Reason: "OWN"}.New()
	const mismatchText = "possible etag mismatch. error from state store: cause"
	resource := &apierr.Resource{Type: "state", Name: "st"}
	cases := []struct {
		name  string
		cause error
		want  map[string]answer
	}{
		{"down", down, map[string]answer{
			"get":         {Code: "ERR_STATE_GET", HTTP: 500, GRPC: codes.Internal, Message: "fail to get k from state store st: connection refused", Reason: "ERR_STATE_GET"},
			"bulk get":    {Code: "ERR_STATE_BULK_GET", HTTP: 500, GRPC: codes.Unknown, Message: "connection refused"},
			"set":         {Code: "ERR_STATE_SAVE", HTTP: 500, GRPC: codes.Internal, Message: "failed saving state in state store st: connection refused", Reason: "ERR_STATE_SAVE"},
			"delete":      {Code: "ERR_STATE_DELETE", HTTP: 500, GRPC: codes.Internal, Message: "failed deleting state with key k: connection refused", Reason: "ERR_STATE_DELETE"},
			"bulk delete": {Code: "ERR_STATE_BULK_DELETE", HTTP: 500, GRPC: codes.Internal, Message: "failed deleting state in state store st: key fine: connection refused\nkey k: connection refused", Reason: "ERR_STATE_BULK_DELETE"},
			"transaction": {Code: "ERR_STATE_TRANSACTION", HTTP: 500, GRPC: codes.Internal, Message: "error while executing state transaction: connection refused", Reason: "ERR_STATE_TRANSACTION"},
			"query":       {Code: "ERR_STATE_QUERY", HTTP: 500, GRPC: codes.Internal, Message: "state store st query failed: connection refused", Reason: "DAPR_STATE_QUERY_FAILED", Resource: resource},
		}},
		{"tag mismatch", mismatch, map[string]answer{
			"set":         {Code: "ERR_STATE_SAVE", HTTP: 409, GRPC: codes.Aborted, Message: "failed saving state in state store st: " + mismatchText, Reason: "ERR_STATE_SAVE"},
			"delete":      {Code: "ERR_STATE_DELETE", HTTP: 409, GRPC: codes.Aborted, Message: "failed deleting state with key k: " + mismatchText, Reason: "ERR_STATE_DELETE"},
			"set many":    {Code: "ERR_STATE_SAVE", HTTP: 409, GRPC: codes.Aborted, Message: "failed saving state in state store st: possible etag mismatch. error from state store: key fine: cause\npossible etag mismatch. error from state store: key k: cause", Reason: "ERR_STATE_SAVE"},
			"transaction": {Code: "ERR_STATE_TRANSACTION", HTTP: 500, GRPC: codes.Internal, Message: "error while executing state transaction: " + mismatchText, Reason: "ERR_STATE_TRANSACTION"},
		}},
		{"invalid tag", invalid, map[string]answer{
			"set":         {Code: "ERR_STATE_SAVE", HTTP: 400, GRPC: codes.InvalidArgument, Message: "failed saving state in state store st: invalid etag value: cause", Reason: "ERR_STATE_SAVE"},
			"delete":      {Code: "ERR_STATE_DELETE", HTTP: 400, GRPC: codes.InvalidArgument, Message: "failed deleting state with key k: invalid etag value: cause", Reason: "ERR_STATE_DELETE"},
			"transaction": {Code: "ERR_STATE_TRANSACTION", HTTP: 500, GRPC: codes.Internal, Message: "error while executing state transaction: invalid etag value: cause", Reason: "ERR_STATE_TRANSACTION"},
		}},
		{"the component's own words", own, map[string]answer{
			"get":         {Code: "TAG", HTTP: 418, GRPC: codes.ResourceExhausted, Message: "own words", Reason: "OWN"},
			"set":         {Code: "TAG", HTTP: 418, GRPC: codes.ResourceExhausted, Message: "own words", Reason: "OWN"},
			"set many":    {Code: "TAG", HTTP: 418, GRPC: codes.ResourceExhausted, Message: "own words", Reason: "OWN"},
			"transaction": {Code: "TAG", HTTP: 418, GRPC: codes.ResourceExhausted, Message: "own words", Reason: "OWN"},
		}},
	}
	for _, c := range cases {
		store := newShelf()
		store.fail = c.cause
		errs := calls(t.Context(), serve(t, store, Settings{}), "st", "k")
		for operation, want := range c.want {
			t.Run(c.name+" "+operation, func(t *testing.T) {
				if diff := cmp.Diff(want, answered(t, errs[operation])); diff != "" {
					t.Error(diff)
				}
				cause := c.cause
				if tag, ok := IsETag(cause); ok {
					cause = tag.Cause
				}
				if !errors.Is(errs[operation], cause) {
					t.Error("the cause is lost")
				}
			})
		}
	}
}

func TestMissingAbilities(t *testing.T) {
	service := serve(t, plainShelf{newShelf()}, Settings{})
	_, query := service.Query(t.Context(), "st", []byte(`{}`), nil)
	resource := &apierr.Resource{Type: "state", Name: "st"}
	cases := []struct {
		name string
		err  error
		want answer
	}{
		{"transaction", service.Transact(t.Context(), "st", Transaction{}), answer{
			Code: "ERR_STATE_STORE_NOT_SUPPORTED", HTTP: 500, GRPC: codes.Unimplemented,
			Message: "state store st doesn't support transactions", Reason: "DAPR_STATE_TRANSACTIONS_NOT_SUPPORTED", Resource: resource,
			Help: &apierr.Link{URL: "https://docs.dapr.io/reference/components-reference/supported-state-stores/",
				Description: "Check the list of state stores and the features they support"}}},
		{"query", query, answer{Code: "ERR_STATE_STORE_NOT_SUPPORTED", HTTP: 500, GRPC: codes.Internal,
			Message: "state store does not support querying", Reason: "DAPR_STATE_QUERYING_NOT_SUPPORTED", Resource: resource}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, answered(t, c.err)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
