package memory

import (
	"context"
	"strings"
	"testing"

	"github.com/daprd/daprd/pkg/state"
	"github.com/daprd/daprd/pkg/state/statetest"
)

// The block must not take away what the store promises: the suite runs through the Service, too, with
// encryption between.
func TestConformanceThroughTheService(t *testing.T) {
	const key = "11223344556677889900aabbccddeeff"
	encrypted := map[string]string{"primaryEncryptionKey": key}
	secrets := map[string]string{"primaryEncryptionKey": "k128"}
	for name, properties := range map[string]map[string]string{"plain": nil, "encrypted": encrypted} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings, err := state.ParseSettings(properties, secrets)
			if properties == nil {
				settings, err = state.ParseSettings(nil, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			statetest.Run(t, func(t *testing.T) state.Store {
				service := state.NewService(state.Deps{AppID: "myapp"})
				if err := service.Add("st", open(t), settings); err != nil {
					t.Fatal(err)
				}
				return served{service}
			}, statetest.Options{})
		})
	}
}

// served shows a Service as a Store. Its keys are those of an app, which hold no separator.
type served struct{ service *state.Service }

func appKey(key string) string { return strings.ReplaceAll(key, "||", "--") }

func (s served) Get(ctx context.Context, req *state.GetRequest) (*state.Item, error) {
	item, err := s.service.Get(ctx, "st", state.GetRequest{Key: appKey(req.Key), Consistency: req.Consistency, Metadata: req.Metadata})
	item.Key = req.Key
	return &item, err
}

func (s served) BulkGet(ctx context.Context, reqs []state.GetRequest) ([]state.Item, error) {
	keys := make([]string, len(reqs))
	for i, req := range reqs {
		keys[i] = appKey(req.Key)
	}
	items, err := s.service.BulkGet(ctx, "st", state.BulkGetRequest{Keys: keys})
	for i := range items {
		items[i].Key = reqs[i].Key
	}
	return items, err
}

func (s served) Set(ctx context.Context, req *state.SetRequest) error {
	item := *req
	item.Key = appKey(req.Key)
	return s.service.Set(ctx, "st", []state.SetRequest{item})
}

func (s served) Delete(ctx context.Context, req *state.DeleteRequest) error {
	item := *req
	item.Key = appKey(req.Key)
	return s.service.Delete(ctx, "st", item)
}

func (s served) Transact(ctx context.Context, ops []state.Operation, metadata map[string]string) error {
	raw := make([]state.RawOperation, len(ops))
	for i, op := range ops {
		if op.Set != nil {
			raw[i] = state.RawOperation{Type: "upsert", Set: *op.Set}
		} else {
			raw[i] = state.RawOperation{Type: "delete", Set: state.SetRequest{Key: op.Delete.Key, ETag: op.Delete.ETag}}
		}
		raw[i].Set.Key = appKey(raw[i].Set.Key)
	}
	return s.service.Transact(ctx, "st", state.Transaction{Operations: raw, Metadata: metadata})
}
