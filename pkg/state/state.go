package state

import (
	"context"
	"errors"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/ready"
	"github.com/daprd/daprd/pkg/resiliency"
)

// Deps are what a Service needs from the sidecar around it.
type Deps struct {
	// AppID and Namespace make key prefixes.
	AppID, Namespace string
	// Log is told of stores that are special; nil logs nothing.
	Log logrus.FieldLogger
	// Observer is told of every operation; nil observes nothing.
	Observer Observer
	// Policies are the resiliency policies in force; nil has none.
	Policies *resiliency.Policies
	// Outbox publishes what transactions write; nil publishes nothing.
	Outbox Outbox
}

// Service is the state building block. Its methods take and give keys as apps know them, may be called by
// many goroutines at once, and fail with *apierr.Error only.
type Service struct {
	deps   Deps
	stores ready.Shelf[*component]
	// change is held while stores are added, replaced and removed: of those for actors there is one at most.
	change sync.Mutex
	// actorsChanged is told when the store for actors may be another; nil is told nothing.
	actorsChanged func()
	// requests keeps reads of single keys free of an allocation for the request.
	requests sync.Pool
}

// NewService makes a Service without stores.
func NewService(deps Deps) *Service {
	return &Service{deps: deps, requests: sync.Pool{New: func() any { return new(GetRequest) }}}
}

// Get reads one key. An absent key gives an Item that is not Found. The Item's Value and Metadata are the
// store's own: they are read, never changed.
func (s *Service) Get(ctx context.Context, store string, req GetRequest) (Item, error) {
	held, err := s.take(store)
	if err != nil {
		return Item{}, err
	}
	defer held.Leave()
	c := held.Value
	if err := checkKey(store, req.Key); err != nil {
		return Item{}, err
	}
	stored := s.requests.Get().(*GetRequest)
	*stored = req
	stored.Key = c.prefix + req.Key
	item, err := c.get(ctx, stored)
	*stored = GetRequest{}
	s.requests.Put(stored)
	if err != nil {
		return Item{}, failed(apierr.StateGet, err, req.Key, store, err)
	}
	result := *item
	result.Key = req.Key
	return result, nil
}

// BulkGetRequest reads Keys.
type BulkGetRequest struct {
	Keys []string
	// Parallelism is the most reads at once where the store has no call for many keys; 0 or less is the
	// default of 100, and more than 1000 is 1000.
	Parallelism int
	Metadata    map[string]string
}

// BulkGet reads many keys. Items come in the order of the keys; the failure of a single key is in its Item. No
// keys are no items, of a store that exists: the gRPC API of Dapr asks for no store then, its HTTP API does.
func (s *Service) BulkGet(ctx context.Context, store string, req BulkGetRequest) ([]Item, error) {
	held, err := s.take(store)
	if err != nil {
		return nil, err
	}
	defer held.Leave()
	c := held.Value
	if err := CheckItems(len(req.Keys)); err != nil {
		return nil, err
	}
	stored := make([]GetRequest, len(req.Keys))
	for i, key := range req.Keys {
		if err := checkKey(store, key); err != nil {
			return nil, err
		}
		stored[i] = GetRequest{Key: c.prefix + key, Metadata: req.Metadata}
	}
	if len(stored) == 0 {
		return nil, nil
	}
	items, err := c.getMany(ctx, stored, req.Parallelism)
	if err != nil {
		return nil, failed(apierr.StateBulkGet, err, err)
	}
	for i := range items {
		items[i].Key = req.Keys[i]
	}
	return items, nil
}

// Set writes items. Nothing is written when a key cannot be used. Several items are written at once and
// independently: those that fail do not hold the others back, and the error joins all failures.
func (s *Service) Set(ctx context.Context, store string, items []SetRequest) error {
	held, err := s.take(store)
	if err != nil {
		return err
	}
	defer held.Leave()
	c := held.Value
	if err := CheckItems(len(items)); err != nil {
		return err
	}
	stored := make([]SetRequest, len(items))
	for i, item := range items {
		if item.Key == "" {
			return apierr.StateKeyEmpty.New()
		}
		if err := checkKey(store, item.Key); err != nil {
			return err
		}
		if err := checkContent(&item); err != nil {
			return err
		}
		stored[i] = item
		stored[i].Key = c.prefix + item.Key
	}
	switch len(stored) {
	case 0:
		return nil
	case 1:
		err = c.set(ctx, &stored[0])
	default:
		err = c.setMany(ctx, stored)
	}
	if err != nil {
		return failed(written(apierr.StateSave, err), err, store, err)
	}
	return nil
}

// Delete removes one key. An absent key without an entity tag is no error.
func (s *Service) Delete(ctx context.Context, store string, req DeleteRequest) error {
	held, err := s.take(store)
	if err != nil {
		return err
	}
	defer held.Leave()
	c := held.Value
	if err := checkKey(store, req.Key); err != nil {
		return err
	}
	stored := req
	stored.Key = c.prefix + req.Key
	if err := c.remove(ctx, &stored); err != nil {
		return failed(written(apierr.StateDelete, err), err, req.Key, err)
	}
	return nil
}

// BulkDelete removes many keys, in the manner of Set.
func (s *Service) BulkDelete(ctx context.Context, store string, reqs []DeleteRequest) error {
	held, err := s.take(store)
	if err != nil {
		return err
	}
	defer held.Leave()
	c := held.Value
	if err := CheckItems(len(reqs)); err != nil {
		return err
	}
	stored := make([]DeleteRequest, len(reqs))
	for i, req := range reqs {
		if err := checkKey(store, req.Key); err != nil {
			return err
		}
		stored[i] = req
		stored[i].Key = c.prefix + req.Key
	}
	switch len(stored) {
	case 0:
		return nil
	case 1:
		err = c.remove(ctx, &stored[0])
	default:
		err = c.removeMany(ctx, stored)
	}
	if err != nil {
		return failed(written(apierr.StateBulkDelete, err), err, store, err)
	}
	return nil
}

// failed is the error that the API answers when a component gave cause: the row, unless the component's own
// error is a row already.
func failed(row apierr.Row, cause error, args ...any) error {
	var own *apierr.Error
	if errors.As(cause, &own) {
		return own
	}
	return row.New(args...)
}

// written is the row of a failed write: a refused entity tag has statuses of its own.
func written(row apierr.Row, err error) apierr.Row {
	tag, ok := IsETag(err)
	switch {
	case !ok:
		return row
	case tag.Kind == ETagInvalid:
		return row.ETagInvalid()
	default:
		return row.ETagMismatch()
	}
}
