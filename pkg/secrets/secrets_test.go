package secrets_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/resiliency"
	"github.com/daprd/daprd/pkg/secrets"
	"github.com/daprd/daprd/pkg/secrets/secretstest"
)

// shelf is a store in memory.
type shelf struct {
	content map[string]map[string]string
	failure error
	closed  *[]string
}

func (s *shelf) Secret(_ context.Context, name string, _ map[string]string) (map[string]string, error) {
	if s.failure != nil {
		return nil, s.failure
	}
	values, ok := s.content[name]
	if !ok && s.content != nil {
		return nil, fmt.Errorf("secret %s not found", name)
	}
	return maps.Clone(values), nil
}

func (s *shelf) All(context.Context, map[string]string) (map[string]map[string]string, error) {
	if s.failure != nil || s.content == nil {
		return nil, s.failure
	}
	all := map[string]map[string]string{}
	for name, values := range s.content {
		all[name] = maps.Clone(values)
	}
	return all, nil
}

func (s *shelf) Features() []string { return []string{"MULTIPLE_KEY_VALUES_PER_SECRET"} }

func (s *shelf) Close() error {
	if s.closed != nil {
		*s.closed = append(*s.closed, "closed")
	}
	return s.failure
}

// tally counts operations.
type tally struct {
	mu    sync.Mutex
	lines []string
}

func (o *tally) Secret(component, operation string) func(bool, time.Duration) {
	return func(success bool, elapsed time.Duration) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.lines = append(o.lines, fmt.Sprintf("%s %s %t", component, operation, success && elapsed >= 0))
	}
}

func content() map[string]map[string]string {
	return map[string]map[string]string{"db": {"user": "ada", "password": "hunter2"}, "key": {"key": "opensesame"}, "other": {"other": ""}}
}

func TestSuiteAcceptsAStore(t *testing.T) {
	secretstest.Run(t, &shelf{content: content()}, secretstest.Options{Known: content(), Exact: true, Unknown: "absent"})
}

func TestErrors(t *testing.T) {
	down := errors.New("vault is sealed")
	scopes := secrets.Scopes{{StoreName: "scoped", DefaultAccess: "deny"}}
	tests := map[string]struct {
		stores map[string]secrets.Store
		store  string
		single string
		bulk   string // "" for no error
		code   string
		http   int
		grpc   codes.Code
	}{
		"no store": {nil, "any", "secret store is not configured", "secret store is not configured",
			"ERR_SECRET_STORES_NOT_CONFIGURED", http.StatusInternalServerError, codes.FailedPrecondition},
		"another store": {map[string]secrets.Store{"a": &shelf{}}, "b", "failed finding secret store with key b", "failed finding secret store with key b",
			"ERR_SECRET_STORE_NOT_FOUND", http.StatusUnauthorized, codes.InvalidArgument},
		"denied": {map[string]secrets.Store{"scoped": &shelf{content: content()}}, "scoped", `access denied by policy to get "db" from "scoped"`, "",
			"ERR_PERMISSION_DENIED", http.StatusForbidden, codes.PermissionDenied},
		"failure": {map[string]secrets.Store{"a": &shelf{failure: down}}, "a", "failed getting secret with key db from secret store a: vault is sealed",
			"failed getting secrets from secret store a: vault is sealed", "ERR_SECRET_GET", http.StatusInternalServerError, codes.Internal},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := secrets.NewService(secrets.Deps{})
			s.Restrict(scopes)
			for name, store := range test.stores {
				if err := s.Add(name, store); err != nil {
					t.Fatal(err)
				}
			}
			_, single := s.Secret(t.Context(), test.store, "db", nil)
			_, bulk := s.All(t.Context(), test.store, nil)
			for want, err := range map[string]error{test.single: single, test.bulk: bulk} {
				if want == "" {
					if err != nil {
						t.Errorf("error %v", err)
					}
					continue
				}
				var row *apierr.Error
				if !errors.As(err, &row) {
					t.Fatalf("error %v is no row", err)
				}
				if row.Message != want || row.Code != test.code || row.HTTP != test.http || row.GRPC != test.grpc {
					t.Errorf("error %+v, want %q %s %d %s", row, want, test.code, test.http, test.grpc)
				}
			}
			if test.store == "a" && !errors.Is(single, down) {
				t.Error("the cause is lost")
			}
		})
	}
}

func TestScopes(t *testing.T) {
	tests := map[string]struct {
		scope config.SecretScope
		want  []string
	}{
		"no rule":                 {config.SecretScope{StoreName: "another", DefaultAccess: "deny"}, []string{"db", "key", "other"}},
		"deny":                    {config.SecretScope{StoreName: "s", DefaultAccess: "DENY"}, nil},
		"deny but":                {config.SecretScope{StoreName: "s", DefaultAccess: "deny", AllowedSecrets: []string{"db"}}, []string{"db"}},
		"allow but":               {config.SecretScope{StoreName: "s", DeniedSecrets: []string{"db"}}, []string{"key", "other"}},
		"allowed rules over both": {config.SecretScope{StoreName: "s", DefaultAccess: "allow", AllowedSecrets: []string{"db"}, DeniedSecrets: []string{"db"}}, []string{"db"}},
		"case matters":            {config.SecretScope{StoreName: "s", AllowedSecrets: []string{"DB"}}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := secrets.NewService(secrets.Deps{})
			if err := s.Add("s", &shelf{content: content()}); err != nil {
				t.Fatal(err)
			}
			s.Restrict(secrets.Scopes{test.scope})
			want := map[string]map[string]string{}
			for _, name := range test.want {
				want[name] = content()[name]
			}
			all, err := s.All(t.Context(), "s", nil)
			if diff := cmp.Diff(want, all); err != nil || diff != "" {
				t.Errorf("bulk: error %v (-want +got)\n%s", err, diff)
			}
			for name := range content() {
				got, err := s.Secret(t.Context(), "s", name, nil)
				if _, allowed := want[name]; allowed != (err == nil) {
					t.Errorf("%s: error %v, but bulk holds %v", name, err, all)
				}
				if diff := cmp.Diff(want[name], got); diff != "" {
					t.Errorf("%s (-want +got)\n%s", name, diff)
				}
			}
			if bare, ok := s.Store("s"); !ok || bare == nil {
				t.Error("components do not get the bare store")
			}
		})
	}
}

func TestNothingToSay(t *testing.T) {
	s := secrets.NewService(secrets.Deps{})
	s.Restrict(secrets.Scopes{{StoreName: "s", AllowedSecrets: []string{"db"}}})
	if err := s.Add("s", &shelf{}); err != nil {
		t.Fatal(err)
	}
	if one, err := s.Secret(t.Context(), "s", "db", nil); one != nil || err != nil {
		t.Errorf("single: %v, %v", one, err)
	}
	if all, err := s.All(t.Context(), "s", nil); all != nil || err != nil {
		t.Errorf("bulk: %v, %v", all, err)
	}
}

func TestObserver(t *testing.T) {
	observer := &tally{}
	s := secrets.NewService(secrets.Deps{Observer: observer})
	store := &shelf{content: content()}
	if err := s.Add("s", store); err != nil {
		t.Fatal(err)
	}
	_, _ = s.Secret(t.Context(), "s", "db", nil)
	_, _ = s.All(t.Context(), "s", nil)
	store.failure = errors.New("down")
	_, _ = s.Secret(t.Context(), "s", "db", nil)
	_, _ = s.All(t.Context(), "s", nil)
	want := []string{"s get true", "s bulk_get true", "s get false", "s bulk_get false"}
	if diff := cmp.Diff(want, observer.lines); diff != "" {
		t.Error(diff)
	}
}

func TestStoresComeAndGo(t *testing.T) {
	var closed []string
	s := secrets.NewService(secrets.Deps{})
	first := &shelf{closed: &closed}
	if err := s.Add("s", first); err != nil {
		t.Fatal(err)
	}
	if err := s.Add("s", &shelf{}); err == nil || !strings.Contains(err.Error(), "secret store s is loaded already") {
		t.Errorf("a second store of the name: %v", err)
	}
	if diff := cmp.Diff([]string{"MULTIPLE_KEY_VALUES_PER_SECRET"}, s.Features("s")); diff != "" {
		t.Error(diff)
	}
	if features := s.Features("absent"); features != nil {
		t.Errorf("features of an absent store: %v", features)
	}
	if err := s.Replace(t.Context(), "s", &shelf{closed: &closed}); err != nil || len(closed) != 1 {
		t.Errorf("replaced: %v, closed %v", err, closed)
	}
	if err := s.Remove(t.Context(), "s"); err != nil || len(closed) != 2 {
		t.Errorf("removed: %v, closed %v", err, closed)
	}
	if err := s.Remove(t.Context(), "s"); err != nil {
		t.Error(err)
	}
	if _, ok := s.Store("s"); ok {
		t.Error("a removed store is still there")
	}
	if err := s.Add("s", &shelf{closed: &closed, failure: errors.New("stuck")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err == nil || err.Error() != "error closing secret store s: stuck" || len(closed) != 3 {
		t.Errorf("close: %v, closed %v", err, closed)
	}
	if _, ok := s.Store("s"); ok {
		t.Error("a closed service still has a store")
	}
}

// fickle fails the first calls.
type fickle struct {
	shelf
	failures, calls int
}

func (f *fickle) Secret(ctx context.Context, name string, metadata map[string]string) (map[string]string, error) {
	if f.calls++; f.calls <= f.failures {
		return nil, errors.New("sealed")
	}
	return f.shelf.Secret(ctx, name, metadata)
}

func TestPolicies(t *testing.T) {
	p := resiliency.New()
	var pause config.Span
	if _, err := p.Set(config.Resiliency{Spec: config.ResiliencySpec{
		Policies: config.ResiliencyPolicies{Retries: map[string]config.Retry{"DefaultSecretstoreComponentOutboundRetryPolicy": {Duration: &pause}}}}}); err != nil {
		t.Fatal(err)
	}
	store := &fickle{shelf: shelf{content: content()}, failures: 2}
	s := secrets.NewService(secrets.Deps{Policies: p})
	if err := s.Add("s", store); err != nil {
		t.Fatal(err)
	}
	values, err := s.Secret(t.Context(), "s", "db", nil)
	if diff := cmp.Diff(content()["db"], values); err != nil || diff != "" || store.calls != 3 {
		t.Errorf("error %v after %d calls (-want +got)\n%s", err, store.calls, diff)
	}
}
