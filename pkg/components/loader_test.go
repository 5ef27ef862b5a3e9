package components_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/secrets"
	"github.com/daprd/daprd/pkg/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a running loader with the blocks that it fills.
type bench struct {
	*components.Loader
	state   *state.Service
	secrets *secrets.Service
	log     *lines
	counted *tally
	// specs are those that the factories were given, by name.
	specs sync.Map
	stop  func()
}

// lines is a log that is read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// tally counts components.
type tally struct {
	mu    sync.Mutex
	lines []string
}

func (c *tally) ComponentLoaded(kind string) { c.add("loaded " + kind) }
func (c *tally) ComponentFailed(kind, reason, name string) {
	c.add(strings.Join([]string{"failed", kind, reason, name}, " "))
}

func (c *tally) add(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, line)
}

// start runs a loader that knows state.plain, state.broken, state.slow and secretstores.plain.
func start(t *testing.T) *bench {
	t.Helper()
	b := &bench{state: state.NewService(state.Deps{AppID: "app"}), secrets: secrets.NewService(secrets.Deps{}), log: &lines{}, counted: &tally{}}
	log := logrus.New()
	log.SetOutput(b.log)
	log.SetLevel(logrus.DebugLevel)
	log.SetFormatter(plainFormat{})
	b.Loader = components.NewLoader(components.Deps{
		Set: b.set(), State: b.state, Secrets: b.secrets, Counter: b.counted, Log: log.WithField("scope", "dapr.runtime"),
		ComponentLog: log.WithField("scope", "dapr.contrib"),
		Templates:    config.Templates{AppID: "app", Namespace: "prod"},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { b.Run(ctx) })
	b.stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(b.stop)
	return b
}

func (b *bench) set() components.Set {
	set := components.NewSet()
	keep := func(spec *components.Spec) { b.specs.Store(spec.Name, spec) }
	set.State.Register(func(_ context.Context, spec *components.Spec) (state.Store, error) {
		keep(spec)
		return &shelf{}, nil
	}, "plain")
	set.State.Register(func(_ context.Context, spec *components.Spec) (state.Store, error) {
		return nil, errors.New(spec.Properties["error"])
	}, "broken", "redis")
	set.SecretStore.Register(func(_ context.Context, spec *components.Spec) (secrets.Store, error) {
		keep(spec)
		return &safe{values: spec.Properties}, nil
	}, "plain")
	set.SecretStore.Register(func(_ context.Context, spec *components.Spec) (secrets.Store, error) {
		return nil, errors.New(spec.Properties["error"])
	}, "local.file")
	return set
}

// load gives the loader every component of the manifests, and the errors by name of the component.
func (b *bench) load(t *testing.T, manifests string) map[string]error {
	t.Helper()
	errs := map[string]error{}
	for _, c := range read(t, manifests) {
		if err := b.Load(t.Context(), c); err != nil {
			errs[c.Meta.Name] = err
		}
	}
	return errs
}

// read makes components of manifests, whose origin is the file of the name "r.yaml".
func read(t *testing.T, manifests string) []config.Component {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "r.yaml"), []byte(manifests), 0o600); err != nil {
		t.Fatal(err)
	}
	resources, err := config.ReadFolders(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(resources.Warnings) > 0 {
		t.Fatal(resources.Warnings)
	}
	for i := range resources.Components {
		resources.Components[i].Origin.File = "r.yaml"
	}
	return resources.Components
}

// manifest is a component's; more is put under spec, indented by two.
func manifest(name, kind string, more ...string) string {
	text := "---\napiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: " + name + "\nspec:\n  type: " + kind + "\n  version: v1\n"
	return text + strings.Join(more, "")
}

func property(name, value string) string {
	return fmt.Sprintf("  - name: %s\n    value: %q\n", name, value)
}

func secretRef(property, secret, key string) string {
	return fmt.Sprintf("  - name: %s\n    secretKeyRef: {name: %s, key: %q}\n", property, secret, key)
}

const (
	metadata = "  metadata:\n"
	ignore   = "  ignoreErrors: true\n"
)

func auth(store string) string { return "auth: {secretStore: " + store + "}\n" }

func (b *bench) spec(t *testing.T, name string) *components.Spec {
	t.Helper()
	spec, ok := b.specs.Load(name)
	if !ok {
		t.Fatalf("%s was not made; the log:\n%s", name, b.log)
	}
	return spec.(*components.Spec)
}

func (b *bench) names() (names []string) {
	for _, c := range b.Loaded() {
		names = append(names, c.Meta.Name)
	}
	return names
}

// shelf is a state store in memory that tells when it is closed.
type shelf struct{ closed chan struct{} }

func (*shelf) Get(_ context.Context, req *state.GetRequest) (*state.Item, error) {
	return &state.Item{Key: req.Key}, nil
}
func (*shelf) Set(context.Context, *state.SetRequest) error       { return nil }
func (*shelf) Delete(context.Context, *state.DeleteRequest) error { return nil }
func (s *shelf) Close() error {
	if s.closed != nil {
		close(s.closed)
	}
	return nil
}

// safe is a secret store whose secrets are its properties "name.key".
type safe struct {
	values map[string]string
	mu     sync.Mutex
	asked  []string
}

func (s *safe) Secret(_ context.Context, name string, metadata map[string]string) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, name+" "+metadata["namespace"])
	if name == "sealed" {
		return nil, errors.New("vault is sealed")
	}
	found := map[string]string{}
	for path, value := range s.values {
		if secret, key, ok := strings.Cut(path, "."); ok && secret == name {
			found[key] = value
		}
	}
	return found, nil
}

func (s *safe) All(context.Context, map[string]string) (map[string]map[string]string, error) {
	return nil, errors.New("not asked here")
}

func TestLoad(t *testing.T) {
	b := start(t)
	if errs := b.load(t, manifest("st", "state.Plain")+manifest("sec", "secretstores.plain")); len(errs) > 0 {
		t.Fatal(errs)
	}
	want := "debug loading component. name: st, type: state.Plain/v1\ninfo component loaded. name: st, type: state.Plain/v1\n" +
		"debug loading component. name: sec, type: secretstores.plain/v1\ninfo component loaded. name: sec, type: secretstores.plain/v1\n"
	if diff := cmp.Diff(want, b.log.String()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"st", "sec"}, b.names()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"loaded state.Plain", "loaded secretstores.plain"}, b.counted.lines); diff != "" {
		t.Error(diff)
	}
	if _, err := b.state.Get(t.Context(), "st", state.GetRequest{Key: "k"}); err != nil {
		t.Error(err)
	}
	if _, ok := b.secrets.Store("sec"); !ok {
		t.Error("the secret store is not in service")
	}
	if spec := b.spec(t, "st"); spec.AppID != "app" || spec.Namespace != "prod" || spec.Type != "state.Plain" || spec.Version != "v1" || spec.Log == nil {
		t.Errorf("spec %+v", spec)
	}
}

// TestFailuresBeginAsTheOriginals holds lines and errors against recorded ones: ours say the same and then
// more.
func TestFailuresBeginAsTheOriginals(t *testing.T) {
	refused := property("error", "redis store: error connecting to redis at 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused")
	manifests := map[string]string{
		"missing-secret":     manifest("sec", "secretstores.local.file", metadata, property("error", "open /nonexistent/s.json: no such file or directory")),
		"unknown-type":       manifest("st", "state.nosuch"),
		"unknown-version":    strings.Replace(manifest("st", "state.redis"), "version: v1", "version: v9", 1),
		"unknown-category":   manifest("st", "nosuch.redis"),
		"bad-component-init": manifest("st", "state.redis", metadata, refused),
		"bad-component-ignored": manifest("st", "state.redis", ignore, metadata,
			property("error", "redis store: error connecting to redis at : dial tcp 127.0.0.1:6379: connect: connection refused")),
	}
	recorded, err := os.ReadFile("testdata/failures-1.7.1.txt")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(recorded)) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), "\t")
		level, text, _ := strings.Cut(rest, "\t")
		seen[name] = true
		t.Run(name+" "+level, func(t *testing.T) {
			b := start(t)
			var failure error
			for _, err := range b.load(t, manifests[name]) {
				failure = err
			}
			if level == "fatal" {
				if failure == nil || !strings.HasPrefix(failure.Error(), text) {
					t.Errorf("error %v\nwant     %s …", failure, text)
				}
				return
			}
			if !strings.Contains("\n"+b.log.String(), "\n"+level+" "+text) {
				t.Errorf("log\n%swants the line %s %s …", b.log, level, text)
			}
			if name == "bad-component-ignored" && failure != nil {
				t.Errorf("the error %v was to be ignored", failure)
			}
		})
	}
	if len(seen) != len(manifests) {
		t.Errorf("the recording holds %v", seen)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	known := "this daprd has state.broken, state.plain, state.redis"
	tests := map[string]struct{ manifests, want string }{
		"unknown type": {manifest("st", "state.plian"),
			"process component st error: couldn't find state store state.plian/v1: " + known +
				"; did you mean state.plain?; component st (state.plian/v1) is defined in r.yaml (document 1, line 1)"},
		"nothing similar": {manifest("st", "state.cassandra"), known + "; component st"},
		"version": {strings.Replace(manifest("st", "state.plain"), "version: v1", "version: v2", 1),
			"couldn't find state store state.plain/v2: state.plain exists in version v1"},
		"case of the category": {manifest("st", "State.Redis"),
			"incorrect type State.Redis: want <category>.<name> with a category of bindings, configuration, conversation, crypto, lock, middleware, " +
				"pubsub, secretstores, state, workflow, in lower case; did you mean state?"},
		"no name":           {manifest(`""`, "state.plain"), "process component error: metadata.name is missing: "},
		"no type":           {manifest("st", `""`), "process component st error: spec.type is missing: want <category>.<name>"},
		"wrong form":        {manifest("st", "state.plain", "  metadata: {a: b}\n"), "process component st error: spec.metadata: line 9: want a list, "},
		"no dot":            {manifest("st", "redis"), "incorrect type redis"},
		"name with slash":   {manifest("a/b", "state.plain"), `metadata.name "a/b" cannot stand in the path of an API call: want a name without "/" and "%"`},
		"name with percent": {manifest("a%2fb", "state.plain"), `metadata.name "a%2fb" cannot stand`},
		"dots":              {manifest("..", "state.plain"), `metadata.name ".." cannot stand`},
		"second document":   {"---\nkind: Nothing\n" + manifest("st", "state.nosuch"), "r.yaml (document 2, line 3)"},
		"key prefix":        {manifest("st", "state.plain", metadata, property("keyPrefix", "a||b")), "input key/keyPrefix 'a||b' can't contain '||'"},
		"pod name": {manifest("st", "state.plain", metadata, property("p", "{podName}")),
			"metadata property p: {podName} stands in a value, but the environment variable POD_NAME is not set"},
		"encryption key that is not there": {manifest("st", "state.plain", metadata, secretRef("primaryEncryptionKey", "k", "")),
			`primaryEncryptionKey: the secret "k" gave no key`},
		"second of the name": {manifest("sec", "secretstores.plain"), "the name sec is in use by the component of first.yaml"},
		"second actor store": {manifest("st", "state.plain", metadata, property("actorStateStore", "true")),
			"detected duplicate actor state store: st (actors is one already)"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			for _, c := range read(t, manifest("sec", "secretstores.plain")+manifest("actors", "state.plain", metadata, property("actorStateStore", "true"))) {
				c.Origin.File = "first.yaml"
				if err := b.Load(t.Context(), c); err != nil {
					t.Fatal(err)
				}
			}
			errs := b.load(t, test.manifests)
			if len(errs) != 1 {
				t.Fatalf("errors %v", errs)
			}
			for _, err := range errs {
				if !strings.Contains(err.Error(), test.want) {
					t.Errorf("error %s\nwant  %s", err, test.want)
				}
			}
			if diff := cmp.Diff([]string{"sec", "actors"}, b.names()); diff != "" {
				t.Errorf("in use: %s", diff)
			}
		})
	}
}

func TestIgnoredErrors(t *testing.T) {
	b := start(t)
	if errs := b.load(t, manifest("st", "state.broken", ignore, metadata, property("error", "no luck"))+manifest("next", "state.plain")); len(errs) > 0 {
		t.Fatal(errs)
	}
	want := "error process component st error: no luck; component st (state.broken/v1) is defined in r.yaml (document 1, line 1)\n"
	if !strings.Contains(b.log.String(), want) {
		t.Errorf("log\n%swants %s", b.log, want)
	}
	if diff := cmp.Diff([]string{"next"}, b.names()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"failed state.broken init st", "loaded state.plain"}, b.counted.lines); diff != "" {
		t.Error(diff)
	}
	// Another attempt under the name is open, as a reload needs it.
	if errs := b.load(t, manifest("st", "state.plain")); len(errs) > 0 {
		t.Error(errs)
	}
}

func TestPassedOver(t *testing.T) {
	tests := map[string]struct{ manifest, want string }{
		"no such block yet": {manifest("wf", "workflow.dapr"),
			"warning component wf (workflow.dapr/v1) is passed over: this daprd does not have workflow yet; calls of that API answer 501\n"},
		"denied type": {manifest("st", "state.redis"),
			"warning component 'st' cannot be loaded because components of type 'st (state.redis/v1)' are not allowed\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			b.Deny(func(kind, _ string) bool { return kind == "state.redis" })
			if errs := b.load(t, test.manifest); len(errs) > 0 {
				t.Fatal(errs)
			}
			if !strings.Contains(b.log.String(), test.want) {
				t.Errorf("log\n%swants %s", b.log, test.want)
			}
			if len(b.Loaded()) > 0 || len(b.counted.lines) > 0 {
				t.Errorf("in use %v, counted %v", b.names(), b.counted.lines)
			}
		})
	}
}

func TestParking(t *testing.T) {
	b := start(t)
	dependent := manifest("st", "state.plain", metadata, property("plain", "{appID}"), secretRef("password", "db", "password"),
		secretRef("user", "db", "user"), secretRef("db", "token", ""), auth("sec"))
	if errs := b.load(t, dependent); len(errs) > 0 {
		t.Fatal(errs)
	}
	if want := "warning component st references a secret store that isn't loaded: sec\n"; !strings.HasSuffix(b.log.String(), want) {
		t.Errorf("log\n%swants %s", b.log, want)
	}
	if len(b.Loaded()) > 0 {
		t.Errorf("in use: %v", b.names())
	}
	if err := b.load(t, manifest("st", "state.plain"))["st"]; err == nil || !strings.Contains(err.Error(), "the name st is in use") {
		t.Errorf("the name of a parked component is free: %v", err)
	}
	// Placeholders and quotes: the former are not filled in secrets, the latter go.
	t.Setenv("TEST_PASSWORD", "{uuid}")
	provider := manifest("sec", "secretstores.plain", metadata, "  - {name: db.password, envRef: TEST_PASSWORD}\n",
		property("db.user", `"ada"`), property("token.token", "t"))
	if errs := b.load(t, provider); len(errs) > 0 {
		t.Fatal(errs)
	}
	want := map[string]string{"plain": "app", "password": "{uuid}", "user": "ada", "db": "t"}
	if diff := cmp.Diff(want, b.spec(t, "st").Properties); diff != "" {
		t.Error(diff)
	}
	order := "info component loaded. name: sec, type: secretstores.plain/v1\ndebug loading component. name: st, type: state.plain/v1\n" +
		"info component loaded. name: st, type: state.plain/v1\n"
	if !strings.HasSuffix(b.log.String(), order) {
		t.Errorf("log\n%swants at its end\n%s", b.log, order)
	}
	store, _ := b.secrets.Store("sec")
	if diff := cmp.Diff([]string{"db ", "token "}, store.(*safe).asked); diff != "" {
		t.Errorf("each secret is read once: %s", diff)
	}
}

func TestDependentsHaveErrorsOfTheirOwn(t *testing.T) {
	b := start(t)
	waiting := manifest("a", "state.broken", metadata, secretRef("error", "db", "x"), auth("sec")) +
		manifest("b", "state.broken", ignore, metadata, secretRef("error", "db", "x"), auth("sec")) +
		manifest("c", "state.plain", metadata, secretRef("p", "db", "x"), auth("sec"))
	if errs := b.load(t, waiting); len(errs) > 0 {
		t.Fatal(errs)
	}
	// The secret store's ignoreErrors is not theirs.
	err := b.load(t, manifest("sec", "secretstores.plain", ignore, metadata, property("db.x", "no luck")))["sec"]
	want := "process component a error: no luck; component a (state.broken/v1) is defined in r.yaml (document 1, line 1)"
	if err == nil || err.Error() != want {
		t.Errorf("error %v\nwant  %s", err, want)
	}
	if diff := cmp.Diff([]string{"sec", "c"}, b.names()); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(b.log.String(), "error process component b error: no luck") {
		t.Errorf("log\n%s", b.log)
	}
}

func TestUnresolvedSecrets(t *testing.T) {
	safe := manifest("sec", "secretstores.plain", metadata, property("db.user", "ada"))
	tests := map[string]struct {
		ref, auth string
		lines     []string
	}{
		"no store named": {secretRef("p", "db", "user"), "", []string{
			"warning component st references a secret store that isn't loaded: \n",
			"warning component st: its secretKeyRefs are not resolved: name their secret store in auth.secretStore\n"}},
		"no such key": {secretRef("p", "db", "nosuch"), auth("sec"), []string{
			"error error getting secret: the secret db of secret store sec has no key nosuch (component st, property p)\n"}},
		"failure": {secretRef("p", "sealed", "x") + secretRef("q", "sealed", "y"), auth("sec"), []string{
			"error error getting secret: vault is sealed (component st, secret sealed of secret store sec)\n"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			if errs := b.load(t, safe+manifest("st", "state.plain", metadata, test.ref, test.auth)); len(errs) > 0 {
				t.Fatal(errs)
			}
			if got := b.spec(t, "st").Properties["p"]; got != "" {
				t.Errorf("property %q", got)
			}
			for _, line := range test.lines {
				if n := strings.Count(b.log.String(), line); n != 1 {
					t.Errorf("%d times %s in the log\n%s", n, line, b.log)
				}
			}
		})
	}
}

func TestValuesFromElsewhereAreWithheld(t *testing.T) {
	t.Setenv("TEST_VALUE", "x")
	b := start(t)
	errs := b.load(t, manifest("sec", "secretstores.plain", metadata, property("db.user", "ada"))+
		manifest("st", "state.plain", metadata, property("plain", "x"), secretRef("p", "db", "user"), "  - {name: env, envRef: TEST_VALUE}\n", auth("sec")))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if diff := cmp.Diff([]string{"p", "env"}, b.spec(t, "st").Withheld); diff != "" {
		t.Error(diff)
	}
}

func TestProperties(t *testing.T) {
	t.Setenv("TEST_VALUE", "{appID}")
	t.Setenv("DAPR_API_TOKEN", "hunter2")
	b := start(t)
	errs := b.load(t, manifest("st", "state.plain", metadata, property("Twice", "first"), property("twice", "second"), property("TWICE", "last"),
		property("template", "{namespace}/{appID}"), "  - {name: number, value: 5}\n  - {name: object, value: {a: [1, true]}}\n  - {name: nothing}\n",
		"  - {name: env, envRef: TEST_VALUE}\n  - {name: refused, envRef: DAPR_API_TOKEN}\n"))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	want := map[string]string{"TWICE": "last", "template": "prod.app/app", "number": "5", "object": `{"a":[1,true]}`, "nothing": "",
		"env": "{appID}", "refused": ""}
	if diff := cmp.Diff(want, b.spec(t, "st").Properties); diff != "" {
		t.Error(diff)
	}
	if want := "warning Component st references an env variable that isn't allowed: DAPR_API_TOKEN"; !strings.Contains(b.log.String(), want) {
		t.Errorf("log\n%swants %s", b.log, want)
	}
	if strings.Contains(b.log.String(), "hunter2") {
		t.Error("the log shows a token")
	}
}

func TestInitTimeout(t *testing.T) {
	b := start(t)
	late := &shelf{closed: make(chan struct{})}
	release := make(chan struct{})
	b.stop()
	set := components.NewSet()
	set.State.Register(func(ctx context.Context, _ *components.Spec) (state.Store, error) {
		<-ctx.Done()
		<-release // it does not heed its time
		return late, nil
	}, "slow")
	set.State.Register(func(ctx context.Context, _ *components.Spec) (state.Store, error) {
		<-ctx.Done()
		return nil, fmt.Errorf("dial: %w", ctx.Err())
	}, "heeding")
	restart(t, b, set)
	for kind, want := range map[string]string{
		"state.slow":    "process component st error: init timeout for component st exceeded after 20ms: context deadline exceeded; spec.initTimeout gives it more time",
		"state.heeding": "process component st error: init timeout for component st exceeded after 20ms: dial: context deadline exceeded",
	} {
		err := b.load(t, manifest("st", kind, "  initTimeout: 20ms\n"))["st"]
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v\nwant  %s", err, want)
		}
	}
	close(release)
	select {
	case <-late.closed:
	case <-time.After(10 * time.Second):
		t.Error("the instance that came too late is not closed")
	}
	if len(b.Loaded()) > 0 {
		t.Errorf("in use: %v", b.names())
	}
}

// restart runs another loader over the blocks of b.
func restart(t *testing.T, b *bench, set components.Set) {
	t.Helper()
	log := logrus.New()
	log.SetOutput(b.log)
	log.SetFormatter(plainFormat{})
	b.Loader = components.NewLoader(components.Deps{Set: set, State: b.state, Secrets: b.secrets, Counter: b.counted,
		Log: logrus.NewEntry(log), ComponentLog: logrus.NewEntry(log)})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { b.Run(ctx) })
	b.stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(b.stop)
}

func TestUnusableInitTimeout(t *testing.T) {
	for _, text := range []string{"soon", "-1s", "0"} {
		b := start(t)
		if errs := b.load(t, manifest("st", "state.plain", fmt.Sprintf("  initTimeout: %q\n", text))); len(errs) > 0 {
			t.Fatal(errs)
		}
		want := fmt.Sprintf("warning component st: initTimeout %q is no duration like 30s; 5s holds instead\n", text)
		if !strings.Contains(b.log.String(), want) {
			t.Errorf("log\n%swants %s", b.log, want)
		}
	}
}

func TestTheEndInterruptsTheComponentInHand(t *testing.T) {
	b := start(t)
	b.stop()
	entered := make(chan struct{})
	set := components.NewSet()
	set.State.Register(func(ctx context.Context, _ *components.Spec) (state.Store, error) {
		close(entered)
		<-ctx.Done()
		return nil, ctx.Err()
	}, "slow")
	restart(t, b, set)
	component := read(t, manifest("st", "state.slow", "  initTimeout: 1h\n"))[0]
	failure := make(chan error, 1)
	go func() { failure <- b.Load(context.Background(), component) }()
	<-entered
	b.stop()
	if err := <-failure; err == nil || !strings.Contains(err.Error(), "init of component st was interrupted: context canceled") {
		t.Errorf("error %v", err)
	}
	if err := b.Load(context.Background(), component); err == nil || !strings.Contains(err.Error(), "shutting down") {
		t.Errorf("a load after the end: %v", err)
	}
}

func TestTheCallerNeedNotWait(t *testing.T) {
	b := start(t)
	b.stop()
	entered, release := make(chan struct{}), make(chan struct{})
	set := components.NewSet()
	set.State.Register(func(context.Context, *components.Spec) (state.Store, error) {
		close(entered)
		<-release
		return &shelf{}, nil
	}, "slow")
	restart(t, b, set)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-entered
		cancel()
	}()
	all := read(t, manifest("st", "state.slow")+manifest("next", "state.slow"))
	for _, c := range all {
		if err := b.Load(ctx, c); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v", c.Meta.Name, err)
		}
	}
	close(release)
	// The loader takes this one when the one in hand is done.
	if errs := b.load(t, manifest("unknown", "state.nosuch")); len(errs) != 1 {
		t.Errorf("errors %v", errs)
	}
	if diff := cmp.Diff([]string{"st"}, b.names()); diff != "" {
		t.Error(diff)
	}
}

func TestRegistry(t *testing.T) {
	set := components.NewSet()
	made := ""
	factory := func(name string) components.Factory[state.Store] {
		return func(context.Context, *components.Spec) (state.Store, error) {
			made = name
			return nil, nil
		}
	}
	set.State.Register(factory("one"), "one", "uno")
	set.State.Register(factory("two"), "one/v2")
	tests := map[string]struct{ kind, version, want string }{
		"v1":              {"state.one", "v1", "one"},
		"v0":              {"state.one", "v0", "one"},
		"no version":      {"state.one", "", "one"},
		"version's case":  {"state.one", "V1", "one"},
		"alias":           {"state.uno", "v1", "one"},
		"type's case":     {"state.ONE", "v1", "one"},
		"another version": {"state.one", "v2", "two"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f, err := set.State.Factory(test.kind, test.version)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = f(t.Context(), nil)
			if made != test.want {
				t.Errorf("made %q, want %q", made, test.want)
			}
		})
	}
	for kind, want := range map[string]string{
		"mdns":  "couldn't find name resolver mdns/v1: this daprd has no name resolver",
		"state": "couldn't find name resolver state/v1: this daprd has no name resolver",
	} {
		if _, err := set.Resolver.Factory(kind, "v1"); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if _, err := set.SecretStore.Factory("secretstores.local.file", "v1"); err == nil || !strings.HasPrefix(err.Error(), "couldn't find secret store secretstores.local.file/v1") {
		t.Error(err)
	}
}
