package pubsub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/ready"
	"github.com/daprd/daprd/pkg/resiliency"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// broker hands over what a test sends, when it sends it.
type broker struct {
	mu sync.Mutex
	// handlers are the subscriptions by topic, subscribed all that were made.
	handlers   map[string]pubsub.Handler
	subscribed []pubsub.SubscribeRequest
	published  []pubsub.PublishRequest
	// refuse is asked before a subscription is made, fail before a message is published; nil means no.
	refuse func(topic string) error
	fail   func(topic string) error
	lost   chan error
	forgot []string
}

func newBroker() *broker {
	return &broker{handlers: map[string]pubsub.Handler{}, lost: make(chan error)}
}

func (b *broker) Publish(_ context.Context, req *pubsub.PublishRequest) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		if err := b.fail(req.Topic); err != nil {
			return err
		}
	}
	kept := *req
	kept.Data = bytes.Clone(req.Data)
	b.published = append(b.published, kept)
	return nil
}

func (b *broker) Subscribe(ctx context.Context, req *pubsub.SubscribeRequest, deliver pubsub.Handler) error {
	b.mu.Lock()
	if b.refuse != nil {
		if err := b.refuse(req.Topic); err != nil {
			b.mu.Unlock()
			return err
		}
	}
	b.subscribed = append(b.subscribed, *req)
	var calls sync.WaitGroup
	over := false
	b.handlers[req.Topic] = func(ctx context.Context, messages []*pubsub.Message) []error {
		b.mu.Lock()
		if over {
			b.mu.Unlock()
			return slices.Repeat([]error{errAway}, len(messages))
		}
		calls.Add(1)
		b.mu.Unlock()
		defer calls.Done()
		return deliver(ctx, messages)
	}
	b.mu.Unlock()
	req.Established()
	defer calls.Wait()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		over = true
		delete(b.handlers, req.Topic)
	}()
	select {
	case <-ctx.Done():
		return nil
	case err := <-b.lost:
		return err
	}
}

func (b *broker) Forget(topic string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forgot = append(b.forgot, topic)
}

// handler waits for the subscription of a topic.
func (b *broker) handler(t testing.TB, topic string) pubsub.Handler {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		b.mu.Lock()
		handler := b.handlers[topic]
		b.mu.Unlock()
		if handler != nil {
			return handler
		}
	}
	t.Fatalf("nobody has subscribed to %s", topic)
	return nil
}

// send brings messages and gives what became of them, "" for each that is done with.
func (b *broker) send(t testing.TB, topic string, messages ...*pubsub.Message) []string {
	t.Helper()
	outcomes := make([]string, len(messages))
	for i, err := range b.handler(t, topic)(context.Background(), messages) {
		if err != nil {
			outcomes[i] = err.Error()
		}
	}
	return outcomes
}

// one sends a message of an event.
func (b *broker) one(t testing.TB, topic, id string) string {
	t.Helper()
	return b.send(t, topic, message(topic, id))[0]
}

func message(topic, id string) *pubsub.Message {
	return &pubsub.Message{ID: "m" + id, Topic: topic, Data: []byte(`{"specversion":"1.0","id":"` + id + `","source":"s","type":"t","data":1}`)}
}

// dead are the data of what was published to the dead letter topic.
func (b *broker) dead() (data []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.published {
		data = append(data, p.Topic+" "+string(p.Data))
	}
	return data
}

// app is an application that a test answers for.
type app struct {
	channel.App
	topics  func(ctx context.Context) ([]config.TopicSubscription, error)
	deliver func(ctx context.Context, event *channel.TopicEvent) (channel.TopicAnswer, error)
	bulk    func(ctx context.Context, events *channel.BulkTopicEvent) ([]channel.TopicAnswer, error)
}

func (a *app) Subscriptions(ctx context.Context) ([]config.TopicSubscription, error) {
	if a.topics == nil {
		return nil, nil
	}
	return a.topics(ctx)
}

func (a *app) Deliver(ctx context.Context, event *channel.TopicEvent) (channel.TopicAnswer, error) {
	return a.deliver(ctx, event)
}

func (a *app) DeliverBulk(ctx context.Context, events *channel.BulkTopicEvent) ([]channel.TopicAnswer, error) {
	return a.bulk(ctx, events)
}

// world is a service with one broker, "ps", and an application.
type world struct {
	*pubsub.Service
	broker *broker
	app    *app
	log    *journal
	counts *tallies
}

// setup is what a world may have beyond the defaults.
type setup struct {
	properties map[string]string
	policies   string
	skip       bool
}

func newWorld(t testing.TB, s setup) *world {
	t.Helper()
	w := &world{broker: newBroker(), app: &app{}, log: &journal{}, counts: &tallies{counts: map[string]int{}}}
	w.app.deliver = func(context.Context, *channel.TopicEvent) (channel.TopicAnswer, error) {
		return channel.TopicAnswer{}, nil
	}
	slot := &ready.Slot[channel.App]{}
	slot.Fill(w.app)
	log := logrus.New()
	log.SetOutput(w.log)
	w.Service = pubsub.NewService(pubsub.Deps{AppID: "app", App: slot, Policies: policies(t, s.policies), Log: log, Observer: w.counts, SkipAppSubscriptions: s.skip})
	settings, err := pubsub.ParseSettings(s.properties)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add("ps", w.broker, settings); err != nil {
		t.Fatal(err)
	}
	return w
}

// start begins delivery and ends it with the test.
func (w *world) start(t testing.TB, declared ...config.TopicSubscription) {
	t.Helper()
	w.Declare(declared)
	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (w *world) drain(t testing.TB) {
	t.Helper()
	if err := w.Drain(context.Background()); err != nil {
		t.Error(err)
	}
}

// to is a subscription of the broker to a topic with one route.
func to(topic string, change ...func(*config.TopicSubscription)) config.TopicSubscription {
	s := config.TopicSubscription{PubSub: "ps", Topic: topic, Rules: []config.TopicRule{{Path: "/" + topic}}}
	for _, c := range change {
		c(&s)
	}
	return s
}

func buried(in string) func(*config.TopicSubscription) {
	return func(s *config.TopicSubscription) { s.DeadLetterTopic = in }
}

func with(name, value string) func(*config.TopicSubscription) {
	return func(s *config.TopicSubscription) {
		if s.Metadata == nil {
			s.Metadata = map[string]string{}
		}
		s.Metadata[name] = value
	}
}

// policies reads the spec of a Resiliency resource.
func policies(t testing.TB, spec string) *resiliency.Policies {
	t.Helper()
	p := resiliency.New()
	if spec == "" {
		return p
	}
	dir := t.TempDir()
	text := "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: {name: r}\n" + spec
	if err := os.WriteFile(filepath.Join(dir, "r.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	resources, err := config.ReadFolders(dir)
	if err != nil {
		t.Fatal(err)
	}
	if warnings, err := p.Set(resources.Resiliencies...); err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	return p
}

// journal is a log.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

// times is how often a text is in the log.
func (j *journal) times(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), text)
}

// tallies count what the observer is told.
type tallies struct {
	mu     sync.Mutex
	counts map[string]int
}

func (c *tallies) add(n int, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[fmt.Sprintf(format, args...)] += n
}

func (c *tallies) of(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[name]
}

func (c *tallies) Published(string) func(string, bool, time.Duration) {
	return func(topic string, ok bool, _ time.Duration) { c.add(1, "published %s %v", topic, ok) }
}
func (c *tallies) PublishedBulk(string) func(string, bool, int, time.Duration) {
	return func(topic string, ok bool, n int, _ time.Duration) { c.add(n, "published %s %v", topic, ok) }
}
func (c *tallies) Delivered(string) func(string, string, time.Duration) {
	return func(topic, outcome string, _ time.Duration) { c.add(1, "%s %s", topic, outcome) }
}
func (c *tallies) DeliveredBulk(string) func(string, string, int, time.Duration) {
	return func(topic, outcome string, n int, _ time.Duration) { c.add(n, "%s %s", topic, outcome) }
}

var errAway = errors.New("the broker is away")
