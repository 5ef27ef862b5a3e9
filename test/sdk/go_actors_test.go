package sdk

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/dapr/go-sdk/actor"
	"github.com/dapr/go-sdk/client"
)

// Counter is an actor of the SDK, which wants its type exported.
type Counter struct {
	actor.ServerImplBaseCtx
	ticks chan<- string
}

// Type is what it is called by.
func (*Counter) Type() string { return "GoCounter" }

// Add adds to its count and gives the sum.
func (c *Counter) Add(ctx context.Context, n int) (int, error) {
	state, sum := c.GetStateManager(), 0
	found, err := state.Contains(ctx, "count")
	if err == nil && found {
		err = state.Get(ctx, "count", &sum)
	}
	if err != nil {
		return 0, err
	}
	return sum + n, state.Set(ctx, "count", sum+n)
}

// Fail fails. The SDK heeds an error beside a value alone.
func (c *Counter) Fail(context.Context) (int, error) { return 0, errors.New("on purpose") }

// ReminderCall is the SDK's for reminders.
func (c *Counter) ReminderCall(name string, data []byte, _, _ string) {
	c.ticks <- c.ID() + " " + name + " " + string(data)
}

// Tick is called by its timer.
func (c *Counter) Tick(_ context.Context, data string) error {
	c.ticks <- c.ID() + " " + data
	return nil
}

// counter is the caller's side.
type counter struct {
	id   string
	Add  func(context.Context, int) (int, error)
	Fail func(context.Context) (int, error)
}

func (*counter) Type() string { return "GoCounter" }
func (c *counter) ID() string { return c.id }

// TestGoActors: an HTTP application of the SDK hosts actors, which are called by the SDK's stubs and by name.
func TestGoActors(t *testing.T) {
	service, port := newService(t, "http")
	ticks := make(chan string, 10)
	service.RegisterActorImplFactoryContext(func() actor.ServerContext { return &Counter{ticks: ticks} })
	s := launch(t, "go-actors", port, "http", actorStore(t))
	t.Setenv("DAPR_GRPC_PORT", strconv.Itoa(s.grpc)) // where actors of the SDK keep their state
	serve(t, service)
	s.await(t, "/v1.0/healthz")
	c := dial(t, s)
	stub := func(id string) *counter {
		made := &counter{id: id}
		c.ImplActorClientStub(made)
		return made
	}
	a := stub("a")
	for _, step := range []struct{ add, sum int }{{2, 2}, {3, 5}} {
		sum, err := a.Add(deadline(t), step.add)
		must(t, err)
		if sum != step.sum {
			t.Errorf("the sum is %d, want %d", sum, step.sum)
		}
	}
	stored, err := c.GetActorState(deadline(t), &client.GetActorStateRequest{ActorType: "GoCounter", ActorID: "a", KeyName: "count"})
	must(t, err)
	if string(stored.Data) != "5" {
		t.Errorf("stored is %s", stored.Data)
	}
	if _, err := a.Fail(deadline(t)); err == nil {
		t.Error("a method that fails does not say so")
	}

	// Turns are taken one after another: no sum is lost.
	var calls sync.WaitGroup
	many := stub("many")
	for range 20 {
		calls.Go(func() {
			if _, err := many.Add(deadline(t), 1); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	answer, err := c.InvokeActor(deadline(t), &client.InvokeActorRequest{ActorType: "GoCounter", ActorID: "many", Method: "Add", Data: []byte("0")})
	must(t, err)
	if string(answer.Data) != "20" {
		t.Errorf("the sum of 20 calls is %s", answer.Data)
	}

	must(t, c.RegisterActorTimer(deadline(t), &client.RegisterActorTimerRequest{ActorType: "GoCounter", ActorID: "a", Name: "t", DueTime: "0s", Period: "1h",
		CallBack: "Tick", Data: []byte(`"data"`)}))
	if tick := next(t, ticks); tick != "a data" {
		t.Errorf("the tick is %q", tick)
	}
	must(t, c.UnregisterActorTimer(deadline(t), &client.UnregisterActorTimerRequest{ActorType: "GoCounter", ActorID: "a", Name: "t"}))

	must(t, c.RegisterActorReminder(deadline(t), &client.RegisterActorReminderRequest{ActorType: "GoCounter", ActorID: "b", Name: "r", DueTime: "0s", Period: "1h",
		Data: []byte("kept")}))
	if fired := next(t, ticks); fired != "b r kept" {
		t.Errorf("the reminder is %q", fired)
	}
	must(t, c.UnregisterActorReminder(deadline(t), &client.UnregisterActorReminderRequest{ActorType: "GoCounter", ActorID: "b", Name: "r"}))
}
