package test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/anypb"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// actorsAPI are the calls of actors.
type actorsAPI interface {
	callActor(ctx context.Context, actor actorRef, method, body string) meaning
	actorState(ctx context.Context, actor actorRef, key string) meaning
	transactActor(ctx context.Context, actor actorRef, operations ...stateOperation) meaning
	createTimer(ctx context.Context, actor actorRef, timer actorTimer) meaning
	deleteTimer(ctx context.Context, actor actorRef, name string) meaning
	// createReminder does not replace one that is there unless overwrite says so; no data are sent.
	createReminder(ctx context.Context, actor actorRef, reminder actorTimer, overwrite bool) meaning
	// reminder gives the due time and the period.
	reminder(ctx context.Context, actor actorRef, name string) meaning
	renameReminder(ctx context.Context, actor actorRef, name, newName string) meaning
	deleteReminder(ctx context.Context, actor actorRef, name string) meaning
}

type actorRef struct{ Type, ID string }

type actorTimer struct{ Name, DueTime, Period, TTL, Callback, Data string }

func (r actorRef) path() string { return "/v1.0/actors/" + segment(r.Type) + "/" + segment(r.ID) }

func (h *httpAPI) callActor(ctx context.Context, actor actorRef, method, body string) meaning {
	answer := h.call(ctx, "POST", actor.path()+"/method/"+segment(method), body, nil)
	return meaning{Value: answer.body, Fault: answer.fault()}.faulty()
}

// faulty is a meaning that has nothing but its fault, if it has one.
func (m meaning) faulty() meaning {
	if m.Fault != nil {
		return meaning{Fault: m.Fault}
	}
	return m
}

func (h *httpAPI) actorState(ctx context.Context, actor actorRef, key string) meaning {
	answer := h.call(ctx, "GET", actor.path()+"/state/"+segment(key), "", nil)
	return meaning{Value: answer.body, Fault: answer.fault()}.faulty()
}

func (h *httpAPI) transactActor(ctx context.Context, actor actorRef, operations ...stateOperation) meaning {
	body := make([]map[string]any, len(operations))
	for i, o := range operations {
		request := map[string]any{"key": o.Item.Key, "metadata": o.Item.Metadata}
		if o.Item.Value != "" {
			request["value"] = json.RawMessage(o.Item.Value)
		}
		body[i] = map[string]any{"operation": o.Type, "request": request}
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return h.call(ctx, "POST", actor.path()+"/state", string(text), nil).nothing()
}

func (h *httpAPI) createTimer(ctx context.Context, actor actorRef, timer actorTimer) meaning {
	body := map[string]any{"dueTime": timer.DueTime, "period": timer.Period, "ttl": timer.TTL, "callback": timer.Callback}
	if timer.Data != "" {
		body["data"] = json.RawMessage(timer.Data)
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return h.call(ctx, "POST", actor.path()+"/timers/"+segment(timer.Name), string(text), nil).nothing()
}

func (h *httpAPI) deleteTimer(ctx context.Context, actor actorRef, name string) meaning {
	return h.call(ctx, "DELETE", actor.path()+"/timers/"+segment(name), "", nil).nothing()
}

func (h *httpAPI) createReminder(ctx context.Context, actor actorRef, r actorTimer, overwrite bool) meaning {
	body, err := json.Marshal(map[string]any{"dueTime": r.DueTime, "period": r.Period, "ttl": r.TTL, "overwrite": overwrite})
	if err != nil {
		panic(err)
	}
	return h.call(ctx, "POST", actor.path()+"/reminders/"+segment(r.Name), string(body), nil).nothing()
}

func (h *httpAPI) reminder(ctx context.Context, actor actorRef, name string) meaning {
	answer := h.call(ctx, "GET", actor.path()+"/reminders/"+segment(name), "", nil)
	if f := answer.fault(); f != nil {
		return meaning{Fault: f}
	}
	var r struct{ DueTime, Period string }
	if err := json.Unmarshal([]byte(answer.body), &r); err != nil {
		return meaning{Value: answer.body}
	}
	return meaning{Value: r.DueTime + " " + r.Period}
}

func (h *httpAPI) renameReminder(ctx context.Context, actor actorRef, name, newName string) meaning {
	return h.call(ctx, "PATCH", actor.path()+"/reminders/"+segment(name), `{"newName":"`+newName+`"}`, nil).nothing()
}

func (h *httpAPI) deleteReminder(ctx context.Context, actor actorRef, name string) meaning {
	return h.call(ctx, "DELETE", actor.path()+"/reminders/"+segment(name), "", nil).nothing()
}

func (g *grpcAPI) callActor(ctx context.Context, actor actorRef, method, body string) meaning {
	answer, err := g.client.InvokeActor(g.context(ctx), &runtimev1.InvokeActorRequest{ActorType: actor.Type, ActorId: actor.ID, Method: method, Data: []byte(body)})
	return meaning{Value: string(answer.GetData()), Fault: faultOf(err)}
}

func (g *grpcAPI) actorState(ctx context.Context, actor actorRef, key string) meaning {
	answer, err := g.client.GetActorState(g.context(ctx), &runtimev1.GetActorStateRequest{ActorType: actor.Type, ActorId: actor.ID, Key: key})
	return meaning{Value: string(answer.GetData()), Fault: faultOf(err)}
}

func (g *grpcAPI) transactActor(ctx context.Context, actor actorRef, operations ...stateOperation) meaning {
	request := &runtimev1.ExecuteActorStateTransactionRequest{ActorType: actor.Type, ActorId: actor.ID}
	for _, o := range operations {
		request.Operations = append(request.Operations, &runtimev1.TransactionalActorStateOperation{OperationType: o.Type, Key: o.Item.Key,
			Value: &anypb.Any{Value: []byte(o.Item.Value)}, Metadata: o.Item.Metadata})
	}
	_, err := g.client.ExecuteActorStateTransaction(g.context(ctx), request)
	return meaning{Fault: faultOf(err)}
}

func (g *grpcAPI) createTimer(ctx context.Context, actor actorRef, timer actorTimer) meaning {
	_, err := g.client.RegisterActorTimer(g.context(ctx), &runtimev1.RegisterActorTimerRequest{ActorType: actor.Type, ActorId: actor.ID, Name: timer.Name,
		DueTime: timer.DueTime, Period: timer.Period, Ttl: timer.TTL, Callback: timer.Callback, Data: []byte(timer.Data)})
	return meaning{Fault: faultOf(err)}
}

func (g *grpcAPI) deleteTimer(ctx context.Context, actor actorRef, name string) meaning {
	_, err := g.client.UnregisterActorTimer(g.context(ctx), &runtimev1.UnregisterActorTimerRequest{ActorType: actor.Type, ActorId: actor.ID, Name: name})
	return meaning{Fault: faultOf(err)}
}

func (g *grpcAPI) createReminder(ctx context.Context, actor actorRef, r actorTimer, overwrite bool) meaning {
	_, err := g.client.RegisterActorReminder(g.context(ctx), &runtimev1.RegisterActorReminderRequest{ActorType: actor.Type, ActorId: actor.ID, Name: r.Name,
		DueTime: r.DueTime, Period: r.Period, Ttl: r.TTL, Overwrite: &overwrite})
	return meaning{Fault: faultOf(err)}
}

func (g *grpcAPI) reminder(ctx context.Context, actor actorRef, name string) meaning {
	r, err := g.client.GetActorReminder(g.context(ctx), &runtimev1.GetActorReminderRequest{ActorType: actor.Type, ActorId: actor.ID, Name: name})
	if err != nil {
		return meaning{Fault: faultOf(err)}
	}
	return meaning{Value: r.GetDueTime() + " " + r.GetPeriod()}
}

func (g *grpcAPI) renameReminder(ctx context.Context, actor actorRef, name, newName string) meaning {
	_, err := g.client.RenameActorReminder(g.context(ctx), &runtimev1.RenameActorReminderRequest{ActorType: actor.Type, ActorId: actor.ID, OldName: name, NewName: newName})
	return meaning{Fault: faultOf(err)}
}

func (g *grpcAPI) deleteReminder(ctx context.Context, actor actorRef, name string) meaning {
	_, err := g.client.UnregisterActorReminder(g.context(ctx), &runtimev1.UnregisterActorReminderRequest{ActorType: actor.Type, ActorId: actor.ID, Name: name})
	return meaning{Fault: faultOf(err)}
}

// actor is the actor of this run.
func (a *asker) actor() actorRef { return actorRef{"T", a.key("a")} }

// awake is the actor of this run, which is active.
func (a *asker) awake() actorRef {
	a.t.Helper()
	if answer := a.api.callActor(a.ctx, a.actor(), "quiet", ""); answer.Fault != nil {
		a.t.Fatal(answer.Fault)
	}
	return a.actor()
}

func actorCallCases() []parityCase {
	call := func(actorType, method, body string) func(*asker) meaning {
		return func(a *asker) meaning { return a.api.callActor(a.ctx, actorRef{actorType, a.key("a")}, method, body) }
	}
	failed := func(text string) meaning {
		return meaning{Fault: &fault{HTTP: http.StatusInternalServerError, Code: "ERR_ACTOR_INVOKE_METHOD", GRPC: codes.Internal,
			Text: "error invoke actor method: " + text}}
	}
	bad := func(text string) meaning {
		return meaning{Fault: &fault{HTTP: http.StatusBadRequest, Code: "ERR_BAD_REQUEST", GRPC: codes.InvalidArgument, Text: text}}
	}
	nobody := "failed to lookup actor: api error: code = FailedPrecondition desc = did not find address for actor 'Nobody/{key:a}'"
	return []parityCase{
		{name: "a method", do: call("T", "echo", "\x00 any bytes \xff"), want: meaning{Value: "\x00 any bytes \xff"}},
		{name: "without a body", do: call("T", "echo", "")},
		{name: "an actor's own error", do: call("T", "refuse", ""), want: meaning{Value: "the actor says no"}},
		{name: "a method that fails", do: call("T", "fail", ""), want: failed("error from actor service: (500) oh no\n")},
		{name: "a method that is not there", do: call("T", "missing", ""), want: failed("actor method not found: actors/T/{key:a}/method/missing")},
		{name: "a type that nobody hosts", do: call("Nobody", "m", ""), want: meaning{Fault: &fault{HTTP: http.StatusInternalServerError,
			Code: "ERR_ACTOR_INVOKE_METHOD", GRPC: codes.FailedPrecondition, Text: nobody, OnHTTP: "error invoke actor method: " + nobody}}},
		{name: "a type that cannot be", do: call("a#b", "m", ""), want: bad(`invalid actorType: name contains forbidden character: "a#b"`)},
		{name: "an id that cannot be", do: func(a *asker) meaning { return a.api.callActor(a.ctx, actorRef{"T", `a\b`}, "m", "") },
			want: bad(`invalid actorId: name contains forbidden character: "a\\b"`)},
	}
}

func actorStateCases() []parityCase {
	upsert := func(key, value string) stateOperation {
		return stateOperation{Type: "upsert", Item: stateItem{Key: key, Value: value}}
	}
	missing := meaning{Fault: &fault{HTTP: http.StatusBadRequest, Code: "ERR_ACTOR_INSTANCE_MISSING", GRPC: codes.Internal, Text: "actor instance is missing"}}
	refused := func(text string) meaning {
		return meaning{Fault: &fault{HTTP: http.StatusInternalServerError, Code: "ERR_ACTOR_STATE_TRANSACTION_SAVE", GRPC: codes.Internal,
			Text: "error saving actor transaction state: " + text}}
	}
	return []parityCase{
		{name: "a key that is not there", do: func(a *asker) meaning { return a.api.actorState(a.ctx, a.awake(), "none") }},
		{name: "a transaction is read", do: func(a *asker) meaning {
			actor := a.awake()
			a.must(a.api.transactActor(a.ctx, actor, upsert("k", `{"a": 1}`), upsert("l", "2")))
			return meaning{Value: strings.ReplaceAll(a.api.actorState(a.ctx, actor, "k").Value, " ", "") + a.api.actorState(a.ctx, actor, "l").Value}
		}, want: meaning{Value: `{"a":1}2`}},
		{name: "a key is deleted", do: func(a *asker) meaning {
			actor := a.awake()
			a.must(a.api.transactActor(a.ctx, actor, upsert("k", "1"), upsert("l", "2")))
			a.must(a.api.transactActor(a.ctx, actor, stateOperation{Type: "delete", Item: stateItem{Key: "k"}}))
			return meaning{Value: a.api.actorState(a.ctx, actor, "k").Value + "|" + a.api.actorState(a.ctx, actor, "l").Value}
		}, want: meaning{Value: "|2"}},
		{name: "of one actor alone", do: func(a *asker) meaning {
			a.must(a.api.transactActor(a.ctx, a.awake(), upsert("k", "1")))
			return a.api.actorState(a.ctx, actorRef{"T", a.key("other")}, "k")
		}},
		{name: "an empty transaction", do: func(a *asker) meaning { return a.api.transactActor(a.ctx, a.awake()) }},
		{name: "an actor that is not active", do: func(a *asker) meaning { return a.api.transactActor(a.ctx, a.actor(), upsert("k", "1")) }, want: missing},
		{name: "a type of nobody", do: func(a *asker) meaning {
			return a.api.transactActor(a.ctx, actorRef{"Nobody", "1"}, upsert("k", "1"))
		}, want: missing},
		{name: "no key", do: func(a *asker) meaning { return a.api.transactActor(a.ctx, a.awake(), upsert("", "1")) },
			want: refused("a state operation has no key")},
		{name: "a time to live that is none", do: func(a *asker) meaning {
			o := upsert("k", "1")
			o.Item.Metadata = map[string]string{"ttlInSeconds": "soon"}
			answer := a.api.transactActor(a.ctx, a.awake(), upsert("l", "1"), o)
			if value := a.api.actorState(a.ctx, a.actor(), "l").Value; value != "" {
				a.t.Errorf("one half of it was applied: %s", value)
			}
			return answer
		}, want: refused(`ttlInSeconds "soon" is not a whole number of seconds above 0, or -1 for no end`)},
		{name: "a type of workflows", do: func(a *asker) meaning { return a.api.actorState(a.ctx, actorRef{"dapr.internal.x", "1"}, "k") },
			want: meaning{Fault: &fault{HTTP: http.StatusForbidden, Code: "ERR_ACTOR_TYPE_RESERVED", GRPC: codes.PermissionDenied,
				Text: `actor type "dapr.internal.x" is reserved for the Dapr workflow runtime; direct actor API access is not permitted`}}},
	}
}

func actorTimerCases(app *actorApp) []parityCase {
	// ticked makes a timer and gives what the application sees of its first tick.
	ticked := func(timer actorTimer) func(*asker) meaning {
		return func(a *asker) (seen meaning) {
			a.must(a.api.createTimer(a.ctx, a.actor(), timer))
			line := fmt.Sprintf("PUT /actors/T/%s/method/timer/%s", a.actor().ID, timer.Name)
			settle(a.t, func() bool {
				for _, r := range app.requests() {
					if r.Line == line {
						seen.Value = r.Body
						return true
					}
				}
				return false
			}, "a tick")
			a.must(a.api.deleteTimer(a.ctx, a.actor(), timer.Name))
			return seen
		}
	}
	refused := func(text string) meaning {
		return meaning{Fault: &fault{HTTP: http.StatusInternalServerError, Code: "ERR_ACTOR_TIMER_CREATE", GRPC: codes.Internal,
			Text: "error creating actor timer: " + text}}
	}
	return []parityCase{
		{name: "a tick", do: ticked(actorTimer{Name: "t", DueTime: "0s", Period: "1h", Callback: "cb"}),
			want: meaning{Value: `{"callback":"cb","dueTime":"0s","period":"1h"}`}},
		// Dapr's two APIs differ: data of gRPC are bytes, and bytes are base64 in JSON.
		{name: "a tick with data", do: ticked(actorTimer{Name: "t", DueTime: "0s", Callback: "cb", Data: `{"a":1}`}),
			want: meaning{Value: `{"data":{"a":1},"callback":"cb","dueTime":"0s","period":""}`},
			grpc: &meaning{Value: `{"data":"eyJhIjoxfQ==","callback":"cb","dueTime":"0s","period":""}`}},
		{name: "one that is not there", do: func(a *asker) meaning { return a.api.deleteTimer(a.ctx, a.actor(), "none") }},
		{name: "a due time that is none", do: func(a *asker) meaning {
			return a.api.createTimer(a.ctx, a.actor(), actorTimer{Name: "t", DueTime: "soon"})
		}, want: refused("…")},
		{name: "a type that is not hosted", do: func(a *asker) meaning {
			return a.api.createTimer(a.ctx, actorRef{"Nobody", "1"}, actorTimer{Name: "t", DueTime: "1s"})
		}, want: refused("the application beside this sidecar does not host the actor type: make timers at the sidecar of a host")},
	}
}

func actorReminderCases() []parityCase {
	later := actorTimer{Name: "r", DueTime: "1h", Period: "2h"}
	create := func(a *asker, r actorTimer, overwrite bool) meaning {
		return a.api.createReminder(a.ctx, a.actor(), r, overwrite)
	}
	gone := meaning{Fault: &fault{HTTP: http.StatusNotFound, Code: "ERR_ACTOR_REMINDER_NOT_FOUND", GRPC: codes.NotFound, Text: "actor reminder not found: r"}}
	foreign := meaning{Fault: &fault{HTTP: http.StatusForbidden, Code: "ERR_ACTOR_REMINDER_NON_HOSTED", GRPC: codes.PermissionDenied,
		Text: "operations on actor reminders are only possible on hosted actor types"}}
	return []parityCase{
		{name: "one is read", do: func(a *asker) meaning {
			a.must(create(a, later, true))
			return a.api.reminder(a.ctx, a.actor(), "r")
		}, want: meaning{Value: "1h 2h"}},
		{name: "one is replaced", do: func(a *asker) meaning {
			a.must(create(a, later, true))
			a.must(create(a, actorTimer{Name: "r", DueTime: "3h"}, true))
			return a.api.reminder(a.ctx, a.actor(), "r")
		}, want: meaning{Value: "3h "}},
		{name: "one is not to be replaced", do: func(a *asker) meaning {
			a.must(create(a, later, false))
			return create(a, later, false)
		}, want: meaning{Fault: &fault{HTTP: http.StatusConflict, Code: "ERR_ACTOR_REMINDER_ALREADY_EXISTS", GRPC: codes.AlreadyExists,
			Text: "actor reminder already exists: r"}}},
		{name: "one is deleted", do: func(a *asker) meaning {
			a.must(create(a, later, true))
			a.must(a.api.deleteReminder(a.ctx, a.actor(), "r"))
			return a.api.reminder(a.ctx, a.actor(), "r")
		}, want: gone},
		{name: "one is renamed", do: func(a *asker) meaning {
			a.must(create(a, actorTimer{Name: "old", DueTime: "1h", Period: "2h"}, true))
			a.must(a.api.renameReminder(a.ctx, a.actor(), "old", "r"))
			return a.api.reminder(a.ctx, a.actor(), "r")
		}, want: meaning{Value: "1h 2h"}},
		{name: "none is there", do: func(a *asker) meaning { return a.api.reminder(a.ctx, a.actor(), "r") }, want: gone},
		{name: "none is deleted", do: func(a *asker) meaning { return a.api.deleteReminder(a.ctx, a.actor(), "r") }},
		{name: "a due time that is none", do: func(a *asker) meaning { return create(a, actorTimer{Name: "r", DueTime: "soon"}, true) },
			want: meaning{Fault: &fault{HTTP: http.StatusInternalServerError, Code: "ERR_ACTOR_REMINDER_CREATE", GRPC: codes.Internal,
				Text: "error creating actor reminder: …"}}},
		{name: "a type that is not hosted", do: func(a *asker) meaning {
			return a.api.createReminder(a.ctx, actorRef{"Nobody", "1"}, later, true)
		}, want: foreign},
		{name: "one of a type that is not hosted", do: func(a *asker) meaning { return a.api.reminder(a.ctx, actorRef{"Nobody", "1"}, "r") }, want: foreign},
	}
}

// TestParityActors: calls, state, timers and reminders of actors mean the same over both transports.
func TestParityActors(t *testing.T) {
	runtimetest.Isolate(t)
	app := newActorApp(t, `{"entities":["T"]}`)
	app.method = func(w http.ResponseWriter, _ *http.Request, _, method string, body []byte) {
		switch method {
		case "echo":
			_, _ = w.Write(body)
		case "refuse":
			w.Header().Set("X-DaprErrorResponseHeader", "yes")
			_, _ = io.WriteString(w, "the actor says no")
		case "fail":
			http.Error(w, "oh no", http.StatusInternalServerError)
		case "missing":
			w.WriteHeader(http.StatusNotFound)
		}
	}
	s := startActors(t, app, runtimetest.Manifests(t, memoryActors))
	apis := transports(t, s)
	t.Run("calls", func(t *testing.T) { askAll(t, actorCallCases(), apis, "", false) })
	t.Run("state", func(t *testing.T) { askAll(t, actorStateCases(), apis, "", false) })
	t.Run("timers", func(t *testing.T) { askAll(t, actorTimerCases(app), apis, "", false) })
	t.Run("reminders", func(t *testing.T) { askAll(t, actorReminderCases(), apis, "", false) })
}
