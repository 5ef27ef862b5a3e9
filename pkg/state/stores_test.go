package state

import (
	"context"
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
	next := newShelf()
	if err := service.Replace(t.Context(), "b", next, Settings{ActorStateStore: true}); err != nil || bare.closed != 1 {
		t.Errorf("replaced: %v, closed %d times", err, bare.closed)
	}
	for range 2 {
		if err := service.Remove(t.Context(), "b"); err != nil || next.closed != 1 {
			t.Errorf("removed: %v, closed %d times", err, next.closed)
		}
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
				if err := service.Replace(t.Context(), name, newShelf(), Settings{}); err != nil {
					t.Error(err)
				}
				if err := service.Remove(t.Context(), name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// TestCallsEndOnTheirStore: what is in flight when a store is replaced ends on the old one, which is closed after it.
func TestCallsEndOnTheirStore(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	old := &slowShelf{shelf: newShelf(), entered: entered, release: release}
	service := NewService(Deps{})
	if err := service.Add("st", old, Settings{}); err != nil {
		t.Fatal(err)
	}
	got, replaced := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := service.Get(t.Context(), "st", GetRequest{Key: "k"})
		got <- err
	}()
	<-entered
	next := newShelf()
	go func() { replaced <- service.Replace(t.Context(), "st", next, Settings{}) }()
	for len(next.keys) == 0 { // until the new one is in service
		if err := service.Set(t.Context(), "st", []SetRequest{{Key: "k", Value: []byte("1")}}); err != nil {
			t.Fatal(err)
		}
	}
	if old.closed != 0 || len(replaced) > 0 {
		t.Error("the old store is closed while a call is in flight")
	}
	close(release)
	if err := errors.Join(<-got, <-replaced); err != nil || old.closed != 1 {
		t.Errorf("%v, closed %d times", err, old.closed)
	}
}

type slowShelf struct {
	*shelf
	entered, release chan struct{}
}

func (s *slowShelf) Get(ctx context.Context, req *GetRequest) (*Item, error) {
	close(s.entered)
	<-s.release
	return s.shelf.Get(ctx, req)
}
