package resiliency

import (
	"time"

	"github.com/sony/gobreaker/v2"
)

// key names a target. block is empty for applications.
type key struct {
	block     Block
	name      string
	direction Direction
}

// operation is the key in a log line, as Dapr writes it.
func (k key) operation(part string) string {
	switch {
	case k.block == actorBlock && part == "":
		return "actor[" + k.name + "]"
	case k.block == actorBlock:
		return "actor[" + k.name + ", " + part + "]"
	case k.block == "" && part == "":
		return "endpoint[" + k.name + "]"
	case k.block == "":
		return "endpoint[" + k.name + ", " + k.name + ":" + part + "]"
	case k.direction == Inbound:
		return "component[" + k.name + "] input"
	}
	return "component[" + k.name + "] output"
}

// thing is the key in an error.
func (k key) thing(part string) string {
	switch {
	case k.block == actorBlock && part == "":
		return "the actors of type " + k.name
	case k.block == actorBlock:
		return "the actor " + k.name + "/" + part
	case k.block == "" && part == "":
		return "the app " + k.name
	case k.block == "":
		return "the app " + k.name + ", method " + part
	case k.direction == Inbound:
		return "what the component " + k.name + " brings"
	}
	return "the component " + k.name
}

// label is the key in a metric.
func (k key) label() string {
	switch k.block {
	case "":
		return "app_" + k.name
	case actorBlock:
		return "actor_" + k.name
	}
	return string(k.block) + "_" + k.name
}

// spec is what holds for a target: two of them that are equal mean the same.
type spec struct {
	timeout *timeoutPolicy
	retry   *retryPolicy
	breaker *breakerPolicy
	cache   int
	// explicit says that a resource names the target itself.
	explicit bool
	// scope is that of the breakers of actors: "type", "id" or "both".
	scope string
}

func (s spec) empty() bool { return s.timeout == nil && s.retry == nil && s.breaker == nil }

// like says whether the policies of two tables are the same.
func (s spec) like(o spec) bool {
	return s.cache == o.cache && s.explicit == o.explicit && s.scope == o.scope && same(s.timeout, o.timeout, (*timeoutPolicy).like) &&
		same(s.retry, o.retry, (*retryPolicy).like) && same(s.breaker, o.breaker, (*breakerPolicy).like)
}

func same[T any](a, b *T, like func(a, b *T) bool) bool {
	if a == nil || b == nil {
		return a == b
	}
	return like(a, b)
}

// target is something that policies hold for.
type target struct {
	spec
	key      key
	policies *Policies
	guard    Guard
	breakers *breakers
	counts   counts
	states   *states
}

func newTarget(p *Policies, k key, s spec) *target {
	t := &target{spec: s, key: k, policies: p}
	t.guard = Guard{policies: p, key: k, fixed: t}
	t.counts = p.count(k, s)
	if s.breaker != nil {
		t.breakers = newBreakers(s.cache, t.newBreaker, func(b *breaker) { t.states.left(b) })
		t.states = &states{show: t.counts.breaker.shown}
		t.states.told()
	}
	return t
}

func (t *target) newBreaker(part string) *breaker {
	b := newBreaker(t.breaker, t.key.thing(part))
	b.changed = func(from, to gobreaker.State) {
		t.policies.log.Infof("Circuit breaker %q changed state from %s to %s", t.breaker.name+" ("+t.key.operation(part)+")", from, to)
		tell(t.counts.breaker.activated, to.String())
		t.states.changed(b, to)
	}
	return b
}

// timeoutPolicy, and the policies beside it, know where they come from, for metrics.
type timeoutPolicy struct {
	name, resource string
	after          time.Duration
}

func (p *timeoutPolicy) like(o *timeoutPolicy) bool { return *p == *o }

type retryPolicy struct {
	name, resource string
	Retry
	matching *matching
	// written is the matching as it was read.
	written [2]string
}

func (p *retryPolicy) like(o *retryPolicy) bool {
	return p.name == o.name && p.resource == o.resource && p.Retry == o.Retry && p.written == o.written
}

func (p *breakerPolicy) like(o *breakerPolicy) bool {
	return p.name == o.name && p.resource == o.resource && p.settings == o.settings
}
