package test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/go-redis/redis/v8"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/config"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/pubsub/pubsubtest"
	"github.com/daprd/daprd/pkg/runtime"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// inMemory is a broker whose pauses suit a test, with more properties.
func inMemory(properties ...string) string {
	text := `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: ps}
spec:
  type: pubsub.in-memory
  version: v1
  metadata:
  - {name: redeliverInterval, value: 5ms}
`
	for i := 0; i < len(properties); i += 2 {
		text += fmt.Sprintf("  - {name: %s, value: %q}\n", properties[i], properties[i+1])
	}
	return text
}

// subscribed is a Subscription resource with more lines of its spec.
func subscribed(topic string, spec ...string) string {
	return "---\napiVersion: dapr.io/v1alpha1\nkind: Subscription\nmetadata: {name: " + topic + "}\nspec:\n  pubsubname: ps\n  topic: " + topic +
		"\n  route: /" + topic + "\n  " + strings.Join(spec, "\n  ") + "\n"
}

// consumerApp is an application of either protocol that answers as a test says, and can be killed and started again on
// the same port.
type consumerApp struct {
	runtimev1.UnimplementedAppCallbackServer
	t        *testing.T
	protocol config.Protocol
	port     int
	// take is asked for each message: the topic, and the data.
	take func(topic, data string) error

	mu   sync.Mutex
	kill func()
}

func newConsumerApp(t *testing.T, protocol config.Protocol, take func(topic, data string) error) *consumerApp {
	t.Helper()
	a := &consumerApp{t: t, protocol: protocol, port: holdPort(t), take: take}
	a.live()
	t.Cleanup(a.die)
	return a
}

func (a *consumerApp) on() runtimetest.Option {
	return runtimetest.App(&net.TCPAddr{Port: a.port}, a.protocol)
}

// live listens. What was killed before holds the port no longer.
func (a *consumerApp) live() {
	a.t.Helper()
	listener, err := net.Listen("tcp", loopback(a.port))
	if err != nil {
		a.t.Fatal(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	done := make(chan struct{})
	if a.protocol.IsGRPC() {
		server := grpc.NewServer()
		runtimev1.RegisterAppCallbackServer(server, a)
		go func() { defer close(done); _ = server.Serve(listener) }()
		a.kill = func() { server.Stop(); <-done }
		return
	}
	server := &http.Server{Handler: http.HandlerFunc(a.serve)}
	go func() { defer close(done); _ = server.Serve(listener) }()
	a.kill = func() { _ = server.Close(); <-done }
}

// die cuts off what is under way.
func (a *consumerApp) die() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.kill != nil {
		a.kill()
		a.kill = nil
	}
}

func (a *consumerApp) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if a.take(strings.TrimPrefix(r.URL.Path, "/"), dataOf(body)) != nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// dataOf is the text that an event carries.
func dataOf(event []byte) string {
	_, rest, _ := strings.Cut(string(event), `"data":"`)
	text, _, _ := strings.Cut(rest, `"`)
	return text
}

func (a *consumerApp) ListTopicSubscriptions(context.Context, *emptypb.Empty) (*runtimev1.ListTopicSubscriptionsResponse, error) {
	return &runtimev1.ListTopicSubscriptionsResponse{}, nil
}

func (a *consumerApp) OnTopicEvent(_ context.Context, event *runtimev1.TopicEventRequest) (*runtimev1.TopicEventResponse, error) {
	if err := a.take(strings.TrimPrefix(event.GetPath(), "/"), string(event.GetData())); err != nil {
		return nil, status.Error(codes.Unknown, err.Error())
	}
	return &runtimev1.TopicEventResponse{}, nil
}

// publish hands texts to a topic.
func publish(t *testing.T, s *runtimetest.Sidecar, topic string, texts ...string) {
	t.Helper()
	client := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String()))
	for _, text := range texts {
		_, err := client.PublishEvent(t.Context(), &runtimev1.PublishEventRequest{PubsubName: "ps", Topic: topic, Data: []byte(text), DataContentType: "text/plain"})
		if err != nil {
			t.Fatalf("publish %s: %v", text, err)
		}
	}
}

// bothProtocols runs a test with an HTTP and with a gRPC application.
func bothProtocols(t *testing.T, test func(t *testing.T, protocol config.Protocol)) {
	for _, protocol := range []config.Protocol{config.HTTP, config.GRPC} {
		t.Run(string(protocol), func(t *testing.T) {
			runtimetest.Isolate(t)
			test(t, protocol)
		})
	}
}

// inbox collects texts.
type inbox struct {
	mu    sync.Mutex
	texts []string
}

func (r *inbox) add(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.texts = append(r.texts, text)
}

func (r *inbox) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.texts...)
}

var errNot = fmt.Errorf("not this one")

// TestKilledInTheMiddle: an application is killed while it has a message, and is away for a while. Nothing is lost, nothing
// is dead, order is kept, and the metadata tell that messages wait.
func TestKilledInTheMiddle(t *testing.T) {
	bothProtocols(t, func(t *testing.T, protocol config.Protocol) {
		var got inbox
		hang := make(chan struct{})
		begun := make(chan struct{}, 100)
		var once atomic.Bool
		app := newConsumerApp(t, protocol, func(topic, data string) error {
			if data == "3" && once.CompareAndSwap(false, true) {
				begun <- struct{}{}
				<-hang
				return errNot
			}
			got.add(topic + data)
			return nil
		})
		s := runtimetest.Start(t, "killed", app.on(), runtimetest.Manifests(t, inMemory()+subscribed("t", "deadLetterTopic: dead")+subscribed("dead")))
		publish(t, s, "t", "1", "2", "3", "4", "5")
		<-begun
		app.die()
		close(hang)
		publish(t, s, "t", "6")
		eventually(t, "the metadata tell", func() bool {
			return strings.Contains(plainly(t, s, "GET /v1.0/metadata"), `"subscription.ps.t":"waiting for the application since `)
		})
		app.live()
		eventually(t, "all messages came", func() bool { return len(got.all()) >= 6 })
		if diff := cmp.Diff([]string{"t1", "t2", "t3", "t4", "t5", "t6"}, got.all()); diff != "" {
			t.Error(diff)
		}
		if strings.Contains(plainly(t, s, "GET /v1.0/metadata"), "subscription.ps.t") {
			t.Error("the metadata tell of a wait that is over")
		}
		if n := strings.Count(s.Log.String(), "messages of topic t of pubsub ps wait"); n != 1 {
			t.Errorf("%d lines that messages wait", n)
		}
	})
}

// TestPoison: a message that the application refuses again and again ends where the user wants an end: dropped with a line
// in the log, or dead. Those behind it come.
func TestPoison(t *testing.T) {
	bothProtocols(t, func(t *testing.T, protocol config.Protocol) {
		var got inbox
		app := newConsumerApp(t, protocol, func(topic, data string) error {
			got.add(topic + " " + data)
			if data == "poison" && topic != "dead" {
				return errNot
			}
			return nil
		})
		s := runtimetest.Start(t, "poisoned", app.on(), runtimetest.Manifests(t, inMemory("maxDeliveryAttempts", "3")+
			subscribed("plain")+subscribed("buried", "deadLetterTopic: dead", `metadata: {maxDeliveryAttempts: "2"}`)+subscribed("dead")))
		publish(t, s, "plain", "poison", "good")
		eventually(t, "what is behind comes", func() bool { return len(got.all()) >= 4 })
		publish(t, s, "buried", "poison")
		eventually(t, "it is dead", func() bool { return len(got.all()) >= 7 })
		want := []string{"plain poison", "plain poison", "plain poison", "plain good", "buried poison", "buried poison", "dead poison"}
		if diff := cmp.Diff(want, got.all()); diff != "" {
			t.Error(diff)
		}
		if n := strings.Count(s.Log.String(), "of topic plain of pubsub ps is dropped: the application has refused it 3 times (maxDeliveryAttempts)"); n != 1 {
			t.Errorf("%d lines that it is dropped", n)
		}
		eventually(t, "it is counted", func() bool {
			return strings.Contains(scrape(t, s), `dapr_component_pubsub_ingress_count{app_id="poisoned",component="ps",namespace="",process_status="drop",status="drop",topic="plain"} 1`)
		})
	})
}

// redisPubSub is a broker on a server.
func redisPubSub(address string, properties ...string) string {
	text := strings.Replace(inMemory(properties...), "pubsub.in-memory", "pubsub.redis", 1)
	return strings.Replace(text, "5ms", "20ms", 1) + fmt.Sprintf("  - {name: redisHost, value: %q}\n", address)
}

// TestDeadLetterMended: as long as dead letters cannot be published the message comes again, and the subscription to them
// shows in the metadata as one that does not work; when the server is mended the message is dead, once.
func TestDeadLetterMended(t *testing.T) {
	bothProtocols(t, func(t *testing.T, protocol config.Protocol) {
		server := redistest.Start(t)
		client := goredis.NewClient(&goredis.Options{Addr: server.Address})
		defer client.Close()
		if err := client.Set(t.Context(), "dead", "no stream", 0).Err(); err != nil {
			t.Fatal(err)
		}
		var got inbox
		app := newConsumerApp(t, protocol, func(topic, data string) error {
			got.add(topic + data)
			if topic == "t" {
				return errNot
			}
			return nil
		})
		s := runtimetest.Start(t, "mended", app.on(), runtimetest.Manifests(t, redisPubSub(server.Address)+subscribed("t", "deadLetterTopic: dead")+subscribed("dead")))
		publish(t, s, "t", "x")
		eventually(t, "it comes again and again", func() bool { return len(got.all()) >= 3 })
		says(t, s, 1, "could not be put on the dead letter topic dead and stays where it is: ")
		if got := plainly(t, s, "GET /v1.0/metadata"); !strings.Contains(got, `"subscription.ps.dead":"retrying since `) || !strings.Contains(got, "WRONGTYPE") {
			t.Errorf("metadata: %s", got)
		}
		if err := client.Del(t.Context(), "dead").Err(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is dead", func() bool { return slices.Contains(got.all(), "deadx") })
		eventually(t, "nothing is left", func() bool {
			pending, err := client.XPending(t.Context(), "t", "mended").Result()
			return err == nil && pending.Count == 0
		})
		if n := strings.Count(strings.Join(got.all(), " "), "deadx"); n != 1 {
			t.Errorf("it came %d times to the dead letters", n)
		}
		if got := plainly(t, s, "GET /v1.0/metadata"); strings.Contains(got, "subscription.ps") {
			t.Errorf("metadata: %s", got)
		}
	})
}

// TestUnhealthyPause: nothing comes to an application that is ill, nothing is lost or dead meanwhile, and it goes on in
// order.
func TestUnhealthyPause(t *testing.T) {
	runtimetest.Isolate(t)
	var (
		got inbox
		ill atomic.Bool
	)
	app := startApplication(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/well" && ill.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.Method == http.MethodPost:
			body, _ := io.ReadAll(r.Body)
			got.add(strings.TrimPrefix(r.URL.Path, "/") + dataOf(body))
		}
	})
	s := runtimetest.Start(t, "paused", appOn(app), checking, runtimetest.Manifests(t, inMemory()+subscribed("t", "deadLetterTopic: dead")+subscribed("dead")))
	eventually(t, "it is well", func() bool { return s.Log.Contains("App entered healthy status") })
	n := 0
	for range 2 {
		eventually(t, "it is subscribed", func() bool { return strings.Contains(plainly(t, s, "GET /v1.0/metadata"), `"topic":"t"`) })
		n++
		publish(t, s, "t", fmt.Sprint(n))
		eventually(t, "it comes", func() bool { return len(got.all()) == n })
		ill.Store(true)
		eventually(t, "it is ill", func() bool { return !strings.Contains(plainly(t, s, "GET /v1.0/metadata"), `"topic":"t"`) })
		for range 10 {
			n++
			publish(t, s, "t", fmt.Sprint(n))
		}
		if len(got.all()) != n-10 {
			t.Errorf("an ill application got %q", got.all())
		}
		ill.Store(false)
		eventually(t, "all come", func() bool { return len(got.all()) == n })
	}
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint("t", i+1))
	}
	if diff := cmp.Diff(want, got.all()); diff != "" {
		t.Error(diff)
	}
}

// TestDrain: at the end the message in hand is waited for, and nothing new comes.
func TestDrain(t *testing.T) {
	bothProtocols(t, func(t *testing.T, protocol config.Protocol) {
		var got inbox
		begun, release := make(chan struct{}, 10), make(chan struct{})
		app := newConsumerApp(t, protocol, func(_, data string) error {
			begun <- struct{}{}
			<-release
			got.add(data)
			return nil
		})
		s := runtimetest.Start(t, "drained", app.on(), runtimetest.Manifests(t, inMemory()+subscribed("t")))
		publish(t, s, "t", "1", "2")
		<-begun
		ended := make(chan error, 1)
		go func() { ended <- s.Stop() }()
		eventually(t, "the end begins", func() bool { return s.Log.Contains("Stopping Dapr APIs") })
		select {
		case err := <-ended:
			t.Fatalf("it ended with a message in hand: %v", err)
		case <-time.After(50 * time.Millisecond): // it must not come, so there is nothing to wait for
		}
		close(release)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"1"}, got.all()); diff != "" {
			t.Error(diff)
		}
	})
}

// quietly leaves out of the log what is said of each message.
func quietly(c *runtime.Config) { c.LogLevel = "error" }

// TestHundredThousand: eight publishers, an application that refuses one message in a hundred at first and is killed three
// times. The counts are those of docs/delivery.md.
func TestHundredThousand(t *testing.T) {
	n := 100_000
	if testing.Short() || raceOn {
		n = 10_000
	}
	const publishers = 8
	for _, concurrency := range []string{"1", "16"} {
		for _, faults := range []bool{false, true} {
			t.Run(fmt.Sprintf("concurrency %s, faults %v", concurrency, faults), func(t *testing.T) {
				bothProtocols(t, func(t *testing.T, protocol config.Protocol) {
					count, refused := pubsubtest.NewTally(publishers, n), sync.Map{}
					app := newConsumerApp(t, protocol, func(_, data string) error {
						if _, again := refused.Load(data); faults && !again && strings.HasSuffix(data, "50") {
							refused.Store(data, true)
							return errNot
						}
						count.Accept(data)
						return nil
					})
					s := runtimetest.Start(t, "many", app.on(), runtimetest.Manifests(t, inMemory("concurrency", concurrency)+subscribed("t")),
						quietly)
					client := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String()))
					var all sync.WaitGroup
					for p := range publishers {
						all.Go(func() {
							for i := range n / publishers {
								_, err := client.PublishEvent(t.Context(), &runtimev1.PublishEventRequest{PubsubName: "ps", Topic: "t",
									Data: []byte(pubsubtest.Name(p, i+1)), DataContentType: "text/plain"})
								if err != nil {
									t.Errorf("publish: %v", err)
									return
								}
							}
						})
					}
					for i := range 3 {
						if faults {
							count.Await(t, float64(i+1)/5)
							app.die()
							app.live()
						}
					}
					all.Wait()
					count.Await(t, 1)
					counts := count.Counts()
					t.Logf("%s %s %v: %s", protocol, concurrency, faults, counts)
					if counts.Lost != 0 || !faults && counts.Duplicated != 0 || concurrency == "1" && counts.Reordered != 0 {
						t.Errorf("%+v", counts)
					}
				})
			})
		}
	}
}
