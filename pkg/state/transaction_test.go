package state

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/daprd/daprd/pkg/apierr"
)

func TestRefusedTransactions(t *testing.T) {
	store := newShelf()
	store.max = 2
	service := serve(t, store, Settings{})
	upsert := RawOperation{Type: "upsert", Set: SetRequest{Key: "k"}}
	document := map[string]string{"contentType": "application/json"}
	cases := []struct {
		name string
		ops  []RawOperation
		want answer
	}{
		{"unknown type", []RawOperation{upsert, {Type: "zap", Set: SetRequest{Key: "a"}}}, answer{
			Code: "ERR_NOT_SUPPORTED_STATE_OPERATION", HTTP: 400, GRPC: codes.Unimplemented,
			Message: "operation type zap not supported", Reason: "ERR_NOT_SUPPORTED_STATE_OPERATION"}},
		{"too many", []RawOperation{upsert, upsert, upsert}, answer{
			Code: "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS", HTTP: 400, GRPC: codes.InvalidArgument,
			Message:  "the transaction contains 3 operations, which is more than what the state store supports: 2",
			Reason:   "DAPR_STATE_TOO_MANY_TRANSACTIONS",
			Metadata: map[string]string{"currentOpsTransaction": "3", "maxOpsPerTransaction": "2"},
			Resource: &apierr.Resource{Type: "state", Name: "st"}}},
		{"a document that is none", []RawOperation{upsert, {Type: "upsert", Set: SetRequest{Key: "a", Value: []byte(`1,"version":9`), Metadata: document}}}, answer{
			Code: "ERROR", HTTP: 500, GRPC: codes.Unknown, Message: "invalid character ',' after top-level value"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, answered(t, service.Transact(t.Context(), "st", Transaction{Operations: c.ops}))); diff != "" {
				t.Error(diff)
			}
		})
	}
	if len(store.keys) != 0 {
		t.Errorf("the store was asked for %q", store.keys)
	}
	// A delete has no content.
	harmless := []RawOperation{{Type: "delete", Set: SetRequest{Key: "a", Value: []byte("{"), Metadata: document}}}
	if err := service.Transact(t.Context(), "st", Transaction{Operations: harmless}); err != nil {
		t.Error(err)
	}
}
