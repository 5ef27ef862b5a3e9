// Package resiliency runs operations under the policies of the Resiliency resources: timeouts, retries, circuit
// breakers. It knows the targets by name and must not know what an operation does. Blocks put guards around
// components as decorators; a guard is bound once and heeds every later change of the policies.
package resiliency

import "context"

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

// Direction says who calls: the application the component, or the component the application.
type Direction string

// The two directions.
const (
	Outbound Direction = "Outbound"
	Inbound  Direction = "Inbound"
)

// Policies are those in force. A nil *Policies has none. Its methods may be called by many goroutines at once.
type Policies struct{}

// New makes an empty set.
func New() *Policies { return &Policies{} }

// Component is the guard of a component in one direction.
func (p *Policies) Component(block Block, name string, direction Direction) *Guard { return nil }

// App is the guard of calls to an application.
func (p *Policies) App(id string) *Guard { return nil }

// Guard is the policy of one target, as it is at the moment of each call. A nil *Guard lets everything pass.
type Guard struct{}

// Run runs the operation under the policy of the guard. The operation may run more than once, each time under a
// context of its own; its last error is given, or why the policy refused to run it.
func (g *Guard) Run(ctx context.Context, operation func(context.Context) error) error {
	return operation(ctx)
}

// Do is Run for an operation that gives something.
func Do[T any](ctx context.Context, g *Guard, operation func(context.Context) (T, error)) (result T, err error) {
	if g == nil {
		return operation(ctx)
	}
	err = g.Run(ctx, func(ctx context.Context) error {
		var err error
		result, err = operation(ctx)
		return err
	})
	return result, err
}
