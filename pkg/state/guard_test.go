package state

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/resiliency"
)

// shaky fails the first calls of each kind with failure.
type shaky struct {
	Store
	failures int
	failure  error

	mu    sync.Mutex
	calls map[string]int
}

func (s *shaky) fail(kind string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[kind]++; s.calls[kind] <= s.failures {
		return s.failure
	}
	return nil
}

func (s *shaky) Get(context.Context, *GetRequest) (*Item, error) {
	return &Item{Found: true}, s.fail("get")
}
func (s *shaky) Set(_ context.Context, req *SetRequest) error {
	return s.fail("set " + req.Key)
}
func (s *shaky) Delete(context.Context, *DeleteRequest) error { return s.fail("delete") }
func (s *shaky) Transact(context.Context, []Operation, map[string]string) error {
	return s.fail("transact")
}
func (s *shaky) Query(context.Context, *Query, map[string]string) (*QueryResult, error) {
	return &QueryResult{}, s.fail("query")
}

func policies(t *testing.T, retries int) *resiliency.Policies {
	t.Helper()
	pause := config.Span(time.Second)
	p := resiliency.New()
	if _, err := p.Set(config.Resiliency{Spec: config.ResiliencySpec{
		Policies: config.ResiliencyPolicies{Retries: map[string]config.Retry{"again": {Duration: &pause, MaxRetries: &retries}}},
		Targets:  config.ResiliencyTargets{Components: map[string]config.ComponentTarget{"st": {Outbound: &config.PolicyNames{Retry: "again"}}}},
	}}); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPolicies(t *testing.T) {
	errDown := errors.New("down")
	for _, test := range []struct {
		failures int
		failure  error
		works    bool
		calls    int
	}{{0, nil, true, 1}, {2, errDown, true, 3}, {9, errDown, false, 4}, {9, &ETagError{}, false, 1}, {9, &ETagError{Kind: ETagInvalid}, false, 1}} {
		t.Run(fmt.Sprint(test.failures, test.failure), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &shaky{failures: test.failures, failure: test.failure, calls: map[string]int{}}
				o := abilities(store).guarded(policies(t, 3).Component(resiliency.Statestore, "st", resiliency.Outbound)).many()
				ctx := t.Context()
				_, got := o.get(ctx, &GetRequest{})
				_, queried := o.query(ctx, &Query{}, nil)
				results := map[string]error{
					"get": got, "query": queried, "delete": o.remove(ctx, &DeleteRequest{}), "transact": o.transact(ctx, nil, nil),
					"set a": o.set(ctx, &SetRequest{Key: "a"}), "set b": o.setMany(ctx, []SetRequest{{Key: "b"}, {Key: "c"}}),
				}
				for kind, err := range results {
					if (err == nil) != test.works {
						t.Errorf("%s: error %v, want success %t", kind, err, test.works)
					}
					n := store.calls[kind]
					if n != test.calls {
						t.Errorf("%s: %d calls, want %d", kind, n, test.calls)
					}
				}
			})
		})
	}
}
