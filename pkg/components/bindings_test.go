package components_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/bindings"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/ready"
	"github.com/daprd/daprd/pkg/secrets"
)

// bound is a binding with both sides that tells when it is closed.
type bound struct{ closed *int }

func (bound) Operations() []string { return []string{"create"} }
func (bound) Invoke(context.Context, *bindings.Request) (*bindings.Response, error) {
	return nil, nil
}
func (bound) Read(ctx context.Context, _ bindings.Handler) error {
	<-ctx.Done()
	return nil
}
func (b bound) Close() error {
	*b.closed++
	return nil
}

// startBindings runs a loader that knows bindings.both, bindings.in, bindings.out, and bindings.half, whose input fails.
func startBindings(t *testing.T) (b *bench, blocks *bindings.Service, closed *int) {
	t.Helper()
	closed = new(int)
	b = &bench{log: &lines{}, counted: &tally{}}
	log := logrus.New()
	log.SetOutput(b.log)
	log.SetFormatter(plainFormat{})
	blocks = bindings.NewService(bindings.Deps{App: &ready.Slot[channel.App]{}, Log: log})
	set := components.NewSet()
	in := func(context.Context, *components.Spec) (bindings.Input, error) { return bound{closed}, nil }
	out := func(context.Context, *components.Spec) (bindings.Output, error) { return bound{closed}, nil }
	set.InputBinding.Register(in, "both", "in")
	set.OutputBinding.Register(out, "both", "out", "half")
	set.InputBinding.Register(func(context.Context, *components.Spec) (bindings.Input, error) { return nil, errors.New("no source") }, "half")
	b.Loader = components.NewLoader(components.Deps{Set: set, Bindings: blocks, Secrets: secrets.NewService(secrets.Deps{}), Counter: b.counted,
		Log: log.WithField("scope", "dapr.runtime"), ComponentLog: log.WithField("scope", "dapr.contrib")})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { b.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if err := blocks.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, blocks, closed
}

func TestBindingSides(t *testing.T) {
	const in, out = "INPUT_BINDING", "OUTPUT_BINDING"
	const made = "successful init for "
	tests := map[string]struct {
		kind, direction string
		features        []string
		err             string
		log             []string
	}{
		"both":                   {"both", "", []string{in, out}, "", []string{made + "output binding b (bindings.both/v1)", made + "input binding b (bindings.both/v1)"}},
		"both by name":           {"both", "input, output", []string{in, out}, "", nil},
		"the input of both":      {"both", "input", []string{in}, "", nil},
		"the output of both":     {"both", "output", []string{out}, "", nil},
		"an input":               {"in", "", []string{in}, "", nil},
		"an output":              {"out", "", []string{out}, "", nil},
		"an output as input":     {"out", "input", nil, "couldn't find input binding bindings.out/v1: ", []string{"failed to create input binding b (bindings.out/v1): "}},
		"an input as output":     {"in", "output", nil, "couldn't find output binding bindings.in/v1: ", nil},
		"another direction":      {"in", "sideways", nil, `metadata property direction: want input, output or "input, output", not "sideways"`, nil},
		"a side that fails":      {"half", "", nil, "no source", []string{"failed to init input binding b (bindings.half/v1): no source", "failed to init input bindings: no source"}},
		"a side not asked for":   {"half", "output", []string{out}, "", nil},
		"a type that is unknown": {"bot", "", nil, "couldn't find binding bindings.bot/v1: this daprd has bindings.both, bindings.half, bindings.in, bindings.out; did you mean bindings.both?", nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b, blocks, closed := startBindings(t)
			text := manifest("b", "bindings."+test.kind)
			if test.direction != "" {
				text += metadata + property("direction", test.direction)
			}
			err := b.load(t, text)["b"]
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("%v, want %q", err, test.err)
			}
			if diff := cmp.Diff(test.features, blocks.Features("b")); diff != "" {
				t.Error(diff)
			}
			if err == nil {
				if diff := cmp.Diff(test.features, b.Loaded()[0].Capabilities); diff != "" {
					t.Error(diff)
				}
			}
			for _, line := range test.log {
				if !strings.Contains(b.log.String(), line) {
					t.Errorf("no line %q in\n%s", line, b.log)
				}
			}
			if want := map[bool]int{true: 1, false: 0}[name == "a side that fails"]; *closed != want {
				t.Errorf("%d were closed, want %d", *closed, want)
			}
		})
	}
}
