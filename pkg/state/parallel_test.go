package state

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBulkGetWithoutTheAbility(t *testing.T) {
	store := newShelf()
	service := serve(t, plainShelf{store}, Settings{})
	keys := make([]string, 300)
	want := make([]Item, len(keys))
	for i := range keys {
		keys[i] = strconv.Itoa(i)
		want[i] = Item{Key: keys[i]}
		if i%2 == 0 {
			value := []byte("value " + keys[i])
			store.items["myapp||"+keys[i]] = &Item{Key: "myapp||" + keys[i], Value: value, ETag: "1", Found: true}
			want[i] = Item{Key: keys[i], Value: value, ETag: "1", Found: true}
		}
	}
	metadata := map[string]string{"a": "b"}
	got, err := service.BulkGet(t.Context(), "st", BulkGetRequest{Keys: keys, Parallelism: 3, Metadata: metadata})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if store.most > 3 {
		t.Errorf("%d reads at once, want at most 3", store.most)
	}
	if diff := cmp.Diff(metadata, store.gets[0].Metadata); diff != "" {
		t.Error(diff)
	}

	store.fail = errors.New("down")
	got, err = service.BulkGet(t.Context(), "st", BulkGetRequest{Keys: []string{"a", "b"}})
	if err != nil || len(got) != 2 || !errors.Is(got[0].Err, store.fail) || got[1].Key != "b" {
		t.Errorf("a failing store: %+v, %v, want the failure in each item", got, err)
	}
	if got, err := service.BulkGet(t.Context(), "st", BulkGetRequest{}); err != nil || len(got) != 0 {
		t.Errorf("no keys: %+v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	store.fail = nil
	got, err = service.BulkGet(ctx, "st", BulkGetRequest{Keys: []string{"a"}})
	if err != nil || !errors.Is(got[0].Err, context.Canceled) {
		t.Errorf("a cancelled context: %+v, %v", got, err)
	}
}

// Each call waits for the others: one after another, the test would never end.
func TestSeveralItemsAreWrittenAtOnce(t *testing.T) {
	const together = 8
	gate := &gatedShelf{shelf: newShelf(), open: make(chan struct{}), left: together}
	service := serve(t, gate, Settings{})
	items := make([]SetRequest, together)
	for i := range items {
		items[i].Key = strconv.Itoa(i)
	}
	if err := service.Set(t.Context(), "st", items); err != nil {
		t.Fatal(err)
	}
}

// gatedShelf lets no write pass until as many as left are there.
type gatedShelf struct {
	*shelf
	gate sync.Mutex
	left int
	open chan struct{}
}

func (g *gatedShelf) Set(ctx context.Context, req *SetRequest) error {
	g.gate.Lock()
	if g.left--; g.left == 0 {
		close(g.open)
	}
	g.gate.Unlock()
	<-g.open
	return g.shelf.Set(ctx, req)
}

func TestOneKeyTwiceIsWrittenInOrder(t *testing.T) {
	store := newShelf()
	service := serve(t, store, Settings{})
	var items []SetRequest
	for i := range 50 {
		items = append(items, SetRequest{Key: "k", Value: []byte(strconv.Itoa(i))})
	}
	if err := service.Set(t.Context(), "st", items); err != nil {
		t.Fatal(err)
	}
	for i, set := range store.sets {
		if string(set.Value) != strconv.Itoa(i) {
			t.Fatalf("write %d has the value %s", i, set.Value)
		}
	}
	if got := string(store.items["myapp||k"].Value); got != "49" {
		t.Errorf("the last value is %s", got)
	}
}

func TestOneRefusedItemDoesNotHoldTheOthersBack(t *testing.T) {
	store := newShelf()
	service := serve(t, store, Settings{})
	wrong := "wrong"
	err := service.Set(t.Context(), "st", []SetRequest{{Key: "a"}, {Key: "b", ETag: &wrong}, {Key: "c"}})
	got := answered(t, err)
	want := "failed saving state in state store st: possible etag mismatch. error from state store: key b: cause of the store"
	if got.HTTP != 409 || got.Message != want {
		t.Errorf("%d %s", got.HTTP, got.Message)
	}
	if store.items["myapp||a"] == nil || store.items["myapp||b"] != nil || store.items["myapp||c"] == nil {
		t.Errorf("written: %v", store.items)
	}
}
