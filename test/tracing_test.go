package test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/config"
	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
	"github.com/daprd/daprd/pkg/tracing"
)

const (
	sampledParent   = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	unsampledParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
)

// tracingOn is a Configuration whose spans are printed.
func tracingOn(t *testing.T, rate string) runtimetest.Option {
	return runtimetest.Configuration(t, `spec: {tracing: {samplingRate: "`+rate+`", stdout: true}}`)
}

// printed is a span in the log.
type printed struct{ Name, Trace, Parent, ID string }

var printedForm = regexp.MustCompile(`\[(.*?)\] Trace: (\w+) Span: (\w+)/(\w+) Time: \[`)

// spans stops a sidecar and gives what it printed, in the order of the ends.
func spans(t *testing.T, s *runtimetest.Sidecar) (all []printed) {
	t.Helper()
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, found := range printedForm.FindAllStringSubmatch(s.Log.String(), -1) {
		all = append(all, printed{found[1], found[2], found[3], found[4]})
	}
	return all
}

// parentOf is the trace parent of what is called within a span.
func (p printed) parent(flags string) string { return "00-" + p.Trace + "-" + p.ID + "-" + flags }

// tracedCall makes one invocation over one of the transports, and gives the trace parents that the application and the
// caller of the API saw.
type tracedCall func(t *testing.T, n *neighbours, id, parent string) (app, answer string)

// tracedCalls are the ways to invoke.
func tracedCalls() map[string]tracedCall {
	return map[string]tracedCall{
		"HTTP": func(t *testing.T, n *neighbours, id, parent string) (string, string) {
			r := n.request(t, "GET", "/v1.0/invoke/"+id+"/method/m/x", nil)
			if parent != "" {
				r.Header.Set("traceparent", parent)
				r.Header.Set("tracestate", "a=b,c=d")
			}
			r.Header.Set("baggage", "k=v;p,l=w")
			answer, body := n.do(t, r)
			if answer.Header.Get("Baggage") != "k=v;p,l=w" {
				t.Errorf("baggage of the answer %q", answer.Header["Baggage"])
			}
			return body, answer.Header.Get("Traceparent")
		},
		"gRPC": func(t *testing.T, n *neighbours, id, parent string) (string, string) {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "baggage", "k=v;p,l=w")
			if parent != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, "traceparent", parent, "tracestate", "a=b,c=d")
			}
			var header metadata.MD
			answer, err := runtimev1.NewDaprClient(dial(t, n.caller.GRPCAddress().String())).InvokeService(ctx, &runtimev1.InvokeServiceRequest{Id: id,
				Message: &commonv1.InvokeRequest{Method: "m/x", HttpExtension: &commonv1.HTTPExtension{Verb: commonv1.HTTPExtension_GET}}}, grpc.Header(&header))
			if err != nil || len(header["traceparent"]) != 1 || strings.Join(header["baggage"], "+") != "k=v;p,l=w" || parent != "" && strings.Join(header["tracestate"], "+") != "a=b,c=d" || len(header["grpc-trace-bin"]) != 1 ||
				!strings.Contains(header["traceparent"][0], hex.EncodeToString([]byte(header["grpc-trace-bin"][0][2:18]))) {
				t.Fatalf("%v, header %v", err, header)
			}
			return string(answer.GetData().GetValue()), header["traceparent"][0]
		},
	}
}

// tracedApps are applications that answer with the trace parent, the state and the baggage that they see.
func tracedApps(t *testing.T) map[string]runtimetest.Option {
	address := serveGRPC(t, func(s *grpc.Server) { runtimev1.RegisterAppCallbackServer(s, contextSeer{}) })
	return map[string]runtimetest.Option{
		"HTTP": handledBy(t, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, strings.Join(r.Header["Traceparent"], "+"), " ", r.Header["Tracestate"], " ", r.Header["Baggage"])
		}),
		"gRPC": runtimetest.App(address, config.GRPC),
	}
}

type contextSeer struct {
	runtimev1.UnimplementedAppCallbackServer
}

func (contextSeer) OnInvoke(ctx context.Context, req *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	parent := strings.Join(md["traceparent"], "+")
	if binary := md["grpc-trace-bin"]; len(binary) != 1 || hex.EncodeToString([]byte(binary[0][2:18])) != parent[3:35] || hex.EncodeToString([]byte(binary[0][19:27])) != parent[36:52] {
		return nil, status.Errorf(codes.DataLoss, "%x is not %s", binary, parent)
	}
	answer := &commonv1.InvokeResponse{Data: req.GetData()}
	answer.Data.Value = fmt.Append(nil, parent, " ", md["tracestate"], " ", md["baggage"])
	return answer, nil
}

// TestSpansOfInvocations: each sidecar on the way has a span under that of the one before, the application is called
// within the last, and the caller is told of the first.
func TestSpansOfInvocations(t *testing.T) {
	for kind, app := range tracedApps(t) {
		for transport, call := range tracedCalls() {
			for _, parent := range []string{sampledParent, ""} {
				t.Run(transport+" to "+kind+" "+parent, func(t *testing.T) {
					n := together(t, app, tracingOn(t, "1"))
					seen, answered := call(t, n, "callee", parent)
					callers, callees := spans(t, n.caller), spans(t, n.callee)
					if len(callers) != 1 || len(callees) != 1 {
						t.Fatalf("spans of the caller %v, of the callee %v", callers, callees)
					}
					first, last := callers[0], callees[0]
					state := ""
					if parent != "" {
						state = "a=b,c=d"
					}
					want := []string{"CallLocal/callee/m/x", last.parent("01") + " [" + state + "] [k=v;p,l=w]", first.parent("01"), first.Trace, first.ID}
					if state == "" {
						want[1] = last.parent("01") + " [] [k=v;p,l=w]"
					}
					if diff := cmp.Diff(want, []string{last.Name, seen, answered, last.Trace, last.Parent}); diff != "" {
						t.Errorf("(-want +got):\n%s", diff)
					}
					name := map[string]string{"HTTP": "CallLocal/callee/m/x", "gRPC": "/dapr.proto.runtime.v1.Dapr/InvokeService"}[transport]
					if first.Name != name || parent != "" && parent[:53] != "00-"+first.Trace+"-"+first.Parent+"-" {
						t.Errorf("first span %v under %q", first, parent)
					}
				})
			}
		}
	}
}

// TestSamplingDecisions: a trace that its beginner does not sample goes on unsampled, with spans that nobody sees; and
// with a rate of 0 nothing is made of contexts at all.
func TestSamplingDecisions(t *testing.T) {
	for transport, call := range tracedCalls() {
		t.Run("unsampled parent "+transport, func(t *testing.T) {
			n := together(t, tracedApps(t)["HTTP"], tracingOn(t, "1"))
			seen, answered := call(t, n, "callee", unsampledParent)
			for _, parent := range []string{strings.Fields(seen)[0], answered} {
				if parent[:35] != unsampledParent[:35] || parent == unsampledParent || !strings.HasSuffix(parent, "-00") {
					t.Errorf("parent %s", parent)
				}
			}
			if got := slices.Concat(spans(t, n.caller), spans(t, n.callee)); got != nil {
				t.Errorf("spans %v", got)
			}
		})
	}
	t.Run("off", func(t *testing.T) {
		n := together(t, tracedApps(t)["HTTP"], tracingOn(t, "0"))
		r := n.request(t, "GET", "/v1.0/invoke/callee/method/m", nil)
		r.Header.Set("traceparent", sampledParent)
		answer, body := n.do(t, r)
		if body != sampledParent+" [] []" || answer.Header.Get("Traceparent") != "" {
			t.Errorf("%s %v", body, answer.Header)
		}
		if got := slices.Concat(spans(t, n.caller), spans(t, n.callee)); got != nil || strings.Contains(n.caller.Log.String(), "tracing") {
			t.Errorf("spans %v, log %s", got, n.caller.Log)
		}
	})
}

// TestSpansOfTheAPI: one call, one span, whose context the answer names; health checks have none.
func TestSpansOfTheAPI(t *testing.T) {
	runtimetest.Isolate(t)
	s := runtimetest.Start(t, "api", tracingOn(t, "1"), runtimetest.Manifests(t, memoryStore))
	n := &neighbours{caller: s, client: http.DefaultClient}
	want := map[string]string{}
	for _, path := range []string{"/v1.0/state/store/k", "/v1.0/metadata", "/v1.0/nothing", "/v1.0/healthz"} {
		answer, _ := n.do(t, n.request(t, "GET", path, nil))
		if parent := answer.Header.Get("Traceparent"); parent != "" {
			want[path] = parent
		}
	}
	var header metadata.MD
	if _, err := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String())).GetState(t.Context(), &runtimev1.GetStateRequest{StoreName: "store", Key: "k"}, grpc.Header(&header)); err != nil {
		t.Fatal(err)
	}
	binary := header["grpc-trace-bin"][0]
	want["/dapr.proto.runtime.v1.Dapr/GetState"] = fmt.Sprintf("00-%x-%x-01", binary[2:18], binary[19:27])
	got := map[string]string{}
	for _, span := range spans(t, s) {
		got[span.Name] = span.parent("01")
	}
	if diff := cmp.Diff(want, got); diff != "" || len(got) != 4 {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestBadBaggage is refused unless tracing is switched off: then it is passed on as it is.
func TestBadBaggage(t *testing.T) {
	runtimetest.Isolate(t)
	for name, option := range map[string]runtimetest.Option{"on": tracingOn(t, "1"), "by default": runtimetest.Configuration(t, "spec: {}"), "off": tracingOn(t, "0")} {
		s := runtimetest.Start(t, "baggage", option, runtimetest.Manifests(t, memoryStore))
		n := &neighbours{caller: s, client: http.DefaultClient}
		r := n.request(t, "GET", "/v1.0/state/store/k", nil)
		r.Header.Set("baggage", "no value")
		answer, body := n.do(t, r)
		ctx := metadata.AppendToOutgoingContext(t.Context(), "baggage", "no value")
		_, err := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String())).GetState(ctx, &runtimev1.GetStateRequest{StoreName: "store", Key: "k"})
		want := "400 invalid baggage header: invalid baggage list-member: \"no value\"\n InvalidArgument"
		if name == "off" {
			want = "204  OK"
		}
		if got := fmt.Sprintf("%d %s %s", answer.StatusCode, body, status.Code(err)); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

const tracedManifest = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: ps}
spec: {type: pubsub.in-memory, version: v1}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: tick}
spec:
  type: bindings.cron
  version: v1
  metadata:
  - {name: schedule, value: "@every 1s"}
---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: one}
spec: {pubsubname: ps, topic: t, routes: {default: /on/t}}
---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: many}
spec: {pubsubname: ps, topic: b, routes: {default: /on/b}}
`

// TestSpansOfMessages: a message carries the span of who published it, and each delivery is within one of its own under
// that; the messages of a bulk publish have their own. So do the events of a binding.
func TestSpansOfMessages(t *testing.T) {
	runtimetest.Isolate(t)
	arrived := make(chan [2]string, 100)
	var tick sync.Once
	app := startApplication(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var event struct{ TraceParent string }
		_ = json.Unmarshal(body, &event)
		switch seen := [2]string{r.Header.Get("Traceparent"), event.TraceParent}; r.URL.Path {
		case "/on/t", "/on/b":
			arrived <- seen
		case "/tick":
			if r.Method == http.MethodPost {
				tick.Do(func() { arrived <- seen })
			}
		default:
			http.NotFound(w, r)
		}
	})
	s := runtimetest.Start(t, "messages", tracingOn(t, "1"), runtimetest.Manifests(t, tracedManifest), appOn(app))
	apis := transports(t, s)
	first := (<-arrived)[0] // of the binding
	seen := map[string]string{first: ""}
	for _, api := range apis {
		api.publish(t.Context(), message{PubSub: "ps", Topic: "t", Data: "d", Parent: sampledParent})
		got := <-arrived
		seen[got[0]] = got[1]
	}
	n := &neighbours{caller: s, client: http.DefaultClient}
	r := n.request(t, "POST", "/v1.0/publish/bulk/ps/b", strings.NewReader(`[{"entryId":"1","event":"a","contentType":"text/plain"},{"entryId":"2","event":"b","contentType":"text/plain"}]`))
	r.Header.Set("traceparent", sampledParent)
	if answer, body := n.do(t, r); answer.StatusCode != http.StatusNoContent {
		t.Fatalf("%s %s", answer.Status, body)
	}
	for range 2 {
		got := <-arrived
		seen[got[0]] = got[1]
	}
	all := map[string]printed{}
	for _, span := range spans(t, s) {
		all[span.parent("01")] = span
	}
	events := map[string]bool{}
	for delivered, event := range seen {
		span, ok := all[delivered]
		switch {
		case delivered == first:
			if span.Name != "bindings/tick" {
				t.Errorf("the event of the binding came in %v", span)
			}
			continue
		case !ok || !strings.HasPrefix(span.Name, "pubsub/") || event[36:52] != span.Parent || span.Trace != sampledParent[3:35]:
			t.Errorf("a message with %s came in %v (%s)", event, span, delivered)
		}
		publisher, ok := all[event]
		if !ok || events[event] {
			t.Errorf("no span of its own published %s", event)
		}
		events[event] = true
		if above, ok := all["00-"+publisher.Trace+"-"+publisher.Parent+"-01"]; publisher.Parent != sampledParent[36:52] && (!ok || above.Parent != sampledParent[36:52]) {
			t.Errorf("%v is under %v", publisher, above)
		}
	}
}

// TestSpansOfProxiedCalls: a stream that nobody looks into has a span in each sidecar, and the application's metadata
// name the last, in both forms.
func TestSpansOfProxiedCalls(t *testing.T) {
	got := make(chan metadata.MD, 1)
	address := serveGRPC(t, func(*grpc.Server) {}, grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		md, _ := metadata.FromIncomingContext(stream.Context())
		got <- md
		return status.Error(codes.NotFound, "nothing here")
	}))
	n := together(t, runtimetest.App(address, config.GRPC), tracingOn(t, "1"))
	ctx := metadata.AppendToOutgoingContext(t.Context(), "dapr-app-id", "callee", "traceparent", sampledParent, "tracestate", "a=b", "baggage", "k=v")
	if err := dial(t, n.caller.GRPCAddress().String()).Invoke(ctx, "/some.Service/Call", &commonv1.InvokeRequest{}, &commonv1.InvokeRequest{}); status.Code(err) != codes.NotFound {
		t.Fatal(err)
	}
	md := <-got
	callers, callees := spans(t, n.caller), spans(t, n.callee)
	if len(callers) != 1 || len(callees) != 1 {
		t.Fatalf("spans of the caller %v, of the callee %v", callers, callees)
	}
	last := callees[0]
	binary, _ := tracing.Binary(last.parent("01"))
	want := [][]string{{last.parent("01")}, {binary}, {"a=b"}, {"k=v"}, {"/some.Service/Call", "/some.Service/Call", callers[0].ID, sampledParent[36:52]}}
	seen := [][]string{md["traceparent"], md["grpc-trace-bin"], md["tracestate"], md["baggage"], {callers[0].Name, last.Name, last.Parent, callers[0].Parent}}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
