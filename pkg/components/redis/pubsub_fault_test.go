package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/pubsub"
)

// publishers is how many publish at once, each a sequence of its own.
const publishers = 4

// load is how many messages a fault test sends.
func load() int {
	if testing.Short() {
		return 10_000
	}
	return 100_000
}

// tally counts deliveries. A message is a publisher's number and its place in that one's sequence.
type tally struct {
	mu sync.Mutex
	// ids are the entries in which a message came.
	ids map[string]map[string]int
	// last is the highest place that each publisher's messages have reached.
	last                 [publishers]int
	delivered, reordered int
	want                 int
	complete             chan struct{}
}

func newTally(want int) *tally {
	return &tally{ids: make(map[string]map[string]int, want), want: want, complete: make(chan struct{})}
}

func (c *tally) accept(m *pubsub.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.delivered++
	name := string(m.Data)
	if ids := c.ids[name]; ids != nil {
		ids[m.ID]++
		return
	}
	c.ids[name] = map[string]int{m.ID: 1}
	publisher, place, _ := strings.Cut(name, ":")
	p, _ := strconv.Atoi(publisher)
	n, _ := strconv.Atoi(place)
	if n < c.last[p] {
		c.reordered++
	}
	c.last[p] = max(n, c.last[p])
	if len(c.ids) == c.want {
		close(c.complete)
	}
}

// report counts what is missing and what came more often: because it was published again after an answer was lost, or
// because it was delivered again.
func (c *tally) report(t *testing.T) (lost, publishedAgain, deliveredAgain, reordered int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ids := range c.ids {
		publishedAgain += len(ids) - 1
		for _, times := range ids {
			deliveredAgain += times - 1
		}
	}
	lost = c.want - len(c.ids)
	t.Logf("| %d | %d | %d | %d | %d |", c.want, lost, publishedAgain, deliveredAgain, c.reordered)
	return lost, publishedAgain, deliveredAgain, c.reordered
}

// flood publishes n messages in all; each publisher sends one until it is accepted, then the next.
func flood(t *testing.T, b *broker, n int) (done <-chan struct{}) {
	t.Helper()
	var all sync.WaitGroup
	for p := range publishers {
		all.Go(func() {
			for i := 1; i <= n/publishers; i++ {
				req := pubsub.PublishRequest{Topic: "t", Data: fmt.Appendf(nil, "%d:%d", p, i)}
				for b.Publish(context.Background(), &req) != nil && t.Context().Err() == nil {
				}
			}
		})
	}
	over := make(chan struct{})
	go func() { all.Wait(); close(over) }()
	return over
}

// await waits until every message came.
func (c *tally) await(t *testing.T) {
	t.Helper()
	select {
	case <-c.complete:
	case <-time.After(3 * time.Minute):
		c.report(t)
		t.Fatal("not all messages came")
	}
}

// reached waits until a share of the messages came.
func (c *tally) reached(t *testing.T, share float64) {
	t.Helper()
	redistest.Eventually(t, "deliveries", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if float64(len(c.ids)) < share*float64(c.want) {
			return fmt.Errorf("%d of %d", len(c.ids), c.want)
		}
		return nil
	})
}

// durable servers lose nothing when their process is killed: it writes its file before it answers.
var durable = []string{"--appendonly", "yes", "--appendfsync", "no"}

// TestServerKilledUnderLoad kills the server five times while messages are published and delivered.
func TestServerKilledUnderLoad(t *testing.T) {
	for _, concurrency := range []string{"1", "10"} {
		t.Run("concurrency "+concurrency, func(t *testing.T) {
			server := redistest.Start(t, durable...)
			b := openPubSub(t, server.Address, append(brisk, "concurrency", concurrency)...)
			count := newTally(load())
			subscribe(t, b, "t", pubsub.Batch{}, each(func(m *pubsub.Message) error { count.accept(m); return nil }))
			done := flood(t, b, load())
			for i := range 5 {
				count.reached(t, float64(i+1)/7)
				server.Kill()
				server.Restart(t)
			}
			<-done
			count.await(t)
			nothingPending(t, server.Address, "t", "app")
			if lost, _, _, _ := count.report(t); lost != 0 {
				t.Errorf("%d messages are lost", lost)
			}
		})
	}
}

// TestReplicasComeAndGo: of two replicas each ends and comes back while messages flow, and one message in a hundred
// fails at first. Nothing is lost, and nothing delivered twice that was accepted.
func TestReplicasComeAndGo(t *testing.T) {
	server := redistest.Start(t, durable...)
	properties := append(brisk, "processingTimeout", "5s")
	first, second := openPubSub(t, server.Address, properties...), openPubSub(t, server.Address, properties...)
	count := newTally(load())
	var failed sync.Map
	failures := atomic.Int64{}
	deliver := each(func(m *pubsub.Message) error {
		if strings.HasSuffix(string(m.Data), "77") {
			if _, again := failed.LoadOrStore(m.ID, true); !again {
				failures.Add(1)
				return errors.New("not at first")
			}
		}
		count.accept(m)
		return nil
	})
	done := flood(t, first, load())
	ends := []func(){subscribe(t, first, "t", pubsub.Batch{}, deliver), subscribe(t, second, "t", pubsub.Batch{}, deliver)}
	for i := range 6 {
		count.reached(t, float64(i+1)/8)
		ends[i%2]()
		ends[i%2] = subscribe(t, []*broker{first, second}[i%2], "t", pubsub.Batch{}, deliver)
	}
	<-done
	count.await(t)
	nothingPending(t, server.Address, "t", "app")
	if failures.Load() < int64(load())/101 {
		t.Errorf("only %d messages failed", failures.Load())
	}
	lost, _, deliveredAgain, _ := count.report(t)
	if lost != 0 || deliveredAgain != 0 {
		t.Errorf("%d messages are lost, %d were delivered again after they were accepted", lost, deliveredAgain)
	}
}

// TestSubscriptionEndsWhileServerHangs: a subscription ends within seconds of a server that keeps its connections and answers nothing, and
// what was accepted meanwhile is delivered again.
func TestSubscriptionEndsWhileServerHangs(t *testing.T) {
	server := redistest.Start(t, durable...)
	b := openPubSub(t, server.Address, "readTimeout", "500ms", "redisMaxRetries", "-1", "processingTimeout", "100ms")
	publish(t, b, "t", "a", "b")
	began, proceed := make(chan struct{}, 2), make(chan struct{})
	end := subscribe(t, b, "t", pubsub.Batch{}, each(func(*pubsub.Message) error {
		began <- struct{}{}
		<-proceed
		return nil
	}))
	<-began
	<-began
	server.Pause()
	close(proceed)
	from := time.Now()
	end()
	if took := time.Since(from); took > 5*time.Second {
		t.Errorf("the end took %v", took)
	}
	server.Kill()
	server.Restart(t)
	messages, deliver := collect()
	subscribe(t, b, "t", pubsub.Batch{}, deliver)
	receive(t, messages, 2)
}
