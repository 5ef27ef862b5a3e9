package actors_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"

	"github.com/daprd/daprd/pkg/actors"
	"github.com/daprd/daprd/pkg/actors/placement"
	"github.com/daprd/daprd/pkg/actors/reminders"
	"github.com/daprd/daprd/pkg/actors/timers"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/components/memory"
	"github.com/daprd/daprd/pkg/messaging"
	"github.com/daprd/daprd/pkg/nameresolution"
	"github.com/daprd/daprd/pkg/proto/wire"
	"github.com/daprd/daprd/pkg/ready"
	"github.com/daprd/daprd/pkg/state"
)

// world is placement for a test: it says where each actor lives, and moves all of them in rounds with a barrier.
type world struct {
	mu    sync.RWMutex
	nodes []*node
	// owner is the node of every actor of the type T.
	owner func(id string) *node
}

// round gives every actor the host that owner names.
func (w *world) round(owner func(id string) *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.nodes {
		n.Drain(context.Background(), []string{"T"}, func(_, id string) bool { return owner(id) != n })
	}
	w.owner = owner
}

// node is a sidecar in the world.
type node struct {
	*actors.Service
	world   *world
	host    *host
	address string
	server  *grpc.Server
}

func (n *node) Owner(_ context.Context, actorType, actorID string, enter func()) (placement.Owner, error) {
	n.world.mu.RLock()
	defer n.world.mu.RUnlock()
	if actorType != "T" {
		return placement.Owner{}, placement.ErrNoHost
	}
	owner := n.world.owner(actorID)
	if owner == n {
		enter()
		return placement.Owner{Local: true}, nil
	}
	return placement.Owner{Address: owner.address, AppID: "app"}, nil
}

func (n *node) Announce(context.Context, []string) error { return nil }
func (n *node) Fresh() error                             { return nil }
func (n *node) Status() placement.Status                 { return placement.Status{} }
func (n *node) Ring(string) (*placement.Ring, string)    { return nil, "" }
func (n *node) invoke(id, method string, header ...channel.Field) error {
	res, err := n.Invoke(context.Background(), "T", id, method, &channel.Request{Header: header})
	res.Close()
	return err
}

// join adds a sidecar with a real internal server to the world.
func (w *world) join(t *testing.T, store *state.Service, settings channel.ActorSettings, call func(ctx context.Context, n *node, id, method string, header channel.Header) error) *node {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{world: w, address: listener.Addr().String(), host: &host{}}
	n.host.call = func(ctx context.Context, id, method string, header channel.Header) error {
		return call(ctx, n, id, method, header)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	table := &ready.Slot[actors.Table]{}
	peers := messaging.NewPeers(messaging.Insecure{}, 4<<20)
	direct := messaging.New(messaging.Deps{Self: messaging.Self{AppID: "app", Namespace: "default"}, App: &ready.Slot[channel.App]{},
		Resolver: &ready.Slot[nameresolution.Resolver]{}, Peers: peers})
	n.Service = actors.New(actors.Deps{AppID: "app", Namespace: "default", Table: table, State: store, App: &ready.Slot[channel.App]{}, Others: direct,
		Observer: &counts{}, Log: log})
	table.Fill(n)
	callee := messaging.NewCallee(messaging.CalleeDeps{AppID: "app", App: &ready.Slot[channel.App]{}, Actors: n.Service})
	n.server = grpc.NewServer(grpc.ForceServerCodecV2(wire.Codec{}), grpc.WaitForHandlers(true))
	n.server.RegisterService(callee.ServiceDesc(), callee)
	var serving sync.WaitGroup
	serving.Go(func() { _ = n.server.Serve(listener) })
	if _, err := n.Host(t.Context(), &channel.AppConfiguration{Entities: []string{"T"}, ActorSettings: settings}, n.host); err != nil {
		t.Fatal(err)
	}
	w.nodes = append(w.nodes, n)
	t.Cleanup(func() {
		if err := errors.Join(n.Close(), peers.Close(), direct.Close()); err != nil {
			t.Error(err)
		}
		n.server.Stop()
		serving.Wait()
	})
	return n
}

func actorStore(t *testing.T) *state.Service {
	t.Helper()
	store := state.NewService(state.Deps{AppID: "app"})
	kept, err := memory.NewState(t.Context(), componentstest.Spec("state.in-memory", nil))
	if err == nil {
		err = store.Add("st", kept, state.Settings{ActorStateStore: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// TestMesh: calls reach their actors at other sidecars and while these move; no actor has two turns at once anywhere, no
// call fails, and what was written before is there.
func TestMesh(t *testing.T) {
	store, w := actorStore(t), &world{}
	var (
		busy     sync.Map // by id: the number of turns
		writes   atomic.Int64
		progress = make(chan struct{}, 1)
	)
	turn := func(ctx context.Context, n *node, id, _ string, _ channel.Header) error {
		counter, _ := busy.LoadOrStore(id, new(atomic.Int64))
		if counter.(*atomic.Int64).Add(1) != 1 {
			t.Errorf("the actor %s has two turns at once", id)
		}
		defer counter.(*atomic.Int64).Add(-1)
		item, err := n.GetState(ctx, "T", id, "n")
		if err != nil {
			return err
		}
		var count int
		_, _ = fmt.Sscan(string(item.Value), &count)
		err = n.Transact(ctx, "T", id, []state.RawOperation{{Type: state.TypeUpsert, Set: state.SetRequest{Key: "n", Value: fmt.Append(nil, count+1)}}})
		if err == nil && writes.Add(1)%20 == 0 {
			select {
			case progress <- struct{}{}:
			default:
			}
		}
		return err
	}
	for range 3 {
		w.join(t, store, channel.ActorSettings{}, turn)
	}
	caller := w.nodes[0]
	at := func(shift int) func(id string) *node {
		return func(id string) *node { return w.nodes[(int(id[len(id)-1])+shift)%3] }
	}
	w.round(at(0))
	var load sync.WaitGroup
	for worker := range 8 {
		load.Go(func() {
			for i := range 200 {
				if err := caller.invoke(fmt.Sprint("actor-", (worker+i)%10), "m"); err != nil {
					t.Errorf("call %d: %v", i, err)
				}
			}
		})
	}
	over := make(chan struct{})
	go func() { load.Wait(); close(over) }()
	rounds := 0
	for shift := 1; ; shift++ {
		select {
		case <-over:
			sum := 0
			for i := range 10 {
				item, err := caller.GetState(t.Context(), "T", fmt.Sprint("actor-", i), "n")
				if err != nil {
					t.Fatal(err)
				}
				var count int
				_, _ = fmt.Sscan(string(item.Value), &count)
				sum += count
			}
			if int64(sum) != writes.Load() || sum != 8*200 {
				t.Errorf("%d writes were acknowledged, the state says %d, of %d calls, after %d rounds", writes.Load(), sum, 8*200, rounds)
			}
			return
		case <-progress:
			w.round(at(shift))
			rounds++
		}
	}
}

// TestChain: A calls B at another sidecar, which calls A back: with reentrancy that works, and only so often as may be.
func TestChain(t *testing.T) {
	store, w := actorStore(t), &world{}
	depth := 2
	turn := func(_ context.Context, n *node, id, method string, header channel.Header) error {
		var left int
		if _, err := fmt.Sscanf(method, "chain%d", &left); err != nil || left == 0 {
			return nil
		}
		other := map[string]string{"a": "b", "b": "a"}[id]
		return n.invoke(other, fmt.Sprintf("chain%d", left-1), channel.Field{Name: actors.ReentrancyHeader, Value: header.Value(actors.ReentrancyHeader)})
	}
	for range 2 {
		w.join(t, store, channel.ActorSettings{Reentrant: true, MaxStackDepth: &depth}, turn)
	}
	w.owner = func(id string) *node { return w.nodes[int(id[0]-'a')] }
	for _, from := range w.nodes {
		if err := from.invoke("a", "chain3"); err != nil { // a, b, a, b
			t.Errorf("a → b → a → b: %v", err)
		}
		if err := from.invoke("a", "chain4"); code(err) != "ERR_ACTOR_STACK_DEPTH" {
			t.Errorf("three times in a: %v", err)
		}
	}
}

// TestRemoteErrors: what goes wrong at another sidecar is told as if it had gone wrong here.
func TestRemoteErrors(t *testing.T) {
	store, w := actorStore(t), &world{}
	turn := func(_ context.Context, _ *node, _, method string, _ channel.Header) error {
		switch method {
		case "missing":
			return &channel.ActorError{Missing: true, Text: "actor method not found: missing"}
		case "fails":
			return &channel.ActorError{Status: 500, Text: "error from actor service: (500) no"}
		}
		return nil
	}
	for range 2 {
		w.join(t, store, channel.ActorSettings{}, turn)
	}
	w.owner = func(string) *node { return w.nodes[1] }
	for method, want := range map[string]string{"missing": "error invoke actor method: actor method not found: missing", "fails": "error invoke actor method: error from actor service: (500) no"} {
		for _, from := range w.nodes {
			if err := from.invoke("1", method); code(err) != "ERR_ACTOR_INVOKE_METHOD" || err.Error() != want {
				t.Errorf("%s: %v", method, err)
			}
		}
	}
	// A sidecar that is gone: its actors move, and the call is made again.
	w.nodes[1].server.Stop()
	moved := time.AfterFunc(100*time.Millisecond, func() { w.round(func(string) *node { return w.nodes[0] }) })
	defer moved.Stop()
	if err := w.nodes[0].invoke("1", "m"); err != nil {
		t.Errorf("the host is gone: %v", err)
	}
	if seen := strings.Join(w.nodes[0].host.seen(), ","); !strings.Contains(seen, "1 ends m") {
		t.Errorf("the new host saw %s", seen)
	}
}

// TestRemoteBusy: as many calls wait for an actor as may; one from another sidecar is told so as one from its own is.
func TestRemoteBusy(t *testing.T) {
	store, w := actorStore(t), &world{}
	goOn := make(chan struct{})
	for range 2 {
		w.join(t, store, channel.ActorSettings{}, func(context.Context, *node, string, string, channel.Header) error {
			<-goOn
			return nil
		})
	}
	w.owner = func(string) *node { return w.nodes[1] }
	const most = 10_000
	refused := make(chan error, 1)
	var wait sync.WaitGroup
	for range most + 2 {
		wait.Go(func() {
			if err := w.nodes[1].invoke("1", "m"); err != nil {
				refused <- err
			}
		})
	}
	local := <-refused
	remote := w.nodes[0].invoke("1", "m")
	if code(remote) != "ERR_ACTOR_BUSY" || remote.Error() != local.Error() {
		t.Errorf("%v, and at the host %v", remote, local)
	}
	close(goOn)
	wait.Wait()
}

// TestRemoteCancel: a reminder ends when the application of another host wants no more of it; a timer goes on.
func TestRemoteCancel(t *testing.T) {
	store, w := actorStore(t), &world{}
	for range 2 {
		w.join(t, store, channel.ActorSettings{}, nil).host.cancels = true
	}
	// The one that fires ends first: it would wait for the other.
	w.owner = func(string) *node { return w.nodes[0] }
	from := w.nodes[1]
	if err := from.CreateTimer(&timers.Timer{ActorType: "T", ActorID: "1", Name: "t", DueTime: "0s", Period: "10ms"}); err != nil {
		t.Fatal(err)
	}
	if err := from.CreateReminder(t.Context(), &reminders.Reminder{ActorType: "T", ActorID: "1", Name: "r", DueTime: "0s", Period: "10ms"}, true); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		_, err := from.GetReminder(t.Context(), "T", "1", "r")
		ticks := 0
		for _, line := range w.nodes[0].host.seen() {
			if line == "1 fires t" {
				ticks++
			}
		}
		if code(err) == "ERR_ACTOR_REMINDER_NOT_FOUND" && ticks > 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the reminder: %v; %d ticks", err, ticks)
		}
	}
	fired := 0
	for _, line := range w.nodes[0].host.seen() {
		if line == "1 fires r" {
			fired++
		}
	}
	if fired != 1 {
		t.Errorf("it has fired %d times", fired)
	}
}
