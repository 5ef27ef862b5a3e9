package resiliency

import (
	"io"

	"github.com/sirupsen/logrus"
	"github.com/sony/gobreaker/v2"
)

// Observer is told what policies do: the seam of the metrics.
type Observer interface {
	// ResiliencyLoaded counts a resource that is put in force.
	ResiliencyLoaded(resource string)
	// ResiliencyPolicy gives the functions that count a policy ("timeout", "retry", "circuitbreaker") of a target: that
	// it ran for a call, and that it had to do something. status is the state of a breaker, else "".
	ResiliencyPolicy(resource, policy, direction, target string) (ran, activated func(status string))
	// ResiliencyState gives the function that shows the state of a target's breaker.
	ResiliencyState(resource, direction, target string) func(status string)
}

func (p *Policies) loaded(resource string) {
	if p.observer != nil {
		p.observer.ResiliencyLoaded(resource)
	}
}

// counts are the handles of one target, bound once.
type counts struct{ timeout, retry, breaker counter }

type counter struct{ ran, activated, shown func(status string) }

func (p *Policies) count(k key, s spec) (c counts) {
	if p == nil || p.observer == nil {
		return c
	}
	direction := lower(k.direction)
	bind := func(resource, policy string) (c counter) {
		c.ran, c.activated = p.observer.ResiliencyPolicy(resource, policy, direction, k.label())
		return c
	}
	if s.timeout != nil {
		c.timeout = bind(s.timeout.resource, "timeout")
	}
	if s.retry != nil {
		c.retry = bind(s.retry.resource, "retry")
	}
	if s.breaker != nil {
		c.breaker = bind(s.breaker.resource, "circuitbreaker")
		c.breaker.shown = p.observer.ResiliencyState(s.breaker.resource, direction, k.label())
	}
	return c
}

func lower(d Direction) string {
	if d == Inbound {
		return "inbound"
	}
	return "outbound"
}

func tell(count func(string), status string) {
	if count != nil {
		count(status)
	}
}

func (c *counts) began(b *breaker) {
	tell(c.timeout.ran, "")
	tell(c.retry.ran, "")
	if b != nil && c.breaker.ran != nil {
		c.breaker.ran(b.machine.State().String())
	}
}

func (c *counts) late()    { tell(c.timeout.activated, "") }
func (c *counts) retried() { tell(c.retry.activated, "") }

// refused counts a call that an open breaker kept away.
func (c *counts) refused(b *breaker) {
	if c.breaker.activated != nil {
		c.breaker.activated(b.machine.State().String())
	}
}

func (c *counts) changed(to gobreaker.State) {
	tell(c.breaker.activated, to.String())
	c.state(to)
}

func (c *counts) state(now gobreaker.State) { tell(c.breaker.shown, now.String()) }

// silent is a log that nobody reads.
func silent() logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}
