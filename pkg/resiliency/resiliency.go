// Package resiliency runs operations under the policies of the Resiliency resources: timeouts, retries, circuit
// breakers. It knows the targets by name and must not know what an operation does. Blocks put guards around
// components as decorators; a guard is bound once and heeds every later change of the policies.
//
// The order is retry(breaker(timeout(operation))): each attempt has the whole time, each counts at the breaker,
// and an open breaker ends the retries at once.
package resiliency

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/config"
)

// Block is a building block as the names of default policies spell it: DefaultStatestoreComponentOutboundRetryPolicy.
type Block string

// The blocks whose components can be targets.
const (
	Statestore    Block = "Statestore"
	Pubsub        Block = "Pubsub"
	Binding       Block = "Binding"
	Secretstore   Block = "Secretstore"
	Configuration Block = "Configuration"
	Lock          Block = "Lock"
	Crypto        Block = "Crypto"
)

// actorBlock is that of the actors' types in keys: Outbound stands for the way to the host, Inbound for the turn there.
const actorBlock Block = "Actor"

// Direction says who calls: the application the component, or the component the application.
type Direction string

// The two directions.
const (
	Outbound Direction = "Outbound"
	Inbound  Direction = "Inbound"
)

// Policies are those in force. A nil *Policies has none. Its methods may be called by many goroutines at once.
type Policies struct {
	log      logrus.FieldLogger
	observer Observer

	// current is nil while no resource is in force, so that a guard costs one load then.
	current atomic.Pointer[table]
	change  sync.Mutex
}

// Option is what Policies tell of their work.
type Option func(*Policies)

// WithLog tells log of retries, recoveries and the changes of breakers.
func WithLog(log logrus.FieldLogger) Option { return func(p *Policies) { p.log = log } }

// WithObserver tells o of every policy that runs.
func WithObserver(o Observer) Option { return func(p *Policies) { p.observer = o } }

// New makes an empty set.
func New(options ...Option) *Policies {
	p := &Policies{log: silent()}
	for _, option := range options {
		option(p)
	}
	return p
}

// Check says whether a resource can be put in force. Errors name file, document, line and path.
func Check(resource *config.Resiliency) error {
	_, err := newTable(nil, []config.Resiliency{*resource})
	return err
}

// Set puts the resources in force in place of those before. Of policies and targets of one name the last holds.
// When one cannot be used, nothing changes. Breakers whose policy stays as it was keep their state; calls under
// way end under the policies that they began with. Targets that name a policy which nobody defines go without
// it: warnings tell them.
func (p *Policies) Set(resources ...config.Resiliency) (warnings []string, err error) {
	p.change.Lock()
	defer p.change.Unlock()
	if len(resources) == 0 {
		p.current.Store(nil)
		return nil, nil
	}
	next, err := newTable(p, resources)
	if err != nil {
		return nil, err
	}
	next.adopt(p.current.Swap(next))
	for _, r := range resources {
		p.loaded(r.Meta.Name)
	}
	return next.dangling, nil
}

// Names are the resources in force, in their order.
func (p *Policies) Names() []string {
	if p == nil {
		return nil
	}
	if t := p.current.Load(); t != nil {
		return t.names
	}
	return nil
}

// Component is the guard of a component in one direction.
func (p *Policies) Component(block Block, name string, direction Direction) *Guard {
	if p == nil {
		return nil
	}
	return &Guard{policies: p, key: key{block: block, name: name, direction: direction}}
}

// App is the guard of calls to an application, or to an HTTPEndpoint; nil while no policy holds for it. Unlike
// a component's it is asked for before each call: callers may name any number of applications.
func (p *Policies) App(id string) *Guard {
	if p == nil {
		return nil
	}
	t := p.current.Load()
	if t == nil {
		return nil
	}
	if _, named := t.apps[id]; !named && !t.anyApp {
		return nil
	}
	if found := t.target(key{name: id, direction: Outbound}); found != nil {
		return &found.guard
	}
	return nil
}

// Actor is the guard of calls to the actors of a type, on their way to their host: retries and breakers; nil while no
// policy holds. The part of Guard.Call is the actor's id.
func (p *Policies) Actor(actorType string) *Guard { return p.actor(actorType, Outbound) }

// ActorTurn is the guard of one turn at the host: a timeout; nil while no policy holds.
func (p *Policies) ActorTurn(actorType string) *Guard { return p.actor(actorType, Inbound) }

func (p *Policies) actor(actorType string, direction Direction) *Guard {
	if p == nil {
		return nil
	}
	t := p.current.Load()
	if t == nil {
		return nil
	}
	if _, named := t.actors[actorType]; !named && !t.anyActor {
		return nil
	}
	if found := t.target(key{block: actorBlock, name: actorType, direction: direction}); found != nil {
		return &found.guard
	}
	return nil
}

// Retries is the retry policy of a built-in name: that of the resources, else the built-in one.
func (p *Policies) Retries(name string) Retry {
	if p != nil {
		if t := p.current.Load(); t != nil {
			if found, ok := t.retries[name]; ok {
				return found.Retry
			}
		}
	}
	return builtIn(name)
}

// Guard is the policy of one target, as it is at the moment of each call. A nil *Guard lets everything pass.
type Guard struct {
	policies *Policies
	key      key
	bound    atomic.Pointer[binding]
	// fixed is the target of an application's guard.
	fixed *target
}

// binding remembers what a table says of the guard's target.
type binding struct {
	table  *table
	target *target
}

// target is nil where no policy holds.
func (g *Guard) target() *target {
	if g == nil {
		return nil
	}
	if g.fixed != nil {
		return g.fixed
	}
	current := g.policies.current.Load()
	if current == nil {
		return nil
	}
	if b := g.bound.Load(); b != nil && b.table == current {
		return b.target
	}
	b := &binding{current, current.target(g.key)}
	g.bound.Store(b)
	return b.target
}

// Retries says whether the guard would run an operation more than once.
func (g *Guard) Retries() bool {
	t := g.target()
	return t != nil && t.retry != nil && t.retry.MaxRetries != 0
}

// Explicit says whether a resource names the target itself: then no built-in policy holds for it.
func (g *Guard) Explicit() bool {
	t := g.target()
	return t != nil && t.explicit
}

// Run runs the operation under the policy of the guard. The operation may run more than once, each time under a
// context of its own, which ends with the attempt; its last error is given, or why the policy refused to run it:
// *OpenError, *TimeoutError. What errors say of themselves decides whether they are retried: see Statused.
//
// An operation is never left behind: when its time is over its context ends, and Run waits until it returns.
func (g *Guard) Run(ctx context.Context, operation func(context.Context) error) error {
	t := g.target()
	if t == nil {
		return operation(ctx)
	}
	return t.run(ctx, attempt{}, operation)
}

// Call is Run for a part of the target that has a breaker of its own, an application's method for one. The
// context of an attempt that succeeded lives on, until ctx ends: what it gave may still be read. The timeout
// counts up to there only.
func (g *Guard) Call(ctx context.Context, part string, operation func(context.Context) error) error {
	t := g.target()
	if t == nil {
		return operation(ctx)
	}
	return t.run(ctx, attempt{part: part, outlives: true}, operation)
}

// Do is Run for an operation that gives something.
func Do[T any](ctx context.Context, g *Guard, operation func(context.Context) (T, error)) (result T, err error) {
	t := g.target()
	if t == nil {
		return operation(ctx)
	}
	err = t.run(ctx, attempt{}, func(ctx context.Context) error {
		var err error
		result, err = operation(ctx)
		return err
	})
	return result, err
}

// joined are all faults on one line.
func joined(faults []error) error {
	if err := errors.Join(faults...); err != nil {
		return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}
