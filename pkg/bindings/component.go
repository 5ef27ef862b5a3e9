package bindings

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/daprd/daprd/pkg/ready"
	"github.com/daprd/daprd/pkg/resiliency"
)

// Observer is told how events and requests went: the seam of the metrics.
type Observer interface {
	// InputBinding gives the function that counts the events of a component. It is asked once, when it is added.
	InputBinding(component string) func(success bool, elapsed time.Duration)
	// OutputBinding gives the function that counts one operation of a component. It is asked once for each.
	OutputBinding(component, operation string) func(success bool, elapsed time.Duration)
}

// component is a binding in service.
type component struct {
	name, route string
	// asked says that the application is asked whether it wants the events.
	asked bool
	// bare is for reading and closing; requests and events go by the decorated functions.
	bare Pair
	// operations are those of the output, by name.
	operations map[string]operation
	// listed are their names in the component's order, for texts.
	listed string
	// deliver brings an event to the application, nil without an input.
	deliver Handler
}

// operation makes one request to an output.
type operation func(ctx context.Context, req *Request) (*Response, error)

func (s *Service) component(name string, pair Pair, settings Settings) *component {
	c := &component{name: name, route: cmp.Or(settings.Route, name), asked: !settings.Input, bare: pair}
	if pair.Output != nil {
		guard := s.deps.Policies.Component(resiliency.Binding, name, resiliency.Outbound)
		c.operations = map[string]operation{}
		names := pair.Output.Operations()
		c.listed = strings.Join(names, " ")
		for _, kind := range names {
			c.operations[kind] = s.counted(name, kind, guarded(pair.Output.Invoke, guard))
		}
	}
	if pair.Input != nil {
		c.deliver = s.handler(c)
	}
	return c
}

// Close closes both sides; errors say which, in the words of Dapr's log.
func (c *component) Close() error {
	return errors.Join(closing("input", c.name, c.bare.Input), closing("output", c.name, c.bare.Output))
}

func closing(side, name string, instance any) error {
	if err := ready.Close(instance); err != nil {
		return fmt.Errorf("error closing %s binding %s: %w", side, name, err)
	}
	return nil
}

// guarded runs requests under the component's policy.
func guarded(invoke operation, guard *resiliency.Guard) operation {
	if guard == nil {
		return invoke
	}
	return func(ctx context.Context, req *Request) (*Response, error) {
		return resiliency.Do(ctx, guard, func(ctx context.Context) (*Response, error) { return invoke(ctx, req) })
	}
}

// counted tells the observer of every request; without one nothing is wrapped and no clock is read.
func (s *Service) counted(name, kind string, invoke operation) operation {
	if s.deps.Observer == nil {
		return invoke
	}
	count := s.deps.Observer.OutputBinding(name, kind)
	return func(ctx context.Context, req *Request) (*Response, error) {
		start := time.Now()
		response, err := invoke(ctx, req)
		count(err == nil, time.Since(start))
		return response, err
	}
}
