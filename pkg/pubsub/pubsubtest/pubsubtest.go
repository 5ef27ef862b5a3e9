// Package pubsubtest is the conformance suite of brokers: every broker runs it against the real thing. It holds them
// to the contract of delivery (docs/delivery.md) and knows the contract of package pubsub only.
package pubsubtest

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/ready"
)

// Options say what a broker promises beyond the contract.
type Options struct {
	// Ordered: a sole subscriber gets the messages of a topic in the order of publishing, failures included.
	Ordered bool
	// Groups: brokers that are opened twice meet at one server. Those of one group share the messages, those of
	// different groups get all of them.
	Groups bool
	// Keeps: a topic keeps its messages while the broker that subscribed to it is closed, and until a group comes for
	// the first time.
	Keeps bool
	// Outage takes the server away while messages flow and gives what brings it back; nil where there is none. The
	// server may forget nothing that it has accepted.
	Outage func(t *testing.T) (back func())
	// Load is how many messages the cases with load send; 0 means 10000.
	Load int
}

// Open gives a broker of a consumer group that is ready. The suite closes it. Its pauses between deliveries should be
// short, and it may be the same server each time, since no two cases share a topic.
type Open func(t *testing.T, group string) pubsub.Broker

// patience is how long the suite waits for what has to come.
const patience = 60 * time.Second

// Run runs the suite.
func Run(t *testing.T, open Open, options Options) {
	if options.Load == 0 {
		options.Load = 10_000
	}
	for _, c := range []struct {
		name string
		run  func(*fixture)
		runs bool
	}{
		{"messages are brought byte for byte", (*fixture).verbatim, true},
		{"the request belongs to the caller", (*fixture).ownership, true},
		{"what was published after the subscription was established comes", (*fixture).established, true},
		{"topics are apart", (*fixture).topics, true},
		{"a message that failed comes again, with its id", (*fixture).again, true},
		{"an accepted message does not come again", (*fixture).once, true},
		{"failures of some do not hold up the others", (*fixture).others, !options.Ordered},
		{"order", (*fixture).order, options.Ordered},
		{"order over failures", (*fixture).orderOverFailures, options.Ordered},
		{"batches", (*fixture).batches, true},
		{"of a batch those that failed come again", (*fixture).batchInPart, true},
		{"a batch does not wait for ever", (*fixture).batchAwaits, true},
		{"the end waits for what is in hand", (*fixture).endWaits, true},
		{"the end gives back what was refused", (*fixture).endGivesBack, true},
		{"subscriptions come and go under load", (*fixture).comeAndGo, true},
		{"publishers at once, failures at random", (*fixture).load, true},
		{"publish many", (*fixture).bulk, true},
		{"wildcards", (*fixture).wildcards, true},
		{"a message's time to live", (*fixture).timeToLive, true},
		{"every group gets all", (*fixture).groups, options.Groups},
		{"the members of a group share", (*fixture).members, options.Groups},
		{"a member that left is replaced", (*fixture).replaced, options.Groups},
		{"a topic keeps its messages", (*fixture).keeps, options.Keeps},
		{"the server goes away under load", (*fixture).outage, options.Outage != nil},
		{"a closed broker", (*fixture).closed, true},
	} {
		if c.runs {
			t.Run(c.name, func(t *testing.T) {
				c.run(&fixture{T: t, Options: options, opener: open, topic: "topic-" + rand.Text()})
			})
		}
	}
}

// fixture is what one case has: a topic of its own.
type fixture struct {
	*testing.T
	Options
	opener Open
	topic  string
}

// open gives a broker of the default group.
func (f *fixture) open() pubsub.Broker { return f.member("group") }

// member gives a broker of a group, which is closed when the case is over, if it is not before.
func (f *fixture) member(group string) pubsub.Broker {
	f.Helper()
	b := f.opener(f.T, group)
	f.Cleanup(func() { _ = ready.Close(b) })
	return b
}

// publish hands over messages that have to be accepted.
func (f *fixture) publish(b pubsub.Broker, topic string, data ...string) {
	f.Helper()
	for _, d := range data {
		if err := b.Publish(f.Context(), &pubsub.PublishRequest{Topic: topic, Data: []byte(d)}); err != nil {
			f.Fatalf("publish %q: %v", d, err)
		}
	}
}

// has says whether the broker has a feature.
func has(b pubsub.Broker, feature pubsub.Feature) bool {
	featured, ok := b.(pubsub.Featured)
	if !ok {
		return false
	}
	for _, f := range featured.Features() {
		if f == feature {
			return true
		}
	}
	return false
}

// within gives a context that bounds one step of a case.
func (f *fixture) within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(f.Context(), patience)
}
