package configuration

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus/hooks/test"

	"github.com/daprd/daprd/pkg/channel"
)

// server is what stores read: items, and who listens. One that is away takes no subscriptions and loses those it has.
type server struct {
	mu        sync.Mutex
	items     map[string]Item
	away      bool
	listeners map[chan struct{}]func(map[string]Item)
}

func newServer(items map[string]Item) *server {
	return &server{items: items, listeners: map[chan struct{}]func(map[string]Item){}}
}

var errAway = errors.New("connection refused")

func (s *server) Get(context.Context, []string, map[string]string) (map[string]Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return nil, errAway
	}
	return maps.Clone(s.items), nil
}

func (s *server) Subscribe(ctx context.Context, _ []string, _ map[string]string, established func(), changed func(map[string]Item)) error {
	lost := make(chan struct{})
	s.mu.Lock()
	if s.away {
		s.mu.Unlock()
		return errAway
	}
	s.listeners[lost] = changed
	s.mu.Unlock()
	established()
	select {
	case <-lost:
		return errAway
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, lost)
	return nil
}

// put changes items, those without a value to none, and tells the listeners.
func (s *server) put(items map[string]Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, item := range items {
		if item.gone() {
			delete(s.items, key)
		} else {
			s.items[key] = item
		}
	}
	for _, changed := range s.listeners {
		changed(items)
	}
}

// leave and come back.
func (s *server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = true
	for lost := range s.listeners {
		close(lost)
	}
	clear(s.listeners)
}

func (s *server) come() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = false
}

// heard collects what an application is told, by key, and how often.
type heard struct {
	mu    sync.Mutex
	items map[string]Item
	times int
}

func (h *heard) tell(_ context.Context, update *channel.ConfigurationUpdate) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.items == nil {
		h.items = map[string]Item{}
	}
	h.times++
	for key, item := range update.Items {
		h.items[key] = Item(item)
	}
	return nil
}

// expect checks that each of the items, and nothing else, was told once since the last look.
func (h *heard) expect(t *testing.T, when string, want map[string]Item) {
	t.Helper()
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if diff := cmp.Diff(want, h.items); diff != "" || h.times != len(want) {
		t.Errorf("%s: told %d times: %s", when, h.times, diff)
	}
	h.items, h.times = nil, 0
}

// TestMissedChanges: what changes while a subscription is lost, or differs at the store that takes the place of
// another, is told once it is made again, each item once; what stayed the same is not.
func TestMissedChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := newServer(map[string]Item{"same": {Value: "1"}, "changed": {Value: "1"}, "version": {Value: "1", Version: "1"}, "deleted": {Value: "1"}})
		told := &heard{}
		log, said := test.NewNullLogger()
		s := serviceThatLogs(t, log, first, told.tell)
		if _, err := s.SubscribeApp(t.Context(), "settings", nil, nil); err != nil {
			t.Fatal(err)
		}
		told.expect(t, "at first", nil)
		first.put(map[string]Item{"same": {Value: "2"}})
		told.expect(t, "a change", map[string]Item{"same": {Value: "2"}})

		first.leave()
		time.Sleep(time.Hour)
		differ := map[string]Item{"changed": {Value: "2"}, "version": {Value: "1", Version: "2"}, "deleted": {}, "new": {Value: "1"}}
		first.put(differ)
		first.come()
		time.Sleep(longestPause)
		told.expect(t, "back again", differ)
		lines := said.AllEntries()
		if len(lines) != 61 || lines[0].Message != "subscriptions to configuration store settings are lost and tried again: connection refused" ||
			!strings.HasPrefix(lines[60].Message, "subscriptions to configuration store settings are made again, after 1h0m") {
			t.Errorf("%d lines: %v", len(lines), lines)
		}

		first.leave()
		first.come()
		time.Sleep(longestPause)
		told.expect(t, "nothing has changed", nil)

		second := newServer(map[string]Item{"same": {Value: "2"}, "changed": {Value: "other"}, "version": {Value: "1", Version: "2"}})
		if err := s.Replace(t.Context(), "settings", second); err != nil {
			t.Fatal(err)
		}
		told.expect(t, "another store", map[string]Item{"changed": {Value: "other"}, "new": {}})
		second.put(map[string]Item{"same": {Value: "3"}})
		told.expect(t, "a change at the other store", map[string]Item{"same": {Value: "3"}})
	})
}

// TestReadIsOlder: what the store tells while the items are read is newer than what is read, and nothing overwrites it.
func TestReadIsOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := &heard{}
		var (
			attempts atomic.Int32
			stored   = map[string]Item{"a": {Value: "old"}, "b": {Value: "old"}}
			change   func(map[string]Item)
			lose     = make(chan struct{})
		)
		s := service(t, &scripted{subscribe: func(ctx context.Context, established func(), changed func(map[string]Item)) error {
			change = changed
			established()
			select {
			case <-lose:
			case <-ctx.Done():
			}
			return errAway
		}, get: func(context.Context) (map[string]Item, error) {
			before := maps.Clone(stored)
			if attempts.Add(1) == 1 {
				change(map[string]Item{"a": {Value: "new"}, "b": {}, "c": {Value: "new"}})
			}
			return before, nil
		}}, told.tell)
		if _, err := s.SubscribeApp(t.Context(), "settings", nil, nil); err != nil {
			t.Fatal(err)
		}
		told.expect(t, "at first", map[string]Item{"a": {Value: "new"}, "b": {}, "c": {Value: "new"}})
		// Back to what was read then.
		lose <- struct{}{}
		time.Sleep(longestPause)
		told.expect(t, "after a loss", map[string]Item{"a": {Value: "old"}, "b": {Value: "old"}, "c": {}})
	})
}

// TestNotRead: a subscription whose items cannot be read is none, and the store has let go of it.
func TestNotRead(t *testing.T) {
	var open atomic.Int32
	s := service(t, &scripted{subscribe: func(ctx context.Context, established func(), _ func(map[string]Item)) error {
		open.Add(1)
		defer open.Add(-1)
		established()
		<-ctx.Done()
		return nil
	}, get: func(context.Context) (map[string]Item, error) { return nil, errAway }}, silent)
	if _, err := s.SubscribeApp(t.Context(), "settings", nil, nil); !errors.Is(err, errAway) || open.Load() != 0 {
		t.Errorf("%v; %d subscriptions are left at the store", err, open.Load())
	}
}

// TestUnsubscribedWhileLost: nothing is left of the outage of a store when its last subscription has ended.
func TestUnsubscribedWhileLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newServer(map[string]Item{})
		log, said := test.NewNullLogger()
		s := serviceThatLogs(t, log, store, silent)
		id, err := s.SubscribeApp(t.Context(), "settings", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		store.leave()
		synctest.Wait()
		if err := s.Unsubscribe(id); err != nil {
			t.Fatal(err)
		}
		if len(s.outages) != 0 || len(said.AllEntries()) != 1 {
			t.Errorf("%v, %v", s.outages, said.AllEntries())
		}
	})
}
