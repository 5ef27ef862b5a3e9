package test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// publishAPI is publishing in the words of what callers want.
type publishAPI interface {
	publish(ctx context.Context, m message) meaning
	publishBulk(ctx context.Context, common message, entries ...entryOf) meaning
}

// message is what is published, entryOf one of many.
type (
	message struct {
		PubSub, Topic     string
		ContentType, Data string
		Metadata          map[string]string
		Parent, State     string
	}
	entryOf struct {
		ID, ContentType, Data string
		Metadata              map[string]string
	}
)

func (m message) header() http.Header {
	header := http.Header{}
	for name, value := range map[string]string{"Content-Type": m.ContentType, "Traceparent": m.Parent, "Tracestate": m.State} {
		if value != "" {
			header.Set(name, value)
		}
	}
	return header
}

func (m message) path() string {
	return segment(m.PubSub) + "/" + strings.ReplaceAll(segment(m.Topic), "%2F", "/") + withMetadata(m.Metadata)
}

func (h *httpAPI) publish(ctx context.Context, m message) meaning {
	return h.call(ctx, "POST", "/v1.0/publish/"+m.path(), m.Data, m.header()).nothing()
}

func (h *httpAPI) publishBulk(ctx context.Context, common message, entries ...entryOf) meaning {
	type entry struct {
		ID          string            `json:"entryId"`
		Event       any               `json:"event"`
		ContentType string            `json:"contentType"`
		Metadata    map[string]string `json:"metadata,omitempty"`
	}
	list := []entry{}
	for _, e := range entries {
		var event any = e.Data
		switch e.ContentType {
		case "application/json", "application/cloudevents+json":
			event = json.RawMessage(e.Data)
		case "application/octet-stream":
			event = base64.StdEncoding.EncodeToString([]byte(e.Data))
		}
		list = append(list, entry{e.ID, event, e.ContentType, e.Metadata})
	}
	return h.call(ctx, "POST", "/v1.0/publish/bulk/"+common.path(), string(marshal(list)), common.header()).nothing()
}

func (m message) context(ctx context.Context) context.Context {
	for name, values := range m.header() {
		if name != "Content-Type" {
			ctx = metadata.AppendToOutgoingContext(ctx, strings.ToLower(name), values[0])
		}
	}
	return ctx
}

func (g *grpcAPI) publish(ctx context.Context, m message) meaning {
	_, err := g.client.PublishEvent(m.context(g.context(ctx)), &runtimev1.PublishEventRequest{PubsubName: m.PubSub, Topic: m.Topic, Data: []byte(m.Data),
		DataContentType: m.ContentType, Metadata: m.Metadata})
	return meaning{Fault: faultOf(err)}
}

func (g *grpcAPI) publishBulk(ctx context.Context, common message, entries ...entryOf) meaning {
	request := &runtimev1.BulkPublishRequest{PubsubName: common.PubSub, Topic: common.Topic, Metadata: common.Metadata}
	for _, e := range entries {
		request.Entries = append(request.Entries, &runtimev1.BulkPublishRequestEntry{EntryId: e.ID, Event: []byte(e.Data), ContentType: e.ContentType, Metadata: e.Metadata})
	}
	ctx = common.context(g.context(ctx))
	_, err := g.client.BulkPublishEvent(ctx, request)
	if _, alpha := g.client.BulkPublishEventAlpha1(ctx, request); faultOf(alpha) != nil && *faultOf(alpha) != *faultOf(err) {
		return meaning{Fault: faultOf(alpha)}
	}
	return meaning{Fault: faultOf(err)}
}

const publishManifest = `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: ps}
spec: {type: pubsub.in-memory, version: v1}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: scoped}
spec:
  type: pubsub.in-memory
  version: v1
  metadata:
  - {name: allowedTopics, value: "open,mine,theirs,guarded"}
  - {name: protectedTopics, value: "guarded"}
  - {name: publishingScopes, value: "other=theirs"}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: narrow}
spec:
  type: pubsub.in-memory
  version: v1
  metadata: [{name: publishingScopes, value: "publisher=mine"}]
---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: s}
spec: {pubsubname: ps, topic: t, routes: {default: /on/t}}
`

// publishFault is an error of publishing as both transports show it.
func publishFault(status int, code string, grpc codes.Code, reason, text string) meaning {
	return meaning{Fault: &fault{HTTP: status, Code: code, GRPC: grpc, Text: text, Reason: reason, Rich: true}}
}

// forbiddenTopic is the answer of scopes.
func forbiddenTopic(topic string) meaning {
	return publishFault(http.StatusForbidden, "ERR_PUBSUB_FORBIDDEN", codes.PermissionDenied, "DAPR_PUBSUB_FORBIDDEN",
		"topic "+topic+" is not allowed for app id publisher")
}

// pathless is what HTTP makes of an empty part of a path, which gRPC can name (reference: http-api B0).
var pathless = meaning{Fault: &fault{HTTP: http.StatusNotFound, Code: "ERR_DIRECT_INVOKE", Text: "failed getting app id either from the URL path or the header dapr-app-id"}}

// publishCases are the answers to a message, alone and as the only one of many.
func publishCases() (cases []parityCase) {
	none := publishFault(http.StatusNotFound, "ERR_PUBSUB_NOT_FOUND", codes.InvalidArgument, "DAPR_PUBSUB_NOT_FOUND", "pubsub nope is not found")
	unnamed := publishFault(0, "", codes.InvalidArgument, "DAPR_PUBSUB_TOPIC_NAME_EMPTY", "topic is empty in pubsub ps")
	raw := publishFault(http.StatusBadRequest, "ERR_PUBSUB_REQUEST_METADATA", codes.InvalidArgument, "DAPR_PUBSUB_METADATA_DESERIALIZATION",
		"failed deserializing metadata. Error: rawPayload value must be a valid boolean: actual is 'maybe'")
	event := publishFault(http.StatusInternalServerError, "ERR_PUBSUB_CLOUD_EVENTS_SER", codes.InvalidArgument, "DAPR_PUBSUB_CLOUD_EVENT_CREATION", "cannot create cloudevent")
	md := func(name, value string) map[string]string { return map[string]string{name: value} }
	for _, c := range []struct {
		name string
		message
		want meaning
		grpc *meaning
	}{
		{name: "JSON", message: message{PubSub: "ps", Topic: "x", ContentType: "application/json", Data: `{"a":1}`}},
		{name: "text", message: message{PubSub: "ps", Topic: "x", ContentType: "text/plain", Data: "é\n"}},
		{name: "bytes", message: message{PubSub: "ps", Topic: "x", ContentType: "application/octet-stream", Data: "\x00\xff"}},
		{name: "an event", message: message{PubSub: "ps", Topic: "x", ContentType: "application/cloudevents+json", Data: `{"id":"1"}`}},
		{name: "a topic with slashes", message: message{PubSub: "ps", Topic: "x/y z/é", ContentType: "text/plain"}},
		{name: "raw", message: message{PubSub: "ps", Topic: "x", ContentType: "text/plain", Metadata: md("rawPayload", "true")}},
		{name: "a time to live", message: message{PubSub: "ps", Topic: "x", ContentType: "text/plain", Metadata: md("ttlInSeconds", "60")}},
		{name: "a time to live that is none", message: message{PubSub: "ps", Topic: "x", ContentType: "text/plain", Metadata: md("ttlInSeconds", "abc")}},
		{name: "unknown", message: message{PubSub: "nope", Topic: "x", ContentType: "text/plain"}, want: none},
		{name: "no topic", message: message{PubSub: "ps", ContentType: "text/plain"}, want: pathless, grpc: &unnamed},
		{name: "rawPayload that is none", message: message{PubSub: "ps", Topic: "x", ContentType: "text/plain", Metadata: md("rawPayload", "maybe")}, want: raw},
		{name: "an event that is a list", message: message{PubSub: "ps", Topic: "x", ContentType: "application/cloudevents+json", Data: `[1]`}, want: event},
		{name: "an allowed topic", message: message{PubSub: "scoped", Topic: "open", ContentType: "text/plain"}},
		{name: "a topic that nobody is allowed", message: message{PubSub: "scoped", Topic: "x", ContentType: "text/plain"}, want: forbiddenTopic("x")},
		{name: "a protected topic", message: message{PubSub: "scoped", Topic: "guarded", ContentType: "text/plain"}, want: forbiddenTopic("guarded")},
		{name: "a topic of the scope", message: message{PubSub: "narrow", Topic: "mine", ContentType: "text/plain"}},
		{name: "a topic outside of the scope", message: message{PubSub: "narrow", Topic: "open", ContentType: "text/plain"}, want: forbiddenTopic("open")},
	} {
		cases = append(cases, parityCase{name: c.name, want: c.want, grpc: c.grpc, do: func(a *asker) meaning { return a.api.publish(a.ctx, c.message) }})
		bulk := parityCase{name: "of many: " + c.name, want: c.want, grpc: c.grpc, do: func(a *asker) meaning {
			return a.api.publishBulk(a.ctx, c.message, entryOf{ID: "1", ContentType: c.ContentType, Data: c.Data, Metadata: c.Metadata})
		}}
		if c.name == "no topic" {
			bulk.want = meaning{Fault: none.Fault.of("pubsub bulk is not found")} // over HTTP it is a message for a component of that name
		}
		cases = append(cases, bulk)
	}
	return append(cases, entryCases()...)
}

// of is the fault with another text.
func (f *fault) of(text string) *fault {
	other := *f
	other.Text = text
	return &other
}

// entryCases are the answers to lists.
func entryCases() []parityCase {
	twice := publishFault(http.StatusBadRequest, "ERR_PUBSUB_EVENTS_SER", codes.InvalidArgument, "DAPR_PUBSUB_MARSHAL_EVENTS",
		"error marshaling events to bytes for topic x pubsub ps. error: entryId is duplicated or not present for entry")
	many := func(ids ...string) func(*asker) meaning {
		var entries []entryOf
		for _, id := range ids {
			entries = append(entries, entryOf{ID: id, ContentType: "text/plain", Data: "x"})
		}
		return func(a *asker) meaning { return a.api.publishBulk(a.ctx, message{PubSub: "ps", Topic: "x"}, entries...) }
	}
	return []parityCase{
		{name: "many", do: many("1", "2", "3")},
		{name: "none", do: many()},
		{name: "an id twice", do: many("1", "2", "1"), want: twice},
		{name: "no id", do: many("1", ""), want: twice},
	}
}

// TestPublishParity runs the table over both transports, while the application is awaited and when it is there.
func TestPublishParity(t *testing.T) {
	runtimetest.Isolate(t)
	arrived := make(chan delivered, 100)
	var asked atomic.Bool
	app := newApplication(t, func(w http.ResponseWriter, r *http.Request) {
		switch body, _ := io.ReadAll(r.Body); {
		case strings.Contains(string(body), "is anybody there"):
			asked.Store(true)
		case r.URL.Path == "/on/t":
			arrived <- delivered{r.Header.Get("Traceparent"), string(body)}
		}
	})
	s := runtimetest.Launch(t, "publisher", appOn(app), runtimetest.Manifests(t, publishManifest))
	s.Await(t, "/v1.0/healthz/outbound")
	apis := transports(t, s)
	t.Run("early", func(t *testing.T) { askAll(t, publishCases(), apis, "", true) })
	if s.Log.Contains("dapr initialized") {
		t.Fatal("the sidecar did not wait for its application")
	}
	app.live(t)
	s.Await(t, "/v1.0/healthz")
	t.Run("up", func(t *testing.T) { askAll(t, publishCases(), apis, "", false) })
	settle(t, func() bool {
		apis[0].publish(t.Context(), message{PubSub: "ps", Topic: "t", Data: "is anybody there"})
		return asked.Load()
	}, "the subscription")
	t.Run("arrivals", func(t *testing.T) { sameArrivals(t, apis, arrived) })
	counts := metricsOf(t, s)
	for _, line := range []string{
		`dapr_component_pubsub_egress_count{app_id="publisher",component="ps",namespace="",success="true",topic="t"} `,
		`dapr_component_pubsub_egress_bulk_count{app_id="publisher",component="ps",namespace="",success="true",topic="x"} `,
	} {
		if !strings.Contains(counts, line) {
			t.Errorf("no metric %s", line)
		}
	}
}

// delivered is what the application got.
type delivered struct{ parent, body string }

var runDependent = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|"(time|expiration)":"[^"]*"`)

// sameArrivals: the application cannot tell over which transport a message was published.
func sameArrivals(t *testing.T, apis []transport, arrived <-chan delivered) {
	const parent = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01"
	for name, m := range map[string]message{
		"JSON":      {ContentType: "application/json", Data: `{ "b": 1.10, "a": "<é>" }`},
		"bytes":     {ContentType: "application/octet-stream", Data: "\x00\xff"},
		"text":      {ContentType: "text/plain", Data: "a \"text\"\n"},
		"an event":  {ContentType: "application/cloudevents+json", Data: `{"id":"1","data":{"z":1},"ext":"v"}`},
		"no type":   {Data: "a"},
		"a trace":   {ContentType: "text/plain", Data: "a", Parent: parent, State: "k=v"},
		"overrides": {ContentType: "text/plain", Data: "a", Metadata: map[string]string{"cloudevent.id": "own", "cloudevent.subject": "about"}},
		"a life":    {ContentType: "text/plain", Data: "a", Metadata: map[string]string{"ttlInSeconds": "60"}},
	} {
		t.Run(name, func(t *testing.T) {
			m.PubSub, m.Topic = "ps", "t"
			var got []delivered
			for _, api := range apis {
				if answer := api.publish(t.Context(), m); answer.Fault != nil {
					t.Fatal(answer.Fault)
				}
				arrival := within(t, arrived, "the message over "+api.name())
				arrival.body = runDependent.ReplaceAllString(arrival.body, "")
				got = append(got, arrival)
			}
			if got[0] != got[1] {
				t.Error(cmp.Diff(got[0].body, got[1].body), got[0].parent, got[1].parent)
			}
			if m.ContentType == "application/json" && !strings.Contains(got[0].body, `"data":`+m.Data+`,`) {
				t.Errorf("the data is not as it was sent: %s", got[0].body)
			}
			if m.Parent != "" && (got[0].parent != parent || !strings.Contains(got[0].body, `"traceid":"`+parent+`","traceparent":"`+parent+`","tracestate":"k=v"`)) {
				t.Errorf("the trace is not its publisher's: %s %s", got[0].parent, got[0].body)
			}
		})
	}
}
