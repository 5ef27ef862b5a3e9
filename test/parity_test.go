package test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc/codes"

	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/runtime"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// parityCase is one thing that callers ask of the API. It means the same over both transports, and, unless
// early says otherwise, the same while the application is awaited.
type parityCase struct {
	name string
	do   func(*asker) meaning
	want meaning
	// early is the answer while the application is awaited.
	early *meaning
	// grpc is the answer over gRPC where Dapr's two APIs differ, for the reason that stands beside it.
	grpc *meaning
}

// meaning is what an answer says, whatever brought it.
type meaning struct {
	// Value is the data of a key, or the body of an application's answer.
	Value string
	// ETag says that an entity tag came.
	ETag    bool
	Items   []parityItem
	Secrets map[string]map[string]string
	// Status is that of an application's answer as HTTP numbers it.
	Status int
	Header map[string][]string
	Info   *parityInfo
	Fault  *fault
}

type parityItem struct {
	Key, Value string
	ETag       bool
	Error      string
}

// parityInfo is the metadata API's content.
type parityInfo struct {
	ID, Version   string
	Features      []string
	Components    []string
	Extended      map[string]string
	HTTPEndpoints []string
	Resiliencies  []string
	AppProtocol   string
	AppAddress    string
	HasAppPort    bool
	Concurrency   int
	ActorStatus   string
}

// fault is an error of the API. A text that ends in "…" is the beginning of the real one; in it {store} and
// {key:name} stand for the names in use.
type fault struct {
	HTTP int
	Code string
	GRPC codes.Code
	Text string
	// OnHTTP is the text in an HTTP body where it differs.
	OnHTTP string
	// Reason is that of the ErrorInfo detail; an HTTP body has it if Rich.
	Reason string
	Rich   bool
	// Silent says that HTTP shows the status alone: the answer of HEAD.
	Silent bool
}

// over is the fault as one transport shows it.
func (f *fault) over(transport string) *fault {
	if f == nil {
		return nil
	}
	if transport == "grpc" {
		return &fault{GRPC: f.GRPC, Text: f.Text, Reason: f.Reason}
	}
	if f.Silent {
		return &fault{HTTP: f.HTTP}
	}
	seen := &fault{HTTP: f.HTTP, Code: f.Code, Text: f.Text}
	if f.OnHTTP != "" {
		seen.Text = f.OnHTTP
	}
	if f.Rich {
		seen.Reason = f.Reason
	}
	return seen
}

// transport is one of the two APIs, in the words of what callers want.
type transport interface {
	name() string
	getState(ctx context.Context, store, key string, metadata map[string]string) (value meaning, etag string)
	saveState(ctx context.Context, store string, items ...stateItem) meaning
	deleteState(ctx context.Context, store string, item stateItem) meaning
	getBulkState(ctx context.Context, store string, keys ...string) meaning
	transact(ctx context.Context, store string, operations ...stateOperation) meaning
	query(ctx context.Context, store, text string) meaning
	secret(ctx context.Context, store, name string) meaning
	secrets(ctx context.Context, store string) meaning
	invoke(ctx context.Context, call invocation) meaning
	metadata(ctx context.Context) meaning
	setMetadata(ctx context.Context, key, value string) meaning
	cryptoAPI
	settingsAPI
	bindingsAPI
	publishAPI
	actorsAPI
}

type stateItem struct {
	Key, Value string
	ETag       *string
	// Concurrency is "first-write", "last-write" or "".
	Concurrency string
	Consistency string
	Metadata    map[string]string
}

type stateOperation struct {
	Type string
	Item stateItem
}

type invocation struct {
	ID, Verb, Method, Query string
	Header                  map[string][]string
	ContentType, Body       string
}

// asker asks over one transport.
type asker struct {
	t   *testing.T
	ctx context.Context
	api transport
	// store is the state store in turn.
	store string
	// suffix makes the keys of this run of this case its own.
	suffix string
}

func (a *asker) key(name string) string { return name + a.suffix }

func (a *asker) get(name string) meaning {
	value, _ := a.api.getState(a.ctx, a.store, a.key(name), nil)
	return value
}

// etag is that of a key which has to be there.
func (a *asker) etag(name string) *string {
	a.t.Helper()
	value, etag := a.api.getState(a.ctx, a.store, a.key(name), nil)
	if value.Fault != nil || etag == "" {
		a.t.Fatalf("no etag of %s: %+v", name, value)
	}
	return &etag
}

// must is for what comes before the question.
func (a *asker) must(answer meaning) {
	a.t.Helper()
	if diff := cmp.Diff(meaning{}, answer, cmpopts.EquateEmpty()); diff != "" {
		a.t.Fatalf("%s", diff)
	}
}

// put saves a value.
func (a *asker) put(name, value string) {
	a.t.Helper()
	a.must(a.save(stateItem{Key: name, Value: value}))
}

// save saves items under keys of this run.
func (a *asker) save(items ...stateItem) meaning {
	named := make([]stateItem, len(items))
	for i, item := range items {
		item.Key = a.key(item.Key)
		named[i] = item
	}
	return a.api.saveState(a.ctx, a.store, named...)
}

func (a *asker) remove(item stateItem) meaning {
	item.Key = a.key(item.Key)
	return a.api.deleteState(a.ctx, a.store, item)
}

func (a *asker) transact(operations ...stateOperation) meaning {
	named := make([]stateOperation, len(operations))
	for i, o := range operations {
		o.Item.Key = a.key(o.Item.Key)
		named[i] = o
	}
	return a.api.transact(a.ctx, a.store, named...)
}

func (a *asker) bulk(names ...string) meaning {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = a.key(name)
	}
	answer := a.api.getBulkState(a.ctx, a.store, keys...)
	for i := range answer.Items {
		answer.Items[i].Key = strings.TrimSuffix(answer.Items[i].Key, a.suffix)
	}
	return answer
}

var runs atomic.Int64

// askAll puts the cases to every transport.
func askAll(t *testing.T, cases []parityCase, apis []transport, store string, early bool) {
	for _, c := range cases {
		for _, api := range apis {
			t.Run(c.name+"/"+api.name(), func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				a := &asker{t: t, ctx: ctx, api: api, store: store, suffix: fmt.Sprintf("-%d", runs.Add(1))}
				want := c.want
				if api.name() == "grpc" && c.grpc != nil {
					want = *c.grpc
				}
				if early && c.early != nil {
					want = *c.early
				}
				a.compare(want, c.do(a))
			})
		}
	}
}

func (a *asker) compare(want, got meaning) {
	a.t.Helper()
	if want.Fault = want.Fault.over(a.api.name()); want.Fault != nil {
		want.Fault.Text = a.named(want.Fault.Text)
		if beginning, ok := strings.CutSuffix(want.Fault.Text, "…"); ok && got.Fault != nil && strings.HasPrefix(got.Fault.Text, beginning) {
			got.Fault.Text = want.Fault.Text
		}
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		a.t.Errorf("(-want +got):\n%s", diff)
	}
}

// named puts names in place of {store} and {key:name}.
func (a *asker) named(text string) string {
	text = strings.ReplaceAll(text, "{store}", a.store)
	for {
		before, rest, found := strings.Cut(text, "{key:")
		if !found {
			return text
		}
		name, after, _ := strings.Cut(rest, "}")
		text = before + a.key(name) + after
	}
}

// parityWorld is one sidecar that is asked over both transports, with others around it.
type parityWorld struct {
	*runtimetest.Sidecar
	app   *application
	apis  []transport
	redis *redistest.Server
	// outside is the URL of a service without a sidecar.
	outside string
}

// newParityWorld starts the sidecar and does not let its application listen yet.
func newParityWorld(t *testing.T) *parityWorld {
	t.Helper()
	runtimetest.Isolate(t)
	t.Setenv("PARITY_SECRET", "from the environment")
	outside := "http://" + loopback(startApplication(t, saw("outside")).port)
	startParityCallees(t)
	w := &parityWorld{app: newApplication(t, saw("parity")), redis: redistest.Start(t), outside: outside}
	dir := t.TempDir()
	secrets := filepath.Join(dir, "secrets.json")
	if err := os.WriteFile(secrets, []byte(`{"one":"1","two":"2","nested":{"a":"x","b":"y"},"key":"00112233445566778899aabbccddeeff"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/parity/resources.yaml")
	if err != nil {
		t.Fatal(err)
	}
	filled := strings.NewReplacer("REDIS", w.redis.Address, "SECRETS", secrets, "DIR", dir, "OUTSIDE", outside).Replace(string(text))
	scopes, err := os.ReadFile("testdata/parity/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	w.Sidecar = runtimetest.Launch(t, "parity", inNamespace("ns1"), appOn(w.app), runtimetest.Manifests(t, filled),
		runtimetest.Configuration(t, string(scopes)), func(c *runtime.Config) { c.AppMaxConcurrency = 64 })
	w.Await(t, "/v1.0/healthz/outbound")
	w.apis = transports(t, w.Sidecar)
	return w
}

func inNamespace(name string) runtimetest.Option {
	return func(c *runtime.Config) { c.Namespace = name }
}

func appOn(a *application) runtimetest.Option {
	return runtimetest.App(&net.TCPAddr{Port: a.port}, config.HTTP)
}

func transports(t *testing.T, s *runtimetest.Sidecar) []transport {
	client := &http.Client{
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(client.CloseIdleConnections)
	return []transport{&httpAPI{client: client, base: s.URL("")}, newGRPCAPI(dial(t, s.GRPCAddress().String()))}
}

// TestParity runs the table over both transports, while the application is awaited and when it is there.
func TestParity(t *testing.T) {
	w := newParityWorld(t)
	t.Run("early", func(t *testing.T) { w.everything(t, true) })
	if w.Log.Contains("dapr initialized") {
		t.Fatal("the sidecar did not wait for its application")
	}
	w.app.live(t)
	w.Await(t, "/v1.0/healthz")
	t.Run("up", func(t *testing.T) { w.everything(t, false) })
	if strings.Contains(w.Log.String(), "panic") {
		t.Errorf("a call made the sidecar panic")
	}
}

func (w *parityWorld) everything(t *testing.T, early bool) {
	for _, store := range []string{"memory", "sqlite", "redis"} {
		t.Run("state/"+store, func(t *testing.T) { askAll(t, stateCases(store), w.apis, store, early) })
	}
	t.Run("encryption", func(t *testing.T) { askAll(t, encryptionCases(), w.apis, "sealed", early) })
	t.Run("secrets", func(t *testing.T) { askAll(t, secretCases(), w.apis, "", early) })
	t.Run("invoke", func(t *testing.T) { askAll(t, invokeCases(w.outside), w.apis, "", early) })
	t.Run("metadata", func(t *testing.T) { askAll(t, metadataCases(), w.apis, "", early) })
	t.Run("across", func(t *testing.T) { w.across(t) })
	t.Run("raw", func(t *testing.T) { w.raw(t) })
	t.Run("expiry", func(t *testing.T) { w.expiry(t) })
}

// raw: bytes that are no JSON, which only gRPC can save, come back as they are over both transports; in the
// JSON of a bulk answer a text is a string.
func (w *parityWorld) raw(t *testing.T) {
	for _, store := range []string{"memory", "sqlite", "redis", "sealed"} {
		for _, value := range []string{"\x00\xff bytes", "{a text", ""} {
			key := fmt.Sprintf("raw-%d", runs.Add(1))
			if answer := w.apis[1].saveState(t.Context(), store, stateItem{Key: key, Value: value}); answer.Fault != nil {
				t.Fatal(answer.Fault)
			}
			for _, api := range w.apis {
				got, _ := api.getState(t.Context(), store, key, nil)
				if diff := cmp.Diff(meaning{Value: value, ETag: true}, got); diff != "" {
					t.Errorf("%q in %s over %s: %s", value, store, api.name(), diff)
				}
			}
			if value != "{a text" {
				continue
			}
			for i, want := range []string{`"{a text"`, "{a text"} {
				if many := w.apis[i].getBulkState(t.Context(), store, key); len(many.Items) != 1 || many.Items[0].Value != want {
					t.Errorf("%s over %s, bulk: %+v, want %q", store, w.apis[i].name(), many.Items, want)
				}
			}
		}
	}
}

// expiry: a key that lives for a second is gone after it, for both transports.
func (w *parityWorld) expiry(t *testing.T) {
	key := fmt.Sprintf("brief-%d", runs.Add(1))
	for _, store := range []string{"memory", "sqlite", "redis", "sealed"} {
		for _, writer := range w.apis {
			item := stateItem{Key: key + writer.name(), Value: "1", Metadata: map[string]string{"ttlInSeconds": "1"}}
			if answer := writer.saveState(t.Context(), store, item); answer.Fault != nil {
				t.Fatal(answer.Fault)
			}
		}
	}
	for _, store := range []string{"memory", "sqlite", "redis", "sealed"} {
		for i, writer := range w.apis {
			settle(t, func() bool {
				value, _ := w.apis[1-i].getState(t.Context(), store, key+writer.name(), nil)
				return value.Fault == nil && value.Value == ""
			}, "the end of a key of "+store+" that lives for a second")
		}
	}
}

// across: what one transport writes the other reads, byte for byte.
func (w *parityWorld) across(t *testing.T) {
	for _, store := range []string{"memory", "sqlite", "redis", "sealed"} {
		for i, writer := range w.apis {
			reader := w.apis[1-i]
			t.Run(store+"/"+writer.name()+" to "+reader.name(), func(t *testing.T) {
				key := fmt.Sprintf("across-%d", runs.Add(1))
				value := `{"z":1.10,  "a":"\u00e9</>", "big":12345678901234567890}`
				if answer := writer.saveState(t.Context(), store, stateItem{Key: key, Value: value}); answer.Fault != nil {
					t.Fatal(answer.Fault)
				}
				got, etag := reader.getState(t.Context(), store, key, nil)
				if diff := cmp.Diff(meaning{Value: value, ETag: true}, got); diff != "" {
					t.Error(diff)
				}
				if answer := writer.deleteState(t.Context(), store, stateItem{Key: key, ETag: &etag}); answer.Fault != nil {
					t.Errorf("delete by the tag that the other gave: %+v", answer.Fault)
				}
			})
		}
	}
}

// sighting is what an application of these tests saw of a call; it answers with it.
type sighting struct {
	At, Verb, Path, Query, ContentType, Body string
	Header                                   map[string][]string
}

func (s sighting) String() string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// settle polls until the answer is the one wanted: for what no signal tells of.
func settle(t *testing.T, ask func() bool, what string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ask(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen", what)
		}
	}
}
