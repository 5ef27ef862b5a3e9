package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/pubsub"
)

func says(verdict channel.Verdict, status int) channel.TopicAnswer {
	return channel.TopicAnswer{Verdict: verdict, Status: status, Reason: "the app's reason", Unhandled: status == 404 || status == 12}
}

// refused is the error of a connection that nobody takes.
func refusedConnection() error {
	return fmt.Errorf("call: %w", &net.OpError{Op: "dial", Err: errors.New("connection refused")})
}

// TestOutcomes: what becomes of a message by what the application answers, without and with a dead letter topic.
func TestOutcomes(t *testing.T) {
	const text = `{"specversion":"1.0","id":"1","source":"s","type":"t","data":1}`
	expired := strings.Replace(text, `"data":1`, `"expiration":"2020-01-01T00:00:00Z"`, 1)
	for name, c := range map[string]struct {
		answer channel.TopicAnswer
		data   string
		rules  []config.TopicRule
		// again says that the broker is told to deliver again, buried that the message is dead where there is a topic.
		again, buried bool
		outcome       string
	}{
		"success":                       {outcome: "success"},
		"success, HTTP":                 {answer: says(channel.Success, 200), outcome: "success"},
		"retry":                         {answer: says(channel.Retry, 200), again: true, buried: true, outcome: "retry"},
		"status 500":                    {answer: says(channel.Retry, 500), again: true, buried: true, outcome: "retry"},
		"status 400":                    {answer: says(channel.Retry, 400), again: true, buried: true, outcome: "retry"},
		"gRPC UNKNOWN":                  {answer: says(channel.Retry, 2), again: true, buried: true, outcome: "retry"},
		"drop":                          {answer: says(channel.Drop, 200), buried: true, outcome: "drop"},
		"status 404":                    {answer: says(channel.Drop, 404), buried: true, outcome: "drop"},
		"gRPC UNIMPLEMENTED":            {answer: says(channel.Drop, 12), outcome: "drop"},
		"no JSON":                       {data: "text", again: true, buried: true, outcome: "retry"},
		"no object":                     {data: `[1]`, again: true, buried: true, outcome: "retry"},
		"expired":                       {data: expired, buried: true, outcome: "drop"},
		"no route":                      {rules: []config.TopicRule{{Match: "event.type == 'other'", Path: "/a"}}, buried: true, outcome: "drop"},
		"a rule that fails":             {rules: []config.TopicRule{{Match: "event.absent == 1", Path: "/a"}, {Path: "/b"}}, again: true, buried: true, outcome: "retry"},
		"a rule that gives no bool":     {rules: []config.TopicRule{{Match: "event.type", Path: "/a"}, {Path: "/b"}}, again: true, buried: true, outcome: "retry"},
		"a rule of a name nobody knows": {rules: []config.TopicRule{{Match: "unknown", Path: "/a"}, {Path: "/b"}}, again: true, buried: true, outcome: "retry"},
	} {
		for _, dead := range []string{"", "dead"} {
			t.Run(strings.TrimSuffix(name+", "+dead, ", "), func(t *testing.T) {
				w := newWorld(t, setup{})
				w.app.deliver = func(context.Context, *channel.TopicEvent) (channel.TopicAnswer, error) { return c.answer, nil }
				subscription := to("t", buried(dead))
				if c.rules != nil {
					subscription.Rules = c.rules
				}
				w.start(t, subscription)
				defer w.drain(t)
				m := &pubsub.Message{ID: "1", Topic: "t", Data: []byte(text), Metadata: map[string]string{"k": "v"}}
				if c.data != "" {
					m.Data = []byte(c.data)
				}
				got := w.broker.send(t, "t", m)[0]
				if again := c.again && dead == ""; (got != "") != again {
					t.Errorf("the broker is told %q, want again: %v", got, again)
				}
				var want []string
				if c.buried && dead != "" {
					want = []string{"dead " + string(m.Data)}
				}
				if diff := cmp.Diff(want, w.broker.dead()); diff != "" {
					t.Error(diff)
				}
				outcome := c.outcome
				if outcome == "retry" && dead != "" {
					outcome = "drop" // it is over
				}
				if w.counts.of("t "+outcome) != 1 {
					t.Errorf("counted: %v, want one %s", w.counts.counts, outcome)
				}
			})
		}
	}
}

// TestUnreachedBurnsNothing: while the application is not there, the message waits. That is no attempt, whatever the
// policy makes of it, and the message is not dead.
func TestUnreachedBurnsNothing(t *testing.T) {
	brokenOff := fmt.Errorf("call: %w", io.ErrUnexpectedEOF)
	for name, failure := range map[string]error{"nobody listens": refusedConnection(), "ill": channel.ErrUnhealthy, "killed in the middle": brokenOff} {
		for policy, spec := range map[string]string{"no policy": "", "a retry": `
spec:
  policies:
    retries:
      twice: {policy: constant, duration: 1s, maxRetries: 2}
  targets: {components: {ps: {inbound: {retry: twice}}}}
`, "a breaker": `
spec:
  policies:
    circuitBreakers:
      one: {maxRequests: 1, timeout: 3s, trip: consecutiveFailures >= 1}
  targets: {components: {ps: {inbound: {circuitBreaker: one}}}}
`} {
			t.Run(name+", "+policy, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, setup{policies: spec})
					var there atomic.Bool
					w.app.deliver = func(context.Context, *channel.TopicEvent) (channel.TopicAnswer, error) {
						if !there.Load() {
							return channel.TopicAnswer{}, failure
						}
						return channel.TopicAnswer{}, nil
					}
					w.start(t, to("t", buried("dead")))
					outcome := make(chan string)
					go func() { outcome <- w.broker.one(t, "t", "1") }()
					time.Sleep(10 * time.Minute)
					if got := w.Subscriptions()[0].State; !strings.HasPrefix(got, "waiting for the application since ") {
						t.Errorf("state %q", got)
					}
					there.Store(true)
					select {
					case got := <-outcome:
						if got != "" {
							t.Errorf("the broker is told %q", got)
						}
					case <-time.After(time.Minute):
						t.Error("the message does not come although the application is there")
					}
					if dead := w.broker.dead(); dead != nil {
						t.Errorf("dead: %q", dead)
					}
					if n := w.log.times("messages of topic t of pubsub ps wait"); n != 1 {
						t.Errorf("%d lines that messages wait", n)
					}
					if n := w.log.times("the application takes messages of topic t of pubsub ps again"); n != 1 {
						t.Errorf("%d lines that they do not any more", n)
					}
					if got := w.Subscriptions()[0].State; got != "" {
						t.Errorf("state %q", got)
					}
					w.drain(t)
				})
			})
		}
	}
}

// TestSlowBurnsNothing: a delivery that the broker's own bound ends is delivered again, and is not dead.
func TestSlowBurnsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, setup{})
		w.app.deliver = func(ctx context.Context, _ *channel.TopicEvent) (channel.TopicAnswer, error) {
			<-ctx.Done()
			return channel.TopicAnswer{}, ctx.Err()
		}
		w.start(t, to("t", buried("dead")))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		errs := w.broker.handler(t, "t")(ctx, []*pubsub.Message{message("t", "1")})
		if !errors.Is(errs[0], context.DeadlineExceeded) {
			t.Errorf("error %v", errs[0])
		}
		if dead := w.broker.dead(); dead != nil {
			t.Errorf("dead: %q", dead)
		}
		w.drain(t)
	})
}

// TestPolicyFirst: the inbound policy tries before the message is dead, and sees the statuses.
func TestPolicyFirst(t *testing.T) {
	const spec = `
spec:
  policies:
    timeouts: {short: 5s}
    retries:
      some: {policy: constant, duration: 1s, maxRetries: 3, matching: {httpStatusCodes: "503", gRPCStatusCodes: "8"}}
  targets: {components: {ps: {inbound: {retry: some, timeout: short}}}}
`
	for name, c := range map[string]struct {
		answer channel.TopicAnswer
		slow   bool
		want   int
	}{
		"RETRY":                   {answer: says(channel.Retry, 200), want: 4},
		"a status of the list":    {answer: says(channel.Retry, 503), want: 4},
		"a status beside it":      {answer: says(channel.Retry, 500), want: 1},
		"a code of the list":      {answer: says(channel.Retry, 8), want: 4},
		"a code beside it":        {answer: says(channel.Retry, 13), want: 1},
		"drop":                    {answer: says(channel.Drop, 200), want: 1},
		"later than the timeout":  {slow: true, want: 4},
		"the message's own fault": {answer: says(channel.Retry, 400), want: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, setup{policies: spec})
				calls := 0
				w.app.deliver = func(ctx context.Context, _ *channel.TopicEvent) (channel.TopicAnswer, error) {
					if calls++; c.slow {
						<-ctx.Done()
						return channel.TopicAnswer{}, ctx.Err()
					}
					return c.answer, nil
				}
				w.start(t, to("t", buried("dead")))
				if got := w.broker.one(t, "t", "1"); got != "" || calls != c.want || len(w.broker.dead()) != 1 {
					t.Errorf("%q after %d calls, want %d; dead: %q", got, calls, c.want, w.broker.dead())
				}
				w.drain(t)
			})
		})
	}
}

// TestMaxDeliveryAttempts: an end for messages that the application refuses again and again.
func TestMaxDeliveryAttempts(t *testing.T) {
	for name, c := range map[string]struct {
		component, own string
		dead           string
		want           int
	}{
		"no end":                            {want: 0},
		"of the component":                  {component: "3", want: 3},
		"of the subscription":               {own: "2", want: 2},
		"the subscription's beats":          {component: "3", own: "5", want: 5},
		"the subscription's 0 beats":        {component: "3", own: "0", want: 0},
		"a dead letter topic alone":         {dead: "dead", want: 1},
		"a dead letter topic and attempts":  {dead: "dead", own: "4", want: 4},
		"a dead letter topic, of component": {dead: "dead", component: "2", want: 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{properties: map[string]string{"maxDeliveryAttempts": c.component}})
			w.app.deliver = func(context.Context, *channel.TopicEvent) (channel.TopicAnswer, error) {
				return says(channel.Retry, 500), nil
			}
			changes := []func(*config.TopicSubscription){buried(c.dead)}
			if c.own != "" {
				changes = append(changes, with("MaxDeliveryAttempts", c.own))
			}
			w.start(t, to("t", changes...))
			defer w.drain(t)
			for attempt := 1; attempt <= 8; attempt++ {
				over := w.broker.one(t, "t", "1") == ""
				if want := attempt == c.want; over != want {
					t.Fatalf("attempt %d is over: %v, want %v", attempt, over, want)
				}
				if over {
					break
				}
				if w.broker.one(t, "t", fmt.Sprint("other", attempt)); c.want == 1 {
					break
				}
			}
			if lines := w.log.times("the pub/sub event m1 of topic t of pubsub ps is dropped: the application has refused it"); (lines == 1) != (c.want > 0 && c.dead == "") {
				t.Errorf("%d lines that it is dropped", lines)
			}
			if dead := len(w.broker.dead()); (dead > 0) != (c.dead != "") {
				t.Errorf("%d are dead", dead)
			}
			if c.want > 0 && w.counts.of("t drop") != 1 {
				t.Errorf("counted: %v", w.counts.counts)
			}
		})
	}
}

// TestAttemptsAreByMessage: a success ends the count; a message without an id of the broker is told by its event; one of a
// process that dies of it has an end, too, where the user has set one.
func TestAttemptsAreByMessage(t *testing.T) {
	w := newWorld(t, setup{})
	answer, failure := says(channel.Retry, 500), error(nil)
	w.app.deliver = func(context.Context, *channel.TopicEvent) (channel.TopicAnswer, error) { return answer, failure }
	w.start(t, to("t", with("maxDeliveryAttempts", "2")))
	defer w.drain(t)
	w.broker.one(t, "t", "1")
	answer = channel.TopicAnswer{}
	w.broker.one(t, "t", "1")
	answer = says(channel.Retry, 500)
	if w.broker.one(t, "t", "1") == "" {
		t.Error("a success does not end the count")
	}
	if w.broker.one(t, "t", "1") != "" {
		t.Error("the second failure is not the end")
	}
	nameless := func() string {
		m := message("t", "2")
		m.ID = ""
		return w.broker.send(t, "t", m)[0]
	}
	if nameless() == "" || nameless() != "" {
		t.Error("a message without an id is not counted by its event")
	}
	failure = fmt.Errorf("call: %w", io.EOF)
	if w.broker.one(t, "t", "3") == "" || w.broker.one(t, "t", "3") != "" {
		t.Error("a message that kills the application has no end")
	}
}

// TestDeadLetterBroken: while a dead letter cannot be published the message stays at the broker; afterwards it is dead.
func TestDeadLetterBroken(t *testing.T) {
	for name, answer := range map[string]channel.TopicAnswer{"retry": says(channel.Retry, 500), "drop": says(channel.Drop, 200), "404": says(channel.Drop, 404)} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{})
			w.app.deliver = func(context.Context, *channel.TopicEvent) (channel.TopicAnswer, error) { return answer, nil }
			w.broker.fail = func(string) error { return errAway }
			w.start(t, to("t", buried("dead")))
			defer w.drain(t)
			for range 3 {
				if got := w.broker.one(t, "t", "1"); got != errAway.Error() {
					t.Fatalf("the broker is told %q", got)
				}
			}
			if n := w.log.times("could not be put on the dead letter topic dead and stays where it is: the broker is away"); n != 3 {
				t.Errorf("%d lines in the log", n)
			}
			w.broker.mu.Lock()
			w.broker.fail = nil
			w.broker.mu.Unlock()
			if got := w.broker.one(t, "t", "1"); got != "" || len(w.broker.dead()) != 1 {
				t.Errorf("the broker is told %q, dead: %q", got, w.broker.dead())
			}
		})
	}
}

// TestDeadLetterScope: a dead letter topic that the app may not publish to loses nothing.
func TestDeadLetterScope(t *testing.T) {
	w := newWorld(t, setup{properties: map[string]string{"publishingScopes": "app=other"}})
	w.app.deliver = func(context.Context, *channel.TopicEvent) (channel.TopicAnswer, error) {
		return says(channel.Drop, 200), nil
	}
	w.start(t, to("t", buried("dead")))
	defer w.drain(t)
	if got := w.broker.one(t, "t", "1"); got != "topic dead is not allowed for app id app" {
		t.Errorf("the broker is told %q", got)
	}
}

// TestMaxInFlight: no more calls at once than the user wants, whatever the broker brings.
func TestMaxInFlight(t *testing.T) {
	for name, c := range map[string]struct {
		component, own string
		want           int64
	}{"no bound": {want: 20}, "of the component": {component: "3", want: 3}, "of the subscription": {component: "3", own: "1", want: 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, setup{properties: map[string]string{"maxInFlight": c.component}})
				var now, most atomic.Int64
				w.app.deliver = func(context.Context, *channel.TopicEvent) (channel.TopicAnswer, error) {
					most.Store(max(most.Load(), now.Add(1)))
					time.Sleep(time.Second)
					now.Add(-1)
					return channel.TopicAnswer{}, nil
				}
				subscription := to("t")
				if c.own != "" {
					with("maxInFlight", c.own)(&subscription)
				}
				w.start(t, subscription)
				deliver := w.broker.handler(t, "t")
				for i := range 20 {
					go deliver(context.Background(), []*pubsub.Message{message("t", fmt.Sprint(i))})
				}
				time.Sleep(time.Hour)
				if most.Load() != c.want || w.counts.of("t success") != 20 {
					t.Errorf("%d at once, want %d; %v", most.Load(), c.want, w.counts.counts)
				}
				bound := int(c.want)
				if bound == 20 {
					bound = 0
				}
				if got := w.broker.subscribed[0].InFlight; got != bound {
					t.Errorf("the broker is told %d", got)
				}
				w.drain(t)
			})
		})
	}
}
