package state

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestStores(t *testing.T) {
	service := NewService(Deps{AppID: "myapp"})
	if diff := cmp.Diff([]Description{}, service.Stores()); diff != "" {
		t.Error(diff)
	}
	bare := newShelf()
	err := errors.Join(service.Add("b", bare, Settings{ActorStateStore: true}), service.Add("a", plainShelf{newShelf()}, Settings{}))
	if err != nil {
		t.Fatal(err)
	}
	want := []Description{{Name: "a"}, {Name: "b", Features: []Feature{"ETAG", "TTL", "TRANSACTIONAL", "ACTOR"}}}
	if diff := cmp.Diff(want, service.Stores(), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if name, ok := service.ActorStore(); name != "b" || !ok {
		t.Errorf("actor store %q", name)
	}
	if err := service.Add("a", newShelf(), Settings{}); err == nil || !strings.Contains(err.Error(), "state store a is loaded already") {
		t.Errorf("a name twice: %v", err)
	}
	if err := service.Add("c", newShelf(), Settings{ActorStateStore: true}); err == nil || !strings.HasPrefix(err.Error(), "detected duplicate actor state store: c") {
		t.Errorf("two actor stores: %v", err)
	}
	removed, ok := service.Remove("b")
	if removed != bare || !ok || bare.closed != 0 {
		t.Errorf("removed %v %v, closed %d times", removed, ok, bare.closed)
	}
	if _, ok := service.Remove("b"); ok {
		t.Error("removed twice")
	}
	if _, ok := service.ActorStore(); ok {
		t.Error("an actor store after it was removed")
	}
}

func TestClose(t *testing.T) {
	service := NewService(Deps{})
	fine, bad, worse := newShelf(), newShelf(), newShelf()
	bad.fail, worse.fail = errors.New("bad"), errors.New("worse")
	for name, store := range map[string]Store{"fine": fine, "bad": bad, "worse": worse, "plain": plainShelf{newShelf()}} {
		if err := service.Add(name, store, Settings{}); err != nil {
			t.Fatal(err)
		}
	}
	err := service.Close()
	if want := "error closing state store bad: bad\nerror closing state store worse: worse"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if err := service.Close(); err != nil {
		t.Errorf("the second time: %v", err)
	}
	if fine.closed != 1 || bad.closed != 1 || worse.closed != 1 {
		t.Errorf("closed %d, %d, %d times", fine.closed, bad.closed, worse.closed)
	}
	if len(service.Stores()) != 0 {
		t.Error("stores after close")
	}
}

// Stores come and go while others are used.
func TestAddWhileInUse(t *testing.T) {
	service := serve(t, newShelf(), Settings{})
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			name := strconv.Itoa(i)
			for range 100 {
				if err := service.Add(name, newShelf(), Settings{}); err != nil {
					t.Error(err)
				}
				if _, err := service.Get(t.Context(), "st", GetRequest{Key: "k"}); err != nil {
					t.Error(err)
				}
				if _, ok := service.Remove(name); !ok {
					t.Error("not there")
				}
			}
		})
	}
	all.Wait()
}
