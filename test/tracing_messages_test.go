package test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/daprd/daprd/pkg/config"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

const contextManifest = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: ps}
spec: {type: pubsub.in-memory, version: v1}
---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: one}
spec: {pubsubname: ps, topic: t, routes: {default: /on/t}}
---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: raw}
spec: {pubsubname: ps, topic: raw, routes: {default: /on/raw}, metadata: {rawPayload: "true"}}
---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: many}
spec: {pubsubname: ps, topic: b, routes: {default: /on/b}, bulkSubscribe: {enabled: true}}
`

// contextSeen is what an application sees of the context of a message: what came with the call, and what stands in the event.
type contextSeen struct {
	Parent, State, Baggage string
	Event                  eventTrace
}

type eventTrace struct{ TraceID, TraceParent, TraceState, Baggage string }

// messageSeers are applications that tell of what they see.
func messageSeers(t *testing.T, seen chan<- contextSeen) map[string]runtimetest.Option {
	address := serveGRPC(t, func(s *grpc.Server) { runtimev1.RegisterAppCallbackServer(s, eventSeer{seen: seen}) })
	return map[string]runtimetest.Option{
		"HTTP": handledBy(t, func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, "/on/") {
				http.NotFound(w, r)
				return
			}
			body, _ := io.ReadAll(r.Body)
			d := contextSeen{r.Header.Get("Traceparent"), r.Header.Get("Tracestate"), strings.Join(r.Header["Baggage"], "+"), eventTrace{}}
			_ = json.Unmarshal(body, &d.Event)
			seen <- d
		}),
		"gRPC": runtimetest.App(address, config.GRPC),
	}
}

type eventSeer struct {
	runtimev1.UnimplementedAppCallbackServer
	seen chan<- contextSeen
}

func (s eventSeer) OnTopicEvent(ctx context.Context, event *runtimev1.TopicEventRequest) (*runtimev1.TopicEventResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	text := func(name string) string { return event.GetExtensions().GetFields()[name].GetStringValue() }
	s.seen <- contextSeen{strings.Join(md["traceparent"], "+"), strings.Join(md["tracestate"], "+"), strings.Join(md["baggage"], "+"),
		eventTrace{text("traceid"), text("traceparent"), text("tracestate"), text("baggage")}}
	return &runtimev1.TopicEventResponse{}, nil
}

// publishers are the ways to publish with a trace, its state and baggage.
func publishers(t *testing.T, s *runtimetest.Sidecar) map[string]func(topic string, metadata map[string]string) {
	n := &neighbours{caller: s, client: http.DefaultClient}
	client := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String()))
	return map[string]func(string, map[string]string){
		"HTTP": func(topic string, own map[string]string) {
			query := ""
			for name, value := range own {
				query += "metadata." + name + "=" + value
			}
			r := n.request(t, "POST", "/v1.0/publish/ps/"+topic+"?"+query, strings.NewReader("d"))
			r.Header = http.Header{"Traceparent": {sampledParent}, "Tracestate": {"a=b"}, "Baggage": {"k=v", "l=w"}, "Content-Type": {"text/plain"}}
			if answer, body := n.do(t, r); answer.StatusCode != http.StatusNoContent {
				t.Fatalf("%s %s", answer.Status, body)
			}
		},
		"gRPC": func(topic string, own map[string]string) {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", sampledParent, "tracestate", "a=b", "baggage", "k=v", "baggage", "l=w")
			if _, err := client.PublishEvent(ctx, &runtimev1.PublishEventRequest{PubsubName: "ps", Topic: topic, Data: []byte("d"), DataContentType: "text/plain", Metadata: own}); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// TestContextOfMessages: the context of a publisher reaches the application through the envelope, or beside a message
// that has none: within spans with baggage, without spans as it came and without baggage, as Dapr's.
func TestContextOfMessages(t *testing.T) {
	seen := make(chan contextSeen, 10)
	for kind, app := range messageSeers(t, seen) {
		for name, tracing := range map[string]string{"with spans": `{samplingRate: "1"}`, "without": "{}"} {
			runtimetest.Isolate(t)
			s := runtimetest.Start(t, "context", runtimetest.Configuration(t, "spec: {tracing: "+tracing+"}"), runtimetest.Manifests(t, contextManifest), app)
			for transport, publish := range publishers(t, s) {
				for topic, own := range map[string]map[string]string{"t": nil, "raw": {"rawPayload": "true"}} {
					t.Run(strings.Join([]string{transport, "to", kind, topic, name}, " "), func(t *testing.T) {
						publish(topic, own)
						got := <-seen
						parent := got.Event.TraceID
						want := contextSeen{got.Parent, "", "", eventTrace{parent, parent, "a=b", ""}}
						if name == "with spans" {
							want.Baggage, want.Event.Baggage = "k=v,l=w", "k=v,l=w"
							if got.Parent == parent || parent == sampledParent {
								t.Errorf("%v is not within spans", got)
							}
						} else {
							want.Parent, want.Event.TraceID, want.Event.TraceParent = sampledParent, sampledParent, sampledParent
						}
						if topic == "raw" { // the broker's metadata go along as they are
							want.State, want.Event.TraceParent, want.Event.Baggage = "a=b", "", ""
						}
						if diff := cmp.Diff(want, got); diff != "" || !strings.HasPrefix(got.Parent, sampledParent[:36]) || !strings.HasPrefix(parent, sampledParent[:36]) {
							t.Errorf("(-want +got):\n%s", diff)
						}
					})
				}
			}
		}
	}
}

// exportsTo is a collector that keeps the spans it gets over HTTP.
type exportsTo struct {
	mu    sync.Mutex
	spans []*tracepb.Span
}

func (e *exportsTo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var data tracepb.TracesData
	if err := proto.Unmarshal(body, &data); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, of := range data.GetResourceSpans() {
		for _, scope := range of.GetScopeSpans() {
			e.spans = append(e.spans, scope.GetSpans()...)
		}
	}
}

// TestSpansOfDeliveries: they show the state of the trace; those of bulk deliveries begin traces and are linked to
// the spans of all their messages.
func TestSpansOfDeliveries(t *testing.T) {
	runtimetest.Isolate(t)
	var e exportsTo
	collector := httptest.NewServer(&e)
	defer collector.Close()
	parents := make(chan string, 10)
	app := handledBy(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var message struct {
			TraceParent string
			Entries     []struct {
				EntryID string
				Event   struct{ TraceParent string }
			}
		}
		if json.Unmarshal(body, &message) != nil {
			http.NotFound(w, r)
			return
		}
		if message.TraceParent != "" {
			parents <- message.TraceParent
			return
		}
		statuses := []string{}
		for _, entry := range message.Entries {
			statuses = append(statuses, fmt.Sprintf(`{"entryId":%q,"status":"SUCCESS"}`, entry.EntryID))
			parents <- entry.Event.TraceParent
		}
		fmt.Fprintf(w, `{"statuses":[%s]}`, strings.Join(statuses, ","))
	})
	s := runtimetest.Start(t, "deliveries", runtimetest.Configuration(t, fmt.Sprintf(`spec: {tracing: {samplingRate: "1", otel: {protocol: http, isSecure: false, endpointAddress: %q}}}`,
		collector.Listener.Addr())), runtimetest.Manifests(t, contextManifest), app)
	publish := publishers(t, s)["HTTP"]
	publish("t", nil)
	single := <-parents
	publish("b", nil)
	publish("b", nil)
	want := map[string]bool{<-parents: true, <-parents: true}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	got, singles := map[string]bool{}, 0
	for _, span := range e.spans {
		switch span.GetName() {
		case "pubsub/b":
			for _, link := range span.GetLinks() {
				got[fmt.Sprintf("00-%x-%x-01", link.GetTraceId(), link.GetSpanId())] = true
			}
			if len(span.GetParentSpanId()) > 0 {
				t.Errorf("a bulk delivery is within %v", span)
			}
		case "pubsub/t":
			singles++
			if parent := fmt.Sprintf("00-%x-%x-01", span.GetTraceId(), span.GetParentSpanId()); span.GetTraceState() != "a=b" || parent != single {
				t.Errorf("a delivery of %s is %v", single, span)
			}
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" || len(want) != 2 || singles != 1 {
		t.Errorf("%d single deliveries; links (-want +got):\n%s", singles, diff)
	}
}
