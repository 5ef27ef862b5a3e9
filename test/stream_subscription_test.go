package test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/components/redis/redistest"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

type topicClient = grpc.BidiStreamingClient[runtimev1.SubscribeTopicEventsRequestAlpha1, runtimev1.SubscribeTopicEventsResponseAlpha1]

func opening(pubSub, topic string) *runtimev1.SubscribeTopicEventsRequestAlpha1 {
	return &runtimev1.SubscribeTopicEventsRequestAlpha1{SubscribeTopicEventsRequestType: &runtimev1.SubscribeTopicEventsRequestAlpha1_InitialRequest{
		InitialRequest: &runtimev1.SubscribeTopicEventsRequestInitialAlpha1{PubsubName: pubSub, Topic: topic}}}
}

// openTopic opens a streaming subscription and waits until it is there.
func openTopic(t *testing.T, s *runtimetest.Sidecar, change ...func(*runtimev1.SubscribeTopicEventsRequestInitialAlpha1)) topicClient {
	t.Helper()
	stream, err := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String())).SubscribeTopicEventsAlpha1(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	request := opening("ps", "t")
	for _, c := range change {
		c(request.GetInitialRequest())
	}
	if err := stream.Send(request); err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil || first.GetInitialResponse() == nil {
		t.Fatalf("%v, %v", first, err)
	}
	return stream
}

// event waits for a message of a stream.
func event(t *testing.T, stream topicClient) *runtimev1.TopicEventRequest {
	t.Helper()
	message, err := stream.Recv()
	if err != nil || message.GetEventMessage() == nil {
		t.Fatalf("%v, %v", message, err)
	}
	return message.GetEventMessage()
}

func say(t *testing.T, stream topicClient, id string, word runtimev1.TopicEventResponse_TopicEventResponseStatus) {
	t.Helper()
	err := stream.Send(&runtimev1.SubscribeTopicEventsRequestAlpha1{SubscribeTopicEventsRequestType: &runtimev1.SubscribeTopicEventsRequestAlpha1_EventProcessed{
		EventProcessed: &runtimev1.SubscribeTopicEventsRequestProcessedAlpha1{Id: id, Status: &runtimev1.TopicEventResponse{Status: word}}}})
	if err != nil {
		t.Fatal(err)
	}
}

// publishAs publishes a message whose event has an id.
func publishAs(t *testing.T, s *runtimetest.Sidecar, id, text string) {
	t.Helper()
	_, err := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String())).PublishEvent(t.Context(), &runtimev1.PublishEventRequest{PubsubName: "ps", Topic: "t",
		Data: []byte(text), DataContentType: "text/plain", Metadata: map[string]string{"cloudevent.id": id}})
	if err != nil {
		t.Fatal(err)
	}
}

// TestStreamOutcomes: success, retry, drop and words that nobody knows; answers to what is not there are passed over; the
// sidecar needs no application for it, and the metadata list the stream while it is open.
func TestStreamOutcomes(t *testing.T) {
	runtimetest.Isolate(t)
	s := runtimetest.Start(t, "streaming", runtimetest.Manifests(t, inMemory()))
	stream := openTopic(t, s, func(r *runtimev1.SubscribeTopicEventsRequestInitialAlpha1) { r.DeadLetterTopic = new("dead") },
		func(r *runtimev1.SubscribeTopicEventsRequestInitialAlpha1) {
			r.Metadata = map[string]string{"maxDeliveryAttempts": "3"}
		})
	dead := openTopic(t, s, func(r *runtimev1.SubscribeTopicEventsRequestInitialAlpha1) { r.Topic = "dead" })
	if got := plainly(t, s, "GET /v1.0/metadata"); !strings.Contains(got, `"pubsubname":"ps","topic":"t"`) || !strings.Contains(got, `"type":"STREAMING"`) {
		t.Errorf("metadata: %s", got)
	}
	for i, c := range []struct {
		words []runtimev1.TopicEventResponse_TopicEventResponseStatus
		dead  bool
	}{{words: []runtimev1.TopicEventResponse_TopicEventResponseStatus{0}}, {words: []runtimev1.TopicEventResponse_TopicEventResponseStatus{1, 99, 0}},
		{words: []runtimev1.TopicEventResponse_TopicEventResponseStatus{2}, dead: true}, {words: []runtimev1.TopicEventResponse_TopicEventResponseStatus{1, 1, 1}, dead: true}} {
		text := fmt.Sprint("message ", i)
		publish(t, s, "t", text)
		for _, word := range c.words {
			got := event(t, stream)
			if string(got.GetData()) != text || got.GetPath() != "/" || got.GetTopic() != "t" || got.GetPubsubName() != "ps" {
				t.Errorf("%v", got)
			}
			say(t, stream, "nobody has sent this", 0)
			say(t, stream, got.GetId(), word)
		}
		if c.dead {
			if got := event(t, dead); string(got.GetData()) != text {
				t.Errorf("dead: %v", got)
			} else {
				say(t, dead, got.GetId(), 0)
			}
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unknown || status.Convert(err).Message() != "EOF" {
		t.Errorf("a half-closed stream ended with %v", err)
	}
	eventually(t, "it is not listed any more", func() bool { return !strings.Contains(plainly(t, s, "GET /v1.0/metadata"), `"topic":"t"`) })
}

// TestStreamSameIDs: several messages with one event id on a stream, in hand at once: each gets its answer, none is lost.
func TestStreamSameIDs(t *testing.T) {
	runtimetest.Isolate(t)
	s := runtimetest.Start(t, "twins", runtimetest.Manifests(t, inMemory("concurrency", "4")))
	stream := openTopic(t, s)
	for _, text := range []string{"a", "b", "c"} {
		publishAs(t, s, "same", text)
	}
	seen := map[string]int{}
	for range 3 {
		seen[string(event(t, stream).GetData())]++
	}
	for _, word := range []runtimev1.TopicEventResponse_TopicEventResponseStatus{0, 1, 0} {
		say(t, stream, "same", word)
	}
	again := event(t, stream) // the one that was refused
	seen[string(again.GetData())]++
	say(t, stream, "same", 0)
	publishAs(t, s, "last", "d")
	if got := event(t, stream); string(got.GetData()) != "d" {
		t.Errorf("%v came again", got)
	}
	if total := seen["a"] + seen["b"] + seen["c"]; total != 4 || seen["a"] == 0 || seen["b"] == 0 || seen["c"] == 0 {
		t.Errorf("%v", seen)
	}
}

// TestStreamErrors: streams that do not begin as they have to, and those that break the rules later.
func TestStreamErrors(t *testing.T) {
	runtimetest.Isolate(t)
	s := runtimetest.Start(t, "wrong", runtimetest.Manifests(t, inMemory("subscriptionScopes", "wrong=t")))
	processed := &runtimev1.SubscribeTopicEventsRequestAlpha1{SubscribeTopicEventsRequestType: &runtimev1.SubscribeTopicEventsRequestAlpha1_EventProcessed{
		EventProcessed: &runtimev1.SubscribeTopicEventsRequestProcessedAlpha1{Id: "x"}}}
	bad := opening("ps", "t")
	bad.GetInitialRequest().Metadata = map[string]string{"maxInFlight": "x"}
	for name, c := range map[string]struct {
		requests []*runtimev1.SubscribeTopicEventsRequestAlpha1
		code     codes.Code
		text     string
	}{
		"nothing":   {[]*runtimev1.SubscribeTopicEventsRequestAlpha1{{}}, codes.Unknown, "initial request is required"},
		"an answer": {[]*runtimev1.SubscribeTopicEventsRequestAlpha1{processed}, codes.Unknown, "initial request is required"},
		"no pubsub": {[]*runtimev1.SubscribeTopicEventsRequestAlpha1{opening("", "t")}, codes.Unknown, "pubsubName is required"},
		"no topic":  {[]*runtimev1.SubscribeTopicEventsRequestAlpha1{opening("ps", "")}, codes.Unknown, "topic is required"},
		"unknown":   {[]*runtimev1.SubscribeTopicEventsRequestAlpha1{opening("absent", "t")}, codes.InvalidArgument, "pubsub absent is not found"},
		"denied": {[]*runtimev1.SubscribeTopicEventsRequestAlpha1{opening("ps", "other")}, codes.Unknown,
			"failed to create subscription for other: subscription to topic 'other' on pubsub 'ps' is not allowed"},
		"twice":    {[]*runtimev1.SubscribeTopicEventsRequestAlpha1{opening("ps", "t"), opening("ps", "t")}, codes.Unknown, "duplicate initial request received"},
		"metadata": {[]*runtimev1.SubscribeTopicEventsRequestAlpha1{bad}, codes.Unknown, "failed to create subscription for t: "},
	} {
		t.Run(name, func(t *testing.T) {
			stream, err := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String())).SubscribeTopicEventsAlpha1(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, request := range c.requests {
				if err := stream.Send(request); err != nil {
					t.Fatal(err)
				}
			}
			for err == nil {
				_, err = stream.Recv()
			}
			if st := status.Convert(err); st.Code() != c.code || !strings.HasPrefix(st.Message(), c.text) {
				t.Errorf("%v, want %s %q", err, c.code, c.text)
			}
		})
	}
}

// TestStreamBroken: what a stream has in hand when it breaks comes to the next; a removed component ends streams.
func TestStreamBroken(t *testing.T) {
	runtimetest.Isolate(t)
	server := redistest.Start(t).Address
	files := newFolder(t)
	files.write("broker.yaml", redisPubSub(server))
	s := runtimetest.Start(t, "broken", files.option())
	ctx, cancel := context.WithCancel(t.Context())
	first, err := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String())).SubscribeTopicEventsAlpha1(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Send(opening("ps", "t")); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Recv(); err != nil {
		t.Fatal(err)
	}
	publish(t, s, "t", "x")
	event(t, first)
	cancel()
	second := openTopic(t, s)
	got := event(t, second)
	if string(got.GetData()) != "x" {
		t.Errorf("%v", got)
	}
	say(t, second, got.GetId(), 0)
	files.remove("broker.yaml")
	if _, err := second.Recv(); status.Code(err) != codes.Unknown || status.Convert(err).Message() != "stream closed" {
		t.Errorf("the stream of a removed component ended with %v", err)
	}
}

// TestStreamDrain: at the end the answers to what is in hand are waited for.
func TestStreamDrain(t *testing.T) {
	runtimetest.Isolate(t)
	s := runtimetest.Start(t, "ending", runtimetest.Manifests(t, inMemory()))
	stream := openTopic(t, s)
	publish(t, s, "t", "1", "2")
	got := event(t, stream)
	ended := make(chan error, 1)
	go func() { ended <- s.Stop() }()
	eventually(t, "the end begins", func() bool { return s.Log.Contains("Stopping Dapr APIs") })
	say(t, stream, got.GetId(), 0)
	message, err := stream.Recv()
	if err == nil { // it came before the end did
		say(t, stream, message.GetEventMessage().GetId(), 0)
		_, err = stream.Recv()
	}
	if status.Convert(err).Message() != "stream closed" {
		t.Errorf("the stream ended with %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
