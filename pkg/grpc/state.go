package grpc

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/state"
)

// GetState reads one key.
func (h *handlers) GetState(ctx context.Context, req *runtimev1.GetStateRequest) (*runtimev1.GetStateResponse, error) {
	item, err := h.blocks.State.Get(ctx, req.GetStoreName(), state.GetRequest{
		Key:         req.GetKey(),
		Consistency: consistency(req.GetConsistency()),
		Metadata:    req.GetMetadata(),
	})
	if err != nil {
		return nil, err
	}
	return &runtimev1.GetStateResponse{Data: item.Value, Etag: item.ETag, Metadata: item.Metadata}, nil
}

// GetBulkState reads many keys.
func (h *handlers) GetBulkState(ctx context.Context, req *runtimev1.GetBulkStateRequest) (*runtimev1.GetBulkStateResponse, error) {
	items, err := h.blocks.State.BulkGet(ctx, req.GetStoreName(), state.BulkGetRequest{
		Keys:        req.GetKeys(),
		Parallelism: int(req.GetParallelism()),
		Metadata:    req.GetMetadata(),
	})
	if err != nil {
		return nil, err
	}
	answer := &runtimev1.GetBulkStateResponse{Items: make([]*runtimev1.BulkStateItem, len(items))}
	for i := range items {
		item := &items[i]
		answer.Items[i] = &runtimev1.BulkStateItem{Key: item.Key, Data: item.Value, Etag: item.ETag,
			Error: text(item.Err), Metadata: item.Metadata}
	}
	return answer, nil
}

// SaveState writes items.
func (h *handlers) SaveState(ctx context.Context, req *runtimev1.SaveStateRequest) (*emptypb.Empty, error) {
	if err := state.CheckItems(len(req.GetStates())); err != nil {
		return nil, err
	}
	items := make([]state.SetRequest, len(req.GetStates()))
	for i, item := range req.GetStates() {
		items[i] = setRequest(item)
	}
	return done(h.blocks.State.Set(ctx, req.GetStoreName(), items))
}

// DeleteState removes one key.
func (h *handlers) DeleteState(ctx context.Context, req *runtimev1.DeleteStateRequest) (*emptypb.Empty, error) {
	return done(h.blocks.State.Delete(ctx, req.GetStoreName(), state.DeleteRequest{
		Key:         req.GetKey(),
		ETag:        etag(req.GetEtag()),
		Concurrency: concurrency(req.GetOptions().GetConcurrency()),
		Consistency: consistency(req.GetOptions().GetConsistency()),
		Metadata:    req.GetMetadata(),
	}))
}

// DeleteBulkState removes many keys.
func (h *handlers) DeleteBulkState(ctx context.Context, req *runtimev1.DeleteBulkStateRequest) (*emptypb.Empty, error) {
	if err := state.CheckItems(len(req.GetStates())); err != nil {
		return nil, err
	}
	items := make([]state.DeleteRequest, len(req.GetStates()))
	for i, item := range req.GetStates() {
		items[i] = state.DeleteRequest{
			Key:         item.GetKey(),
			ETag:        etag(item.GetEtag()),
			Concurrency: concurrency(item.GetOptions().GetConcurrency()),
			Consistency: consistency(item.GetOptions().GetConsistency()),
			Metadata:    item.GetMetadata(),
		}
	}
	return done(h.blocks.State.BulkDelete(ctx, req.GetStoreName(), items))
}

// ExecuteStateTransaction applies operations together. An operation without request has an empty key.
func (h *handlers) ExecuteStateTransaction(ctx context.Context, req *runtimev1.ExecuteStateTransactionRequest) (*emptypb.Empty, error) {
	if err := state.CheckItems(len(req.GetOperations())); err != nil {
		return nil, err
	}
	operations := make([]state.RawOperation, len(req.GetOperations()))
	for i, operation := range req.GetOperations() {
		operations[i] = state.RawOperation{Type: operation.GetOperationType(), Set: setRequest(operation.GetRequest())}
	}
	t := state.Transaction{Operations: operations, Metadata: req.GetMetadata()}
	t.TraceParent, t.TraceState = trace(ctx)
	return done(h.blocks.State.Transact(ctx, req.GetStoreName(), t))
}

// QueryStateAlpha1 finds items by their content.
func (h *handlers) QueryStateAlpha1(ctx context.Context, req *runtimev1.QueryStateRequest) (*runtimev1.QueryStateResponse, error) {
	page, err := h.blocks.State.Query(ctx, req.GetStoreName(), []byte(req.GetQuery()), req.GetMetadata())
	if err != nil {
		return nil, err
	}
	answer := &runtimev1.QueryStateResponse{Token: page.Token, Metadata: page.Metadata}
	for i := range page.Items {
		item := &page.Items[i]
		answer.Results = append(answer.Results, &runtimev1.QueryStateItem{Key: item.Key, Data: item.Value,
			Etag: item.ETag, Error: text(item.Err)})
	}
	return answer, nil
}

func setRequest(item *commonv1.StateItem) state.SetRequest {
	return state.SetRequest{
		Key:         item.GetKey(),
		Value:       item.GetValue(),
		JSON:        item.GetMetadata()["contentType"] == "application/json",
		ETag:        etag(item.GetEtag()),
		Concurrency: concurrency(item.GetOptions().GetConcurrency()),
		Consistency: consistency(item.GetOptions().GetConsistency()),
		Metadata:    item.GetMetadata(),
	}
}

// etag tells a tag that is there and empty from one that is not there.
func etag(tag *commonv1.Etag) *string {
	if tag == nil {
		return nil
	}
	return &tag.Value
}

func concurrency(rule commonv1.StateOptions_StateConcurrency) state.Concurrency {
	switch rule {
	case commonv1.StateOptions_CONCURRENCY_FIRST_WRITE:
		return state.FirstWrite
	case commonv1.StateOptions_CONCURRENCY_LAST_WRITE:
		return state.LastWrite
	}
	return ""
}

func consistency(rule commonv1.StateOptions_StateConsistency) state.Consistency {
	switch rule {
	case commonv1.StateOptions_CONSISTENCY_EVENTUAL:
		return state.Eventual
	case commonv1.StateOptions_CONSISTENCY_STRONG:
		return state.Strong
	}
	return ""
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
