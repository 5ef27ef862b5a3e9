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
func (l *Loader) planBinding(c *config.Component) (*plan, error) {
	inputs, outputs := l.deps.Set.InputBinding, l.deps.Set.OutputBinding
	input, inputErr := inputs.Factory(c.Spec.Type, c.Spec.Version)
	output, outputErr := outputs.Factory(c.Spec.Type, c.Spec.Version)
	if inputErr != nil && outputErr != nil {
		_, err := anyBinding(inputs, outputs).Factory(c.Spec.Type, c.Spec.Version)
		l.deps.Log.Warn(line("failed to create binding %[1]s (%[2]s/%[3]s): %[4]s")(c, err))
		return nil, err
	}
	sides := bindingSides{l, c, input, output, inputErr, outputErr}
	return &plan{make: sides.produce, tell: sides.tell}, nil
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

// produce makes the sides.
func (s bindingSides) produce(ctx context.Context) (*made, error) {
	l, name := s.loader, s.component.Meta.Name
	spec, err := l.resolve(ctx, s.component)
	if err != nil {
		return nil, err
	}
	settings, err := bindings.ParseSettings(spec.Properties)
	if err != nil {
		return nil, &sideError{"", err}
	}
	pair, err := s.make(ctx, spec, settings)
	if err != nil {
		return nil, errors.Join(err, pair.Close())
	}
	return &made{
		parts:    pairParts(pair),
		add:      func() error { return l.deps.Bindings.Add(name, pair, settings) },
		replace:  func(ctx context.Context) error { return l.deps.Bindings.Replace(ctx, name, pair, settings) },
		remove:   func(ctx context.Context) error { return l.deps.Bindings.Remove(ctx, name) },
		features: func() []string { return l.deps.Bindings.Features(name) },
	}, nil
}

func pairParts(pair bindings.Pair) (parts []any) {
	if pair.Input != nil {
		parts = append(parts, pair.Input)
	}
	if pair.Output != nil && any(pair.Output) != any(pair.Input) {
		parts = append(parts, pair.Output)
	}
	return parts
}

// sideError is the failure of one side, or without a noun that of the settings of both.
type sideError struct {
	noun string
	error
}

func (e *sideError) Unwrap() error { return e.error }

// tell writes Dapr's lines.
func (s bindingSides) tell(err error) {
	log, failure := s.loader.deps.Log, (*sideError)(nil)
	switch {
	case !errors.As(err, &failure):
	case failure.noun == "":
		log.Error(line("failed to init binding %[1]s (%[2]s/%[3]s): %[4]s")(s.component, failure))
	default:
		log.Error(line("failed to init "+failure.noun+" binding %[1]s (%[2]s/%[3]s): %[4]s")(s.component, failure))
		log.Errorf("failed to init %s bindings: %s", failure.noun, failure)
	}
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
		return none, &sideError{noun, err}
	}
	l.deps.Log.Info(fmt.Sprintf("successful init for %s binding %s (%s/%s)", noun, c.Meta.Name, c.Spec.Type, c.Spec.Version))
	return instance, nil
}
