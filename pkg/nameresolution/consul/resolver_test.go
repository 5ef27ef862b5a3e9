package consul_test

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/daprd/daprd/pkg/nameresolution"
	"github.com/daprd/daprd/pkg/nameresolution/consul"
)

// agent speaks the part of the agent's HTTP API that a sidecar uses; checks are passing unless a test says else.
type agent struct {
	*httptest.Server
	mu      sync.Mutex
	entries map[string]map[string]any
	failing map[string]bool
	asked   []string // the queries, and the tokens
	closed  chan struct{}
}

func startAgent(t *testing.T) *agent {
	t.Helper()
	a := &agent{entries: map[string]map[string]any{}, failing: map[string]bool{}, closed: make(chan struct{}, 10)}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /v1/agent/service/register", func(w http.ResponseWriter, r *http.Request) {
		var entry map[string]any
		if err := json.NewDecoder(r.Body).Decode(&entry); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		a.entries[entry["ID"].(string)] = entry
	})
	mux.HandleFunc("PUT /v1/agent/service/deregister/{id}", func(_ http.ResponseWriter, r *http.Request) { delete(a.entries, r.PathValue("id")) })
	mux.HandleFunc("GET /v1/health/service/{name}", func(w http.ResponseWriter, r *http.Request) {
		a.asked = append(a.asked, r.URL.RawQuery+" "+r.Header.Get("X-Consul-Token"))
		found := []any{}
		for id, entry := range a.entries {
			if entry["Name"] == r.PathValue("name") && !(a.failing[id] && r.URL.Query().Has("passing")) {
				found = append(found, map[string]any{"Node": map[string]any{"Address": "10.1.1.1"},
					"Service": map[string]any{"ID": id, "Address": entry["Address"], "Port": entry["Port"], "Meta": entry["Meta"]}})
			}
		}
		_ = json.NewEncoder(w).Encode(found)
	})
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	a.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			a.closed <- struct{}{}
		}
	}
	a.Start()
	t.Cleanup(a.Close)
	return a
}

func (a *agent) client(more string) string {
	return `{"address": "` + strings.TrimPrefix(a.URL, "http://") + `"` + more + `}`
}

func open(t *testing.T, s consul.Settings) *consul.Resolver {
	t.Helper()
	r, err := consul.New(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var cart = nameresolution.Announcement{AppID: "cart", Host: "10.0.0.7", Port: 50002, HTTPPort: 3500, AppPort: 8080}

func TestSidecarsFindOneAnother(t *testing.T) {
	a := startAgent(t)
	mine := open(t, consul.Settings{Client: a.client(`, "token": "t0k", "datacenter": "dc2"`), SelfRegister: true, SelfDeregister: true,
		Tags: `["blue"]`, Meta: `{"team": "shop"}`})
	theirs := open(t, consul.Settings{Client: a.client(""), SelfRegister: true})
	if err := mine.Announce(t.Context(), cart); err != nil {
		t.Fatal(err)
	}
	second := cart
	second.Host, second.Port = "fd00::8", 50003
	if err := theirs.Announce(t.Context(), second); err != nil {
		t.Fatal(err)
	}

	want := map[string]any{"ID": "cart-10.0.0.7-50002", "Name": "cart", "Address": "10.0.0.7", "Port": 8080.0, "Tags": []any{"blue"},
		"Meta": map[string]any{"team": "shop", "DAPR_PORT": "50002"}, "Check": nil, "Checks": []any{map[string]any{"Name": "Dapr Health Status",
			"CheckID": "daprHealth:cart-10.0.0.7-50002", "Interval": "15s", "HTTP": "http://10.0.0.7:3500/v1.0/healthz"}}}
	if diff := cmp.Diff(want, a.entries["cart-10.0.0.7-50002"]); diff != "" {
		t.Error(diff)
	}
	resolve(t, mine, "10.0.0.7:50002", "[fd00::8]:50003")
	if got, want := a.asked[0], "cached=&dc=dc2&passing=1 t0k"; got != want {
		t.Errorf("asked as %q, want %q", got, want)
	}

	a.failing["cart-fd00::8-50003"] = true
	resolve(t, mine, "10.0.0.7:50002")

	if err := errors.Join(mine.Withdraw(t.Context()), theirs.Withdraw(t.Context()), mine.Withdraw(t.Context())); err != nil {
		t.Fatal(err)
	}
	if len(a.entries) != 1 || a.entries["cart-fd00::8-50003"] == nil {
		t.Errorf("entries are left: %v; want that of the sidecar which does not deregister itself", a.entries)
	}
	_, err := mine.Resolve(t.Context(), nameresolution.Target{AppID: "cart"})
	if absent := new(nameresolution.NotFoundError); !errors.As(err, &absent) {
		t.Errorf("%v, want that there is none", err)
	}
}

func resolve(t *testing.T, r *consul.Resolver, want ...string) {
	t.Helper()
	got, err := r.Resolve(t.Context(), nameresolution.Target{AppID: "cart", Namespace: "any"})
	set := func(list []string) map[string]bool {
		m := map[string]bool{}
		for _, s := range list {
			m[s] = true
		}
		return m
	}
	if diff := cmp.Diff(set(want), set(got)); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// TestClose: the connections to the agent end with the resolver: a sidecar makes another one at each restart in its process.
func TestClose(t *testing.T) {
	a := startAgent(t)
	r := open(t, consul.Settings{Client: a.client("")})
	if _, err := r.Resolve(t.Context(), nameresolution.Target{AppID: "cart"}); err == nil {
		t.Fatal("an application is found that is not there")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-a.closed:
	case <-time.After(30 * time.Second):
		t.Error("the connection stays")
	}
}

// TestEntriesOfOthers: addresses of nodes, other keys, and services that are no sidecars.
func TestEntriesOfOthers(t *testing.T) {
	a := startAgent(t)
	a.entries["1"] = map[string]any{"Name": "cart", "Address": "", "Meta": map[string]string{"SIDECAR": "6000"}}
	a.entries["2"] = map[string]any{"Name": "cart", "Address": "10.0.0.9", "Meta": map[string]string{"DAPR_PORT": "7000"}}
	a.entries["3"] = map[string]any{"Name": "cart", "Address": "10.0.0.9", "Meta": map[string]string{"SIDECAR": "none"}}
	resolve(t, open(t, consul.Settings{Client: a.client(""), DaprPortMetaKey: "SIDECAR"}), "10.1.1.1:6000")
	_, err := open(t, consul.Settings{Client: a.client(""), DaprPortMetaKey: "OTHER"}).Resolve(t.Context(), nameresolution.Target{AppID: "cart"})
	if err == nil || !strings.Contains(err.Error(), "the entry OTHER is missing") {
		t.Errorf("%v, want that the metadata has no port", err)
	}
}

// TestAdvancedRegistration: a whole entry is entered whatever selfRegister says, and the parts of one are passed over.
func TestAdvancedRegistration(t *testing.T) {
	a := startAgent(t)
	r := open(t, consul.Settings{Client: a.client(""), Tags: `["left out"]`,
		AdvancedRegistration: `{"id": "own", "port": 9, "tags": ["green"], "check": {"ttl": "30s"}, "meta": {"DAPR_PORT": "50009"}}`})
	if err := r.Announce(t.Context(), cart); err != nil {
		t.Fatal(err)
	}
	entry := a.entries["own"]
	got := map[string]any{"name": entry["Name"], "port": entry["Port"], "tags": entry["Tags"], "meta": entry["Meta"], "checks": entry["Checks"]}
	want := map[string]any{"name": "cart", "port": 9.0, "tags": []any{"green"}, "meta": map[string]any{"DAPR_PORT": "50009"}, "checks": nil}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNotEntered(t *testing.T) {
	a := startAgent(t)
	if err := open(t, consul.Settings{Client: a.client("")}).Announce(t.Context(), cart); err != nil || len(a.entries) > 0 {
		t.Errorf("%v, entries %v; want none without selfRegister", err, a.entries)
	}
}

// TestAway: an agent that cannot be reached is named, and a token never shows.
func TestAway(t *testing.T) {
	a := startAgent(t)
	r := open(t, consul.Settings{Client: a.client(`, "token": "s3cr3t"`), SelfRegister: true})
	a.Close()
	_, err := r.Resolve(t.Context(), nameresolution.Target{AppID: "cart"})
	for what, err := range map[string]error{"ask Consul for the service cart": err, "enter cart-10.0.0.7-50002 into Consul": r.Announce(t.Context(), cart)} {
		if err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%v, want %q and why", err, what)
		}
	}
}

func TestUnusableSettings(t *testing.T) {
	for name, s := range map[string]consul.Settings{
		"client":               {Client: `{"token": {"s3cr3t": 1}}`},
		"queryOptions":         {QueryOptions: "["},
		"tags":                 {SelfRegister: true, Tags: `"blue"`},
		"checks":               {SelfRegister: true, Checks: "s3cr3t"},
		"meta":                 {SelfRegister: true, Meta: "[]"},
		"advancedRegistration": {SelfRegister: true, AdvancedRegistration: "7"},
	} {
		_, err := consul.New(s)
		if err == nil || !strings.Contains(err.Error(), "configuration."+name) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v, want an error that names it", name, err)
		}
	}
}
