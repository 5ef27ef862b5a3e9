package pubsubtest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/daprd/daprd/pkg/pubsub"
)

// Tally counts what became of messages that several publishers sent, each a sequence of its own. Its methods may be
// called by many goroutines at once.
type Tally struct {
	mu sync.Mutex
	// seen says how often each message was accepted; last is the highest place that each publisher's have reached.
	seen      map[string]int
	last      []int
	want      int
	reordered int
	changed   chan struct{}
}

// Counts are the outcome of a run.
type Counts struct{ Published, Lost, Duplicated, Reordered int }

// String is a row of the table in docs/delivery.md.
func (c Counts) String() string {
	return fmt.Sprintf("| %d | %d | %d | %d |", c.Published, c.Lost, c.Duplicated, c.Reordered)
}

// NewTally is for want messages in all.
func NewTally(publishers, want int) *Tally {
	return &Tally{seen: make(map[string]int, want), last: make([]int, publishers), want: want, changed: make(chan struct{})}
}

// Name is the data of a message: the publisher's number and the place in its sequence, which begins at 1.
func Name(publisher, place int) string { return strconv.Itoa(publisher) + ":" + strconv.Itoa(place) }

// Accept counts a message that was accepted.
func (c *Tally) Accept(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[name]++
	if c.seen[name] > 1 {
		return
	}
	first, second, _ := strings.Cut(name, ":")
	publisher, err := strconv.Atoi(first)
	place, again := strconv.Atoi(second)
	if err != nil || again != nil || publisher < 0 || publisher >= len(c.last) {
		return // nobody has sent it: it makes the number of the seen too high
	}
	if place < c.last[publisher] {
		c.reordered++
	}
	c.last[publisher] = max(place, c.last[publisher])
	close(c.changed)
	c.changed = make(chan struct{})
}

// Await waits until a share of the messages was accepted.
func (c *Tally) Await(t testing.TB, share float64) {
	t.Helper()
	late := time.After(3 * patience)
	for {
		c.mu.Lock()
		there, changed := float64(len(c.seen)) >= share*float64(c.want), c.changed
		c.mu.Unlock()
		if there {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("not all messages came: %+v", c.Counts())
		}
	}
}

// Counts is the outcome so far.
func (c *Tally) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := Counts{Published: c.want, Lost: c.want - len(c.seen), Reordered: c.reordered}
	for _, times := range c.seen {
		counts.Duplicated += times - 1
	}
	return counts
}

// handle is a handler that accepts everything.
func (c *Tally) handle(_ context.Context, messages []*pubsub.Message) []error {
	for _, m := range messages {
		c.Accept(string(m.Data))
	}
	return nil
}

// flood publishes as many messages as the tally wants; each publisher sends one until it is accepted, then the next.
func (f *fixture) flood(c *Tally, b pubsub.Broker) (done <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for p := range c.last {
		all.Go(func() {
			for i := 1; i <= c.want/len(c.last); i++ {
				request := pubsub.PublishRequest{Topic: f.topic, Data: []byte(Name(p, i))}
				for b.Publish(ctx, &request) != nil && ctx.Err() == nil {
					time.Sleep(time.Millisecond) // the server may be away
				}
			}
		})
	}
	over := make(chan struct{})
	go func() { all.Wait(); close(over) }()
	f.Cleanup(func() { cancel(); <-over })
	return over
}
