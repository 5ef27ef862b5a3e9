package pluggabletest

import (
	"context"

	componentsv1 "github.com/daprd/daprd/pkg/proto/components/v1"
	"github.com/daprd/daprd/pkg/state"
)

type stateServer struct {
	componentsv1.UnimplementedStateStoreServer
	*Process
}

func (s *stateServer) Init(ctx context.Context, req *componentsv1.InitRequest) (*componentsv1.InitResponse, error) {
	return &componentsv1.InitResponse{}, s.init(ctx, req.GetMetadata())
}

func (s *stateServer) Features(context.Context, *componentsv1.FeaturesRequest) (*componentsv1.FeaturesResponse, error) {
	answer := &componentsv1.FeaturesResponse{}
	if featured, ok := s.parts.State.(state.Featured); ok {
		for _, f := range featured.Features() {
			answer.Features = append(answer.Features, string(f))
		}
	}
	if _, ok := s.parts.State.(state.Transactor); ok {
		answer.Features = append(answer.Features, string(state.FeatureTransactional))
	}
	return answer, nil
}

func (s *stateServer) Ping(context.Context, *componentsv1.PingRequest) (*componentsv1.PingResponse, error) {
	return &componentsv1.PingResponse{}, nil
}

func (s *stateServer) Get(ctx context.Context, req *componentsv1.GetRequest) (*componentsv1.GetResponse, error) {
	item, err := s.parts.State.Get(ctx, &state.GetRequest{Key: req.GetKey(), Metadata: req.GetMetadata()})
	if err != nil || !item.Found {
		return &componentsv1.GetResponse{}, err
	}
	return &componentsv1.GetResponse{Data: item.Value, Etag: tag(item.ETag), Metadata: item.Metadata}, nil
}

func tag(value string) *componentsv1.Etag {
	if value == "" {
		return nil
	}
	return &componentsv1.Etag{Value: value}
}

func (s *stateServer) BulkGet(ctx context.Context, req *componentsv1.BulkGetRequest) (*componentsv1.BulkGetResponse, error) {
	answer := &componentsv1.BulkGetResponse{}
	// The other way round: the order is nobody's promise.
	for i := len(req.GetItems()) - 1; i >= 0; i-- {
		key := req.GetItems()[i].GetKey()
		got, err := s.Get(ctx, req.GetItems()[i])
		if err != nil {
			return nil, err
		}
		answer.Items = append(answer.Items, &componentsv1.BulkStateItem{Key: key, Data: got.GetData(), Etag: got.GetEtag(), Metadata: got.GetMetadata()})
	}
	return answer, nil
}

func (s *stateServer) Set(ctx context.Context, req *componentsv1.SetRequest) (*componentsv1.SetResponse, error) {
	return &componentsv1.SetResponse{}, refusal(s.parts.State.Set(ctx, set(req)))
}

func (s *stateServer) Delete(ctx context.Context, req *componentsv1.DeleteRequest) (*componentsv1.DeleteResponse, error) {
	return &componentsv1.DeleteResponse{}, refusal(s.parts.State.Delete(ctx, remove(req)))
}

func set(req *componentsv1.SetRequest) *state.SetRequest {
	value := req.GetValue()
	if value == nil {
		value = []byte{}
	}
	return &state.SetRequest{Key: req.GetKey(), Value: value, ETag: etag(req.GetEtag()), Metadata: req.GetMetadata(),
		Concurrency: concurrency(req.GetOptions())}
}

func remove(req *componentsv1.DeleteRequest) *state.DeleteRequest {
	return &state.DeleteRequest{Key: req.GetKey(), ETag: etag(req.GetEtag()), Metadata: req.GetMetadata(), Concurrency: concurrency(req.GetOptions())}
}

func etag(tag *componentsv1.Etag) *string {
	if tag == nil {
		return nil
	}
	return &tag.Value
}

func concurrency(options *componentsv1.StateOptions) state.Concurrency {
	switch options.GetConcurrency() {
	case componentsv1.StateOptions_CONCURRENCY_FIRST_WRITE:
		return state.FirstWrite
	case componentsv1.StateOptions_CONCURRENCY_LAST_WRITE:
		return state.LastWrite
	}
	return ""
}

type transactServer struct {
	componentsv1.UnimplementedTransactionalStateStoreServer
	store state.Transactor
}

func (s *transactServer) Transact(ctx context.Context, req *componentsv1.TransactionalStateRequest) (*componentsv1.TransactionalStateResponse, error) {
	var ops []state.Operation
	for _, op := range req.GetOperations() {
		if op.GetSet() != nil {
			ops = append(ops, state.Operation{Set: set(op.GetSet())})
		} else {
			ops = append(ops, state.Operation{Delete: remove(op.GetDelete())})
		}
	}
	return &componentsv1.TransactionalStateResponse{}, refusal(s.store.Transact(ctx, ops, req.GetMetadata()))
}

// MostOperations is what the size server answers.
const MostOperations = 100

type sizeServer struct {
	componentsv1.UnimplementedTransactionalStoreMultiMaxSizeServer
}

func (*sizeServer) MultiMaxSize(context.Context, *componentsv1.MultiMaxSizeRequest) (*componentsv1.MultiMaxSizeResponse, error) {
	return &componentsv1.MultiMaxSizeResponse{MaxSize: MostOperations}, nil
}
