package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/pubsub"
)

func path(path string) func(*config.TopicSubscription) {
	return func(s *config.TopicSubscription) { s.Rules = []config.TopicRule{{Path: path}} }
}

// inForce names the subscriptions as the metadata API tells of them.
func (w *world) inForce() (list []string) {
	for _, s := range w.Subscriptions() {
		list = append(list, fmt.Sprintf("%s/%s %s %s", s.PubSub, s.Topic, s.Rules[0].Path, s.Type))
	}
	return list
}

// TestMerge: the application's own subscriptions go before resources; of two of its own the last one holds, of two
// resources the first.
func TestMerge(t *testing.T) {
	w := newWorld(t, setup{})
	w.app.topics = func(context.Context) ([]config.TopicSubscription, error) {
		return []config.TopicSubscription{to("both", path("/own")), to("twice", path("/first")), to("twice", path("/last")),
			{PubSub: "ps", Topic: "nothing"}, {PubSub: "absent", Topic: "t", Rules: []config.TopicRule{{Path: "/x"}}}}, nil
	}
	w.start(t, to("both", path("/resource")), to("declared", path("/first")), to("declared", path("/last")))
	defer w.drain(t)
	want := []string{"ps/both /own PROGRAMMATIC", "ps/declared /first DECLARATIVE", "ps/twice /last PROGRAMMATIC"}
	if diff := cmp.Diff(want, w.inForce()); diff != "" {
		t.Error(diff)
	}
	for _, line := range []string{"app is subscribed to the following topics: [both declared nothing twice] through pubsub=ps",
		"app is subscribed to the following topics: [t] through pubsub=absent", "topic nothing has an empty routes. removing from subscriptions list"} {
		if w.log.times(line) != 1 {
			t.Errorf("not in the log, or more than once: %s", line)
		}
	}
}

// TestSkipped: the application is not asked when the user does not want it, nor where there is no broker.
func TestSkipped(t *testing.T) {
	w := newWorld(t, setup{skip: true})
	w.app.topics = func(context.Context) ([]config.TopicSubscription, error) {
		t.Error("the application was asked")
		return nil, nil
	}
	w.start(t, to("t"))
	defer w.drain(t)
	if diff := cmp.Diff([]string{"ps/t /t DECLARATIVE"}, w.inForce()); diff != "" {
		t.Error(diff)
	}
}

// TestAskedOn: an application that does not answer is asked again, by the policy first, and then without end while what
// resources say is delivered. An answer that makes no sense is an answer.
func TestAskedOn(t *testing.T) {
	for name, c := range map[string]struct {
		failures int
		unusable bool
		asked    int
		own      bool
	}{"at once": {asked: 1, own: true}, "within the policy": {failures: 2, asked: 3, own: true}, "much later": {failures: 30, asked: 31, own: true},
		"an answer that cannot be used": {failures: 1, unusable: true, asked: 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, setup{})
				calls := 0
				w.app.topics = func(context.Context) ([]config.TopicSubscription, error) {
					if calls++; calls > c.failures {
						return []config.TopicSubscription{to("own")}, nil
					}
					if c.unusable {
						return nil, fmt.Errorf("asked: %w", channel.ErrUnusable)
					}
					return nil, refusedConnection()
				}
				w.start(t, to("declared"))
				want := []string{"ps/declared /declared DECLARATIVE"}
				if c.failures > 5 {
					if diff := cmp.Diff(want, w.inForce()); diff != "" {
						t.Error(diff)
					}
				}
				time.Sleep(time.Hour)
				if c.own {
					want = append(want, "ps/own /own PROGRAMMATIC")
				}
				if diff := cmp.Diff(want, w.inForce()); diff != "" || calls != c.asked {
					t.Errorf("asked %d times, want %d\n%s", calls, c.asked, diff)
				}
				w.drain(t)
			})
		})
	}
}

// TestAskedLater: an application is asked when the first broker comes while the sidecar runs; a question that is open does
// not hold up the end.
func TestAskedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, setup{})
		w.app.topics = func(context.Context) ([]config.TopicSubscription, error) {
			return []config.TopicSubscription{to("own")}, nil
		}
		if err := w.Remove(t.Context(), "ps"); err != nil {
			t.Fatal(err)
		}
		w.start(t)
		if err := w.Add("ps", w.broker, pubsub.Settings{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if diff := cmp.Diff([]string{"ps/own /own PROGRAMMATIC"}, w.inForce()); diff != "" {
			t.Error(diff)
		}
		w.app.topics = func(context.Context) ([]config.TopicSubscription, error) { return nil, refusedConnection() }
		if err := w.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.start(t)
		if diff := cmp.Diff([]string{"ps/own /own PROGRAMMATIC"}, w.inForce()); diff != "" {
			t.Errorf("what the application said before is forgotten:\n%s", diff)
		}
		w.drain(t)
	})
}

// TestTriedAgain: a subscription that cannot be made, or is lost, is tried again without end; the log tells once of each
// change, and the metadata since when and why.
func TestTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, setup{})
		var refusals atomic.Int64
		refuse := func(string) error { refusals.Add(1); return errAway }
		w.broker.refuse = refuse
		began := time.Now().UTC().Format(time.RFC3339)
		w.start(t, to("t"))
		for range 2 {
			refusals.Store(0)
			time.Sleep(10 * time.Minute)
			if n := refusals.Load(); n < 50 || n > 300 {
				t.Errorf("it was tried %d times in ten minutes", n)
			}
			if got := w.Subscriptions()[0].State; got != "retrying since "+began+": the broker is away" {
				t.Errorf("state %q", got)
			}
			w.broker.mu.Lock()
			w.broker.refuse = nil
			w.broker.mu.Unlock()
			if got := w.broker.one(t, "t", "1"); got != "" || w.Subscriptions()[0].State != "" {
				t.Errorf("%q, state %q", got, w.Subscriptions()[0].State)
			}
			w.broker.mu.Lock()
			w.broker.refuse = refuse
			w.broker.mu.Unlock()
			began = time.Now().UTC().Format(time.RFC3339)
			w.broker.lost <- errAway
			synctest.Wait()
		}
		if n := w.log.times("Failed to start subscription for pubsub ps, topic t: the broker is away"); n != 3 {
			t.Errorf("%d lines that it does not work, want 3", n)
		}
		if n := w.log.times("the subscription for pubsub ps, topic t works again after "); n != 2 {
			t.Errorf("%d lines that it works again, want 2", n)
		}
		w.drain(t)
	})
}

// TestDenied: a topic that the scopes deny is listed as a subscription that does not work.
func TestDenied(t *testing.T) {
	for name, properties := range map[string]map[string]string{"scope": {"subscriptionScopes": "app=other"}, "allowed": {"allowedTopics": "other"}, "protected": {"protectedTopics": "t"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, setup{properties: properties})
				w.start(t, to("t"))
				time.Sleep(time.Hour)
				if got := w.Subscriptions()[0].State; !strings.Contains(got, "subscription to topic 't' on pubsub 'ps' is not allowed") {
					t.Errorf("state %q", got)
				}
				if n := w.log.times("Failed to start subscription for pubsub ps, topic t: subscription to topic 't' on pubsub 'ps' is not allowed"); n != 1 || len(w.broker.subscribed) != 0 {
					t.Errorf("%d lines, %d subscriptions", n, len(w.broker.subscribed))
				}
				w.drain(t)
			})
		})
	}
}

// TestUnusable: a subscription that makes no sense says why and leaves the others alone.
func TestUnusable(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*config.TopicSubscription)
		want   string
	}{
		"a rule":         {func(s *config.TopicSubscription) { s.Rules[0].Match = "event.type ==" }, `rule 1: match "event.type =="`},
		"attempts":       {with("maxDeliveryAttempts", "-1"), `metadata maxDeliveryAttempts: "-1" is not usable: want a whole number`},
		"in flight":      {with("maxInFlight", "many"), `metadata maxInFlight: "many" is not usable: want a whole number`},
		"a huge rule":    {func(s *config.TopicSubscription) { s.Rules[0].Match = strings.Repeat("(", 20000) }, "more than 16384 bytes"},
		"a deep rule":    {func(s *config.TopicSubscription) { s.Rules[0].Match = strings.Repeat("(", 5000) }, "rule 1"},
		"no route atall": {func(s *config.TopicSubscription) { s.Rules = nil }, "topic bad has an empty routes"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{})
			bad := to("bad", c.change)
			w.start(t, bad, to("good"))
			defer w.drain(t)
			if diff := cmp.Diff([]string{"ps/good /good DECLARATIVE"}, w.inForce()); diff != "" {
				t.Error(diff)
			}
			if text := strings.ReplaceAll(c.want, `"`, `\"`); w.log.times(text) != 1 {
				t.Errorf("not in the log: %s", text)
			}
			if pubsub.Check(bad) == nil || pubsub.Check(to("good")) != nil {
				t.Error("Check does not tell good from bad")
			}
		})
	}
}

// TestStop: no new messages, those in hand are waited for, then given back; Start goes on.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, setup{})
		release := make(chan struct{})
		w.app.deliver = func(ctx context.Context, _ *channel.TopicEvent) (channel.TopicAnswer, error) {
			select {
			case <-release:
				return channel.TopicAnswer{}, nil
			case <-ctx.Done():
				return channel.TopicAnswer{}, ctx.Err()
			}
		}
		hand := func() <-chan string {
			outcome := make(chan string, 1)
			w.broker.handler(t, "t")
			go func() { outcome <- w.broker.one(t, "t", "1") }()
			synctest.Wait()
			return outcome
		}
		w.start(t, to("t", buried("dead")))
		outcome := hand()
		stopped := make(chan error, 1)
		go func() { stopped <- w.Stop(t.Context()) }()
		synctest.Wait()
		select {
		case err := <-stopped:
			t.Fatalf("it stopped with a message in hand: %v", err)
		default:
		}
		close(release)
		if got, err := <-outcome, <-stopped; got != "" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if len(w.inForce()) != 0 {
			t.Errorf("in force after the stop: %q", w.inForce())
		}
		release = make(chan struct{})
		w.start(t, to("t", buried("dead")))
		outcome = hand()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := w.Stop(ctx); err == nil || !strings.Contains(err.Error(), "messages of topic t of pubsub ps were given back to the broker") {
			t.Errorf("error %v", err)
		}
		if got := <-outcome; got != context.Canceled.Error() || w.broker.dead() != nil {
			t.Errorf("the broker is told %q, dead: %q", got, w.broker.dead())
		}
		w.drain(t)
		w.start(t, to("t"))
		if len(w.inForce()) != 0 {
			t.Error("it begins again after the end")
		}
	})
}

// TestHeldAreGivenBack: messages that wait for an application that is not there are given back at once.
func TestHeldAreGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, setup{})
		w.app.deliver = func(context.Context, *channel.TopicEvent) (channel.TopicAnswer, error) {
			return channel.TopicAnswer{}, channel.ErrUnhealthy
		}
		w.start(t, to("t", buried("dead"), with("maxDeliveryAttempts", "1")))
		outcome := make(chan string, 1)
		go func() { outcome <- w.broker.one(t, "t", "1") }()
		time.Sleep(time.Minute)
		began := time.Now()
		w.drain(t)
		if got := <-outcome; !strings.Contains(got, "app is not in a healthy state") || w.broker.dead() != nil || time.Since(began) > time.Second {
			t.Errorf("the broker is told %q after %s, dead: %q", got, time.Since(began), w.broker.dead())
		}
	})
}

// TestChanges: subscriptions follow the resources and the brokers; what stays is not touched, and of what goes the broker
// forgets.
func TestChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, setup{})
		w.start(t, to("stays"), to("changes"), to("goes"))
		synctest.Wait()
		w.Declare([]config.TopicSubscription{to("stays"), to("changes", path("/new")), to("comes")})
		synctest.Wait()
		want := []string{"ps/changes /new DECLARATIVE", "ps/comes /comes DECLARATIVE", "ps/stays /stays DECLARATIVE"}
		if diff := cmp.Diff(want, w.inForce()); diff != "" {
			t.Error(diff)
		}
		var made []string
		for _, s := range w.broker.subscribed {
			made = append(made, s.Topic)
		}
		if n := strings.Count(strings.Join(made, " "), "stays"); n != 1 || len(made) != 5 {
			t.Errorf("subscribed to %q", made)
		}
		if diff := cmp.Diff([]string{"goes"}, w.broker.forgot); diff != "" {
			t.Error(diff)
		}
		next := newBroker()
		if err := w.Replace(t.Context(), "ps", next, pubsub.Settings{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := next.one(t, "comes", "1"); got != "" || len(w.broker.handlers) != 0 {
			t.Errorf("%q; the old broker still has %d subscriptions", got, len(w.broker.handlers))
		}
		if err := w.Remove(t.Context(), "ps"); err != nil {
			t.Fatal(err)
		}
		if len(next.handlers) != 0 || len(w.inForce()) != 0 {
			t.Errorf("of a broker that is gone: %q", w.inForce())
		}
		w.drain(t)
	})
}

// TestRequests: what a broker is told of a subscription.
func TestRequests(t *testing.T) {
	w := newWorld(t, setup{})
	w.app.bulk = func(context.Context, *channel.BulkTopicEvent) ([]channel.TopicAnswer, error) { return nil, nil }
	bulk := func(b config.BulkSubscribe) func(*config.TopicSubscription) {
		return func(s *config.TopicSubscription) { s.Bulk = b }
	}
	w.start(t, to("plain", with("k", "v")), to("bulk", bulk(config.BulkSubscribe{Enabled: true})),
		to("measured", bulk(config.BulkSubscribe{Enabled: true, MaxMessages: 3, MaxAwaitMilliseconds: 40})),
		to("huge", bulk(config.BulkSubscribe{Enabled: true, MaxMessages: 1 << 30, MaxAwaitMilliseconds: 1 << 30})))
	defer w.drain(t)
	for topic, want := range map[string]pubsub.SubscribeRequest{
		"plain": {Metadata: map[string]string{"k": "v"}}, "bulk": {Batch: pubsub.Batch{Max: 100, Await: time.Second}},
		"measured": {Batch: pubsub.Batch{Max: 3, Await: 40 * time.Millisecond}}, "huge": {Batch: pubsub.Batch{Max: 10000, Await: time.Minute}},
	} {
		w.broker.handler(t, topic)
		w.broker.mu.Lock()
		for _, got := range w.broker.subscribed {
			if got.Topic != topic {
				continue
			}
			if got.Established = nil; !got.Durable || cmp.Diff(want.Metadata, got.Metadata) != "" || got.Batch != want.Batch {
				t.Errorf("%+v", got)
			}
		}
		w.broker.mu.Unlock()
	}
}

// TestManyAtOnce: starts, stops, changes and messages at once leave nothing behind (with the race detector).
func TestManyAtOnce(t *testing.T) {
	w := newWorld(t, setup{})
	w.start(t, to("t"))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 20 {
				switch (i + n) % 4 {
				case 0:
					_ = w.Stop(context.Background())
				case 1:
					_ = w.Start(context.Background())
				case 2:
					w.Declare([]config.TopicSubscription{to("t"), to(fmt.Sprint("t", n))})
				default:
					w.Subscriptions()
				}
			}
		})
	}
	all.Wait()
	w.drain(t)
	if len(w.inForce()) != 0 {
		t.Errorf("in force after the end: %q", w.inForce())
	}
	if err := w.Close(); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
