package components

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/daprd/daprd/pkg/bindings"
	"github.com/daprd/daprd/pkg/config"
)

// planBinding is the plan of a binding: its type may be an input, an output, or both.
func (l *Loader) planBinding(c *config.Component) (plan, error) {
	inputs, outputs := l.deps.Set.InputBinding, l.deps.Set.OutputBinding
	input, inputErr := inputs.Factory(c.Spec.Type, c.Spec.Version)
	output, outputErr := outputs.Factory(c.Spec.Type, c.Spec.Version)
	if inputErr != nil && outputErr != nil {
		_, err := anyBinding(inputs, outputs).Factory(c.Spec.Type, c.Spec.Version)
		l.deps.Log.Warn(line("failed to create binding %[1]s (%[2]s/%[3]s): %[4]s")(c, err))
		return nil, err
	}
	sides := bindingSides{l, c, input, output, inputErr, outputErr}
	return sides.enlist, nil
}

// anyBinding knows the types of both sides, for the text about one that neither knows.
func anyBinding(inputs *Registry[bindings.Input], outputs *Registry[bindings.Output]) *Registry[any] {
	both := newRegistry[any]("bindings", "binding")
	for name := range maps.Keys(inputs.factories) {
		both.Register(nil, name)
	}
	for name := range maps.Keys(outputs.factories) {
		both.Register(nil, name)
	}
	return both
}

// bindingSides is how the two sides of one component are made. Of a side that does not exist the error is there.
type bindingSides struct {
	loader              *Loader
	component           *config.Component
	input               Factory[bindings.Input]
	output              Factory[bindings.Output]
	inputErr, outputErr error
}

// enlist makes the sides and puts them into service.
func (s bindingSides) enlist(ctx context.Context) ([]string, error) {
	l, c := s.loader, s.component
	spec, err := l.resolve(ctx, c)
	if err != nil {
		return nil, err
	}
	settings, err := bindings.ParseSettings(spec.Properties)
	if err != nil {
		l.deps.Log.Error(line("failed to init binding %[1]s (%[2]s/%[3]s): %[4]s")(c, err))
		return nil, err
	}
	pair, err := s.make(ctx, spec, settings)
	if err == nil {
		err = l.deps.Bindings.Add(c.Meta.Name, pair, settings)
	}
	if err != nil {
		return nil, errors.Join(err, pair.Close())
	}
	return l.deps.Bindings.Features(c.Meta.Name), nil
}

// make makes the sides that the manifest wants, the output first: an event may name it. A side that the type does not
// have is an error only where the manifest asks for it by name.
func (s bindingSides) make(ctx context.Context, spec *Spec, settings bindings.Settings) (pair bindings.Pair, err error) {
	if settings.WantsOutput() && (s.outputErr == nil || settings.Output) {
		if pair.Output, err = side(ctx, s, spec, "output", s.output, s.outputErr); err != nil {
			return pair, err
		}
	}
	if settings.WantsInput() && (s.inputErr == nil || settings.Input) {
		pair.Input, err = side(ctx, s, spec, "input", s.input, s.inputErr)
	}
	return pair, err
}

// side makes one side. The lines are Dapr's.
func side[T any](ctx context.Context, s bindingSides, spec *Spec, noun string, factory Factory[T], missing error) (T, error) {
	var none T
	l, c := s.loader, s.component
	if missing != nil {
		l.deps.Log.Warn(line("failed to create "+noun+" binding %[1]s (%[2]s/%[3]s): %[4]s")(c, missing))
		return none, missing
	}
	instance, err := build(ctx, l, c, spec, factory)
	if err != nil {
		l.deps.Log.Error(line("failed to init "+noun+" binding %[1]s (%[2]s/%[3]s): %[4]s")(c, err))
		l.deps.Log.Errorf("failed to init %s bindings: %s", noun, err)
		return none, err
	}
	l.deps.Log.Info(fmt.Sprintf("successful init for %s binding %s (%s/%s)", noun, c.Meta.Name, c.Spec.Type, c.Spec.Version))
	return instance, nil
}
