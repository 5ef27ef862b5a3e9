package resiliency

import (
	"io"
	"sync"

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

// states are those of a target's breakers, which have one gauge together: it shows the worst of them.
type states struct {
	show func(status string)

	mu             sync.Mutex
	open, halfOpen int
}

func (s *states) changed(b *breaker, to gobreaker.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(b.told, -1)
	s.count(to, 1)
	b.told = to
	s.told()
}

// left forgets a breaker that was not used for long.
func (s *states) left(b *breaker) { s.changed(b, gobreaker.StateClosed) }

func (s *states) count(state gobreaker.State, n int) {
	switch state {
	case gobreaker.StateOpen:
		s.open += n
	case gobreaker.StateHalfOpen:
		s.halfOpen += n
	}
}

func (s *states) told() {
	now := gobreaker.StateClosed
	switch {
	case s.open > 0:
		now = gobreaker.StateOpen
	case s.halfOpen > 0:
		now = gobreaker.StateHalfOpen
	}
	tell(s.show, now.String())
}

// silent is a log that nobody reads.
func silent() logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}
