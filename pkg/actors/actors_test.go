package actors_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/actors"
	"github.com/daprd/daprd/pkg/actors/reminders"
	"github.com/daprd/daprd/pkg/actors/timers"
	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/components/memory"
	"github.com/daprd/daprd/pkg/ready"
	"github.com/daprd/daprd/pkg/state"
)

// host is an application of which a test says what its actors do.
type host struct {
	// call is what a method does; nil answers at once.
	call func(ctx context.Context, id, method string, header channel.Header) error
	// cancels says that it wants no more of any reminder or timer.
	cancels bool

	mu  sync.Mutex
	log []string
}

func (h *host) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.log = append(h.log, fmt.Sprintf(format, args...))
}

func (h *host) seen() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.log)
}

func (h *host) CallActor(ctx context.Context, _, id, method string, req *channel.Request) (*channel.Response, error) {
	h.note("%s begins %s", id, method)
	defer h.note("%s ends %s", id, method)
	if h.call != nil {
		if err := h.call(ctx, id, method, req.Header); err != nil {
			return nil, err
		}
	}
	return &channel.Response{Status: 200}, nil
}

func (h *host) FireActor(_ context.Context, event *channel.ActorEvent) (bool, error) {
	h.note("%s fires %s", event.ID, event.Name)
	return h.cancels, nil
}

func (h *host) DeactivateActor(_ context.Context, _, id string) error {
	h.note("%s leaves", id)
	return nil
}

type counts struct{ waiting, left, moved, fired atomic.Int64 }

func (c *counts) ActorPending(string) func(int) { return func(n int) { c.waiting.Add(int64(n)) } }
func (c *counts) ActorDeactivated(string) func(bool) {
	return func(bool) { c.left.Add(1) }
}
func (c *counts) ActorFired(string) func(bool, bool) { return func(bool, bool) { c.fired.Add(1) } }
func (c *counts) ActorRebalanced(string) func()      { return func() { c.moved.Add(1) } }
func (c *counts) ActorTimers(string) func(int)       { return func(int) {} }
func (c *counts) ActorReminders(string) func(int)    { return func(int) {} }

// mesh is a Service that has its actors for itself.
type mesh struct {
	*actors.Service
	*counts
	host  *host
	table *alone
}

// begin makes a Service whose application hosts the type T.
func begin(t *testing.T, settings channel.ActorSettings, call func(ctx context.Context, id, method string, header channel.Header) error) *mesh {
	t.Helper()
	kept, err := memory.NewState(t.Context(), componentstest.Spec("state.in-memory", nil))
	if err != nil {
		t.Fatal(err)
	}
	return beginOn(t, kept, settings, call)
}

// beginOn is begin with a store of the test's own.
func beginOn(t *testing.T, kept state.Store, settings channel.ActorSettings, call func(ctx context.Context, id, method string, header channel.Header) error) *mesh {
	t.Helper()
	h := &host{call: call}
	m := beginWith(t, kept, settings, h)
	m.host = h
	return m
}

// beginWith is begin with an application of the test's own, too.
func beginWith(t testing.TB, kept state.Store, settings channel.ActorSettings, h channel.ActorHost) *mesh {
	t.Helper()
	store := state.NewService(state.Deps{AppID: "myapp"})
	if err := store.Add("st", kept, state.Settings{ActorStateStore: true}); err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	table := &ready.Slot[actors.Table]{}
	m := &mesh{counts: &counts{}}
	m.Service = actors.New(actors.Deps{AppID: "myapp", Namespace: "default", Table: table, State: store, App: &ready.Slot[channel.App]{},
		Observer: m.counts, Log: log})
	m.table = &alone{hosting: m}
	table.Fill(m.table)
	if _, err := m.Host(t.Context(), &channel.AppConfiguration{Entities: []string{"T"}, ActorSettings: settings}, h); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(m.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	return m
}

func (m *mesh) invoke(ctx context.Context, id, method string, header ...channel.Field) error {
	res, err := m.Invoke(ctx, "T", id, method, &channel.Request{Header: header})
	res.Close()
	return err
}

func (m *mesh) write(ctx context.Context, id, key, value string) error {
	return m.Transact(ctx, "T", id, []state.RawOperation{{Type: state.TypeUpsert, Set: state.SetRequest{Key: key, Value: []byte(value)}}})
}

// code is that of the row that err is.
func code(err error) string {
	var row *apierr.Error
	if errors.As(err, &row) {
		return row.Code
	}
	return fmt.Sprint(err)
}

// TestTurns: an actor has one turn at a time, and calls have theirs in the order in which they came.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy, most atomic.Int64
		goOn := make(chan struct{})
		m := begin(t, channel.ActorSettings{}, func(context.Context, string, string, channel.Header) error {
			most.Store(max(most.Load(), busy.Add(1)))
			<-goOn
			busy.Add(-1)
			return nil
		})
		var wait sync.WaitGroup
		var want []string
		for i := range 20 {
			method := fmt.Sprintf("m%02d", i)
			want = append(want, "1 begins "+method, "1 ends "+method)
			wait.Go(func() {
				if err := m.invoke(t.Context(), "1", method); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		if n := m.waiting.Load(); n != 19 {
			t.Errorf("%d calls wait", n)
		}
		wait.Go(func() {
			if err := m.invoke(t.Context(), "2", "m"); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		if busy.Load() != 2 {
			t.Error("another actor waits, too")
		}
		close(goOn)
		wait.Wait()
		got := slices.DeleteFunc(m.host.seen(), func(line string) bool { return strings.HasPrefix(line, "2") })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if most.Load() != 2 || m.waiting.Load() != 0 {
			t.Errorf("%d turns at once, %d wait", most.Load(), m.waiting.Load())
		}
	})
}

// TestCallerLeaves: a call that waits leaves the queue with its caller; one that has its turn keeps it until the
// application has answered, since no other may begin before.
func TestCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		m := begin(t, channel.ActorSettings{}, func(ctx context.Context, _, method string, _ channel.Header) error {
			if method == "slow" {
				<-goOn
			}
			return ctx.Err()
		})
		ctx, leave := context.WithCancel(t.Context())
		results := make(chan error, 2)
		go func() { results <- m.invoke(ctx, "1", "slow") }()
		synctest.Wait()
		go func() { results <- m.invoke(ctx, "1", "waiting") }()
		synctest.Wait()
		leave()
		synctest.Wait()
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("the call that waited: %v", err)
		}
		third := make(chan error, 1)
		go func() { third <- m.invoke(t.Context(), "1", "third") }()
		synctest.Wait()
		close(goOn)
		if err := errors.Join(<-results, <-third); err != nil {
			t.Error(err)
		}
		want := []string{"1 begins slow", "1 ends slow", "1 begins third", "1 ends third"}
		if diff := cmp.Diff(want, m.host.seen()); diff != "" {
			t.Error(diff)
		}
	})
}

// TestReentrancy: a call with the id of the chain that has the turn enters at once, up to the depth of the type; others
// wait, whatever the depth.
func TestReentrancy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m *mesh
		depth := 3
		m = begin(t, channel.ActorSettings{Reentrant: true, MaxStackDepth: &depth}, func(ctx context.Context, id, method string, header channel.Header) error {
			var n int
			if _, err := fmt.Sscanf(method, "down%d", &n); err != nil || n == 0 {
				return nil
			}
			to := id
			if n%2 == 0 {
				to = "other" // a chain keeps its id on its way through other actors
			}
			return m.invoke(ctx, to, fmt.Sprintf("down%d", n-1), channel.Field{Name: "dapr-reentrancy-id", Value: header.Value(actors.ReentrancyHeader)})
		})
		if err := m.invoke(t.Context(), "1", "down2"); err != nil {
			t.Errorf("1 → other → other: %v", err)
		}
		if err := m.invoke(t.Context(), "2", "down1"); err != nil {
			t.Errorf("an actor that calls itself: %v", err)
		}
		if err := m.invoke(t.Context(), "other", "down6"); code(err) != "ERR_ACTOR_STACK_DEPTH" {
			t.Errorf("deeper than allowed: %v", err)
		}
		if err := m.invoke(t.Context(), "other", "m", channel.Field{Name: actors.ReentrancyHeader, Value: "of nobody"}); err != nil {
			t.Errorf("the turn is still taken: %v", err)
		}
	})
}

// TestNoReentrancy: without it an actor that calls itself waits for itself, as long as its caller does.
func TestNoReentrancy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m *mesh
		m = begin(t, channel.ActorSettings{}, func(_ context.Context, id, method string, header channel.Header) error {
			if method != "self" {
				return nil
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			return m.invoke(ctx, id, "m", channel.Field{Name: actors.ReentrancyHeader, Value: header.Value(actors.ReentrancyHeader)})
		})
		began := time.Now()
		err := m.invoke(t.Context(), "1", "self", channel.Field{Name: actors.ReentrancyHeader, Value: "chain"})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

// TestQueueBound: as many calls wait for an actor as may; the next one is told so at once.
func TestQueueBound(t *testing.T) {
	goOn := make(chan struct{})
	m := begin(t, channel.ActorSettings{}, func(context.Context, string, string, channel.Header) error {
		<-goOn
		return nil
	})
	const most = 10_000
	var wait sync.WaitGroup
	var worked atomic.Int64
	refused := make(chan error, 100)
	for range most + 51 {
		wait.Go(func() {
			if err := m.invoke(t.Context(), "1", "m"); err != nil {
				refused <- err
			} else {
				worked.Add(1)
			}
		})
	}
	for range 50 {
		if err := <-refused; code(err) != "ERR_ACTOR_BUSY" || !strings.Contains(err.Error(), "10000 calls waiting") {
			t.Errorf("one call too many: %v", err)
		}
	}
	close(goOn)
	wait.Wait()
	if worked.Load() != most+1 {
		t.Errorf("%d calls have worked", worked.Load())
	}
}

// TestIdle: an actor leaves when it had no turn for the idle time of its type, never during one; a call that comes
// while it leaves waits for the end of that and begins anew.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idle := time.Minute
		m := begin(t, channel.ActorSettings{IdleTimeout: &idle}, func(_ context.Context, _, method string, _ channel.Header) error {
			if method == "long" {
				time.Sleep(2 * time.Minute)
			}
			return nil
		})
		call := func(id, method string) {
			t.Helper()
			if err := m.invoke(t.Context(), id, method); err != nil {
				t.Error(err)
			}
		}
		call("1", "m")
		call("2", "m")
		time.Sleep(40 * time.Second)
		call("1", "m")
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if left := m.left.Load(); left != 1 || !slices.Contains(m.host.seen(), "2 leaves") {
			t.Errorf("%d have left: %v", left, m.host.seen())
		}
		if err := m.write(t.Context(), "2", "k", "v"); code(err) != "ERR_ACTOR_INSTANCE_MISSING" {
			t.Errorf("a write for an actor that has left: %v", err)
		}
		if err := m.write(t.Context(), "1", "k", "v"); err != nil {
			t.Error(err)
		}
		call("1", "long")
		if slices.Contains(m.host.seen(), "1 leaves") {
			t.Error("an actor left during its turn")
		}
		time.Sleep(idle)
		synctest.Wait()
		if m.left.Load() != 2 {
			t.Errorf("%d have left", m.left.Load())
		}
		if diff := cmp.Diff([]actors.Count{{Type: "T"}}, m.Counts()); diff != "" {
			t.Error(diff)
		}
	})
}

// TestDrain: actors that move end their turns, and nobody else's; the turn goes on for the drain time and is cancelled
// then; calls that wait are made again; what the old turn writes later is refused.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		drain := 2 * time.Second
		block := make(chan struct{})
		m := begin(t, channel.ActorSettings{DrainTimeout: &drain}, func(ctx context.Context, _, method string, _ channel.Header) error {
			switch method {
			case "short":
				time.Sleep(time.Second)
			case "long":
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-block:
				}
			}
			return nil
		})
		results := map[string]chan error{}
		for _, each := range []string{"stays long", "quick short", "slow long"} {
			id, method, _ := strings.Cut(each, " ")
			result := make(chan error, 1)
			results[id] = result
			go func() { result <- m.invoke(t.Context(), id, method) }()
		}
		if err := m.invoke(t.Context(), "resting", "m"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		began := time.Now()
		m.Drain(t.Context(), []string{"T", "unknown"}, func(_, id string) bool { return id != "stays" })
		if took := time.Since(began); took != drain {
			t.Errorf("the drain took %s", took)
		}
		if err := <-results["quick"]; err != nil {
			t.Errorf("a turn that ended in time: %v", err)
		}
		if err := m.write(t.Context(), "quick", "k", "v"); code(err) != "ERR_ACTOR_INSTANCE_MISSING" {
			t.Errorf("a late write: %v", err)
		}
		if err := m.write(t.Context(), "stays", "k", "v"); err != nil {
			t.Errorf("a write of an actor that stays: %v", err)
		}
		seen := m.host.seen()
		for _, id := range []string{"quick", "slow", "resting"} {
			if !slices.Contains(seen, id+" leaves") {
				t.Errorf("the application was not told that %s leaves: %v", id, seen)
			}
		}
		close(block)
		// The turn that was cancelled is made again, here: this sidecar is alone.
		if err := errors.Join(<-results["slow"], <-results["stays"]); err != nil {
			t.Error(err)
		}
		if m.moved.Load() != 3 {
			t.Errorf("%d have moved", m.moved.Load())
		}
	})
}

// TestHalt: all turns end at once, and no state is written any more, although the application is still busy.
func TestHalt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first atomic.Bool
		m := begin(t, channel.ActorSettings{}, func(ctx context.Context, _, _ string, _ channel.Header) error {
			if first.Swap(true) {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		})
		result := make(chan error, 1)
		go func() { result <- m.invoke(t.Context(), "1", "m") }()
		synctest.Wait()
		if err := m.write(t.Context(), "1", "k", "v"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		m.Halt(t.Context())
		if time.Since(began) != 0 {
			t.Errorf("it took %s", time.Since(began))
		}
		if err := m.write(t.Context(), "1", "k", "late"); code(err) != "ERR_ACTOR_INSTANCE_MISSING" {
			t.Errorf("a late write: %v", err)
		}
		if err := <-result; err != nil {
			t.Errorf("the call is made again: %v", err)
		}
		want := []string{"1 begins m", "1 ends m", "1 leaves", "1 begins m", "1 ends m"}
		if diff := cmp.Diff(want, m.host.seen()); diff != "" {
			t.Error(diff)
		}
	})
}

// TestStoodStill: when the process has stood still, the call that waits for the one that had its turn does not get it
// before it is known again where the actor lives.
func TestStoodStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first atomic.Bool
		answer := make(chan struct{})
		m := begin(t, channel.ActorSettings{}, func(context.Context, string, string, channel.Header) error {
			if !first.Swap(true) {
				<-answer
			}
			return nil
		})
		results := make(chan error, 2)
		for _, method := range []string{"has", "waits"} {
			go func() { results <- m.invoke(t.Context(), "1", method) }()
			synctest.Wait()
		}
		over := m.table.doubts()
		close(answer)
		synctest.Wait()
		if diff := cmp.Diff([]string{"1 begins has", "1 ends has"}, m.host.seen()); diff != "" {
			t.Error(diff)
		}
		m.Halt(t.Context())
		over()
		for range 2 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if diff := cmp.Diff([]string{"1 begins has", "1 ends has", "1 leaves", "1 begins waits", "1 ends waits"}, m.host.seen()); diff != "" {
			t.Error(diff)
		}
	})
}

// slowStore is a store whose transactions wait until it is opened.
type slowStore struct {
	state.Store
	open chan struct{}
}

func (s *slowStore) Transact(ctx context.Context, ops []state.Operation, metadata map[string]string) error {
	<-s.open
	runtime.Gosched()
	return s.Store.(state.Transactor).Transact(ctx, ops, metadata)
}

func (s *slowStore) Close() error { return s.Store.(io.Closer).Close() }

func (s *slowStore) Features() []state.Feature { return s.Store.(state.Featured).Features() }

// hangingStore is a store that has no answer to a transaction.
type hangingStore struct{ state.Store }

func (s *hangingStore) Transact(ctx context.Context, _ []state.Operation, _ map[string]string) error {
	<-ctx.Done()
	return ctx.Err()
}

func (s *hangingStore) Close() error { return s.Store.(io.Closer).Close() }

func (s *hangingStore) Features() []state.Feature { return s.Store.(state.Featured).Features() }

// TestHangingWrite: a write under way is cancelled when the actor may be elsewhere: at once when nobody knows, and when a
// drain has waited as long as it may.
func TestHangingWrite(t *testing.T) {
	for name, leave := range map[string]func(context.Context, *mesh){
		"halt": func(ctx context.Context, m *mesh) { m.Halt(ctx) },
		"drain": func(ctx context.Context, m *mesh) {
			m.Drain(ctx, []string{"T"}, func(string, string) bool { return true })
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kept, err := memory.NewState(t.Context(), componentstest.Spec("state.in-memory", nil))
				if err != nil {
					t.Fatal(err)
				}
				m := beginOn(t, &hangingStore{kept}, channel.ActorSettings{}, nil)
				if err := m.invoke(t.Context(), "1", "m"); err != nil {
					t.Fatal(err)
				}
				written := make(chan error, 1)
				go func() { written <- m.write(t.Context(), "1", "k", "v") }()
				synctest.Wait()
				leave(t.Context(), m)
				synctest.Wait()
				select {
				case err := <-written:
					if err == nil {
						t.Error("it was written")
					}
				default:
					t.Fatal("it is under way")
				}
			})
		})
	}
}

// TestSlowWrite: an actor does not leave before what it writes is written, and leaves then.
func TestSlowWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept, err := memory.NewState(t.Context(), componentstest.Spec("state.in-memory", nil))
		if err != nil {
			t.Fatal(err)
		}
		store := &slowStore{kept, make(chan struct{})}
		m := beginOn(t, store, channel.ActorSettings{}, nil)
		if err := m.invoke(t.Context(), "1", "m"); err != nil {
			t.Fatal(err)
		}
		written, drained := make(chan error, 1), make(chan struct{})
		go func() { written <- m.write(t.Context(), "1", "k", "v") }()
		synctest.Wait()
		go func() {
			m.Drain(t.Context(), []string{"T"}, func(string, string) bool { return true })
			close(drained)
		}()
		synctest.Wait()
		select {
		case <-drained:
			t.Error("the actor has left, and its write is under way")
		default:
		}
		close(store.open)
		synctest.Wait()
		select {
		case <-drained:
		default:
			t.Error("the actor does not leave")
		}
		if err := <-written; err != nil {
			t.Errorf("the write: %v", err)
		}
	})
}

// TestWritesAndDepartures: actors leave while they write, over and over; the race detector looks on.
func TestWritesAndDepartures(t *testing.T) {
	kept, err := memory.NewState(t.Context(), componentstest.Spec("state.in-memory", nil))
	if err != nil {
		t.Fatal(err)
	}
	store := &slowStore{kept, make(chan struct{})}
	m := beginOn(t, store, channel.ActorSettings{}, nil)
	for range 200 {
		if err := m.invoke(t.Context(), "1", "m"); err != nil {
			t.Fatal(err)
		}
		var wait sync.WaitGroup
		wait.Go(func() {
			if err := m.write(t.Context(), "1", "k", "v"); err != nil {
				t.Errorf("the write: %v", err)
			}
		})
		store.open <- struct{}{} // the write is under way
		m.Drain(t.Context(), []string{"T"}, func(string, string) bool { return true })
		wait.Wait()
	}
}

// TestLeave: before the sidecar ends its actors leave, and nothing is hosted any more.
func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := begin(t, channel.ActorSettings{}, nil)
		if err := m.invoke(t.Context(), "1", "m"); err != nil {
			t.Fatal(err)
		}
		m.Leave(t.Context())
		if diff := cmp.Diff([]string{"1 begins m", "1 ends m", "1 leaves"}, m.host.seen()); diff != "" {
			t.Error(diff)
		}
		err := m.invoke(t.Context(), "1", "m")
		if code(err) != "ERR_ACTOR_INVOKE_METHOD" || !strings.Contains(err.Error(), "did not find address for actor 'T/1'") {
			t.Errorf("a call of a type that nobody hosts: %v", err)
		}
	})
}

// TestNewestHost: of several hosts of a type the newest is asked; when it leaves an earlier one takes over.
func TestNewestHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := begin(t, channel.ActorSettings{}, nil)
		second := &host{}
		leave, err := m.Host(t.Context(), &channel.AppConfiguration{Entities: []string{"T", "U"}}, second)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.invoke(t.Context(), "1", "m"); err != nil || len(second.seen()) != 2 || len(m.host.seen()) != 0 {
			t.Errorf("%v, the newest saw %v", err, second.seen())
		}
		leave(t.Context())
		if err := m.invoke(t.Context(), "1", "m"); err != nil || len(m.host.seen()) != 2 {
			t.Errorf("%v, the earlier saw %v", err, m.host.seen())
		}
		if _, err := m.Invoke(t.Context(), "U", "1", "m", &channel.Request{}); !strings.Contains(fmt.Sprint(err), "did not find address for actor 'U/1'") {
			t.Errorf("a type that has left: %v", err)
		}
	})
}

// TestNames: what cannot stand in a path is refused.
func TestNames(t *testing.T) {
	m := begin(t, channel.ActorSettings{}, nil)
	for _, name := range []string{"a/b", "a#b", "a?b", `a\b`, "a\x00b", "a\nb", ".", "..", ""} {
		if _, err := m.Invoke(t.Context(), "T", name, "m", &channel.Request{}); code(err) != "ERR_BAD_REQUEST" {
			t.Errorf("the id %q: %v", name, err)
		}
		if _, err := m.Invoke(t.Context(), name, "1", "m", &channel.Request{}); code(err) != "ERR_BAD_REQUEST" {
			t.Errorf("the type %q: %v", name, err)
		}
	}
	if _, err := m.GetState(t.Context(), "dapr.internal.default.myapp.workflow", "1", "k"); code(err) != "ERR_ACTOR_TYPE_RESERVED" {
		t.Errorf("the state of a workflow: %v", err)
	}
}

// TestTimers: a timer ticks in its sidecar, whether or not its actor is active, and takes its turn; it is not to be made
// where its type is not hosted.
func TestTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idle := time.Minute
		m := begin(t, channel.ActorSettings{IdleTimeout: &idle}, nil)
		if err := m.CreateTimer(&timers.Timer{ActorType: "T", ActorID: "1", Name: "n", DueTime: "5m", Period: "10m", Callback: "m"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15*time.Minute + 30*time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{"1 fires n", "1 leaves", "1 fires n"}, m.host.seen()); diff != "" {
			t.Error(diff)
		}
		if err := m.DeleteTimer("T", "1", "n"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		if n := m.fired.Load(); n != 2 {
			t.Errorf("%d ticks", n)
		}
		if err := m.CreateTimer(&timers.Timer{ActorType: "U", ActorID: "1", Name: "n"}); code(err) != "ERR_ACTOR_TIMER_CREATE" {
			t.Errorf("a timer of a type that is not hosted: %v", err)
		}
		if err := m.CreateReminder(t.Context(), &reminders.Reminder{ActorType: "U", ActorID: "1", Name: "n", DueTime: "1s"}, true); code(err) != "ERR_ACTOR_REMINDER_NON_HOSTED" {
			t.Errorf("a reminder of a type that is not hosted: %v", err)
		}
		if err := m.CreateReminder(t.Context(), &reminders.Reminder{ActorType: "T", ActorID: "1", DueTime: "1s"}, true); code(err) != "ERR_BAD_REQUEST" {
			t.Errorf("a reminder without a name: %v", err)
		}
	})
}
