package pluggable_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/daprd/daprd/pkg/bindings"
	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/components/pluggable"
	"github.com/daprd/daprd/pkg/components/pluggable/pluggabletest"
	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/secrets"
	"github.com/daprd/daprd/pkg/secrets/secretstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a folder of sockets and what was found there.
type world struct {
	folder string
	set    components.Set
	log    *bytes.Buffer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	folder, err := os.MkdirTemp("", "sockets") // short: a socket's path has 108 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return &world{folder: folder, set: components.NewSet(), log: &bytes.Buffer{}}
}

func (w *world) serve(t *testing.T, file string, parts pluggabletest.Parts) *pluggabletest.Process {
	t.Helper()
	p, err := pluggabletest.Serve(filepath.Join(w.folder, file), parts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

func (w *world) discover(t *testing.T) {
	t.Helper()
	log := logrus.New()
	log.SetOutput(w.log)
	pluggable.Discover(t.Context(), w.folder, w.set, log)
}

// make makes the component of a type as the loader would.
func made[T any](t *testing.T, registry *components.Registry[T], kind string) T {
	t.Helper()
	factory, err := registry.Factory(kind, "v1")
	if err != nil {
		t.Fatal(err)
	}
	instance, err := factory(t.Context(), componentstest.Spec(kind, map[string]string{"a": "1"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = any(instance).(io.Closer).Close() })
	return instance
}

// box is a secret store.
type box map[string]map[string]string

func (b box) Secret(_ context.Context, name string, _ map[string]string) (map[string]string, error) {
	if values, ok := b[name]; ok {
		return values, nil
	}
	return nil, errors.New("no secret " + name)
}
func (b box) All(context.Context, map[string]string) (map[string]map[string]string, error) {
	return b, nil
}

// echo is an output binding that answers with what it gets.
type echo struct{}

func (echo) Operations() []string { return []string{"create", "get"} }
func (echo) Invoke(_ context.Context, req *bindings.Request) (*bindings.Response, error) {
	if req.Operation == "get" {
		return nil, errors.New("nothing to get")
	}
	return &bindings.Response{Data: append([]byte(req.Operation+" "), req.Data...), Metadata: req.Metadata}, nil
}

// line is a broker of one topic: what is published waits for the subscriber, and comes again when it is refused.
type line struct {
	messages chan *pubsub.Message
}

func (l *line) Publish(_ context.Context, req *pubsub.PublishRequest) error {
	l.messages <- &pubsub.Message{Topic: req.Topic, Data: bytes.Clone(req.Data), ContentType: req.ContentType, Metadata: req.Metadata}
	return nil
}

func (l *line) Subscribe(ctx context.Context, req *pubsub.SubscribeRequest, deliver pubsub.Handler) error {
	for {
		select {
		case m := <-l.messages:
			if errs := deliver(ctx, []*pubsub.Message{m}); errs != nil && errs[0] != nil {
				l.messages <- m
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// ticks is an input binding with events from a channel; answers go to another.
type ticks struct {
	events  chan string
	answers chan string
}

func (x *ticks) Read(ctx context.Context, deliver bindings.Handler) error {
	var wait sync.WaitGroup
	defer wait.Wait()
	for {
		select {
		case event := <-x.events:
			wait.Go(func() {
				data, err := deliver(ctx, &bindings.Event{Data: []byte(event)})
				x.answers <- fmt.Sprintf("%s %v", data, err)
			})
		case <-ctx.Done():
			return nil
		}
	}
}

func TestDiscover(t *testing.T) {
	w := newWorld(t)
	w.serve(t, "Vault.v2.sock", pluggabletest.Parts{Secret: box{}, Output: echo{}})
	if err := os.WriteFile(filepath.Join(w.folder, "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(w.folder, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	w.discover(t)
	if diff := cmp.Diff([]string{"secretstores.vault.v2"}, w.set.SecretStore.Types()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"bindings.vault.v2"}, w.set.OutputBinding.Types()); diff != "" {
		t.Error(diff)
	}
	for _, want := range []string{"could not use socket for file " + filepath.Join(w.folder, "notes.txt"),
		"pluggable component 'vault.v2' was successfully registered for 'dapr.proto.components.v1.SecretStore'"} {
		if !strings.Contains(w.log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, w.log)
		}
	}
	if strings.Contains(w.log.String(), "folder'") {
		t.Errorf("folders are talked of:\n%s", w.log)
	}
}

// TestDeadSocket: a socket that nobody serves holds up no start, and the others are found.
func TestDeadSocket(t *testing.T) {
	w := newWorld(t)
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(w.folder, "dead.sock")})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	w.serve(t, "vault.sock", pluggabletest.Parts{Secret: box{}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	log := logrus.New()
	log.SetOutput(w.log)
	pluggable.Discover(ctx, w.folder, w.set, log)
	if !strings.Contains(w.log.String(), "could not initialize pluggable components of "+filepath.Join(w.folder, "dead.sock")) {
		t.Errorf("the log:\n%s", w.log)
	}
}

func TestNoFolder(t *testing.T) {
	w := newWorld(t)
	w.folder = filepath.Join(w.folder, "absent")
	w.discover(t)
	if w.log.Len() > 0 || len(w.set.State.Types()) > 0 {
		t.Errorf("the log:\n%s", w.log)
	}
}

func TestInit(t *testing.T) {
	w := newWorld(t)
	p := w.serve(t, "vault.sock", pluggabletest.Parts{Secret: box{}})
	w.serve(t, "broken.sock", pluggabletest.Parts{Secret: box{}, Refuse: "the vault is locked"})
	w.discover(t)
	made[secrets.Store](t, w.set.SecretStore, "secretstores.vault")
	instances, properties := p.Seen()
	if diff := cmp.Diff([]string{"test"}, instances); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"a": "1"}, properties); diff != "" {
		t.Error(diff)
	}
	factory, err := w.set.SecretStore.Factory("secretstores.broken", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := factory(t.Context(), componentstest.Spec("secretstores.broken", nil)); err == nil || !strings.Contains(err.Error(), "the vault is locked") {
		t.Errorf("error %v", err)
	}
}

func TestSecrets(t *testing.T) {
	w := newWorld(t)
	known := box{"db": {"user": "the user's name", "password": "the password"}}
	w.serve(t, "vault.sock", pluggabletest.Parts{Secret: known})
	w.discover(t)
	store := made[secrets.Store](t, w.set.SecretStore, "secretstores.vault")
	secretstest.Run(t, store, secretstest.Options{Known: known, Exact: true, Unknown: "other"})
}

func TestOutput(t *testing.T) {
	w := newWorld(t)
	w.serve(t, "echo.sock", pluggabletest.Parts{Output: echo{}})
	w.discover(t)
	output := made[bindings.Output](t, w.set.OutputBinding, "bindings.echo")
	if diff := cmp.Diff([]string{"create", "get"}, output.Operations()); diff != "" {
		t.Error(diff)
	}
	answer, err := output.Invoke(t.Context(), &bindings.Request{Operation: "create", Data: []byte("x"), Metadata: map[string]string{"k": "v"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&bindings.Response{Data: []byte("create x"), Metadata: map[string]string{"k": "v"}}, answer); diff != "" {
		t.Error(diff)
	}
	if _, err := output.Invoke(t.Context(), &bindings.Request{Operation: "get"}); err == nil || !strings.Contains(err.Error(), "nothing to get") {
		t.Errorf("error %v", err)
	}
}

// TestInput: events are handled at once, answers and failures find their event, and the end waits for those in hand.
func TestInput(t *testing.T) {
	w := newWorld(t)
	source := &ticks{events: make(chan string), answers: make(chan string, 10)}
	w.serve(t, "ticks.sock", pluggabletest.Parts{Input: source})
	w.discover(t)
	input := made[bindings.Input](t, w.set.InputBinding, "bindings.ticks")
	ctx, stop := context.WithCancel(t.Context())
	release, ended := make(chan struct{}), make(chan error, 1)
	begun := make(chan struct{}, 3)
	go func() {
		ended <- input.Read(ctx, func(_ context.Context, event *bindings.Event) ([]byte, error) {
			begun <- struct{}{}
			<-release
			if string(event.Data) == "bad" {
				return nil, errors.New("refused")
			}
			return append([]byte("re: "), event.Data...), nil
		})
	}()
	for _, event := range []string{"one", "two", "bad"} {
		source.events <- event
	}
	for range 3 {
		<-begun
	}
	stop()
	select {
	case err := <-ended:
		t.Fatalf("it ended with events in hand: %v", err)
	default:
	}
	close(release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	got := map[string]bool{}
	for range 3 {
		got[<-source.answers] = true
	}
	if diff := cmp.Diff(map[string]bool{"re: one <nil>": true, "re: two <nil>": true, " refused": true}, got); diff != "" {
		t.Error(diff)
	}
}

// TestSubscribe: a message that is refused comes again, and a process that goes away is an error.
func TestSubscribe(t *testing.T) {
	w := newWorld(t)
	p := w.serve(t, "line.sock", pluggabletest.Parts{Broker: &line{messages: make(chan *pubsub.Message, 10)}})
	w.discover(t)
	broker := made[pubsub.Broker](t, w.set.PubSub, "pubsub.line")
	if _, bulk := broker.(pubsub.BulkPublisher); bulk {
		t.Error("a process without BULK_PUBSUB takes many at once")
	}
	if err := broker.Publish(t.Context(), &pubsub.PublishRequest{Topic: "t", Data: []byte("x"), ContentType: "text/plain", Metadata: map[string]string{"k": "v"}}); err != nil {
		t.Fatal(err)
	}
	established, ended := make(chan struct{}), make(chan error, 1)
	seen := make(chan *pubsub.Message, 2)
	go func() {
		times := 0
		ended <- broker.Subscribe(t.Context(), &pubsub.SubscribeRequest{Topic: "t", Established: func() { close(established) }},
			func(_ context.Context, messages []*pubsub.Message) []error {
				seen <- messages[0]
				if times++; times == 1 {
					return []error{errors.New("not now")}
				}
				return nil
			})
	}()
	<-established
	for range 2 {
		m := <-seen
		if string(m.Data) != "x" || m.ContentType != "text/plain" || m.Metadata["k"] != "v" || m.Topic != "t" || m.ID != "" {
			t.Errorf("%+v", m)
		}
	}
	p.Stop()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "line.sock ended the stream") {
		t.Errorf("error %v", err)
	}
}
