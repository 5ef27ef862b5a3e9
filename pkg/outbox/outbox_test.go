package outbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/cloudevent"
	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store is a transactional store that fails as a test says.
type store struct {
	mu    sync.Mutex
	items map[string]string
	// fail is asked before each transaction, lookup before each look; nil means no.
	fail   func(ops []state.Operation) error
	lookup func() error
}

func (s *store) Get(_ context.Context, req *state.GetRequest) (*state.Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lookup != nil {
		if err := s.lookup(); err != nil {
			return nil, err
		}
	}
	value, found := s.items[req.Key]
	return &state.Item{Key: req.Key, Value: []byte(value), Found: found}, nil
}

func (s *store) Set(context.Context, *state.SetRequest) error { return errors.New("not used") }

func (s *store) Delete(_ context.Context, req *state.DeleteRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.items, req.Key)
	return nil
}

func (s *store) Transact(_ context.Context, ops []state.Operation, _ map[string]string) error {
	if s.fail != nil {
		if err := s.fail(ops); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, op := range ops {
		s.items[op.Set.Key] = string(op.Set.Value)
	}
	return nil
}

func (s *store) keys() (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.items {
		keys = append(keys, key)
	}
	return keys
}

// mark stores the marker of an event.
func (s *store) mark(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items[id] = state.MarkerValue
}

// broker keeps what is published, and hands messages of the internal topic to its subscriber until they are accepted,
// five seconds after each failure.
type broker struct {
	mu sync.Mutex
	// published is what came to other topics.
	published []string
	refuse    error
	inner     chan []byte
	refusals  []error
}

func (b *broker) Publish(_ context.Context, req *pubsub.PublishRequest) error {
	if strings.HasSuffix(req.Topic, "outbox") {
		b.inner <- req.Data
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse != nil {
		return b.refuse
	}
	e, err := cloudevent.Parse(req.Data)
	if err != nil {
		return err
	}
	b.published = append(b.published, req.Topic+" "+string(e.Raw("data")))
	return nil
}

func (b *broker) Subscribe(ctx context.Context, req *pubsub.SubscribeRequest, deliver pubsub.Handler) error {
	req.Established()
	for {
		select {
		case data := <-b.inner:
			errs := deliver(ctx, []*pubsub.Message{{Topic: req.Topic, Data: data}})
			if len(errs) == 0 || errs[0] == nil {
				continue
			}
			b.mu.Lock()
			b.refusals = append(b.refusals, errs[0])
			b.mu.Unlock()
			select {
			case <-time.After(5 * time.Second):
				b.inner <- data
			case <-ctx.Done():
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (b *broker) sent() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.published...)
}

func (b *broker) refused() (texts []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, err := range b.refusals {
		texts = append(texts, err.Error())
	}
	return texts
}

// world is a store with an outbox, and a broker.
type world struct {
	*store
	*broker
	state  *state.Service
	outbox *Service
	log    *test.Hook
}

// inside runs a test with a world, in time that passes when everybody waits.
func inside(t *testing.T, discard bool, f func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		log, hook := test.NewNullLogger()
		log.Level = logrus.DebugLevel
		w := &world{store: &store{items: map[string]string{}}, broker: &broker{inner: make(chan []byte, 100)}, log: hook}
		messages := pubsub.NewService(pubsub.Deps{AppID: "shop", Log: log})
		if err := messages.Add("ps", w.broker, pubsub.Settings{}); err != nil {
			t.Fatal(err)
		}
		w.outbox = NewService(Deps{AppID: "shop", Namespace: "ns", PubSub: messages, Log: log})
		w.state = state.NewService(state.Deps{AppID: "shop", Log: log, Outbox: w.outbox})
		settings := &state.OutboxSettings{PubSub: "ps", Topic: "out", Through: "ps", DiscardMissing: discard}
		if err := w.state.Add("st", w.store, state.Settings{Outbox: settings}); err != nil {
			t.Fatal(err)
		}
		f(t, w)
		if err := w.outbox.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// put stores values in one transaction.
func (w *world) put(t *testing.T, values ...string) error {
	ops := make([]state.RawOperation, len(values))
	for i, value := range values {
		ops[i] = state.RawOperation{Type: state.TypeUpsert, Set: state.SetRequest{Key: fmt.Sprint("k", i), Value: []byte(value)}}
	}
	return w.state.Transact(t.Context(), "st", state.Transaction{Operations: ops})
}

// anEvent is an event on the internal topic that another sidecar made so long ago.
func anEvent(id string, age time.Duration) []byte {
	e := cloudevent.Envelope{ID: id, Source: "shop", Type: "t", Time: time.Now().Add(-age), Data: []byte("of another")}
	return e.Append(nil)
}

func (w *world) lines(level logrus.Level) (texts []string) {
	for _, entry := range w.log.AllEntries() {
		if entry.Level == level {
			texts = append(texts, entry.Message)
		}
	}
	return texts
}

func (w *world) check(t *testing.T, what string, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s", what, diff)
	}
}

func TestStored(t *testing.T) {
	inside(t, false, func(t *testing.T, w *world) {
		if err := w.put(t, "a", "b"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.check(t, "published", []string{`out "a"`, `out "b"`}, w.sent())
		if keys := w.keys(); len(keys) != 2 {
			t.Errorf("the store holds %v", keys)
		}
		w.check(t, "refusals", nil, w.refused())
	})
}

// TestUnderWay: an event that comes before its transaction is stored waits for that, however long it takes.
func TestUnderWay(t *testing.T) {
	inside(t, true, func(t *testing.T, w *world) {
		w.fail = func([]state.Operation) error { time.Sleep(50 * time.Second); return nil }
		done := make(chan error)
		go func() { done <- w.put(t, "late") }()
		time.Sleep(49 * time.Second)
		w.check(t, "published before it is stored", nil, w.sent())
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.check(t, "published", []string{`out "late"`}, w.sent())
	})
}

// TestTransactionTime: a store that does not answer within the bound gets no more time.
func TestTransactionTime(t *testing.T) {
	inside(t, false, func(t *testing.T, w *world) {
		var bound time.Duration
		w.state = state.NewService(state.Deps{AppID: "shop", Log: logrus.New(), Outbox: w.outbox})
		slow := &slowStore{store: w.store, bound: &bound}
		if err := w.state.Add("st", slow, state.Settings{Outbox: &state.OutboxSettings{PubSub: "ps", Topic: "out", Through: "ps"}}); err != nil {
			t.Fatal(err)
		}
		if err := w.put(t, "a"); err == nil || !strings.Contains(err.Error(), "deadline exceeded") {
			t.Errorf("the transaction ended with %v", err)
		}
		if bound != state.PublishedTransactionTime {
			t.Errorf("the bound was %s", bound)
		}
	})
}

type slowStore struct {
	*store
	bound *time.Duration
}

func (s *slowStore) Transact(ctx context.Context, _ []state.Operation, _ map[string]string) error {
	began := time.Now()
	<-ctx.Done()
	*s.bound = time.Since(began)
	return ctx.Err()
}

// TestRefused: events of a transaction that the store refused are dropped at once, also where it keeps part of it.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		halfly bool
	}{
		"an entity tag":                          {err: &state.ETagError{Kind: state.ETagMismatch}},
		"an entity tag, and part of it is there": {err: &state.ETagError{Kind: state.ETagMismatch}, halfly: true},
		"a rule of the store":                    {err: errors.New("check constraint")},
		"a store in a process of its own":        {err: status.Error(codes.Internal, "no")},
	} {
		t.Run(name, func(t *testing.T) {
			inside(t, false, func(t *testing.T, w *world) {
				w.fail = func(ops []state.Operation) error {
					if c.halfly {
						marker := ops[len(ops)-1].Set
						w.items[marker.Key] = string(marker.Value)
					}
					return c.err
				}
				if err := w.put(t, "a"); err == nil {
					t.Fatal("the transaction worked")
				}
				synctest.Wait()
				w.check(t, "published", nil, w.sent())
				w.check(t, "refusals", nil, w.refused())
				w.check(t, "stored", nil, w.keys())
				w.check(t, "warnings", nil, w.lines(logrus.WarnLevel))
			})
		})
	}
}

// TestUncertain: what a store's error leaves open.
func TestUncertain(t *testing.T) {
	for want, errs := range map[bool][]error{
		true: {context.DeadlineExceeded, fmt.Errorf("redis: %w", context.Canceled), io.EOF, &net.OpError{Err: errors.New("reset")},
			status.Error(codes.Unavailable, "gone"), apierr.StateTransaction.New(&net.OpError{Err: errors.New("reset")})},
		false: {errors.New("no"), status.Error(codes.InvalidArgument, "no"), apierr.StateTransaction.New(errors.New("no")), apierr.StateKeyEmpty.New()},
	} {
		for _, err := range errs {
			if got := uncertain(err); got != want {
				t.Errorf("%v: %v", err, got)
			}
		}
	}
}

// TestUnknown: when nobody knows what became of a transaction its event is asked for until it is too old to come true.
func TestUnknown(t *testing.T) {
	inside(t, false, func(t *testing.T, w *world) {
		w.fail = func([]state.Operation) error { return &net.OpError{Op: "read", Err: errors.New("connection reset")} }
		if err := w.put(t, "a"); err == nil {
			t.Fatal("the transaction worked")
		}
		time.Sleep(2 * time.Minute)
		if n := len(w.refused()); n < 5 {
			t.Errorf("%d refusals", n)
		}
		time.Sleep(15 * time.Minute)
		before := len(w.refused())
		time.Sleep(time.Hour)
		if now := len(w.refused()); now != before {
			t.Errorf("%d refusals more", now-before)
		}
		warnings := w.lines(logrus.WarnLevel)
		if last := warnings[len(warnings)-1]; !strings.Contains(last, "on topic nsshopoutoutbox of pubsub ps is dropped: its transaction is not stored 15m") {
			t.Error(last)
		}
		w.check(t, "published", nil, w.sent())
	})
}

// TestOfOthers: events that another sidecar of the application made, and did not bring to an end.
func TestOfOthers(t *testing.T) {
	const lost = "its transaction is not stored (outboxDiscardWhenMissingState)"
	for name, c := range map[string]struct {
		age             time.Duration
		marker, discard bool
		sent, refusals  []string
		warning         string
	}{
		"stored":                    {marker: true, sent: []string{`out "of another"`}},
		"stored long ago":           {age: 48 * time.Hour, marker: true, sent: []string{`out "of another"`}},
		"not stored":                {refusals: []string{"event outbox-1: its transaction is not stored"}, warning: "is tried again: event outbox-1: its transaction is not stored"},
		"not stored, to be dropped": {discard: true, warning: lost},
		"not stored, from long ago": {age: time.Hour, warning: "its transaction is not stored 1h0m"},
		"not stored, from a neighbour whose clock is ahead": {age: -time.Hour, discard: true, warning: lost},
	} {
		t.Run(name, func(t *testing.T) {
			inside(t, c.discard, func(t *testing.T, w *world) {
				if c.marker {
					w.items["outbox-1"] = state.MarkerValue
				}
				w.inner <- anEvent("outbox-1", c.age)
				time.Sleep(looking + longestLook + time.Second)
				w.check(t, "published", c.sent, w.sent())
				w.check(t, "refusals", c.refusals, w.refused())
				w.check(t, "stored", nil, w.keys())
				if got := strings.Join(w.lines(logrus.WarnLevel), "\n"); c.warning == "" && got != "" || !strings.Contains(got, c.warning) {
					t.Errorf("warnings: %s", got)
				}
			})
		})
	}
}

// TestAppearing: a marker that is there after a while is found, without a second delivery.
func TestAppearing(t *testing.T) {
	inside(t, false, func(t *testing.T, w *world) {
		w.inner <- anEvent("outbox-1", 0)
		time.Sleep(6 * time.Second)
		w.check(t, "published", nil, w.sent())
		w.mark("outbox-1")
		time.Sleep(longestLook)
		w.check(t, "published", []string{`out "of another"`}, w.sent())
		w.check(t, "refusals", nil, w.refused())
	})
}

// TestTroubles: a store or a broker that fails costs no event.
func TestTroubles(t *testing.T) {
	inside(t, true, func(t *testing.T, w *world) {
		away := errors.New("away")
		w.lookup = func() error { return away }
		w.broker.refuse = errors.New("full")
		if err := w.put(t, "a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.store.mu.Lock()
		w.lookup = nil
		w.store.mu.Unlock()
		time.Sleep(time.Minute)
		w.check(t, "published", nil, w.sent())
		refusals := strings.Join(w.refused(), "\n")
		if !strings.Contains(refusals, "away") || !strings.Contains(refusals, "error when publishing to topic out in pubsub ps: full") {
			t.Error(refusals)
		}
		w.broker.mu.Lock()
		w.broker.refuse = nil
		w.broker.mu.Unlock()
		time.Sleep(time.Minute)
		w.check(t, "published", []string{`out "a"`}, w.sent())
		w.check(t, "stored", []string{"shop||k0"}, w.keys())
	})
}

// TestForeign: what is no event of an outbox is dropped, with an error in the log.
func TestForeign(t *testing.T) {
	inside(t, false, func(t *testing.T, w *world) {
		for _, text := range []string{"", "nonsense", `{"id":"7"}`, `{"data":1}`} {
			w.inner <- []byte(text)
		}
		synctest.Wait()
		w.check(t, "published", nil, w.sent())
		w.check(t, "refusals", nil, w.refused())
		if n := len(w.lines(logrus.ErrorLevel)); n != 4 {
			t.Errorf("%d errors are logged", n)
		}
	})
}

// TestClose: an event whose transaction is not known is given back at once when the sidecar ends.
func TestClose(t *testing.T) {
	inside(t, true, func(t *testing.T, w *world) {
		w.inner <- anEvent("outbox-1", 0)
		synctest.Wait()
		began := time.Now()
		if err := w.outbox.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 0 { // the time of a bubble: nothing was waited for
			t.Errorf("it took %s", took)
		}
		if got := w.refused(); len(got) != 1 || !strings.HasSuffix(got[0], context.Canceled.Error()) {
			t.Errorf("refusals: %v", got)
		}
		w.check(t, "warnings", nil, w.lines(logrus.WarnLevel))
	})
}

// TestPartlyPublished: when the broker takes some events of a transaction and not all, nothing is stored, and none comes.
func TestPartlyPublished(t *testing.T) {
	inside(t, false, func(t *testing.T, w *world) {
		out, err := w.outbox.Take("st", &state.Transaction{Operations: []state.RawOperation{{Type: state.TypeUpsert, Set: state.SetRequest{Key: "k"}}}})
		if err != nil {
			t.Fatal(err)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		published := out.Publish(ended)
		out.Settle(published)
		synctest.Wait()
		w.check(t, "published", nil, w.sent())
		w.check(t, "refusals", nil, w.refused())
		if len(w.outbox.pending) != 0 {
			t.Errorf("pending: %v", w.outbox.pending)
		}
	})
}

// TestBehindUnknown: events whose transactions nobody knows hold up no others, and the log says once that they wait.
func TestBehindUnknown(t *testing.T) {
	inside(t, false, func(t *testing.T, w *world) {
		// Nobody looks before all are there: else some would come round before the last one stands behind them.
		w.mark("outbox-good")
		there := make(chan struct{})
		w.store.mu.Lock()
		w.lookup = func() error { <-there; return nil }
		w.store.mu.Unlock()
		for i := range 50 {
			w.inner <- anEvent(fmt.Sprint("outbox-", i), time.Minute)
		}
		w.inner <- anEvent("outbox-good", 0)
		close(there)
		time.Sleep(5 * time.Second)
		w.check(t, "published", []string{`out "of another"`}, w.sent())
		time.Sleep(40 * time.Second)
		if n := len(w.lines(logrus.WarnLevel)); n != 1 {
			t.Errorf("%d warnings", n)
		}
		if n := len(w.refused()); n < 2 || n > 20 {
			t.Errorf("%d refusals: events that wait pace themselves", n)
		}
		w.mark("outbox-7")
		time.Sleep(10 * time.Second)
		w.check(t, "published", []string{`out "of another"`, `out "of another"`}, w.sent())
		time.Sleep(20 * time.Minute)
		if n := len(w.inner); n != 0 {
			t.Errorf("%d events are left", n)
		}
	})
}

// TestCallersTime: the age of an event does not depend on the attribute time, which callers may set.
func TestCallersTime(t *testing.T) {
	inside(t, false, func(t *testing.T, w *world) {
		set := state.SetRequest{Key: "k", Value: []byte("v"), Metadata: map[string]string{"time": "1980-01-01T00:00:00Z"}}
		out, err := w.outbox.Take("st", &state.Transaction{Operations: []state.RawOperation{{Type: state.TypeUpsert, Set: set}}})
		if err != nil {
			t.Fatal(err)
		}
		e := out.(*outgoing).events[0]
		w.inner <- e.text // as if another sidecar had made it
		time.Sleep(2 * time.Second)
		w.mark(e.id)
		time.Sleep(longestLook)
		w.check(t, "published", []string{`out "v"`}, w.sent())
		w.check(t, "refusals", nil, w.refused())
	})
}
