package http

import (
	"github.com/daprd/daprd/pkg/pubsub"

	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/daprd/daprd/pkg/actors"
	"github.com/daprd/daprd/pkg/api"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/messaging"
	"github.com/daprd/daprd/pkg/metadata"
	"github.com/daprd/daprd/pkg/middleware"
	"github.com/daprd/daprd/pkg/nameresolution"
	"github.com/daprd/daprd/pkg/ready"
	"github.com/daprd/daprd/pkg/secrets"
	"github.com/daprd/daprd/pkg/state"
)

// sidecar is a server with real blocks behind it, on a port of its own.
type sidecar struct {
	*Server
	address  string
	log      *logtest.Hook
	health   *metadata.Health
	state    *state.Service
	shutdown chan bool
}

type setup struct {
	config   Config
	app      http.Handler
	observer Observer
	apiLog   logrus.FieldLogger
	public   bool
	pipeline *middleware.Pipeline
	// headerTime, if set, is in place of ten seconds.
	headerTime time.Duration
}

func start(t testing.TB, set setup) *sidecar {
	t.Helper()
	log, hook := logtest.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	s := &sidecar{log: hook, health: metadata.NewHealth("myapp"), shutdown: make(chan bool, 1)}
	s.state = state.NewService(state.Deps{AppID: "myapp"})
	if err := s.state.Add("st", newVersions(), state.Settings{}); err != nil {
		t.Fatal(err)
	}
	if err := s.state.Add("plain", bare{newVersions()}, state.Settings{}); err != nil {
		t.Fatal(err)
	}
	direct := invocation(t, set.app)
	pipeline := set.pipeline
	if pipeline == nil && strings.HasPrefix(t.Name(), "TestThroughAPipeline/") {
		pipeline = pipelineOf(t, func(next http.Handler) http.Handler { return next })
	}
	s.Server = New(set.config, Deps{
		Pipeline: pipeline, Log: log, APILog: set.apiLog, Observer: set.observer,
		Blocks: api.Blocks{
			State:     s.state,
			PubSub:    publishing(t),
			Secrets:   secretService(),
			Messaging: direct,
			Actors:    actors.New(actors.Deps{Table: new(ready.Slot[actors.Table])}),
			Health:    s.health,
			Metadata: metadata.New(metadata.Sources{
				ID: "myapp", RuntimeVersion: "edge",
				EnabledFeatures: func() []string { return []string{"HotReload"} },
				Components: func() []metadata.Component {
					return []metadata.Component{{Name: "st", Type: "state.redis", Version: "v1", Capabilities: []string{"ETAG"}}}
				},
				HTTPEndpoints: func() []string { return nil },
				Resiliencies:  func() []string { return []string{"policies"} },
				Subscriptions: func() []pubsub.Subscription { return nil },
				Actors:        func() []metadata.ActorCount { return nil },
				ActorRuntime:  func() metadata.ActorRuntime { return metadata.ActorRuntime{Status: metadata.ActorsDisabled} },
				App: func() metadata.AppConnection {
					return metadata.AppConnection{Port: 6000, Protocol: "http", ChannelAddress: "127.0.0.1"}
				},
			}),
			Shutdown: func(forced bool) { s.shutdown <- forced },
		},
	})
	if set.headerTime > 0 {
		s.headerTime = set.headerTime
	}
	s.health.SetReady(true)
	s.health.SetOutbound(true)
	ctx := context.Background()
	if err := s.Listen(ctx, []string{"127.0.0.1"}, 0); err != nil {
		t.Fatal(err)
	}
	if set.public {
		if err := s.ListenPublic(ctx, "127.0.0.1", 0); err != nil {
			t.Fatal(err)
		}
	}
	s.address = s.Addresses()[0].String()
	s.Serve()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := direct.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// invocation is real messaging before a real application.
func invocation(t testing.TB, app http.Handler) *messaging.Direct {
	slot := new(ready.Slot[channel.App])
	if app != nil {
		server := httptest.NewServer(app)
		opened, err := channel.Open(channel.Settings{Address: server.Listener.Addr().String(), AppID: "myapp"})
		if err != nil {
			t.Fatal(err)
		}
		slot.Fill(opened)
		t.Cleanup(func() {
			_ = opened.Close()
			server.CloseClientConnections()
			server.Close()
		})
	}
	return messaging.New(messaging.Deps{
		Self:     messaging.Self{AppID: "myapp", Namespace: "default"},
		App:      slot,
		Resolver: new(ready.Slot[nameresolution.Resolver]),
	})
}

// versions is a store whose entity tags are counted, as Redis does it, with Redis's refusals.
type versions struct {
	mu     sync.Mutex
	values map[string]state.Item
}

func newVersions() *versions { return &versions{values: make(map[string]state.Item)} }

// bare lacks every ability.
type bare struct{ state.Store }

func (v *versions) Get(_ context.Context, req *state.GetRequest) (*state.Item, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	item := v.values[req.Key]
	return &item, nil
}

func (v *versions) Set(_ context.Context, req *state.SetRequest) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.set(req)
}

func (v *versions) set(req *state.SetRequest) error {
	if c := req.Concurrency; c != "" && c != state.FirstWrite && c != state.LastWrite {
		return fmt.Errorf("unrecognized concurrency model '%s'", c)
	}
	item := v.values[req.Key]
	if err := check(item, req.ETag); err != nil {
		return err
	}
	version, _ := strconv.Atoi(item.ETag)
	next := state.Item{Found: true, Value: bytes.Clone(req.Value), ETag: strconv.Itoa(version + 1)}
	if ttl := req.Metadata["ttlInSeconds"]; ttl != "" {
		next.Metadata = map[string]string{"ttlExpireTime": "2026-11-22T14:20:10Z"}
	}
	v.values[req.Key] = next
	return nil
}

func check(item state.Item, tag *string) error {
	if tag == nil {
		return nil
	}
	if _, err := strconv.Atoi(*tag); err != nil {
		return &state.ETagError{Kind: state.ETagInvalid, Cause: err}
	}
	if item.Found && item.ETag != *tag {
		return &state.ETagError{Kind: state.ETagMismatch}
	}
	return nil
}

func (v *versions) Delete(_ context.Context, req *state.DeleteRequest) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := check(v.values[req.Key], req.ETag); err != nil {
		return err
	}
	delete(v.values, req.Key)
	return nil
}

func (v *versions) Transact(_ context.Context, ops []state.Operation, _ map[string]string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, op := range ops {
		if op.Delete != nil {
			delete(v.values, op.Delete.Key)
			continue
		}
		if err := v.set(op.Set); err != nil {
			return err
		}
	}
	return nil
}

// exchange sends raw bytes and reads one answer.
func (s *sidecar) exchange(t testing.TB, raw string) (*http.Response, string) {
	t.Helper()
	conn := s.dial(t)
	defer conn.Close()
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	return answer(t, bufio.NewReader(conn), raw)
}

func (s *sidecar) dial(t testing.TB) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func answer(t testing.TB, r *bufio.Reader, raw string) (*http.Response, string) {
	t.Helper()
	verb, _, _ := strings.Cut(raw, " ")
	response, err := http.ReadResponse(r, &http.Request{Method: verb})
	if err != nil {
		t.Fatalf("no answer to %.60q: %v", raw, err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("body of the answer to %.60q: %v", raw, err)
	}
	return response, string(body)
}

// get is exchange for a request without body.
func (s *sidecar) get(t testing.TB, verb, target string, headers ...string) (*http.Response, string) {
	t.Helper()
	return s.exchange(t, request(verb, target, "", headers...))
}

func (s *sidecar) send(t testing.TB, verb, target, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	return s.exchange(t, request(verb, target, body, headers...))
}

func request(verb, target, body string, headers ...string) string {
	head := verb + " " + target + " HTTP/1.1\r\nHost: 127.0.0.1\r\n"
	for _, h := range headers {
		head += h + "\r\n"
	}
	if body != "" {
		head += "Content-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	return head + "\r\n" + body
}

// recorded are the secrets of the recording.
type recordedSecrets map[string]string

func (r recordedSecrets) Secret(_ context.Context, name string, _ map[string]string) (map[string]string, error) {
	if value, ok := r[name]; ok {
		return map[string]string{name: value}, nil
	}
	return nil, fmt.Errorf("secret %s not found", name)
}

func (r recordedSecrets) All(context.Context, map[string]string) (map[string]map[string]string, error) {
	all := make(map[string]map[string]string)
	for name, value := range r {
		all[name] = map[string]string{name: value}
	}
	return all, nil
}

// onlyK1 is the scope of the recording.
type onlyK1 struct{}

func (onlyK1) Allowed(store, secret string) bool { return store != "limited" || secret == "k1" }

func secretService() *secrets.Service {
	s := secrets.NewService(secrets.Deps{})
	s.Restrict(onlyK1{})
	for _, name := range []string{"secrets", "limited"} {
		_ = s.Add(name, recordedSecrets{"k1": "v1", "k2": "v2", "nested:a": "x", "nested:b": "y"})
	}
	return s
}

func listenLocal(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// unseen observes nothing.
type unseen struct{}

func (unseen) HTTPServed(string, string, string, int, int64, int64, time.Duration) {}
