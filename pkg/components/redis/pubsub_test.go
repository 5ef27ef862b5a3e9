package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/go-redis/redis/v8"
	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/pubsub"
)

var (
	_ components.Factory[pubsub.Broker] = NewPubSub
	_ pubsub.BulkPublisher              = (*broker)(nil)
)

// brisk are times short enough for a test. A minute would be the default of the first.
var brisk = []string{"processingTimeout", "1s", "redeliverInterval", "30ms"}

func openPubSub(t testing.TB, address string, properties ...string) *broker {
	t.Helper()
	s := spec(address, properties...)
	s.Type = "pubsub.redis"
	opened, err := NewPubSub(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := opened.(*broker).Close(); err != nil {
			t.Error(err)
		}
	})
	return opened.(*broker)
}

// subscribe begins a subscription and gives what ends it. It ends with the test at the latest.
func subscribe(t testing.TB, b pubsub.Broker, topic string, batch pubsub.Batch, deliver pubsub.Handler) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	established, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- b.Subscribe(ctx, &pubsub.SubscribeRequest{Topic: topic, Batch: batch,
			Established: func() { close(established) }}, deliver)
	}()
	select {
	case <-established:
	case err := <-ended:
		cancel()
		t.Fatalf("subscribe: %v", err)
	}
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the subscription ended with %v", err)
		}
	})
	t.Cleanup(end)
	return end
}

// each makes a handler of one for single messages.
func each(handle func(*pubsub.Message) error) pubsub.Handler {
	return func(_ context.Context, messages []*pubsub.Message) []error {
		errs := make([]error, len(messages))
		for i, m := range messages {
			errs[i] = handle(m)
		}
		return errs
	}
}

// collect takes every message.
func collect() (<-chan *pubsub.Message, pubsub.Handler) {
	messages := make(chan *pubsub.Message, 1000)
	return messages, each(func(m *pubsub.Message) error { messages <- m; return nil })
}

func publish(t testing.TB, b pubsub.Broker, topic string, data ...string) {
	t.Helper()
	for _, d := range data {
		if err := b.Publish(t.Context(), &pubsub.PublishRequest{Topic: topic, Data: []byte(d)}); err != nil {
			t.Fatal(err)
		}
	}
}

// receive waits for the data of n messages.
func receive(t testing.TB, messages <-chan *pubsub.Message, n int) (data []string) {
	t.Helper()
	late := time.After(20 * time.Second)
	for range n {
		select {
		case m := <-messages:
			data = append(data, string(m.Data))
		case <-late:
			t.Fatalf("%d messages came, want %d: %v", len(data), n, data)
		}
	}
	return data
}

// nothingPending waits until all that was delivered is acknowledged.
func nothingPending(t testing.TB, address, topic, group string) {
	t.Helper()
	client := direct(t, address)
	redistest.Eventually(t, "nothing pending", func() error {
		pending, err := client.XPending(t.Context(), topic, group).Result()
		if err == nil && pending.Count > 0 {
			err = fmt.Errorf("%d entries are pending", pending.Count)
		}
		return err
	})
}

func numbers(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

func TestPubSubReadmeManifest(t *testing.T) {
	server := redistest.Start(t)
	opened, err := NewPubSub(t.Context(), componentstest.FromReadme(t, "pubsub.redis", "localhost:6379", server.Address))
	if err != nil {
		t.Fatal(err)
	}
	defer opened.(*broker).Close()
	messages, deliver := collect()
	subscribe(t, opened, "t", pubsub.Batch{}, deliver)
	publish(t, opened, "t", "a")
	receive(t, messages, 1)
}

func TestPublishAndDeliver(t *testing.T) {
	server := redistest.Start(t)
	b := openPubSub(t, server.Address)
	err := b.Publish(t.Context(), &pubsub.PublishRequest{Topic: "t", Data: []byte("\x00\xff"), Metadata: map[string]string{"b": "<2>", "a": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, b, "t", "plain")
	messages, deliver := collect()
	// A new group begins at the beginning.
	subscribe(t, b, "t", pubsub.Batch{}, deliver)
	byData := map[string]*pubsub.Message{}
	for range 2 {
		m := <-messages
		byData[string(m.Data)] = m
	}
	want := &pubsub.Message{Topic: "t", Data: []byte("\x00\xff"), Metadata: map[string]string{"a": "1", "b": "<2>"}}
	got := byData["\x00\xff"]
	if got == nil || got.ID == "" {
		t.Fatalf("delivered: %v", byData)
	}
	want.ID = got.ID
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if m := byData["plain"]; m == nil || len(m.Metadata) != 0 {
		t.Errorf("without metadata: %v", m)
	}
	nothingPending(t, server.Address, "t", "app")
}

func TestForeignEntries(t *testing.T) {
	server := redistest.Start(t)
	b := openPubSub(t, server.Address)
	messages, deliver := collect()
	subscribe(t, b, "t", pubsub.Batch{}, deliver)
	client := direct(t, server.Address)
	for name, c := range map[string]struct {
		values []any
		want   string
	}{
		"no data":             {[]any{"other", "x"}, ""},
		"metadata no object":  {[]any{"data", "x", "metadata", "[1]"}, "x"},
		"metadata of numbers": {[]any{"data", "y", "metadata", `{"a":"b","n":1}`}, "y"},
	} {
		if err := client.XAdd(t.Context(), &goredis.XAddArgs{Stream: "t", Values: c.values}).Err(); err != nil {
			t.Fatal(err)
		}
		m := <-messages
		if string(m.Data) != c.want || m.Metadata != nil || m.ID == "" {
			t.Errorf("%s: %+v", name, m)
		}
	}
	nothingPending(t, server.Address, "t", "app")
}

func TestBulkPublish(t *testing.T) {
	server := redistest.Start(t)
	b := openPubSub(t, server.Address)
	reqs := make([]pubsub.PublishRequest, 50)
	for i := range reqs {
		reqs[i] = pubsub.PublishRequest{Topic: "t", Data: []byte(fmt.Sprint(i))}
	}
	if errs := b.PublishBulk(t.Context(), reqs); errs != nil {
		t.Fatal(errs)
	}
	entries, err := direct(t, server.Address).XRange(t.Context(), "t", "-", "+").Result()
	if err != nil || len(entries) != 50 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	for i, e := range entries {
		if e.Values["data"] != fmt.Sprint(i) || e.Values["metadata"] != "{}" {
			t.Errorf("entry %d is %v", i, e.Values)
		}
	}
	server.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	errs := b.PublishBulk(ctx, reqs[:2])
	if len(errs) != 2 || errs[0] == nil || errs[1] == nil || !strings.Contains(errs[0].Error(), server.Address) {
		t.Errorf("without a server: %v", errs)
	}
}

func TestTrimming(t *testing.T) {
	server := redistest.Start(t)
	client := direct(t, server.Address)
	filled := func(topic string) int64 {
		n, err := client.XLen(t.Context(), topic).Result()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	old := &goredis.XAddArgs{Stream: "old", ID: "1-1", Values: []any{"data", "x"}}
	if err := client.XAdd(t.Context(), old).Err(); err != nil {
		t.Fatal(err)
	}
	// Redis trims by whole nodes of a stream, of 100 entries.
	byLength, byAge := openPubSub(t, server.Address, "maxLenApprox", "100"), openPubSub(t, server.Address, "streamTTL", "1h")
	publish(t, byLength, "long", numbers(500)...)
	if n := filled("long"); n < 100 || n > 250 {
		t.Errorf("%d entries with maxLenApprox 100", n)
	}
	for i := range 200 {
		if err := client.XAdd(t.Context(), &goredis.XAddArgs{Stream: "old", ID: fmt.Sprintf("2-%d", i), Values: []any{"data", "x"}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, byAge, "old", "new")
	if n := filled("old"); n > 101 {
		t.Errorf("%d entries after those of an hour ago were to be trimmed", n)
	}
}

func TestRedelivery(t *testing.T) {
	for _, c := range []struct{ name, concurrency, want string }{
		{"beside others", "10", "any"},
		{"in order", "1", "0 1 2 2 2 3 4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := redistest.Start(t)
			b := openPubSub(t, server.Address, append(brisk, "concurrency", c.concurrency, "processingTimeout", "1h")...)
			var mu sync.Mutex
			var order []string
			tries := map[string]int{}
			over := make(chan struct{})
			publish(t, b, "t", numbers(5)...)
			subscribe(t, b, "t", pubsub.Batch{}, each(func(m *pubsub.Message) error {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, string(m.Data))
				tries[string(m.Data)]++
				if len(order) == 7 {
					close(over)
				}
				if string(m.Data) == "2" && tries["2"] < 3 {
					return errors.New("not yet")
				}
				return nil
			}))
			<-over
			nothingPending(t, server.Address, "t", "app")
			mu.Lock()
			defer mu.Unlock()
			if diff := cmp.Diff(map[string]int{"0": 1, "1": 1, "2": 3, "3": 1, "4": 1}, tries); diff != "" {
				t.Error(diff)
			}
			if got := strings.Join(order, " "); c.want != "any" && got != c.want {
				t.Errorf("order %s, want %s", got, c.want)
			}
		})
	}
}

func TestBatches(t *testing.T) {
	server := redistest.Start(t)
	b := openPubSub(t, server.Address, append(brisk, "concurrency", "1")...)
	publish(t, b, "t", numbers(7)...)
	batches := make(chan []string, 10)
	refused := false
	subscribe(t, b, "t", pubsub.Batch{Max: 3, Await: 50 * time.Millisecond}, func(_ context.Context, messages []*pubsub.Message) []error {
		var data []string
		errs := make([]error, len(messages))
		for i, m := range messages {
			data = append(data, string(m.Data))
			if string(m.Data) == "1" && !refused {
				refused, errs[i] = true, errors.New("not yet")
			}
		}
		batches <- data
		return errs
	})
	for _, want := range [][]string{{"0", "1", "2"}, {"1"}, {"3", "4", "5"}, {"6"}} {
		if diff := cmp.Diff(want, <-batches); diff != "" {
			t.Error(diff)
		}
	}
	nothingPending(t, server.Address, "t", "app")
}

// TestBound: no more than queueDepth entries are in hand, those that failed included, and no more than concurrency
// handlers run, over all topics.
func TestBound(t *testing.T) {
	server := redistest.Start(t)
	b := openPubSub(t, server.Address, "queueDepth", "5", "concurrency", "2")
	publish(t, b, "a", numbers(20)...)
	publish(t, b, "b", numbers(20)...)
	began, proceed := make(chan string, 100), make(chan struct{})
	hold := func(_ context.Context, messages []*pubsub.Message) []error {
		began <- messages[0].Topic
		<-proceed
		return nil
	}
	subscribe(t, b, "a", pubsub.Batch{}, hold)
	subscribe(t, b, "b", pubsub.Batch{}, hold)
	<-began
	<-began
	client := direct(t, server.Address)
	for _, topic := range []string{"a", "b"} {
		redistest.Eventually(t, "the queue is full", func() error {
			pending, err := client.XPending(t.Context(), topic, "app").Result()
			if err == nil && pending.Count != 5 {
				err = fmt.Errorf("%d entries are in hand, want 5", pending.Count)
			}
			return err
		})
	}
	if len(began) > 0 {
		t.Errorf("%d handlers more than 2 run", len(began))
	}
	close(proceed)
	for range 38 {
		<-began
	}
	nothingPending(t, server.Address, "a", "app")
	nothingPending(t, server.Address, "b", "app")
}

// TestGivenBack: what a subscription had in hand when it ended is delivered at once by the next, failed or not, and
// in order.
func TestGivenBack(t *testing.T) {
	server := redistest.Start(t)
	first := openPubSub(t, server.Address, "concurrency", "1")
	publish(t, first, "t", numbers(5)...)
	began, proceed := make(chan struct{}), make(chan struct{})
	var live error
	end := subscribe(t, first, "t", pubsub.Batch{}, func(ctx context.Context, messages []*pubsub.Message) []error {
		close(began)
		<-proceed
		live = ctx.Err()
		return []error{errors.New("no")}
	})
	<-began
	ended := make(chan struct{})
	go func() { defer close(ended); end() }()
	select {
	case <-ended:
		t.Fatal("the subscription ended while a handler ran")
	case <-time.After(50 * time.Millisecond):
	}
	close(proceed)
	<-ended
	if live != nil {
		t.Errorf("the handler's context ended with the subscription: %v", live)
	}
	// Another process, in which processingTimeout is a minute as well.
	messages, deliver := collect()
	subscribe(t, openPubSub(t, server.Address, "concurrency", "1"), "t", pubsub.Batch{}, deliver)
	if diff := cmp.Diff(numbers(5), receive(t, messages, 5)); diff != "" {
		t.Error(diff)
	}
	nothingPending(t, server.Address, "t", "app")
}

// TestDeadConsumer: entries of a consumer that died, and those of Dapr's sidecars, which have the same name, are taken
// over after processingTimeout; entries that were trimmed meanwhile are acknowledged.
func TestDeadConsumer(t *testing.T) {
	server := redistest.Start(t)
	client := direct(t, server.Address)
	b := openPubSub(t, server.Address, append(brisk, "processingTimeout", "300ms")...)
	publish(t, b, "t", numbers(150)...)
	if err := client.XGroupCreate(t.Context(), "t", "app", "0").Err(); err != nil {
		t.Fatal(err)
	}
	read, err := client.XReadGroup(t.Context(), &goredis.XReadGroupArgs{Group: "app", Consumer: "app", Streams: []string{"t", ">"}}).Result()
	if err != nil || len(read[0].Messages) != 150 {
		t.Fatal(read, err)
	}
	if err := client.XDel(t.Context(), "t", read[0].Messages[3].ID).Err(); err != nil {
		t.Fatal(err)
	}
	messages, deliver := collect()
	from := time.Now()
	subscribe(t, b, "t", pubsub.Batch{}, deliver)
	receive(t, messages, 149)
	if passed := time.Since(from); passed < 200*time.Millisecond {
		t.Errorf("they were taken over after %v", passed)
	}
	nothingPending(t, server.Address, "t", "app")
}

// TestBusyHandler: a handler that takes longer than processingTimeout keeps its entry within its process, but another
// process may have it.
func TestBusyHandler(t *testing.T) {
	server := redistest.Start(t)
	const bound = 200 * time.Millisecond
	b := openPubSub(t, server.Address, append(brisk, "processingTimeout", bound.String())...)
	publish(t, b, "t", "slow")
	calls, proceed := make(chan struct{}, 10), make(chan struct{})
	expired := make(chan struct{})
	subscribe(t, b, "t", pubsub.Batch{}, func(ctx context.Context, _ []*pubsub.Message) []error {
		calls <- struct{}{}
		<-ctx.Done()
		close(expired)
		<-proceed
		return nil
	})
	<-calls
	<-expired
	select {
	case <-calls:
		t.Error("the entry came a second time to the process that has it in hand")
	case <-time.After(3 * bound):
	}
	messages, deliver := collect()
	subscribe(t, openPubSub(t, server.Address, append(brisk, "processingTimeout", bound.String())...), "t", pubsub.Batch{}, deliver)
	receive(t, messages, 1)
	close(proceed)
	nothingPending(t, server.Address, "t", "app")
}

// TestLostLease: an entry that waited too long, so that another process took it over, is not handled here.
func TestLostLease(t *testing.T) {
	server := redistest.Start(t)
	properties := append(brisk, "processingTimeout", "300ms", "concurrency", "1")
	slow, other := openPubSub(t, server.Address, properties...), openPubSub(t, server.Address, properties...)
	publish(t, slow, "t", "a", "b")
	began, proceed := make(chan string, 10), make(chan struct{})
	subscribe(t, slow, "t", pubsub.Batch{}, each(func(m *pubsub.Message) error {
		began <- string(m.Data)
		<-proceed
		return nil
	}))
	if first := <-began; first != "a" {
		t.Fatalf("first %s", first)
	}
	messages, deliver := collect()
	end := subscribe(t, other, "t", pubsub.Batch{}, deliver)
	receive(t, messages, 2)
	nothingPending(t, server.Address, "t", "app")
	end()
	close(proceed)
	// The next entry shows that b was passed over.
	publish(t, slow, "t", "c")
	if next := <-began; next != "c" {
		t.Errorf("%s is handled after it was taken over", next)
	}
}

// TestGroupGone: a group that was deleted, or a stream, is made anew.
func TestGroupGone(t *testing.T) {
	server := redistest.Start(t)
	client := direct(t, server.Address)
	for name, destroy := range map[string]func() error{
		"group":  func() error { return client.XGroupDestroy(t.Context(), "t", "app").Err() },
		"stream": func() error { return client.Del(t.Context(), "t").Err() },
	} {
		t.Run(name, func(t *testing.T) {
			b := openPubSub(t, server.Address, brisk...)
			messages, deliver := collect()
			end := subscribe(t, b, "t", pubsub.Batch{}, deliver)
			defer end()
			if err := destroy(); err != nil {
				t.Fatal(err)
			}
			publish(t, b, "t", "last")
			for receive(t, messages, 1)[0] != "last" {
			}
		})
	}
}

func TestSubscribeRefused(t *testing.T) {
	server := redistest.Start(t)
	b := openPubSub(t, server.Address)
	if err := direct(t, server.Address).Set(t.Context(), "t", "text", 0).Err(); err != nil {
		t.Fatal(err)
	}
	_, deliver := collect()
	err := b.Subscribe(t.Context(), &pubsub.SubscribeRequest{Topic: "t", Established: func() { t.Error("established") }}, deliver)
	if err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
		t.Errorf("error %v", err)
	}
	server.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = b.Subscribe(ctx, &pubsub.SubscribeRequest{Topic: "u", Established: func() { t.Error("established") }}, deliver)
	if err == nil || !strings.Contains(err.Error(), server.Address) {
		t.Errorf("error %v", err)
	}
	if err := b.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), server.Address) {
		t.Errorf("ping: %v", err)
	}
}

func TestPubSubSettings(t *testing.T) {
	server := redistest.Start(t)
	cases := map[string]struct {
		properties []string
		check      func(*pubsubSettings) bool
		want       string // of the error
	}{
		"defaults": {nil, func(s *pubsubSettings) bool {
			return s.ConsumerID == "app" && s.ProcessingTimeout == time.Minute && s.RedeliverInterval == 15*time.Second && s.QueueDepth == 100 && s.Concurrency == 10
		}, ""},
		"milliseconds": {[]string{"processingTimeout", "1500", "redeliverInterval", "20"}, func(s *pubsubSettings) bool {
			return s.ProcessingTimeout == 1500*time.Millisecond && s.redelivery() == 20*time.Millisecond
		}, ""},
		"durations": {[]string{"processingTimeout", "2m", "redeliverInterval", "3s", "streamTTL", "1h"}, func(s *pubsubSettings) bool {
			return s.ProcessingTimeout == 2*time.Minute && s.redelivery() == 3*time.Second && s.StreamTTL == time.Hour
		}, ""},
		"zeros": {[]string{"processingTimeout", "0", "redeliverInterval", "0", "queueDepth", "0", "concurrency", "0"}, func(s *pubsubSettings) bool {
			return !s.claims() && s.redelivery() == 15*time.Second && s.QueueDepth == 100 && s.Concurrency == 10
		}, ""},
		"consumer":      {[]string{"consumerID", " workers "}, func(s *pubsubSettings) bool { return s.ConsumerID == "workers" }, ""},
		"negative":      {[]string{"queueDepth", "-1"}, nil, "queueDepth"},
		"too deep":      {[]string{"queueDepth", "1000000"}, nil, "100000 at most"},
		"too wide":      {[]string{"concurrency", "1000000"}, nil, "10000 at most"},
		"no time":       {[]string{"processingTimeout", "soon"}, nil, "processingTimeout"},
		"no such place": {[]string{"redisHost", "127.0.0.1:1", "redisMaxRetries", "-1"}, nil, "redis streams: error connecting to redis at 127.0.0.1:1"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			opened, err := NewPubSub(t.Context(), spec(server.Address, c.properties...))
			if err == nil {
				defer opened.(*broker).Close()
			}
			switch {
			case c.want == "" && (err != nil || !c.check(&opened.(*broker).settings)):
				t.Errorf("%+v, %v", opened, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// TestPubSubForms: a cluster, and a master behind Sentinels, take everything that a subscription does.
func TestPubSubForms(t *testing.T) {
	master := redistest.Start(t)
	for name, properties := range map[string][]string{
		"cluster":   {"redisHost", redistest.StartCluster(t)[0].Address, "redisType", "cluster"},
		"sentinels": {"redisHost", redistest.StartSentinel(t, master).Address, "failover", "true", "sentinelMasterName", "mymaster"},
	} {
		t.Run(name, func(t *testing.T) {
			properties := append(properties, "processingTimeout", "100ms", "redeliverInterval", "20ms", "streamTTL", "1h")
			b := openPubSub(t, "", properties...)
			topics := []string{"a", "b", "c", "d"}
			messages, deliver := collect()
			for _, topic := range topics {
				// A consumer takes a message and dies.
				publish(t, b, topic, "left")
				if err := b.client.XGroupCreate(t.Context(), topic, "app", "0").Err(); err != nil {
					t.Fatal(err)
				}
				if err := b.client.XReadGroup(t.Context(), &goredis.XReadGroupArgs{Group: "app", Consumer: "app", Streams: []string{topic, ">"}}).Err(); err != nil {
					t.Fatal(err)
				}
				if errs := b.PublishBulk(t.Context(), []pubsub.PublishRequest{{Topic: topic, Data: []byte("slow")}, {Topic: topic, Data: []byte("bad")}}); errs != nil {
					t.Fatal(errs)
				}
				tries := 0
				end := subscribe(t, b, topic, pubsub.Batch{}, func(ctx context.Context, batch []*pubsub.Message) []error {
					if string(batch[0].Data) == "bad" {
						if tries++; tries < 3 {
							return []error{errors.New("not yet")}
						}
					}
					return deliver(ctx, batch)
				})
				receive(t, messages, 3)
				end()
				if pending, err := b.client.XPending(t.Context(), topic, "app").Result(); err != nil || pending.Count != 0 {
					t.Errorf("topic %s: %v, %v", topic, pending, err)
				}
			}
		})
	}
}

// TestTwoSubscriptions: two subscriptions of one process to a topic share its messages, and neither claims what the
// other has in hand, for however long.
func TestTwoSubscriptions(t *testing.T) {
	server := redistest.Start(t)
	b := openPubSub(t, server.Address, append(brisk, "processingTimeout", "100ms", "queueDepth", "1")...)
	began, proceed := make(chan string, 100), make(chan struct{})
	hold := each(func(m *pubsub.Message) error {
		began <- string(m.Data)
		<-proceed
		return nil
	})
	subscribe(t, b, "t", pubsub.Batch{}, hold)
	publish(t, b, "t", "0")
	<-began
	end := subscribe(t, b, "t", pubsub.Batch{}, hold)
	// The second looks for what was left before each of its reads, and reads on.
	client := direct(t, server.Address)
	redistest.Eventually(t, "the entry is idle", func() error {
		pending, err := client.XPendingExt(t.Context(), &goredis.XPendingExtArgs{Stream: "t", Group: "app", Start: "-", End: "+", Count: 1}).Result()
		if err == nil && (len(pending) != 1 || pending[0].Idle < 300*time.Millisecond) {
			err = fmt.Errorf("%v", pending)
		}
		return err
	})
	publish(t, b, "t", "1")
	if next := <-began; next != "1" {
		t.Errorf("%s is handled twice", next)
	}
	close(proceed)
	nothingPending(t, server.Address, "t", "app")
	end()
	if len(began) > 0 {
		t.Errorf("%s is handled twice", <-began)
	}
}
