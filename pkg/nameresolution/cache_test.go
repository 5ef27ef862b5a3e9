package nameresolution

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// directory is a Resolver with all abilities over fixed answers.
type directory struct {
	mu        sync.Mutex
	lookups   int
	forgotten []string
	events    []string
	addresses []string
	err       error
}

func (d *directory) Resolve(context.Context, Target) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lookups++
	return d.addresses, d.err
}

func (d *directory) Forget(_ Target, address string) { d.forgotten = append(d.forgotten, address) }

func (d *directory) Announce(_ context.Context, a Announcement) error {
	d.events = append(d.events, "announce "+a.Address())
	return d.err
}

func (d *directory) Withdraw(context.Context) error {
	d.events = append(d.events, "withdraw")
	return d.err
}

func (d *directory) Close() error {
	d.events = append(d.events, "close")
	return d.err
}

type resolverFunc func(ctx context.Context, target Target) ([]string, error)

func (f resolverFunc) Resolve(ctx context.Context, target Target) ([]string, error) {
	return f(ctx, target)
}

func newCache(t *testing.T, resolver Resolver, size int) (*Cache, *time.Time) {
	t.Helper()
	now := time.Unix(0, 0)
	c := NewCache(resolver, CacheTTL, size)
	c.now = func() time.Time { return now }
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, &now
}

func TestCacheExpires(t *testing.T) {
	d := &directory{addresses: []string{"a:1"}}
	c, now := newCache(t, d, 10)
	for _, step := range []struct {
		after   time.Duration
		lookups int
	}{{0, 1}, {CacheTTL - 1, 1}, {1, 2}, {0, 2}} {
		*now = now.Add(step.after)
		got, err := c.Resolve(t.Context(), Target{AppID: "app"})
		if err != nil || !slices.Equal(got, []string{"a:1"}) {
			t.Fatal(got, err)
		}
		if d.lookups != step.lookups {
			t.Errorf("after %v: %d lookups, want %d", step.after, d.lookups, step.lookups)
		}
	}
}

func TestCacheDoesNotRememberFailures(t *testing.T) {
	d := &directory{err: errors.New("away")}
	c, _ := newCache(t, d, 10)
	if _, err := c.Resolve(t.Context(), Target{}); !errors.Is(err, d.err) {
		t.Error(err)
	}
	d.err = nil
	var notFound *NotFoundError
	if _, err := c.Resolve(t.Context(), Target{AppID: "app"}); !errors.As(err, &notFound) {
		t.Errorf("no address and no error gives %v", err)
	}
	d.addresses = []string{"a:1"}
	if _, err := c.Resolve(t.Context(), Target{}); err != nil {
		t.Error(err)
	}
}

func TestCacheKeepsTargetsApart(t *testing.T) {
	c, _ := newCache(t, resolverFunc(func(_ context.Context, target Target) ([]string, error) {
		return []string{fmt.Sprintf("%+v", target)}, nil
	}), 10)
	seen := map[string]bool{}
	for _, target := range []Target{{AppID: "a"}, {AppID: "b"}, {AppID: "a", Namespace: "n"}, {AppID: "a", Port: 1}} {
		got, err := c.Resolve(t.Context(), target)
		if err != nil || seen[got[0]] {
			t.Errorf("%+v: %v, %v", target, got, err)
		}
		seen[got[0]] = true
	}
}

func TestCacheForget(t *testing.T) {
	d := &directory{addresses: []string{"a:1", "b:1"}}
	c, _ := newCache(t, d, 10)
	target := Target{AppID: "app"}
	held, err := c.Resolve(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		address string
		want    []string
		lookups int
	}{
		{"x:1", []string{"a:1", "b:1"}, 1},
		{"a:1", []string{"b:1"}, 1},
		{"b:1", []string{"a:1", "b:1"}, 2},
	} {
		c.Forget(target, step.address)
		got, err := c.Resolve(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, got); diff != "" || d.lookups != step.lookups {
			t.Errorf("without %s: %d lookups, %s", step.address, d.lookups, diff)
		}
	}
	if diff := cmp.Diff([]string{"a:1", "b:1"}, held); diff != "" {
		t.Errorf("a slice that a caller holds changed: %s", diff)
	}
	if diff := cmp.Diff([]string{"x:1", "a:1", "b:1"}, d.forgotten); diff != "" {
		t.Errorf("told the resolver: %s", diff)
	}
}

func TestCacheIsBounded(t *testing.T) {
	d := &directory{addresses: []string{"a:1"}}
	c, now := newCache(t, d, 2)
	resolve := func(id string) int {
		t.Helper()
		before := d.lookups
		if _, err := c.Resolve(t.Context(), Target{AppID: id}); err != nil {
			t.Fatal(err)
		}
		*now = now.Add(time.Second)
		return d.lookups - before
	}
	for i, step := range []struct {
		id      string
		lookups int
	}{{"a", 1}, {"b", 1}, {"a", 0}, {"c", 1}, {"b", 0}, {"c", 0}, {"a", 1}} {
		if got := resolve(step.id); got != step.lookups {
			t.Errorf("step %d, %s: %d lookups, want %d", i, step.id, got, step.lookups)
		}
		if len(c.entries) > 2 {
			t.Errorf("step %d: %d entries", i, len(c.entries))
		}
	}
}

func TestCacheSharesLookups(t *testing.T) {
	release := make(chan struct{})
	entered := make(chan struct{}, 10)
	c, _ := newCache(t, resolverFunc(func(context.Context, Target) ([]string, error) {
		entered <- struct{}{}
		<-release
		return []string{"a:1"}, nil
	}), 10)
	target := Target{AppID: "app"}
	// The caller that starts the lookup gives up; those who joined it must not suffer.
	impatient, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := c.Resolve(impatient, target); !errors.Is(err, context.Canceled) {
			t.Errorf("impatient caller: %v", err)
		}
	})
	<-entered
	cancel()
	group.Wait()
	for range 5 {
		group.Go(func() {
			if got, err := c.Resolve(t.Context(), target); !slices.Equal(got, []string{"a:1"}) {
				t.Error(got, err)
			}
		})
	}
	close(release)
	group.Wait()
	if n := len(entered); n != 0 {
		t.Errorf("%d more lookups", n)
	}
}

func TestCacheCloseEndsLookups(t *testing.T) {
	entered := make(chan struct{})
	c := NewCache(resolverFunc(func(ctx context.Context, _ Target) ([]string, error) {
		close(entered)
		<-ctx.Done()
		return nil, ctx.Err()
	}), CacheTTL, 10)
	failed := make(chan error, 1)
	go func() {
		_, err := c.Resolve(context.Background(), Target{})
		failed <- err
	}()
	<-entered
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := c.Resolve(t.Context(), Target{}); !errors.Is(err, errCacheClosed) {
		t.Errorf("after closing: %v", err)
	}
}

func TestCacheHitAllocatesNothing(t *testing.T) {
	c, _ := newCache(t, &directory{addresses: []string{"a:1"}}, 10)
	ctx, target := t.Context(), Target{AppID: "app", Namespace: "default", Port: 50002}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := c.Resolve(ctx, target); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
