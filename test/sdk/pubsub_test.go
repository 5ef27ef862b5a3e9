package sdk

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dapr/go-sdk/client"
	"github.com/dapr/go-sdk/service/common"
)

// brokers are the names of the components of pubsub.
var brokers = []string{"memory", "redis"}

// pubsub is the flag of a folder with both brokers, which keep the order and soon deliver again.
func pubsub(t *testing.T) string {
	t.Helper()
	return components(t, strings.ReplaceAll(`
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: memory}
spec:
  type: pubsub.in-memory
  version: v1
  metadata: [{name: redeliverInterval, value: 50ms}]
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: redis}
spec:
  type: pubsub.redis
  version: v1
  metadata:
    - {name: redisHost, value: "127.0.0.1:PORT"}
    - {name: redeliverInterval, value: 50ms}
    - {name: concurrency, value: "1"}
`, "PORT", startRedis(t).port))
}

type order struct {
	Amount int    `json:"amount"`
	Note   string `json:"note,omitempty"`
}

// inbox subscribes an application to topics of a broker and holds the events that its handlers were given.
type inbox struct {
	broker string
	events map[string]chan *common.TopicEvent // by route

	lock     sync.Mutex
	attempts map[string]int // by route and id of the event
}

// verdict is what a handler says to the attempt, counted from 1, of a delivery.
type verdict func(e *common.TopicEvent, attempt int) (retry bool, err error)

func accept(*common.TopicEvent, int) (bool, error) { return false, nil }

func drop(*common.TopicEvent, int) (bool, error) { return false, errors.New("not wanted") }

func retry(*common.TopicEvent, int) (bool, error) { return true, errors.New("not now") }

func (in *inbox) subscribe(t *testing.T, service common.Service, s common.Subscription, say verdict) {
	t.Helper()
	events := make(chan *common.TopicEvent, 100)
	in.events[s.Route] = events
	route := s.Route
	s.PubsubName, s.Route = in.broker, "/"+in.broker+s.Route
	must(t, service.AddTopicEventHandler(&s, func(_ context.Context, e *common.TopicEvent) (bool, error) {
		in.lock.Lock()
		in.attempts[route+e.ID]++
		attempt := in.attempts[route+e.ID]
		in.lock.Unlock()
		events <- e
		return say(e, attempt)
	}))
}

// next is the next event that the handler of the route was given.
func (in *inbox) next(t *testing.T, route string) *common.TopicEvent {
	t.Helper()
	return next(t, in.events[route])
}

// TestGoPubsub: an HTTP app and a gRPC app, both made with the SDK, take what the SDK publishes.
func TestGoPubsub(t *testing.T) {
	for protocol := range services {
		t.Run(protocol, func(t *testing.T) {
			service, port := newService(t, protocol)
			inboxes := map[string]*inbox{}
			for _, broker := range brokers {
				in := &inbox{broker: broker, events: map[string]chan *common.TopicEvent{}, attempts: map[string]int{}}
				inboxes[broker] = in
				in.subscribe(t, service, common.Subscription{Topic: "events", Route: "/events"}, accept)
				in.subscribe(t, service, common.Subscription{Topic: "raw", Route: "/raw", Metadata: map[string]string{"rawPayload": "true"}}, accept)

				in.subscribe(t, service, common.Subscription{Topic: "routed", Route: "/rest"}, accept)
				in.subscribe(t, service, common.Subscription{Topic: "routed", Route: "/large", Match: `event.data.amount > 100`, Priority: 2}, accept)
				in.subscribe(t, service, common.Subscription{Topic: "routed", Route: "/urgent", Match: `event.type == "urgent"`, Priority: 1}, accept)

				in.subscribe(t, service, common.Subscription{Topic: "unsteady", Route: "/unsteady"}, func(e *common.TopicEvent, attempt int) (bool, error) {
					if attempt == 1 {
						return retry(e, attempt)
					}
					return accept(e, attempt)
				})
				in.subscribe(t, service, common.Subscription{Topic: "dropping", Route: "/dropping"}, drop)
				in.subscribe(t, service, common.Subscription{Topic: "unwanted", Route: "/unwanted", DeadLetterTopic: "dead"}, drop)
				in.subscribe(t, service, common.Subscription{Topic: "poison", Route: "/poison", DeadLetterTopic: "dead",
					Metadata: map[string]string{"maxDeliveryAttempts": "2"}}, retry)
				in.subscribe(t, service, common.Subscription{Topic: "dead", Route: "/dead"}, accept)
			}
			serve(t, service)
			c := dial(t, start(t, "pubsub-"+protocol, port, protocol, pubsub(t)))
			for broker, in := range inboxes {
				t.Run(broker+"/events", func(t *testing.T) { goEvents(t, c, in) })
				t.Run(broker+"/bulk", func(t *testing.T) { goBulk(t, c, in) })
				t.Run(broker+"/routes", func(t *testing.T) { goRoutes(t, c, in) })
				t.Run(broker+"/verdicts", func(t *testing.T) { goVerdicts(t, c, in) })
			}
			if err := c.PublishEvent(deadline(t), "nope", "events", "x"); err == nil || !strings.Contains(err.Error(), "pubsub nope is not found") {
				t.Errorf("unknown broker: %v", err)
			}
		})
	}
}

func goEvents(t *testing.T, c client.Client, in *inbox) {
	binary := []byte("\x00\xff")
	cases := map[string]struct {
		topic       string
		data        any
		options     []client.PublishEventOption
		contentType string
		want        any
	}{
		"text":  {"events", "plain words", nil, "text/plain", "plain words"},
		"bytes": {"events", []byte("other words"), nil, "text/plain", "other words"},
		"binary": {"events", binary,
			[]client.PublishEventOption{client.PublishEventWithContentType("application/octet-stream")}, "application/octet-stream", binary},
		"struct": {"events", order{3, "to go"}, nil, "application/json", map[string]any{"amount": 3.0, "note": "to go"}},
		"JSON": {"events", `[1, "two", null]`,
			[]client.PublishEventOption{client.PublishEventWithContentType("application/json")}, "application/json", []any{1.0, "two", nil}},
		"raw": {"raw", binary, []client.PublishEventOption{client.PublishEventWithRawPayload()}, "application/octet-stream", binary},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			must(t, c.PublishEvent(deadline(t), in.broker, test.topic, test.data, test.options...))
			e := in.next(t, "/"+test.topic)
			if !reflect.DeepEqual(e.Data, test.want) || e.DataContentType != test.contentType {
				t.Errorf("data %#v of %s, want %#v of %s", e.Data, e.DataContentType, test.want, test.contentType)
			}
			if e.ID == "" || e.SpecVersion != "1.0" || e.Type != "com.dapr.event.sent" || e.PubsubName != in.broker || e.Topic != test.topic {
				t.Errorf("%+v", e)
			}
			if want, ok := test.data.(order); ok {
				var got order
				if must(t, e.Struct(&got)); got != want {
					t.Errorf("struct %+v, want %+v", got, want)
				}
			}
		})
	}
	t.Run("attributes", func(t *testing.T) {
		must(t, c.PublishEvent(deadline(t), in.broker, "events", "x", client.PublishEventWithMetadata(
			map[string]string{"cloudevent.id": "my-id", "cloudevent.type": "my.type", "cloudevent.source": "my-source"})))
		if e := in.next(t, "/events"); e.ID != "my-id" || e.Type != "my.type" || e.Source != "my-source" {
			t.Errorf("%+v", e)
		}
	})
	t.Run("cloud event", func(t *testing.T) {
		must(t, c.PublishEvent(deadline(t), in.broker, "events",
			`{"specversion": "1.0", "id": "own", "source": "test", "type": "made.by.hand", "datacontenttype": "application/json", "data": {"a": true}}`,
			client.PublishEventWithContentType("application/cloudevents+json")))
		e := in.next(t, "/events")
		if e.ID != "own" || e.Source != "test" || e.Type != "made.by.hand" || fmt.Sprint(e.Data) != "map[a:true]" {
			t.Errorf("%+v", e)
		}
	})
}

func goBulk(t *testing.T, c client.Client, in *inbox) {
	publish := func(topic string, events []any, options ...client.PublishEventsOption) {
		t.Helper()
		if answer := c.PublishEvents(deadline(t), in.broker, topic, events, options...); answer.Error != nil || len(answer.FailedEvents) != 0 {
			t.Fatalf("%+v", answer)
		}
	}
	// expect compares what came, in any order.
	expect := func(topic string, want ...string) {
		t.Helper()
		var got []string
		for range want {
			e := in.next(t, "/"+topic)
			got = append(got, fmt.Sprintf("%s: %v", e.DataContentType, e.Data))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", topic, got, want)
		}
	}
	publish("events", []any{"words", []byte("\x00\xff"), order{Amount: 4},
		client.PublishEventsEvent{EntryID: "mine", Data: []byte(`{"amount": 5}`), ContentType: "application/json"}})
	expect("events", "text/plain: words", "application/octet-stream: [0 255]", "application/json: map[amount:4]", "application/json: map[amount:5]")
	publish("events", []any{"[1]", "[2]"}, client.PublishEventsWithContentType("application/json"))
	expect("events", "application/json: [1]", "application/json: [2]")
	publish("raw", []any{"a", "b"}, client.PublishEventsWithRawPayload())
	expect("raw", "application/octet-stream: [97]", "application/octet-stream: [98]")

	all := []any{"x", "y"}
	if answer := c.PublishEvents(deadline(t), "nope", "events", all); answer.Error == nil || len(answer.FailedEvents) != len(all) {
		t.Errorf("unknown broker: %+v", answer)
	}
}

func goRoutes(t *testing.T, c client.Client, in *inbox) {
	urgent := client.PublishEventWithMetadata(map[string]string{"cloudevent.type": "urgent"})
	must(t, c.PublishEvent(deadline(t), in.broker, "routed", order{Amount: 1}))
	must(t, c.PublishEvent(deadline(t), in.broker, "routed", order{Amount: 200}))
	must(t, c.PublishEvent(deadline(t), in.broker, "routed", order{Amount: 300}, urgent))
	for route, want := range map[string]order{"/rest": {Amount: 1}, "/large": {Amount: 200}, "/urgent": {Amount: 300}} {
		var got order
		if must(t, in.next(t, route).Struct(&got)); got != want {
			t.Errorf("%s got %+v, want %+v", route, got, want)
		}
	}
}

func goVerdicts(t *testing.T, c client.Client, in *inbox) {
	// expect compares what the handler was given, one delivery after the other. Both brokers keep the order: an event
	// that failed comes again before its successor.
	expect := func(route string, want ...string) {
		t.Helper()
		for i, data := range want {
			if e := in.next(t, route); e.Data != data {
				t.Fatalf("delivery %d of %s is %v, want %s", i+1, route, e.Data, data)
			}
		}
	}
	for _, topic := range []string{"unsteady", "dropping", "unwanted", "poison"} {
		for _, data := range []string{topic + " first", topic + " second"} {
			must(t, c.PublishEvent(deadline(t), in.broker, topic, data))
		}
	}
	expect("/unsteady", "unsteady first", "unsteady first", "unsteady second", "unsteady second")
	expect("/dropping", "dropping first", "dropping second")
	expect("/unwanted", "unwanted first", "unwanted second")
	expect("/poison", "poison first", "poison first", "poison second", "poison second")
	var dead []string
	for range 4 {
		e := in.next(t, "/dead")
		dead = append(dead, fmt.Sprint(e.Data))
	}
	slices.Sort(dead)
	if want := []string{"poison first", "poison second", "unwanted first", "unwanted second"}; !slices.Equal(dead, want) {
		t.Errorf("dead letters %q, want %q", dead, want)
	}
}

// TestGoStreaming: subscriptions that the SDK opens at the sidecar; no application listens.
func TestGoStreaming(t *testing.T) {
	c := dial(t, start(t, "streaming", 0, "http", pubsub(t)))
	for _, broker := range brokers {
		t.Run(broker+"/receive", func(t *testing.T) {
			ctx := deadline(t)
			options := client.SubscriptionOptions{PubsubName: broker, Topic: "pulled"}
			subscription, err := c.Subscribe(ctx, options)
			must(t, err)
			for _, data := range []any{"one", order{Amount: 2}, "three"} {
				must(t, c.PublishEvent(ctx, broker, "pulled", data))
			}
			receive := func(want string) *client.SubscriptionMessage {
				t.Helper()
				message, err := subscription.Receive()
				must(t, err)
				if got := fmt.Sprint(message.Data); got != want || message.Topic != "pulled" || message.PubsubName != broker {
					t.Fatalf("%q of %s of %s, want %q", got, message.Topic, message.PubsubName, want)
				}
				return message
			}
			first := receive("one")
			must(t, first.Retry())
			again := receive("one")
			if again.ID != first.ID {
				t.Errorf("%s came again as %s", first.ID, again.ID)
			}
			must(t, again.Success())
			must(t, receive("map[amount:2]").Drop())
			receive("three")
			must(t, subscription.Close())
			if message, err := subscription.Receive(); err == nil {
				t.Errorf("after the end came %v", message.Data)
			}

			subscription, err = c.Subscribe(ctx, options)
			must(t, err)
			// What nobody answered for stays with a broker that keeps messages; in memory it ends with the subscription.
			if broker == "redis" {
				must(t, receive("three").Success())
			}
			must(t, c.PublishEvent(ctx, broker, "pulled", "four"))
			must(t, receive("four").Success())
			must(t, subscription.Close())
		})
		t.Run(broker+"/handler", func(t *testing.T) {
			ctx := deadline(t)
			dead := "buried"
			buried, err := c.Subscribe(ctx, client.SubscriptionOptions{PubsubName: broker, Topic: dead})
			must(t, err)
			letters := make(chan any, 2)
			go func() {
				defer close(letters)
				for range cap(letters) {
					message, err := buried.Receive()
					if err != nil || message.Success() != nil {
						return
					}
					letters <- message.Data
				}
			}()
			var lock sync.Mutex
			answers := map[string][]common.SubscriptionResponseStatus{
				"fine":  {common.SubscriptionResponseStatusSuccess},
				"later": {common.SubscriptionResponseStatusRetry, common.SubscriptionResponseStatusSuccess},
				"never": {common.SubscriptionResponseStatusRetry, common.SubscriptionResponseStatusRetry},
				"no":    {common.SubscriptionResponseStatusDrop},
			}
			pushed, stopped := make(chan string, 100), make(chan struct{})
			stop, err := c.SubscribeWithHandler(ctx, client.SubscriptionOptions{PubsubName: broker, Topic: "pushed", DeadLetterTopic: &dead,
				Metadata: map[string]string{"maxDeliveryAttempts": "2"}}, func(e *common.TopicEvent) common.SubscriptionResponseStatus {
				data := e.Data.(string)
				pushed <- data
				if data == "last" {
					// The SDK does not synchronise an answer with the end of the subscription.
					<-stopped
					return common.SubscriptionResponseStatusSuccess
				}
				lock.Lock()
				defer lock.Unlock()
				answer := answers[data][0]
				answers[data] = answers[data][1:]
				return answer
			})
			must(t, err)
			expect := func(want ...string) {
				t.Helper()
				for _, data := range want {
					if got := next(t, pushed); got != data {
						t.Fatalf("%s came, want %s", got, data)
					}
				}
			}
			for _, data := range []string{"later", "never", "no", "fine"} {
				must(t, c.PublishEvent(ctx, broker, "pushed", data))
			}
			expect("later", "later", "never", "never", "no", "fine")
			for _, want := range []any{"never", "no", nil} {
				if got := next(t, letters); got != want {
					t.Errorf("dead letter %v, want %v", got, want)
				}
			}
			must(t, c.PublishEvent(ctx, broker, "pushed", "last"))
			expect("last")
			must(t, buried.Close())
			must(t, stop())
			close(stopped)
		})
	}
	if _, err := c.Subscribe(deadline(t), client.SubscriptionOptions{PubsubName: "nope", Topic: "x"}); err == nil ||
		!strings.Contains(err.Error(), "pubsub nope is not found") {
		t.Errorf("unknown broker: %v", err)
	}
}
