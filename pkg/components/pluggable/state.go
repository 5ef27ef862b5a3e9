package pluggable

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/components"
	componentsv1 "github.com/daprd/daprd/pkg/proto/components/v1"
	"github.com/daprd/daprd/pkg/state"
)

// store is a state store of a process.
type store struct {
	*process
	client   componentsv1.StateStoreClient
	query    componentsv1.QueriableStateStoreClient
	features []state.Feature
}

// sizing is how long the process has to say how many operations a transaction may have.
const sizing = 5 * time.Second

func newState(path string, services []string) components.Factory[state.Store] {
	return func(ctx context.Context, spec *components.Spec) (state.Store, error) {
		s := &store{}
		var err error
		if s.process, err = start(ctx, path, spec, s.initialise); err != nil {
			return nil, err
		}
		if !slices.Contains(s.features, state.FeatureTransactional) {
			return s, nil
		}
		t := transactional{store: s, client: componentsv1.NewTransactionalStateStoreClient(s.process)}
		if slices.Contains(services, componentsv1.TransactionalStoreMultiMaxSize_ServiceDesc.ServiceName) {
			t.most = s.mostOperations(ctx)
		}
		return t, nil
	}
}

func (s *store) initialise(ctx context.Context, p *process, properties *componentsv1.MetadataRequest) error {
	s.client, s.query = componentsv1.NewStateStoreClient(p), componentsv1.NewQueriableStateStoreClient(p)
	if _, err := s.client.Init(ctx, &componentsv1.InitRequest{Metadata: properties}); err != nil {
		return err
	}
	answer, err := s.client.Features(ctx, &componentsv1.FeaturesRequest{})
	for _, feature := range answer.GetFeatures() {
		s.features = append(s.features, state.Feature(feature))
	}
	return err
}

// mostOperations is 0, no bound, where the process does not say.
func (s *store) mostOperations(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, sizing)
	defer cancel()
	answer, err := componentsv1.NewTransactionalStoreMultiMaxSizeClient(s.process).MultiMaxSize(ctx, &componentsv1.MultiMaxSizeRequest{})
	if err != nil {
		return 0
	}
	return int(max(answer.GetMaxSize(), 0))
}

// Features are those that the process names; the block itself knows of transactions.
func (s *store) Features() []state.Feature {
	return slices.DeleteFunc(slices.Clone(s.features), func(f state.Feature) bool { return f == state.FeatureTransactional })
}

// Ping asks the process whether it is there.
func (s *store) Ping(ctx context.Context) error {
	_, err := s.client.Ping(ctx, &componentsv1.PingRequest{})
	return served(err)
}

// Get reads one key. A process cannot say that a key is absent otherwise than by having nothing to say of it.
func (s *store) Get(ctx context.Context, req *state.GetRequest) (*state.Item, error) {
	answer, err := s.client.Get(ctx, getRequest(req))
	if err != nil {
		return nil, stateError(err)
	}
	return &state.Item{Key: req.Key, Value: answer.GetData(), ETag: answer.GetEtag().GetValue(), Metadata: answer.GetMetadata(),
		Found: len(answer.GetData()) > 0 || answer.GetEtag().GetValue() != ""}, nil
}

// BulkGet reads many keys in one call; the items are put into the order of the requests.
func (s *store) BulkGet(ctx context.Context, reqs []state.GetRequest) ([]state.Item, error) {
	request := &componentsv1.BulkGetRequest{Options: &componentsv1.BulkGetRequestOptions{}}
	places := make(map[string][]int, len(reqs))
	items := make([]state.Item, len(reqs))
	for i := range reqs {
		request.Items = append(request.Items, getRequest(&reqs[i]))
		places[reqs[i].Key] = append(places[reqs[i].Key], i)
		items[i].Key = reqs[i].Key
	}
	answer, err := s.client.BulkGet(ctx, request)
	if err != nil {
		return nil, stateError(err)
	}
	for _, got := range answer.GetItems() {
		for _, i := range places[got.GetKey()] {
			items[i] = state.Item{Key: got.GetKey(), Value: got.GetData(), ETag: got.GetEtag().GetValue(), Metadata: got.GetMetadata(),
				Found: len(got.GetData()) > 0 || got.GetEtag().GetValue() != "", Err: failure(got.GetError())}
		}
	}
	return items, nil
}

func failure(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}

var errNothing = errors.New("an attempt to set a nil value was received, try to use Delete instead")

// Set writes one key.
func (s *store) Set(ctx context.Context, req *state.SetRequest) error {
	if err := state.CheckOptions(req.Concurrency, req.Consistency); err != nil {
		return err
	}
	if req.Value == nil {
		return errNothing
	}
	_, err := s.client.Set(ctx, setRequest(req))
	return stateError(err)
}

// Delete removes one key.
func (s *store) Delete(ctx context.Context, req *state.DeleteRequest) error {
	if err := state.CheckOptions(req.Concurrency, req.Consistency); err != nil {
		return err
	}
	_, err := s.client.Delete(ctx, deleteRequest(req))
	return stateError(err)
}

// transactional is a store that applies operations together.
type transactional struct {
	*store
	client componentsv1.TransactionalStateStoreClient
	most   int
}

// MaxOperations is what the process says, 0 for no bound.
func (t transactional) MaxOperations() int { return t.most }

// Transact applies the operations together. Its errors tell no entity tag, as with Dapr.
func (t transactional) Transact(ctx context.Context, ops []state.Operation, metadata map[string]string) error {
	request := &componentsv1.TransactionalStateRequest{Metadata: metadata}
	for _, op := range ops {
		operation := &componentsv1.TransactionalStateOperation{}
		if op.Set != nil {
			operation.Request = &componentsv1.TransactionalStateOperation_Set{Set: setRequest(op.Set)}
		} else {
			operation.Request = &componentsv1.TransactionalStateOperation_Delete{Delete: deleteRequest(op.Delete)}
		}
		request.Operations = append(request.Operations, operation)
	}
	_, err := t.client.Transact(ctx, request)
	return err
}

var errNoQuery = errors.New("the component process does not implement queries")

// Query finds items by their content, where the process can.
func (s *store) Query(ctx context.Context, query *state.Query, metadata map[string]string) (*state.QueryResult, error) {
	request, err := queryRequest(query)
	if err != nil {
		return nil, err
	}
	answer, err := s.query.Query(ctx, &componentsv1.QueryRequest{Query: request, Metadata: metadata})
	if status.Code(err) == codes.Unimplemented {
		return nil, errNoQuery
	}
	if err != nil {
		return nil, stateError(err)
	}
	result := &state.QueryResult{Token: answer.GetToken(), Metadata: answer.GetMetadata()}
	for _, item := range answer.GetItems() {
		result.Items = append(result.Items, state.Item{Key: item.GetKey(), Value: item.GetData(), ETag: item.GetEtag().GetValue(), Found: true,
			Err: failure(item.GetError())})
	}
	return result, nil
}
