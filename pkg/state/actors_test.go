package state

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestActorStore: the store for actors is reached by complete keys, without encryption, and who watches it is told
// whenever it changes.
func TestActorStore(t *testing.T) {
	service := NewService(Deps{AppID: "myapp"})
	var told []error
	service.WatchActorStore(func() { told = append(told, service.ActorStoreReady()) })
	write := []Operation{{Set: &SetRequest{Key: "myapp||T||1||k", Value: []byte("1")}}}
	if err := service.ActorTransact(t.Context(), write, nil); !errors.Is(err, ErrNoActorStore) {
		t.Errorf("without a store: %v", err)
	}

	settings := readRecorded(t).settings(t, "k256", "k128")
	settings.ActorStateStore = true
	first, second := newShelf(), newShelf()
	if err := service.Add("st", first, settings); err != nil {
		t.Fatal(err)
	}
	if err := service.ActorTransact(t.Context(), write, map[string]string{"partitionKey": "p"}); err != nil {
		t.Fatal(err)
	}
	if got := first.items["myapp||T||1||k"]; got == nil || string(got.Value) != "1" {
		t.Errorf("stored %+v", got)
	}
	item, err := service.ActorGet(t.Context(), GetRequest{Key: "myapp||T||1||k"})
	if err != nil || string(item.Value) != "1" || !item.Found {
		t.Errorf("read %+v, %v", item, err)
	}

	if err := service.Replace(t.Context(), "st", plainShelf{second}, settings); err != nil {
		t.Fatal(err)
	}
	if _, err := service.ActorGet(t.Context(), GetRequest{Key: "k"}); !errors.Is(err, ErrUnfitActorStore) {
		t.Errorf("a store without transactions: %v", err)
	}
	if err := service.Remove(t.Context(), "st"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]error{nil, ErrUnfitActorStore, ErrNoActorStore}, told, cmp.Comparer(errors.Is)); diff != "" {
		t.Error(diff)
	}
}
