package nameresolution

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChainResolve(t *testing.T) {
	found := &directory{addresses: []string{"a:1"}}
	second := &directory{addresses: []string{"b:1"}}
	empty := &directory{}
	unknown := &directory{err: &NotFoundError{AppID: "app"}}
	broken := &directory{err: errors.New("folder is gone")}
	cases := map[string]struct {
		chain Chain
		want  []string
		err   string
	}{
		"first":          {Chain{found, second}, []string{"a:1"}, ""},
		"second":         {Chain{unknown, second}, []string{"b:1"}, ""},
		"after empty":    {Chain{empty, second}, []string{"b:1"}, ""},
		"after failure":  {Chain{broken, second}, []string{"b:1"}, ""},
		"nobody":         {Chain{unknown, empty}, nil, "couldn't find service: app"},
		"failure":        {Chain{broken, unknown}, nil, "couldn't find service: app\nfolder is gone"},
		"no directories": {nil, nil, "couldn't find service: app"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := tc.chain.Resolve(t.Context(), Target{AppID: "app"})
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			var text string
			if err != nil {
				text = err.Error()
			}
			if text != tc.err {
				t.Errorf("error %q, want %q", text, tc.err)
			}
			var notFound *NotFoundError
			if err != nil && !errors.As(err, &notFound) {
				t.Errorf("%v is no NotFoundError", err)
			}
		})
	}
}

func TestChainResolveEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	later := &directory{addresses: []string{"b:1"}}
	chain := Chain{resolverFunc(func(context.Context, Target) ([]string, error) {
		cancel()
		return nil, ctx.Err()
	}), later}
	if _, err := chain.Resolve(ctx, Target{}); !errors.Is(err, context.Canceled) || later.lookups != 0 {
		t.Errorf("%v, %d lookups", err, later.lookups)
	}
}

func TestChainAbilities(t *testing.T) {
	broken, sound := &directory{err: errors.New("no route")}, &directory{}
	plain := resolverFunc(func(context.Context, Target) ([]string, error) { return nil, nil })
	chain := Chain{broken, plain, sound}
	for name, err := range map[string]error{
		"announce": chain.Announce(t.Context(), Announcement{Host: "::1", Port: 5}),
		"withdraw": chain.Withdraw(t.Context()),
		"close":    chain.Close(),
	} {
		if !errors.Is(err, broken.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	chain.Forget(Target{}, "a:1")
	for _, d := range []*directory{broken, sound} {
		d.mu.Lock()
		if len(d.events) != 3 || len(d.forgotten) != 1 {
			t.Errorf("events %q, forgotten %q", d.events, d.forgotten)
		}
		d.mu.Unlock()
	}
}
