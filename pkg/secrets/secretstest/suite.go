// Package secretstest is the conformance suite of secret stores: what every store must do, whatever it is
// made of. It knows no store.
package secretstest

import (
	"context"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/secrets"
)

// Options say what the store under test holds.
type Options struct {
	// Known are secrets that the store holds, by name, at least one. It may hold more. Values of six letters
	// and more are looked for in error texts.
	Known map[string]map[string]string
	// Exact says that it holds no more than these.
	Exact bool
	// Unknown is a name that it does not hold.
	Unknown string
	// UnknownIsEmpty says that an unknown secret has an empty value instead of being an error, as an
	// environment variable does that is not set.
	UnknownIsEmpty bool
}

const (
	// readers read the same store at once.
	readers = 8
	// telling is the length from which a value in an error text is no accident.
	telling = 6
)

// Run holds the store against the contract.
func Run(t *testing.T, store secrets.Store, options Options) {
	if len(options.Known) == 0 || options.Unknown == "" {
		t.Fatal("secretstest: Options.Known and Options.Unknown are needed")
	}
	s := suite{store, options}
	t.Run("each secret", s.each)
	t.Run("all secrets", s.all)
	t.Run("a caller's change stays with the caller", s.ownership)
	t.Run("an unknown secret", s.unknown)
	t.Run("many readers at once", s.concurrency)
}

type suite struct {
	store   secrets.Store
	options Options
}

func (s suite) each(t *testing.T) {
	for name, want := range s.options.Known {
		for label, metadata := range map[string]map[string]string{"no metadata": nil, "foreign metadata": {"version_id": "1"}} {
			got, err := s.store.Secret(t.Context(), name, metadata)
			if err != nil {
				t.Errorf("%s, %s: %v", name, label, err)
				continue
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %s: (-want +got)\n%s", name, label, diff)
			}
		}
	}
}

func (s suite) all(t *testing.T) {
	got, err := s.store.All(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !s.options.Exact {
		got = maps.Clone(got)
		maps.DeleteFunc(got, func(name string, _ map[string]string) bool { return s.options.Known[name] == nil })
	}
	if diff := cmp.Diff(s.options.Known, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func (s suite) ownership(t *testing.T) {
	for name := range s.options.Known {
		one, err := s.store.Secret(t.Context(), name, nil)
		if err != nil {
			t.Fatal(err)
		}
		clear(one)
	}
	all, err := s.store.All(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, values := range all {
		clear(values)
	}
	clear(all)
	s.each(t)
	s.all(t)
}

func (s suite) unknown(t *testing.T) {
	got, err := s.store.Secret(t.Context(), s.options.Unknown, nil)
	if s.options.UnknownIsEmpty {
		if diff := cmp.Diff(map[string]string{s.options.Unknown: ""}, got); err != nil || diff != "" {
			t.Errorf("error %v (-want +got)\n%s", err, diff)
		}
		return
	}
	if err == nil {
		t.Fatalf("no error, but %d values", len(got))
	}
	if !strings.Contains(err.Error(), s.options.Unknown) {
		t.Errorf("the error %q does not name the secret", err)
	}
	for _, values := range s.options.Known {
		for _, value := range values {
			if len(value) >= telling && strings.Contains(err.Error(), value) {
				t.Errorf("the error %q shows the value of a secret", err)
			}
		}
	}
}

func (s suite) concurrency(t *testing.T) {
	var all sync.WaitGroup
	for range readers {
		all.Go(func() { s.read(t.Context(), t) })
	}
	all.Wait()
}

// read changes what it reads: the race detector tells whether readers share a map.
func (s suite) read(ctx context.Context, t *testing.T) {
	for name, want := range s.options.Known {
		got, err := s.store.Secret(ctx, name, nil)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: error %v (-want +got)\n%s", name, err, diff)
		}
		clear(got)
		everything, err := s.store.All(ctx, nil)
		if err != nil {
			t.Errorf("all: %v", err)
		}
		clear(everything[name])
	}
}
