package messaging_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/messaging"
	internalsv1 "github.com/daprd/daprd/pkg/proto/internals/v1"
)

// hosting takes the calls of actors and remembers them.
type hosting struct {
	calls  []string
	events []channel.ActorEvent
	err    error
}

func (h *hosting) CallActor(_ context.Context, actorType, actorID, method string, req *channel.Request) (*channel.Response, error) {
	body, err := req.Body.Whole(1 << 20)
	h.calls = append(h.calls, strings.Join([]string{actorType, actorID, method, req.Query, req.ContentType, req.Header.Value("X-One"), string(body)}, "|"))
	if err = errors.Join(err, h.err); err != nil {
		return nil, err
	}
	return &channel.Response{Status: 200, ContentType: "text/plain", Header: channel.Header{{Name: channel.ActorErrorHeader, Value: "true"}},
		Body: channel.Body{Bytes: []byte("answer")}}, nil
}

func (h *hosting) FireActor(_ context.Context, event *channel.ActorEvent) error {
	h.events = append(h.events, *event)
	return h.err
}

func startHosting(t *testing.T) (*callee, *hosting) {
	listener := listen(t)
	c := &callee{address: listener.Addr().String(), server: newServer()}
	h := &hosting{}
	service := messaging.NewCallee(messaging.CalleeDeps{AppID: "callee", App: filled(nil), Policy: allowAll{}, Actors: h})
	c.server.RegisterService(service.ServiceDesc(), service)
	c.serve(t, listener)
	return c, h
}

// TestCallActor: calls of actors travel between sidecars of this kind and of Dapr's, in one message each way.
func TestCallActor(t *testing.T) {
	to, h := startHosting(t)
	from := newCaller(t, nil)
	res, err := from.CallActor(within(t), to.address, "callee", "T", "a/é", "m", &channel.Request{Query: "x=1", ContentType: "text/plain",
		Header: channel.Header{{Name: "X-One", Value: "1"}}, Body: channel.Body{Bytes: []byte("body")}})
	if err != nil {
		t.Fatal(err)
	}
	if res.Status != 200 || res.ContentType != "text/plain" || res.Header.Value(channel.ActorErrorHeader) != "true" {
		t.Errorf("answer %+v", res)
	}
	if body := readAll(t, res); body != "answer" {
		t.Errorf("body %q", body)
	}
	request := internalRequest("m")
	request.Actor = &internalsv1.Actor{ActorType: "T", ActorId: "1"}
	request.Message.Data = &anypb.Any{Value: []byte("dapr's")}
	answer, err := daprClient(t, to).CallActor(within(t), request)
	if err != nil || string(answer.GetMessage().GetData().GetValue()) != "answer" || answer.GetStatus().GetCode() != 200 {
		t.Errorf("answer %v, %v", answer, err)
	}
	if diff := cmp.Diff([]string{"T|a/é|m|x=1|text/plain|1|body", "T|1|m||||dapr's"}, h.calls); diff != "" {
		t.Error(diff)
	}
	h.err = apierr.ActorStackDepth.New()
	_, err = from.CallActor(within(t), to.address, "callee", "T", "1", "m", &channel.Request{})
	if st := status.Convert(err); st.Code() != codes.ResourceExhausted || st.Message() != "maximum stack depth exceeded" {
		t.Errorf("a row: %v", err)
	}
	to.stop()
	if _, err = from.CallActor(within(t), to.address, "callee", "T", "1", "m", &channel.Request{}); status.Code(err) != codes.Unavailable {
		t.Errorf("a sidecar that is gone: %v", err)
	}
}

// TestFireActor: so do reminders and timers.
func TestFireActor(t *testing.T) {
	to, h := startHosting(t)
	from := newCaller(t, nil)
	timer := channel.ActorEvent{Type: "T", ID: "1", Name: "n", DueTime: "1s", Period: "2s", Timer: true, Callback: "m", Data: []byte(`{"a":1}`)}
	reminder := channel.ActorEvent{Type: "T", ID: "1", Name: "n"}
	if err := errors.Join(from.FireActor(within(t), to.address, "callee", &timer), from.FireActor(within(t), to.address, "callee", &reminder)); err != nil {
		t.Fatal(err)
	}
	data, err := anypb.New(wrapperspb.Bytes([]byte("1")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := daprClient(t, to).CallActorReminder(within(t), &internalsv1.Reminder{ActorType: "T", ActorId: "2", Name: "dapr's", Data: data}); err != nil {
		t.Fatal(err)
	}
	want := []channel.ActorEvent{timer, reminder, {Type: "T", ID: "2", Name: "dapr's", Data: []byte("1")}}
	if diff := cmp.Diff(want, h.events); diff != "" {
		t.Error(diff)
	}
	h.err = apierr.ActorInvoke.New(errors.New("it failed"))
	if err := from.FireActor(within(t), to.address, "callee", &timer); status.Convert(err).Message() != "error invoke actor method: it failed" {
		t.Errorf("a failure: %v", err)
	}
}
