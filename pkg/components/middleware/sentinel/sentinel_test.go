package sentinel

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/middleware"
)

func start(t *testing.T, properties map[string]string) middleware.Middleware {
	t.Helper()
	instance, err := New(t.Context(), componentstest.Spec("middleware.http.sentinel", properties))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := instance.(io.Closer).Close(); err != nil {
			t.Error(err)
		}
	})
	return instance
}

// calls gives the statuses of n calls that are answered with status.
func calls(m middleware.Middleware, n int, method, path string, status int, header ...string) (statuses []int) {
	handler := m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	for range n {
		r := httptest.NewRequest(method, path, nil)
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		statuses = append(statuses, w.Code)
	}
	return statuses
}

func count(statuses []int, wanted int) (n int) {
	for _, status := range statuses {
		if status == wanted {
			n++
		}
	}
	return n
}

func TestFlow(t *testing.T) {
	m := start(t, map[string]string{"flowRules": `[{"resource": "POST:/orders/new", "threshold": 3, "statIntervalInMs": 60000}]`})
	if got := calls(m, 5, "POST", "/orders/new", 204); count(got, 204) != 3 || count(got, 429) != 2 {
		t.Errorf("%v", got)
	}
	if got := calls(m, 5, "GET", "/orders/new", 204); count(got, 204) != 5 {
		t.Errorf("of another resource: %v", got)
	}
}

func TestCircuitBreaker(t *testing.T) {
	m := start(t, map[string]string{"circuitBreakerRules": `[{"resource": "GET:/list", "strategy": 2, "retryTimeoutMs": 60000,
		"minRequestAmount": 1, "statIntervalMs": 60000, "threshold": 2}]`})
	if got := calls(m, 6, "GET", "/list", 404); count(got, 404) != 6 {
		t.Errorf("404 is no failure: %v", got)
	}
	if got := calls(m, 6, "GET", "/list", 500); count(got, 500) != 2 || count(got, 429) != 4 {
		t.Errorf("%v", got)
	}
}

func TestHotSpot(t *testing.T) {
	m := start(t, map[string]string{"hotSpotParamRules": `[{"resource": "GET:/list", "metricType": 1, "paramKey": "X-Tenant", "threshold": 2,
		"durationInSec": 60, "specificItems": {"vip": 4}}]`})
	for tenant, want := range map[string]int{"a": 2, "b": 2, "vip": 4} {
		if got := calls(m, 6, "GET", "/list", 204, "X-Tenant", tenant); count(got, 204) != want {
			t.Errorf("%s: %v", tenant, got)
		}
	}
}

func TestIsolation(t *testing.T) {
	m := start(t, map[string]string{"isolationRules": `[{"resource": "GET:/list", "threshold": 1}]`})
	inside := make([]int, 0)
	m.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		inside = calls(m, 1, "GET", "/list", 204)
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/list", nil))
	if inside[0] != 429 {
		t.Errorf("the second at one time: %v", inside)
	}
	if got := calls(m, 2, "GET", "/list", 204); count(got, 204) != 2 {
		t.Errorf("one after the other: %v", got)
	}
}

// TestSystem: the rule is about all requests of the process, so it is taken away at the end of its component.
func TestSystem(t *testing.T) {
	instance, err := New(t.Context(), componentstest.Spec("middleware.http.sentinel", map[string]string{
		"systemRules": `[{"metricType": 2, "triggerCount": 0, "strategy": -1}]`}))
	if err != nil {
		t.Fatal(err)
	}
	inside := make([]int, 0)
	instance.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		inside = calls(instance, 1, "GET", "/any", 204)
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/other", nil))
	if len(inside) > 0 && inside[0] != 429 {
		t.Errorf("above the bound: %v", inside)
	}
	if err := instance.(io.Closer).Close(); err != nil {
		t.Fatal(err)
	}
	m := start(t, map[string]string{"flowRules": `[{"resource": "GET:/any", "threshold": 100}]`})
	if got := calls(m, 3, "GET", "/any", 204); count(got, 204) != 3 {
		t.Errorf("after it: %v", got)
	}
}

// TestReplaced: the end of a component takes nothing from its successor.
func TestReplaced(t *testing.T) {
	properties := map[string]string{"flowRules": `[{"resource": "GET:/list", "threshold": 2, "statIntervalInMs": 60000}]`}
	old, err := New(t.Context(), componentstest.Spec("middleware.http.sentinel", properties))
	if err != nil {
		t.Fatal(err)
	}
	m := start(t, properties)
	if err := old.(io.Closer).Close(); err != nil {
		t.Fatal(err)
	}
	if got := calls(m, 3, "GET", "/list", 204); count(got, 204) != 2 {
		t.Errorf("%v", got)
	}
	if got := calls(old, 3, "GET", "/list", 204); count(got, 204) != 3 {
		t.Errorf("the old one: %v", got)
	}
}

func TestPanic(t *testing.T) {
	m := start(t, map[string]string{"isolationRules": `[{"resource": "GET:/list", "threshold": 1}]`})
	func() {
		defer func() {
			if cause := recover(); cause != http.ErrAbortHandler {
				t.Errorf("it ended with %v", cause)
			}
		}()
		m.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })).
			ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/list", nil))
	}()
	if got := calls(m, 1, "GET", "/list", 204); got[0] != 204 {
		t.Errorf("after it: %v", got)
	}
}

func TestSettings(t *testing.T) {
	for name, test := range map[string]struct{ property, value, want string }{
		"no JSON":  {"flowRules", "x", "metadata property flowRules is not usable"},
		"no array": {"systemRules", "{}", "metadata property systemRules is not usable"},
		"null":     {"isolationRules", "[null]", "rule 1 is null"},
		"flow":     {"flowRules", `[{"threshold": 1}]`, "metadata property flowRules: rule 1: empty"},
		"breaker":  {"circuitBreakerRules", `[{"resource": "a"}]`, "metadata property circuitBreakerRules: rule 1"},
		"hot spot": {"hotSpotParamRules", `[{"resource": "a", "threshold": -1}]`, "metadata property hotSpotParamRules: rule 1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(t.Context(), componentstest.Spec("middleware.http.sentinel", map[string]string{test.property: test.value}))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestReadme(t *testing.T) {
	instance, err := New(t.Context(), componentstest.FromReadme(t, "middleware.http.sentinel", "/tmp/sentinel", t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer instance.(io.Closer).Close()
	if got := calls(instance, 12, "POST", "/v1.0/invoke/orders/method/neworder", 204); count(got, 429) == 0 {
		t.Errorf("%v", got)
	}
}
