package resiliency

import (
	"errors"
	"strings"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/sony/gobreaker/v2"
)

const defaultOpen = 60 * time.Second

// breakerPolicy is a policy as it is written; trip is what makes of it.
type breakerPolicy struct {
	name     string
	resource string
	settings breakerSettings
	trip     trip
}

// breakerSettings tell whether two policies are the same.
type breakerSettings struct {
	maxRequests       uint32
	interval, timeout time.Duration
	trip              string
}

// breaker is one circuit breaker.
type breaker struct {
	machine *gobreaker.TwoStepCircuitBreaker[struct{}]
	name    string
	target  string
	timeout time.Duration
	// since is when the state changed last, in nanoseconds.
	since   atomic.Int64
	changed func(from, to gobreaker.State)
	// told is the state that the states of the target know.
	told gobreaker.State
}

// The ends of a call as a breaker counts them.
var (
	errFailed    = errors.New("failed")
	errAbandoned = errors.New("abandoned")
)

func newBreaker(p *breakerPolicy, target string) *breaker {
	b := &breaker{name: p.name, target: target, timeout: p.settings.timeout}
	b.machine = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        p.name,
		MaxRequests: p.settings.maxRequests,
		Interval:    p.settings.interval,
		Timeout:     p.settings.timeout,
		ReadyToTrip: p.trip,
		IsExcluded:  func(err error) bool { return err == errAbandoned },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			b.since.Store(time.Now().UnixNano())
			b.changed(from, to)
		},
	})
	return b
}

// enter asks to make a call; left is told how it ended, once.
func (b *breaker) enter() (left func(error), err error) {
	left, err = b.machine.Allow()
	if err == nil {
		return left, nil
	}
	since := time.Unix(0, b.since.Load())
	return nil, &OpenError{Breaker: b.name, Target: b.target, Since: since, Until: since.Add(b.timeout),
		HalfOpen: errors.Is(err, gobreaker.ErrTooManyRequests)}
}

// openAfter says whether the breaker is open now and will still be after the pause.
func (b *breaker) openAfter(pause time.Duration) bool {
	return b.machine.State() == gobreaker.StateOpen && time.Unix(0, b.since.Load()).Add(b.timeout).After(time.Now().Add(pause))
}

// breakers are those of one target: one for each part that was called lately.
type breakers struct {
	made  *lru.Cache[string, *breaker]
	newOf func(part string) *breaker
}

func newBreakers(size int, newOf func(part string) *breaker, left func(*breaker)) *breakers {
	made, err := lru.NewWithEvict(size, func(_ string, b *breaker) { left(b) })
	if err != nil {
		panic(err) // the size is checked and at least 1
	}
	return &breakers{made: made, newOf: newOf}
}

// of is the breaker of a part, nil where there are none.
func (b *breakers) of(part string) *breaker {
	if b == nil {
		return nil
	}
	if found, ok := b.made.Get(part); ok {
		return found
	}
	part = strings.Clone(part) // it may be lent
	fresh := b.newOf(part)
	if earlier, ok, _ := b.made.PeekOrAdd(part, fresh); ok {
		return earlier
	}
	return fresh
}
