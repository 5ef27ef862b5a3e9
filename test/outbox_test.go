package test

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/go-redis/redis/v8"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/daprd/daprd/pkg/cloudevent"
	"github.com/daprd/daprd/pkg/components/redis/redistest"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// outboxStore is a state store of a type whose transactions are published to topic out of ps, with more properties.
func outboxStore(name, kind string, properties ...string) string {
	text := fmt.Sprintf("---\napiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: %s}\nspec:\n  type: state.%s\n  version: v1\n  metadata:\n", name, kind)
	all := map[string]string{"outboxPublishPubsub": "ps", "outboxPublishTopic": "out", "keyPrefix": "none"}
	for i := 0; i < len(properties); i += 2 {
		all[properties[i]] = properties[i+1]
	}
	for name, value := range all {
		text += fmt.Sprintf("  - {name: %s, value: %q}\n", name, value)
	}
	return text
}

// listener is an application that collects whole events by topic.
type listener struct {
	*application
	events chan string
}

func newListener(t *testing.T) *listener {
	l := &listener{events: make(chan string, 1000)}
	l.application = startApplication(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || err != nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		l.events <- strings.TrimPrefix(r.URL.Path, "/") + " " + string(body)
	})
	return l
}

// next is the next event that came: its topic, and what no test can know in advance masked.
func (l *listener) next(t *testing.T) string {
	t.Helper()
	select {
	case text := <-l.events:
		return masked.ReplaceAllString(text, `$1:"…"`)
	case <-time.After(patience):
		t.Fatal("no event came")
	}
	return ""
}

var masked = regexp.MustCompile(`("time"|"id"):"(outbox-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9TZ:-]+)"`)

// outboxEvent is an event as the application gets it, for an app id: its data and what else differs.
func outboxEvent(appID, data, contentType string, more ...string) string {
	fields := []string{`"data":` + data, `"datacontenttype":"` + contentType + `"`, `"id":"…"`, `"pubsubname":"ps"`, `"source":"` + appID + `"`,
		`"specversion":"1.0"`, `"time":"…"`, `"topic":"out"`, `"traceid":""`, `"traceparent":""`, `"tracestate":""`, `"type":"com.dapr.event.sent"`}
	e, err := cloudevent.Parse([]byte("{" + strings.Join(fields, ",") + "}"))
	if err != nil {
		panic(err)
	}
	for i := 0; i < len(more); i += 2 {
		e.Set(more[i], more[i+1])
	}
	return "out " + string(e.Append(nil))
}

// TestOutbox: what a transaction upserts is published when it is stored, over both transports, on every kind of store and
// broker; projections are published and not stored; nothing of it is left in the store.
func TestOutbox(t *testing.T) {
	server := redistest.Start(t)
	for name, parts := range map[string][]string{
		"in memory":       {inMemory(), outboxStore("st", "in-memory")},
		"SQLite by Redis": {redisPubSub(server.Address), outboxStore("st", "sqlite", "connectionString", ":memory:")},
		"Redis":           {redisPubSub(server.Address), outboxStore("st", "redis", "redisHost", server.Address)},
	} {
		t.Run(name, func(t *testing.T) {
			runtimetest.Isolate(t)
			app := newListener(t)
			s := runtimetest.Start(t, "shop", appOn(app.application), runtimetest.Manifests(t, strings.Join(parts, "")+subscribed("out")))
			for _, api := range transports(t, s) {
				t.Run(api.name(), func(t *testing.T) { outboxCases(t, s, app, api) })
			}
			if got := plainly(t, s, "GET /v1.0/metadata"); strings.Contains(got, "shopoutoutbox") {
				t.Errorf("the internal subscription shows: %s", got)
			}
		})
	}
	client := goredis.NewClient(&goredis.Options{Addr: server.Address})
	defer client.Close()
	leftovers, err := client.Keys(t.Context(), "outbox-*").Result()
	if err != nil || len(leftovers) > 0 {
		t.Errorf("markers are left: %v, %v", leftovers, err)
	}
}

func outboxCases(t *testing.T, s *runtimetest.Sidecar, app *listener, api transport) {
	http := api.name() == "http"
	either := func(onHTTP, onGRPC string) string {
		if http {
			return onHTTP
		}
		return onGRPC
	}
	item := func(value string, metadata ...string) stateOperation {
		op := stateOperation{Type: "upsert", Item: stateItem{Key: "k", Value: value}}
		if len(metadata) > 0 {
			op.Item.Metadata = map[string]string{}
		}
		for i := 0; i < len(metadata); i += 2 {
			op.Item.Metadata[metadata[i]] = metadata[i+1]
		}
		return op
	}
	stored := func() string {
		got, _ := api.getState(t.Context(), "st", "k", nil)
		return got.Value
	}
	for name, c := range map[string]struct {
		operations []stateOperation
		stored     string
		want       string
	}{
		"a text":   {[]stateOperation{item(`"new"`)}, `"new"`, outboxEvent("shop", either(`"new"`, `"\"new\""`), "text/plain")},
		"a number": {[]stateOperation{item(`17`)}, `17`, outboxEvent("shop", `"17"`, "text/plain")},
		"an object": {[]stateOperation{item(`{"n": 1.0}`)}, `{"n": 1.0}`,
			outboxEvent("shop", either(`{"n": 1.0}`, `"{\"n\": 1.0}"`), either("application/json", "text/plain"))},
		"JSON by its metadata": {[]stateOperation{item(`{"n":1}`, "contentType", "application/json")}, `{"n":1}`,
			outboxEvent("shop", `{"n":1}`, "application/json", "contentType", "application/json")},
		"a projection": {[]stateOperation{item(`"kept"`), item(`{"id":7}`, "outbox.projection", "true", "contentType", "application/json", "cloudevent.type", "shop.order"),
			item(`"too late"`, "outbox.projection", "true")}, `"kept"`,
			outboxEvent("shop", `{"id":7}`, "application/json", "contentType", "application/json", "type", "shop.order")},
		"attributes": {[]stateOperation{item(`1`, "type", "t", "source", "s", "subject", "u", "own", "o", "id", "no", "data", "no", "topic", "no", "cloudevent.own", "O")}, `1`,
			outboxEvent("shop", `"1"`, "text/plain", "type", "t", "source", "s", "subject", "u", "own", "O")},
		"an upsert beside a delete": {[]stateOperation{{Type: "delete", Item: stateItem{Key: "gone"}}, item(`1`)}, `1`, outboxEvent("shop", `"1"`, "text/plain")},
	} {
		t.Run(name, func(t *testing.T) {
			if answer := api.transact(t.Context(), "st", c.operations...); answer.Fault != nil {
				t.Fatal(answer.Fault)
			}
			if diff := cmp.Diff(c.want, app.next(t)); diff != "" {
				t.Error(diff)
			}
			if got := stored(); got != c.stored {
				t.Errorf("stored is %s", got)
			}
		})
	}
	for name, c := range map[string]struct {
		operations []stateOperation
		want       *fault
	}{
		"a projection of nothing": {[]stateOperation{item(`2`), {Type: "upsert", Item: stateItem{Key: "other", Value: "3", Metadata: map[string]string{"outbox.projection": "true"}}}},
			outboxFault("the projection of key \"other\" has no upsert of that key in its transaction, whose event it could be")},
		"an unknown operation": {[]stateOperation{item(`2`), {Type: "increment", Item: stateItem{Key: "k"}}}, unknownOperation},
		"an old tag":           {[]stateOperation{{Type: "upsert", Item: stateItem{Key: "k", Value: "2", ETag: new(string)}}}, transactionMismatch},
		"deletes alone":        {[]stateOperation{{Type: "delete", Item: stateItem{Key: "gone"}}}, nil},
		"nothing":              {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "an old tag" {
				*c.operations[0].Item.ETag = "77"
			}
			before := stored()
			got := api.transact(t.Context(), "st", c.operations...).Fault
			if got != nil && c.want != nil && strings.HasSuffix(c.want.Text, "…") {
				got.Text = c.want.Text
			}
			if diff := cmp.Diff(c.want.over(api.name()), got); diff != "" {
				t.Error(diff)
			}
			if after := stored(); after != before {
				t.Errorf("stored is %s, and was %s", after, before)
			}
			// What comes next is not of the transaction that failed.
			if answer := api.transact(t.Context(), "st", item(`"after"`, "own", name)); answer.Fault != nil {
				t.Fatal(answer.Fault)
			}
			if event := app.next(t); !strings.Contains(event, `"own":"`+name+`"`) {
				t.Errorf("there came %s", event)
			}
		})
	}
}

// outboxFault is the error of a transaction that the outbox could not publish.
func outboxFault(text string) *fault {
	return &fault{HTTP: http.StatusInternalServerError, Code: "ERR_PUBLISH_OUTBOX", GRPC: codes.Internal,
		Text: "error while publishing outbox message: " + text, Reason: "DAPR_PUBSUB_OUTBOX", Rich: true}
}

// transactOverHTTP runs a transaction of a body as it stands and gives the answer.
func transactOverHTTP(t *testing.T, s *runtimetest.Sidecar, store, body string, headers ...string) string {
	t.Helper()
	header := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		header.Set(headers[i], headers[i+1])
	}
	answer := (&httpAPI{client: http.DefaultClient, base: s.URL("")}).call(t.Context(), "POST", "/v1.0/state/"+store+"/transaction", body, header)
	if answer.err != nil {
		t.Fatal(answer.err)
	}
	return fmt.Sprintf("%d %s", answer.status, answer.body)
}

// oneUpsert is the body of a transaction of one item.
func oneUpsert(item string) string {
	return `{"operations":[{"operation":"upsert","request":{"key":"k",` + item + `}}]}`
}

// TestOutboxOfCaller: the event belongs to the trace of the transaction, and has the type that the item names; an encrypted
// store publishes what the caller wrote.
func TestOutboxOfCaller(t *testing.T) {
	t.Setenv("OUTBOX_KEY", "000102030405060708090a0b0c0d0e0f")
	runtimetest.Isolate(t)
	app := newListener(t)
	s := runtimetest.Start(t, "shop", appOn(app.application), runtimetest.Manifests(t, inMemory()+outboxStore("st", "in-memory")+
		"  - {name: primaryEncryptionKey, secretKeyRef: {name: OUTBOX_KEY, key: OUTBOX_KEY}}\nauth: {secretStore: env}\n"+
		"---\napiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: env}\nspec: {type: secretstores.local.env, version: v1}\n"+subscribed("out")))
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	if got := transactOverHTTP(t, s, "st", oneUpsert(`"value":"note","contentType":"text/xml"`), "traceparent", parent, "tracestate", "a=b"); got != "204 " {
		t.Fatal(got)
	}
	if diff := cmp.Diff(outboxEvent("shop", `"note"`, "text/xml", "traceid", parent, "traceparent", parent, "tracestate", "a=b"), app.next(t)); diff != "" {
		t.Error(diff)
	}
	if got := transactOverHTTP(t, s, "st", oneUpsert(`"value":[1],"contentType":"application/json"`)); got != "204 " {
		t.Fatal(got)
	}
	if diff := cmp.Diff(outboxEvent("shop", `[1]`, "application/json"), app.next(t)); diff != "" {
		t.Error(diff)
	}
	if got := plainly(t, s, "GET /v1.0/state/st/k"); got != "200 [1]" {
		t.Error(got)
	}
}

// TestOutboxOfManyStores: each store publishes to its own topic; stores that share a topic share what is between.
func TestOutboxOfManyStores(t *testing.T) {
	runtimetest.Isolate(t)
	app := newListener(t)
	s := runtimetest.Start(t, "shop", appOn(app.application), runtimetest.Manifests(t, inMemory()+outboxStore("one", "in-memory")+
		outboxStore("two", "in-memory")+strings.ReplaceAll(outboxStore("three", "in-memory"), `"out"`, `"other"`)+subscribed("out")+subscribed("other")))
	for range 20 {
		for store, topic := range map[string]string{"one": "out", "two": "out", "three": "other"} {
			if got := transactOverHTTP(t, s, store, oneUpsert(`"value":"`+store+`"`)); got != "204 " {
				t.Fatal(got)
			}
			if event := app.next(t); !strings.HasPrefix(event, topic+` {"data":"`+store+`"`) {
				t.Fatalf("of %s came %s", store, event)
			}
		}
	}
}

// TestOutboxWithoutBroker: a transaction whose event nobody can keep stores nothing, and says why.
func TestOutboxWithoutBroker(t *testing.T) {
	runtimetest.Isolate(t)
	server := redistest.Start(t)
	s := runtimetest.Start(t, "shop", runtimetest.Manifests(t, inMemory("publishingScopes", "shop=else")+"---\n"+
		strings.Replace(redisPubSub(server.Address), "{name: ps}", "{name: red}", 1)+
		outboxStore("st", "in-memory", "outboxPublishPubsub", "none")+outboxStore("forbidden", "in-memory")+
		outboxStore("away", "in-memory", "outboxPublishPubsub", "red")))
	for store, want := range map[string]string{
		"st":        "pubsub none is not found",
		"forbidden": "topic out is not allowed for app id shop",
	} {
		for _, api := range transports(t, s) {
			got := api.transact(t.Context(), store, upsert("k", "1")).Fault
			want := outboxFault(want)
			if diff := cmp.Diff(want.over(api.name()), got); diff != "" {
				t.Errorf("%s: %s", store, diff)
			}
			if got, _ := api.getState(t.Context(), store, "k", nil); got.Value != "" {
				t.Errorf("%s: stored is %s", store, got.Value)
			}
		}
	}
	server.Kill()
	if got := transactOverHTTP(t, s, "away", oneUpsert(`"value":1`)); !strings.HasPrefix(got, "500 ") || !strings.Contains(got, "ERR_PUBLISH_OUTBOX") {
		t.Error(got)
	}
	if got := plainly(t, s, "GET /v1.0/state/away/k"); got != "204 " {
		t.Errorf("stored is %s", got)
	}
}

// TestOutboxKilled: a sidecar that is killed after a transaction, before its event could be published, publishes it when it
// is back, and so is the broker.
func TestOutboxKilled(t *testing.T) {
	ours, theirs := redistest.Start(t), redistest.Start(t)
	theirs.Kill()
	m := newMesh(t)
	app := newListener(t)
	final := strings.Replace(redisPubSub(theirs.Address), "spec:", "spec:\n  ignoreErrors: true", 1)
	folder := manifests(t, map[string]string{"all.yaml": strings.Replace(redisPubSub(ours.Address, "processingTimeout", "50ms"), "{name: ps}", "{name: keeper}", 1) +
		"---\n" + final + outboxStore("st", "redis", "redisHost", ours.Address, "outboxPubsub", "keeper") + subscribed("out")})
	first := m.start(t, "shop", app.flag(), folder)
	if got := call(t, "POST", first.url(t, "/v1.0/state/st/transaction"), oneUpsert(`"value":"survives"`)); got.status != 204 {
		t.Fatal(got)
	}
	eventually(t, "the event cannot be published", func() bool {
		return strings.Contains(first.log.String(), "an event of the outbox waits on topic "+"shopoutoutbox of pubsub keeper and is tried again")
	})
	first.signal(t, syscall.SIGKILL)
	first.exit(t)
	theirs.Restart(t)
	m.start(t, "shop", app.flag(), folder)
	if event := app.next(t); !strings.HasPrefix(event, `out {"data":"survives"`) {
		t.Error(event)
	}
}

// TestOutboxReloaded: a store gets an outbox, another topic, and loses it again, while it runs.
func TestOutboxReloaded(t *testing.T) {
	runtimetest.Isolate(t)
	app := newListener(t)
	files := newFolder(t)
	s := runtimetest.Start(t, "shop", appOn(app.application), files.option(), runtimetest.Manifests(t, inMemory()+subscribed("out")+subscribed("other")))
	transact := func() {
		t.Helper()
		if got := transactOverHTTP(t, s, "st", oneUpsert(`"value":1`)); got != "204 " {
			t.Fatal(got)
		}
	}
	files.write("store.yaml", outboxStore("st", "in-memory"))
	says(t, s, 1, "component created: st (state.in-memory/v1)")
	transact()
	if event := app.next(t); !strings.HasPrefix(event, "out ") {
		t.Error(event)
	}
	files.swap("store.yaml", strings.ReplaceAll(outboxStore("st", "in-memory"), `"out"`, `"other"`))
	says(t, s, 1, "component updated: st (state.in-memory/v1)")
	transact()
	if event := app.next(t); !strings.HasPrefix(event, "other ") {
		t.Error(event)
	}
	files.swap("store.yaml", strings.ReplaceAll(outboxStore("st", "in-memory"), "outboxPublishTopic", "outboxTopic"))
	says(t, s, 1, "metadata property outboxPublishPubsub needs outboxPublishTopic")
	files.swap("store.yaml", "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: st}\nspec: {type: state.in-memory, version: v1}\n")
	says(t, s, 2, "component updated: st (state.in-memory/v1)")
	transact()
	publish(t, s, "out", "the next")
	if event := app.next(t); !strings.HasPrefix(event, `out {"data":"the next"`) {
		t.Error(event)
	}
}
