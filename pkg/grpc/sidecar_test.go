package grpc_test

import (
	"github.com/daprd/daprd/pkg/configuration"
	"github.com/daprd/daprd/pkg/lock"
	"github.com/daprd/daprd/pkg/pubsub"

	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"
	googlegrpc "google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"

	"github.com/daprd/daprd/pkg/actors"
	"github.com/daprd/daprd/pkg/api"
	"github.com/daprd/daprd/pkg/bindings"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/crypto"
	"github.com/daprd/daprd/pkg/grpc"
	"github.com/daprd/daprd/pkg/messaging"
	"github.com/daprd/daprd/pkg/metadata"
	"github.com/daprd/daprd/pkg/nameresolution"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/ready"
	"github.com/daprd/daprd/pkg/secrets"
	"github.com/daprd/daprd/pkg/state"
)

// shelf is a state store that counts its entity tags from 1, as Redis does.
type shelf struct {
	mu    sync.Mutex
	items map[string]state.Item
	// conflict is the cause of a mismatch.
	conflict string
}

func newShelf() *shelf { return &shelf{items: make(map[string]state.Item)} }

func (s *shelf) Get(_ context.Context, req *state.GetRequest) (*state.Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case strings.HasSuffix(req.Key, "broken"):
		return nil, errors.New("the disk is on fire")
	case strings.HasSuffix(req.Key, "panic"):
		panic("out of shelves")
	}
	item := s.items[req.Key]
	return &item, nil
}

func (s *shelf) Set(_ context.Context, req *state.SetRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set(req)
}

func (s *shelf) set(req *state.SetRequest) error {
	current := s.items[req.Key]
	if req.ETag != nil && *req.ETag != current.ETag {
		return &state.ETagError{Cause: errors.New(s.conflict)}
	}
	number, _ := strconv.Atoi(current.ETag)
	s.items[req.Key] = state.Item{Value: bytes.Clone(req.Value), Found: true, ETag: strconv.Itoa(number + 1)}
	return nil
}

func (s *shelf) Delete(_ context.Context, req *state.DeleteRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remove(req)
}

func (s *shelf) remove(req *state.DeleteRequest) error {
	if req.ETag != nil && *req.ETag != s.items[req.Key].ETag {
		return &state.ETagError{Cause: errors.New(s.conflict)}
	}
	delete(s.items, req.Key)
	return nil
}

func (s *shelf) Transact(_ context.Context, ops []state.Operation, _ map[string]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, op := range ops {
		var err error
		if op.Set != nil {
			err = s.set(op.Set)
		} else {
			err = s.remove(op.Delete)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *shelf) MaxOperations() int { return 3 }

// bareShelf has no abilities.
type bareShelf struct{ state.Store }

// drawer is a secret store.
type drawer map[string]map[string]string

func (d drawer) Secret(_ context.Context, name string, _ map[string]string) (map[string]string, error) {
	if values, ok := d[name]; ok {
		return values, nil
	}
	return nil, errors.New("secret not found: " + name)
}

func (d drawer) All(context.Context, map[string]string) (map[string]map[string]string, error) {
	all := make(map[string]map[string]string)
	for name, values := range d {
		all[name] = values
	}
	return all, nil
}

type counted struct{}

func (counted) Secret(string, string) func(bool, time.Duration) { return func(bool, time.Duration) {} }

// directory finds sidecars for a test.
type directory map[string]string

func (d directory) Resolve(_ context.Context, target nameresolution.Target) ([]string, error) {
	if address, ok := d[target.AppID]; ok {
		return []string{address}, nil
	}
	return nil, errors.New("no host found with the given ID")
}

func (directory) Forget(nameresolution.Target, string) {}

// sidecar is the API server over real sockets, with everything that it serves.
type sidecar struct {
	config   grpc.Config
	deps     grpc.Deps
	shelf    *shelf
	state    *state.Service
	secrets  *secrets.Service
	bindings *bindings.Service
	app      ready.Slot[channel.App]
	peers    directory
	log      *logs
	shutdown chan bool

	server *grpc.Server
	conn   *googlegrpc.ClientConn
	runtimev1.DaprClient
}

// logs is what was logged, safe to read while more is.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start serves on a free port; change may alter the sidecar before.
func start(t testing.TB, change func(*sidecar)) *sidecar {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaks) })
	s := &sidecar{
		shelf:    newShelf(),
		state:    state.NewService(state.Deps{AppID: "myapp"}),
		secrets:  secrets.NewService(secrets.Deps{Observer: counted{}}),
		bindings: bindings.NewService(bindings.Deps{}),
		peers:    directory{},
		log:      new(logs),
		shutdown: make(chan bool, 1),
	}
	logger := logrus.New()
	logger.SetOutput(s.log)
	logger.SetFormatter(&logrus.TextFormatter{DisableTimestamp: true})
	s.deps.Log = logger
	s.config.MaxBodySize = 4 << 20
	if change != nil {
		change(s)
	}
	s.deps.Blocks = api.Blocks{
		State:         s.state,
		Secrets:       s.secrets,
		Bindings:      s.bindings,
		Lock:          lock.NewService(lock.Deps{AppID: "myapp"}),
		Configuration: configuration.NewService(configuration.Deps{}),
		PubSub:        pubsub.NewService(pubsub.Deps{AppID: "myapp"}),
		Crypto:        crypto.NewService(crypto.Deps{}),
		Messaging:     s.direct(t),
		Actors:        actors.New(actors.Deps{Table: new(ready.Slot[actors.Table]), App: new(ready.Slot[channel.App])}),
		Metadata:      newMetadata(),
		Health:        metadata.NewHealth("myapp"),
		Shutdown:      func(forced bool) { s.shutdown <- forced },
	}
	s.server = grpc.New(s.config, s.deps)
	if err := s.server.Listen(t.Context(), []string{"127.0.0.1"}, 0); err != nil {
		t.Fatal(err)
	}
	s.server.Serve()
	s.conn = dial(t, s.server.Addresses()[0].String())
	s.DaprClient = runtimev1.NewDaprClient(s.conn)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.server.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func dial(t testing.TB, address string, options ...googlegrpc.DialOption) *googlegrpc.ClientConn {
	t.Helper()
	options = append(options, googlegrpc.WithTransportCredentials(insecure.NewCredentials()))
	conn, err := googlegrpc.NewClient(address, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (s *sidecar) direct(t testing.TB) *messaging.Direct {
	resolver := new(ready.Slot[nameresolution.Resolver])
	resolver.Fill(s.peers)
	peers := messaging.NewPeers(messaging.Insecure{}, s.config.MaxBodySize)
	direct := messaging.New(messaging.Deps{
		Self:          messaging.Self{AppID: "myapp", Namespace: "default", HostIP: "127.0.0.1", HostName: "host", InternalPort: 50002},
		App:           &s.app,
		Resolver:      resolver,
		Peers:         peers,
		RetryInterval: messaging.RetryInterval(time.Millisecond),
	})
	t.Cleanup(func() {
		if err := errors.Join(peers.Close(), direct.Close()); err != nil {
			t.Error(err)
		}
	})
	return direct
}

// withStore loads the shelf as st.
func withStore(t testing.TB) func(*sidecar) {
	return func(s *sidecar) {
		if err := s.state.Add("st", s.shelf, state.Settings{}); err != nil {
			t.Fatal(err)
		}
	}
}

func newMetadata() *metadata.Service {
	return metadata.New(metadata.Sources{
		ID: "myapp", RuntimeVersion: "1.18.3",
		EnabledFeatures: func() []string { return []string{"F"} },
		Components: func() []metadata.Component {
			return []metadata.Component{{Name: "st", Type: "state.in-memory", Version: "v1", Capabilities: []string{"ETAG"}}}
		},
		HTTPEndpoints: func() []string { return []string{"github"} },
		Resiliencies:  func() []string { return []string{"policies"} },
		Subscriptions: func() []pubsub.Subscription { return nil },
		Actors:        func() []metadata.ActorCount { return nil },
		ActorRuntime:  func() metadata.ActorRuntime { return metadata.ActorRuntime{Status: metadata.ActorsDisabled} },
		App: func() metadata.AppConnection {
			return metadata.AppConnection{Port: 6000, Protocol: "http", ChannelAddress: "127.0.0.1", MaxConcurrency: 7}
		},
	})
}

// rawCodec passes the bytes of messages through.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

func decode(t testing.TB, b64 string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(b64)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
