package runtime

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// journal is what stages did, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) do(line string, err error) func(context.Context) error {
	return func(context.Context) error {
		j.add(line)
		return err
	}
}

func (j *journal) stage(name string, err error) stage {
	return stage{name, func(*Runtime, context.Context) (ending, error) {
		j.add("start " + name)
		return ending{close: j.do("close "+name, nil)}, err
	}}
}

func names(stages []started) (list []string) {
	for _, s := range stages {
		list = append(list, s.name)
	}
	return list
}

func TestWalk(t *testing.T) {
	fault := errors.New("fault")
	tests := map[string]struct {
		second error
		want   []string // that started, which are those to end
	}{
		"all":            {nil, []string{"first", "second", "third"}},
		"one that fails": {fault, []string{"first", "second"}}, // it may hold something
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var j journal
			got, err := (&Runtime{}).walk(t.Context(), []stage{j.stage("first", nil), j.stage("second", test.second), j.stage("third", nil)})
			if !errors.Is(err, test.second) {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff(test.want, names(got)); diff != "" {
				t.Error(diff)
			}
			if want := "start " + strings.Join(test.want, " start "); strings.Join(j.lines, " ") != want {
				t.Errorf("%q, want %q", j.lines, want)
			}
		})
	}
}

// TestWalkInterrupted: no stage starts after the end has begun.
func TestWalkInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var j journal
	interrupting := stage{"second", func(*Runtime, context.Context) (ending, error) {
		cancel()
		return ending{}, nil
	}}
	got, err := (&Runtime{}).walk(ctx, []stage{j.stage("first", nil), interrupting, j.stage("third", nil)})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff([]string{"first", "second"}, names(got)); diff != "" {
		t.Error(diff)
	}
}

// TestDrainInOrder: everybody has withdrawn before the first settles, and what is worked on for others has
// settled before the APIs stop.
func TestDrainInOrder(t *testing.T) {
	var j journal
	whole := func(name string) started {
		return started{name, ending{withdraw: func() { j.add("withdraw") }, settle: j.do("settle", nil), quiesce: j.do("quiesce", nil), close: j.do("close", nil)}}
	}
	if err := drain(t.Context(), []started{whole("a"), {name: "nothing to do"}, whole("b")}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"withdraw", "withdraw", "settle", "settle", "quiesce", "quiesce"}, j.lines); diff != "" {
		t.Error(diff)
	}
}

// TestDrainTogether: two that wait for each other are done.
func TestDrainTogether(t *testing.T) {
	for name, part := range map[string]func(func(context.Context) error) ending{
		"settle":  func(do func(context.Context) error) ending { return ending{settle: do} },
		"quiesce": func(do func(context.Context) error) ending { return ending{quiesce: do} },
	} {
		t.Run(name, func(t *testing.T) {
			first, second := make(chan struct{}), make(chan struct{})
			meet := func(mine, others chan struct{}) func(context.Context) error {
				return func(ctx context.Context) error {
					close(mine)
					select {
					case <-others:
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := drain(ctx, []started{{"a", part(meet(first, second))}, {"b", part(meet(second, first))}}); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDrainErrors: one that fails keeps no other from draining, and all are told.
func TestDrainErrors(t *testing.T) {
	noLuck, stuck := errors.New("no luck"), errors.New("stuck")
	var j journal
	err := drain(t.Context(), []started{
		{"a", ending{settle: j.do("settle", noLuck)}}, {"b", ending{quiesce: j.do("quiesce", stuck)}}, {"c", ending{quiesce: j.do("quiesce", nil)}}})
	if !errors.Is(err, noLuck) || !errors.Is(err, stuck) || !strings.Contains(err.Error(), "drain a: no luck") || !strings.Contains(err.Error(), "drain b: stuck") {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff([]string{"settle", "quiesce", "quiesce"}, j.lines); diff != "" {
		t.Error(diff)
	}
}

// TestDrainIsBounded: what does not settle in the grace period holds nobody up for longer.
func TestDrainIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := within(5 * time.Second)
		defer cancel()
		hangs := func(ctx context.Context) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}
		began := time.Now()
		err := drain(ctx, []started{{"a", ending{settle: hangs}}, {"b", ending{quiesce: hangs}}})
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("it took %s", took)
		}
		if !errors.Is(err, ErrGrace) || !strings.Contains(err.Error(), "drain a: ") || !strings.Contains(err.Error(), "drain b: ") {
			t.Errorf("error %v", err)
		}
	})
}

func TestWithinNoBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, grace := range []time.Duration{0, -1} {
			ctx, cancel := within(grace)
			time.Sleep(1000 * time.Hour)
			if err := ctx.Err(); err != nil {
				t.Errorf("a grace of %d ended: %v", grace, err)
			}
			cancel()
			if ctx.Err() == nil {
				t.Errorf("a grace of %d cannot be ended", grace)
			}
		}
	})
}

func TestReleaseLastFirst(t *testing.T) {
	var j journal
	noLuck, stuck := errors.New("no luck"), errors.New("stuck")
	err := release(t.Context(), []started{
		{"a", ending{close: j.do("a", noLuck)}}, {name: "nothing to do"}, {"b", ending{close: j.do("b", nil)}}, {"c", ending{close: j.do("c", stuck)}}})
	if diff := cmp.Diff([]string{"c", "b", "a"}, j.lines); diff != "" {
		t.Error(diff)
	}
	if !errors.Is(err, noLuck) || !errors.Is(err, stuck) || !strings.Contains(err.Error(), "close a: no luck") || !strings.Contains(err.Error(), "close c: stuck") {
		t.Errorf("error %v", err)
	}
}
