package configuration

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	"go.uber.org/goleak"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/ready"
	"github.com/daprd/daprd/pkg/resiliency"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// scripted is a store whose subscriptions do as subscribe says. It has the items that get gives, none without.
type scripted struct {
	subscribe func(ctx context.Context, established func(), changed func(map[string]Item)) error
	get       func(ctx context.Context) (map[string]Item, error)
}

func (s *scripted) Get(ctx context.Context, _ []string, _ map[string]string) (map[string]Item, error) {
	if s.get == nil {
		return nil, nil
	}
	return s.get(ctx)
}

func (s *scripted) Subscribe(ctx context.Context, _ []string, _ map[string]string, established func(), changed func(map[string]Item)) error {
	return s.subscribe(ctx, established, changed)
}

// steady is a store that brings items at once and then nothing.
func steady(items map[string]Item) *scripted {
	return &scripted{subscribe: func(ctx context.Context, established func(), changed func(map[string]Item)) error {
		if len(items) > 0 {
			changed(items)
		}
		established()
		<-ctx.Done()
		return nil
	}}
}

// application is told of changes by the function alone.
type application struct {
	channel.App
	told func(ctx context.Context, update *channel.ConfigurationUpdate) error
}

func (a *application) ConfigurationUpdate(ctx context.Context, update *channel.ConfigurationUpdate) error {
	return a.told(ctx, update)
}

func service(t *testing.T, store Store, told func(context.Context, *channel.ConfigurationUpdate) error) *Service {
	t.Helper()
	log, _ := test.NewNullLogger()
	return serviceThatLogs(t, log, store, told)
}

func serviceThatLogs(t *testing.T, log logrus.FieldLogger, store Store, told func(context.Context, *channel.ConfigurationUpdate) error) *Service {
	t.Helper()
	app := &ready.Slot[channel.App]{}
	app.Fill(&application{told: told})
	s := NewService(Deps{App: app, Policies: resiliency.New(), Log: log})
	if err := s.Add("settings", store); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Drain(context.Background()), s.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func silent(context.Context, *channel.ConfigurationUpdate) error { return nil }

// receive waits for a value.
func receive[T any](t *testing.T, from <-chan T, what string) (value T) {
	t.Helper()
	select {
	case value = <-from:
	case <-time.After(patience):
		t.Fatalf("no %s", what)
	}
	return value
}

// TestUnsubscribeOnce: when Unsubscribe has answered, the subscription is gone.
func TestUnsubscribeOnce(t *testing.T) {
	s := service(t, steady(nil), silent)
	for range 500 {
		id, err := s.SubscribeApp(t.Context(), "settings", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Unsubscribe(id); err != nil {
			t.Fatal(err)
		}
		if err := s.Unsubscribe(id); !errors.Is(err, ErrUnknown) {
			t.Fatalf("the second time: %v", err)
		}
	}
}

// TestDrainWaitsForTheApplication: Drain has not ended while a call of the application is under way.
func TestDrainWaitsForTheApplication(t *testing.T) {
	calling, release := make(chan struct{}), make(chan struct{})
	s := service(t, steady(map[string]Item{"a": {Value: "1"}}), func(ctx context.Context, _ *channel.ConfigurationUpdate) error {
		close(calling)
		<-ctx.Done()
		<-release
		return ctx.Err()
	})
	if _, err := s.SubscribeApp(t.Context(), "settings", nil, nil); err != nil {
		t.Fatal(err)
	}
	receive(t, calling, "call")
	for range 100 {
		if err := s.Drain(over()); err == nil {
			t.Fatal("Drain has ended and the call has not")
		}
	}
	close(release)
}

// over is a context that has ended.
func over() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestDrainEndsAll: a store that does not let go costs Drain its time, and the other subscriptions nothing.
func TestDrainEndsAll(t *testing.T) {
	release := make(chan struct{})
	var ended atomic.Int32
	both := make(chan struct{})
	s := service(t, &scripted{subscribe: func(ctx context.Context, established func(), _ func(map[string]Item)) error {
		established()
		<-ctx.Done()
		if ended.Add(1) == 2 {
			close(both)
		}
		<-release
		return nil
	}}, silent)
	for range 2 {
		if _, err := s.SubscribeApp(t.Context(), "settings", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Drain(over()); err == nil {
		t.Error("Drain says that all have ended")
	}
	receive(t, both, "end of both")
	close(release)
}

// TestStoreThatStops: a subscription that a store ends without a word is lost, and said to be, before it is tried again.
func TestStoreThatStops(t *testing.T) {
	log, said := test.NewNullLogger()
	attempts := make(chan struct{}, 2)
	var seen atomic.Int32
	s := serviceThatLogs(t, log, &scripted{subscribe: func(ctx context.Context, established func(), _ func(map[string]Item)) error {
		attempts <- struct{}{}
		established()
		if seen.Add(1) == 1 {
			return nil
		}
		<-ctx.Done()
		return nil
	}}, silent)
	if _, err := s.SubscribeApp(t.Context(), "settings", nil, nil); err != nil {
		t.Fatal(err)
	}
	receive(t, attempts, "attempt")
	receive(t, attempts, "second attempt")
	if entry := said.AllEntries()[0]; entry.Message != "subscriptions to configuration store settings are lost and tried again: "+errStopped.Error() {
		t.Errorf("%+v", entry)
	}
}

// TestLostStore: a subscription goes on after an error, and after another store takes the name.
func TestLostStore(t *testing.T) {
	var attempts atomic.Int32
	values := make(chan string, 10)
	s := service(t, &scripted{subscribe: func(ctx context.Context, established func(), changed func(map[string]Item)) error {
		if attempts.Add(1) == 1 {
			established()
			return errors.New("connection reset")
		}
		changed(map[string]Item{"a": {Value: "again"}})
		established()
		<-ctx.Done()
		return nil
	}}, func(_ context.Context, update *channel.ConfigurationUpdate) error {
		values <- update.Items["a"].Value
		return nil
	})
	if _, err := s.SubscribeApp(t.Context(), "settings", []string{"a"}, nil); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, values, "change after the error"); got != "again" {
		t.Error(got)
	}
	for range 50 {
		if err := s.Replace(t.Context(), "settings", steady(map[string]Item{"a": {Value: "other"}})); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, values, "change at the new store"); got != "other" {
			t.Error(got)
		}
	}
}

// TestReplaceAtOnce: a store that is replaced while subscriptions begin is let go by all of them.
func TestReplaceAtOnce(t *testing.T) {
	s := service(t, steady(nil), silent)
	for range 50 {
		began := make(chan error, 8)
		for range cap(began) {
			go func() {
				id, err := s.SubscribeApp(t.Context(), "settings", nil, nil)
				if err == nil {
					err = s.Unsubscribe(id)
				}
				began <- err
			}()
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := s.Replace(ctx, "settings", steady(nil)); err != nil {
			t.Fatal(err)
		}
		if ctx.Err() != nil {
			t.Fatal("the old store is not let go")
		}
		cancel()
		for range cap(began) {
			if err := receive(t, began, "subscription"); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestNewestValue: what comes while the receiver is busy is brought in its order, of each key the newest value.
func TestNewestValue(t *testing.T) {
	change := make(chan func(map[string]Item), 1)
	s := service(t, &scripted{subscribe: func(ctx context.Context, established func(), changed func(map[string]Item)) error {
		established()
		change <- changed
		<-ctx.Done()
		return nil
	}}, silent)
	ctx, cancel := context.WithCancel(t.Context())
	got, busy, ended := make(chan map[string]Item, 10), make(chan struct{}), make(chan error)
	go func() {
		ended <- s.Watch(ctx, "settings", nil, nil, func(string) error { return nil }, func(_ string, items map[string]Item) error {
			got <- items
			<-busy
			return nil
		})
	}()
	changed := receive(t, change, "subscription")
	changed(map[string]Item{"z": {Value: "1"}})
	receive(t, got, "change")
	changed(map[string]Item{"z": {Value: "2"}})
	changed(map[string]Item{"c": {Value: "1"}, "b": {Value: "1"}, "z": {Value: "3"}})
	changed(map[string]Item{"a": {Value: "1"}, "z": {Value: "4"}})
	close(busy)
	for _, want := range []map[string]Item{{"z": {Value: "4"}}, {"b": {Value: "1"}}, {"c": {Value: "1"}}, {"a": {Value: "1"}}} {
		if diff := cmp.Diff(want, receive(t, got, "change")); diff != "" {
			t.Error(diff)
		}
	}
	cancel()
	if err := receive(t, ended, "end of the receiver"); err != nil {
		t.Error(err)
	}
}

// TestManySubscriptions: there is an end of them, and one that is given up makes room.
func TestManySubscriptions(t *testing.T) {
	s := service(t, steady(nil), silent)
	last := ""
	for i := range maxSubscriptions {
		id, err := s.SubscribeApp(t.Context(), "settings", []string{fmt.Sprint(i)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		last = id
	}
	if _, err := s.SubscribeApp(t.Context(), "settings", nil, nil); !errors.Is(err, errTooMany) {
		t.Errorf("one more: %v", err)
	}
	if err := s.Unsubscribe(last); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SubscribeApp(t.Context(), "settings", nil, nil); err != nil {
		t.Error(err)
	}
}

// TestApplicationThatStartsAgain: an application that has forgotten its subscriptions, and asks for the same ones at each
// start, is not refused when there are too many: the oldest of the same goes. Those of callers who watch stay.
func TestApplicationThatStartsAgain(t *testing.T) {
	s := service(t, steady(nil), silent)
	watching, ended := make(chan struct{}), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		ended <- s.Watch(ctx, "settings", []string{"a", "b"}, nil, func(string) error {
			close(watching)
			return nil
		}, nil)
	}()
	receive(t, watching, "watch")
	subscribe := func(metadata map[string]string, keys ...string) string {
		t.Helper()
		id, err := s.SubscribeApp(t.Context(), "settings", keys, metadata)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	other := subscribe(map[string]string{"m": "other"}, "a", "b")
	oldest, second := subscribe(nil, "a", "b"), subscribe(nil, "b", "a")
	for range maxSubscriptions - 4 {
		subscribe(nil, "c")
	}
	for _, gone := range []string{oldest, second} {
		subscribe(nil, "a", "b")
		if err := s.Unsubscribe(gone); !errors.Is(err, ErrUnknown) {
			t.Errorf("it did not make room: %v", err)
		}
	}
	if len(s.subscriptions) != maxSubscriptions {
		t.Errorf("%d subscriptions", len(s.subscriptions))
	}
	if err := s.Unsubscribe(other); err != nil {
		t.Errorf("that of other metadata: %v", err)
	}
	cancel()
	if err := receive(t, ended, "end of the watch"); err != nil {
		t.Error(err)
	}
}
