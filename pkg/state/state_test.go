package state

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/resiliency"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve makes a Service with one store named st.
func serve(t testing.TB, store Store, settings Settings) *Service {
	t.Helper()
	service := NewService(Deps{AppID: "myapp", Namespace: "ns1"})
	if err := service.Add("st", store, settings); err != nil {
		t.Fatal(err)
	}
	return service
}

func TestRequestsPassThrough(t *testing.T) {
	store := newShelf()
	service := serve(t, store, Settings{})
	tag, metadata := "tag", map[string]string{"ttlInSeconds": "5"}
	set := SetRequest{Key: "k", Value: []byte(" v "), JSON: true, ETag: &tag, Concurrency: FirstWrite, Consistency: Strong, Metadata: metadata}
	remove := DeleteRequest{Key: "k", ETag: &tag, Concurrency: FirstWrite, Consistency: Strong, Metadata: metadata}
	err := errors.Join(
		service.Set(t.Context(), "st", []SetRequest{set}),
		service.Transact(t.Context(), "st", Transaction{Operations: []RawOperation{{Type: "upsert", Set: set}, {Type: "delete", Set: set}}}),
		service.Delete(t.Context(), "st", remove),
		service.BulkDelete(t.Context(), "st", []DeleteRequest{remove}),
	)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := service.Get(t.Context(), "st", GetRequest{Key: "k", Consistency: "x", Metadata: metadata}); err != nil {
		t.Fatal(err)
	}
	if set.Key != "k" || remove.Key != "k" {
		t.Error("the caller's request was changed")
	}
	set.Key, remove.Key = "myapp||k", "myapp||k"
	if diff := cmp.Diff([]SetRequest{set, set}, store.sets); diff != "" {
		t.Error("set:", diff)
	}
	if diff := cmp.Diff([]DeleteRequest{remove, remove, remove}, store.deletes); diff != "" {
		t.Error("delete:", diff)
	}
	if diff := cmp.Diff([]GetRequest{{Key: "myapp||k", Consistency: "x", Metadata: metadata}}, store.gets); diff != "" {
		t.Error("get:", diff)
	}
}

// still is a store that answers without an allocation, as the in-memory store does.
type still struct {
	Store
	item Item
}

func (s *still) Get(context.Context, *GetRequest) (*Item, error) { return &s.item, nil }

func TestGetAllocatesTheKeyOnly(t *testing.T) {
	service := NewService(Deps{AppID: "myapp", Policies: resiliency.New()})
	if err := service.Add("st", &still{item: Item{Value: []byte("v"), Found: true}}, Settings{}); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	allocations := testing.AllocsPerRun(1000, func() {
		if item, err := service.Get(ctx, "st", GetRequest{Key: "some-key"}); err != nil || !item.Found {
			t.Fatal(err)
		}
	})
	if allocations > 1 && !raceEnabled {
		t.Errorf("%v allocations, want the complete key alone", allocations)
	}
}
