package test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/daprd/daprd/pkg/config"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// The recordings of Dapr 1.18.3 (see the captures' README for the form).
type (
	recordedBody struct {
		Text string
		B64  []byte
	}
	recordedMessage struct{ B64 []byte }
	recordedPublish struct {
		HTTP *struct {
			Request struct {
				Head string
				Body recordedBody
			}
			Response struct {
				Line string `json:"status_line"`
			}
		}
		GRPC *struct {
			Call    string
			Request []recordedMessage
			Header  struct {
				Trace [][]byte `json:"grpc-trace-bin"`
			}
		}
	}
	recordedArrival struct {
		// Over HTTP.
		Line    string `json:"request_line"`
		Headers [][2]string
		Body    recordedBody
		// Over gRPC.
		Method   string
		Metadata map[string][]string
		Request  recordedMessage
		Answer   json.RawMessage
	}
	recordedStep struct {
		Name    string
		Publish json.RawMessage
		HTTP    []recordedArrival `json:"http_app_received"`
		GRPC    []recordedArrival `json:"grpc_app_received"`
	}
	recording struct {
		Declarative map[string]string
		Steps       []recordedStep
	}
)

func (b recordedBody) String() string { return b.Text + string(b.B64) }

func (s *recordedStep) publishes(t *testing.T) (list []recordedPublish) {
	t.Helper()
	if len(s.Publish) == 0 {
		return nil
	}
	if s.Publish[0] != '[' {
		list = make([]recordedPublish, 1)
		if err := json.Unmarshal(s.Publish, &list[0]); err != nil {
			t.Fatal(err)
		}
		return list
	}
	if err := json.Unmarshal(s.Publish, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func readRecording(t *testing.T, path string) *recording {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := &recording{}
	if err := json.Unmarshal(text, r); err != nil {
		t.Fatal(err)
	}
	return r
}

// arrivals are what an application got, in a form that is easy to compare.
type arrivals struct {
	mu   sync.Mutex
	list []string
}

func (a *arrivals) add(texts ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = append(a.list, texts...)
}

func (a *arrivals) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.list)
}

// take gives them in an order of their texts, and forgets them.
func (a *arrivals) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.list
	a.list = nil
	slices.Sort(list)
	return list
}

var (
	aUUID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	aTime = regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	aData = regexp.MustCompile(`"data_base64":"([^"]*)"`)
)

// canonical is a JSON text in Dapr's form, which decodes and encodes what it brings; here it stays as it was written.
func canonical(text string) string {
	var value any
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if decoder.Decode(&value) != nil || decoder.More() {
		return text
	}
	again, err := json.Marshal(value)
	if err != nil {
		return text
	}
	return string(again)
}

// plain puts names in place of what differs from run to run.
func plain(text string) string {
	text = aData.ReplaceAllStringFunc(text, func(member string) string {
		data, err := base64.StdEncoding.DecodeString(aData.FindStringSubmatch(member)[1])
		if err != nil || !bytes.HasPrefix(data, []byte("{")) {
			return member
		}
		return "data_base64 of " + plain(canonical(string(data)))
	})
	return aTime.ReplaceAllString(aUUID.ReplaceAllString(text, "UUID"), "TIME")
}

// httpArrival is a request to an HTTP application; each message of a bulk delivery is one of its own.
func httpArrival(line string, headers [][2]string, body string) []string {
	var kept []string
	for _, h := range headers {
		switch strings.ToLower(h[0]) {
		case "host", "user-agent", "content-length", "accept-encoding", "connection":
		default:
			kept = append(kept, http.CanonicalHeaderKey(h[0])+": "+h[1])
		}
	}
	slices.Sort(kept)
	head := line + "\n" + strings.Join(kept, "\n") + "\n\n"
	var bulk struct {
		ID, Type, Topic, PubSubName string
		Metadata                    map[string]string
		Entries                     []json.RawMessage
	}
	if json.Unmarshal([]byte(body), &bulk) != nil || bulk.Type != "com.dapr.event.sent.bulk" {
		return []string{plain(head + canonical(body))}
	}
	var all []string
	for _, entry := range bulk.Entries {
		all = append(all, plain(fmt.Sprint(head, bulk.ID, bulk.Topic, bulk.PubSubName, bulk.Metadata, canonical(string(entry)))))
	}
	return all
}

// grpcArrival is a call of a gRPC application; each message of a bulk delivery is one of its own.
func grpcArrival(method string, md map[string][]string, m proto.Message) []string {
	var kept []string
	for name, values := range md {
		switch name {
		case ":authority", "user-agent", "content-type", "grpc-accept-encoding":
		case "grpc-trace-bin":
			kept = append(kept, name)
		default:
			kept = append(kept, fmt.Sprint(name, values))
		}
	}
	slices.Sort(kept)
	head := method + "\n" + strings.Join(kept, "\n") + "\n\n"
	switch m := m.(type) {
	case *runtimev1.TopicEventRequest:
		return []string{plain(fmt.Sprint(head, m.GetId(), "|", m.GetSource(), "|", m.GetType(), "|", m.GetSpecVersion(), "|", m.GetDataContentType(), "|",
			m.GetTopic(), "|", m.GetPubsubName(), "|", m.GetPath(), "|", canonical(string(m.GetData())), "|", extensions(m.GetExtensions())))}
	case *runtimev1.TopicEventBulkRequest:
		var all []string
		for _, entry := range m.GetEntries() {
			e := entry.GetCloudEvent()
			data := canonical(string(e.GetData()))
			if e.GetDataContentType() == "application/octet-stream" {
				data = "" // the recorded one lost it
			}
			all = append(all, plain(fmt.Sprint(head, m.GetId(), m.GetMetadata(), m.GetTopic(), m.GetPubsubName(), m.GetType(), m.GetPath(), "|", entry.GetEntryId(),
				entry.GetMetadata(), string(entry.GetBytes()), "|", e.GetId(), e.GetSource(), e.GetType(), e.GetSpecVersion(), e.GetDataContentType(),
				data, extensions(e.GetExtensions()))))
		}
		return all
	}
	return []string{head}
}

func extensions(s *structpb.Struct) string {
	text, _ := json.Marshal(s.AsMap())
	return string(text)
}

// recordedApp plays the application of a recording: it answers in each step as that one did.
type recordedApp struct {
	runtimev1.UnimplementedAppCallbackServer
	arrivals
	subscriptions []byte
	answers       sync.Map // of the step, by path: the answers in their order
}

// expect sets the answers of a step.
func (a *recordedApp) expect(list []recordedArrival) {
	a.answers.Clear()
	byPath := map[string][]json.RawMessage{}
	for _, r := range list {
		path := r.Line
		if r.Method != "" {
			m := &runtimev1.TopicEventRequest{}
			_ = proto.Unmarshal(r.Request.B64, m)
			path = m.GetPath()
		}
		byPath[path] = append(byPath[path], r.Answer)
	}
	for path, answers := range byPath {
		a.answers.Store(path, answers)
	}
}

func (a *recordedApp) answer(path string) json.RawMessage {
	value, ok := a.answers.Load(path)
	if !ok {
		return nil
	}
	answers := value.([]json.RawMessage)
	if len(answers) == 0 {
		return nil
	}
	a.answers.Store(path, answers[1:])
	return answers[0]
}

func (a *recordedApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/dapr/subscribe":
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(a.subscriptions)
		return
	case "/dapr/config":
		w.WriteHeader(http.StatusNotFound)
		return
	}
	body, _ := io.ReadAll(r.Body)
	var headers [][2]string
	for name, values := range r.Header {
		for _, v := range values {
			headers = append(headers, [2]string{name, v})
		}
	}
	line := r.Method + " " + r.RequestURI + " " + r.Proto
	if entries := bulkStatuses(body); entries != nil {
		_, _ = w.Write(entries)
	} else {
		var said struct {
			Status int
			Body   recordedBody
		}
		if answer := a.answer(line); answer != nil {
			_ = json.Unmarshal(answer, &said)
			w.WriteHeader(said.Status)
			_, _ = io.WriteString(w, said.Body.String())
		}
	}
	a.add(httpArrival(line, headers, string(body))...)
}

// bulkStatuses answers a bulk delivery as the recorded application did: by what the messages say.
func bulkStatuses(body []byte) []byte {
	var bulk struct {
		Type    string
		Entries []struct {
			EntryID string
			Event   json.RawMessage
		}
	}
	if json.Unmarshal(body, &bulk) != nil || bulk.Type != "com.dapr.event.sent.bulk" {
		return nil
	}
	type status struct {
		EntryID string `json:"entryId"`
		Status  string `json:"status"`
	}
	var answer struct {
		Statuses []status `json:"statuses"`
	}
	for _, e := range bulk.Entries {
		word := "SUCCESS"
		for data, other := range map[string]string{`"data":"retry"`: "RETRY", `"data":"drop"`: "DROP"} {
			if bytes.Contains(e.Event, []byte(data)) {
				word = other
			}
		}
		answer.Statuses = append(answer.Statuses, status{e.EntryID, word})
	}
	text, _ := json.Marshal(answer)
	return text
}

func (a *recordedApp) ListTopicSubscriptions(context.Context, *emptypb.Empty) (*runtimev1.ListTopicSubscriptionsResponse, error) {
	answer := &runtimev1.ListTopicSubscriptionsResponse{}
	return answer, proto.Unmarshal(a.subscriptions, answer)
}

func (a *recordedApp) OnTopicEvent(ctx context.Context, event *runtimev1.TopicEventRequest) (*runtimev1.TopicEventResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	defer a.add(grpcArrival(runtimev1.AppCallback_OnTopicEvent_FullMethodName, md, event)...)
	answer := &runtimev1.TopicEventResponse{}
	if recorded := a.answer(event.GetPath()); recorded != nil {
		var said recordedMessage
		if err := json.Unmarshal(recorded, &said); err != nil {
			return nil, err
		}
		return answer, proto.Unmarshal(said.B64, answer)
	}
	return answer, nil
}

// OnBulkTopicEvent has no statuses, as the recorded one: every message is refused.
func (a *recordedApp) OnBulkTopicEvent(ctx context.Context, events *runtimev1.TopicEventBulkRequest) (*runtimev1.TopicEventBulkResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	a.add(grpcArrival(runtimev1.AppCallback_OnBulkTopicEvent_FullMethodName, md, events)...)
	return &runtimev1.TopicEventBulkResponse{}, nil
}

// oneAttempt is Dapr's in-memory broker, which tries a message once.
const oneAttempt = `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: pubsub}
spec:
  type: pubsub.in-memory
  version: v1
  metadata:
  - {name: maxDeliveryAttempts, value: "1"}
`

// TestDeliveriesAreLikeDapr replays the recorded publishes and compares what the application gets.
func TestDeliveriesAreLikeDapr(t *testing.T) {
	for _, file := range []string{"delivery-http-app", "events-http-app", "delivery-grpc-app", "events-grpc-app"} {
		t.Run(file, func(t *testing.T) {
			runtimetest.Isolate(t)
			r, app := readRecording(t, "testdata/delivery/"+file+".json"), &recordedApp{}
			resources := oneAttempt
			for _, text := range r.Declarative {
				resources += "---\n" + text
			}
			var on runtimetest.Option
			if strings.Contains(file, "grpc") {
				app.subscriptions = answerOf[recordedMessage](t, r.Steps[0].GRPC[0]).B64
				on = runtimetest.App(serveGRPC(t, func(s *grpc.Server) { runtimev1.RegisterAppCallbackServer(s, app) }), config.GRPC)
			} else {
				app.subscriptions = []byte(answerOf[struct{ Body recordedBody }](t, r.Steps[0].HTTP[1]).Body.Text)
				on = appOn(startApplication(t, app.ServeHTTP))
			}
			s := runtimetest.Start(t, "pubapp", on, runtimetest.Manifests(t, resources))
			for _, step := range r.Steps[1:] {
				t.Run(step.Name, func(t *testing.T) { replay(t, s, app, &step) })
			}
			if left := app.take(); len(left) > 0 {
				t.Errorf("more came: %q", left)
			}
		})
	}
}

func answerOf[T any](t *testing.T, r recordedArrival) (answer T) {
	t.Helper()
	if err := json.Unmarshal(r.Answer, &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func replay(t *testing.T, s *runtimetest.Sidecar, app *recordedApp, step *recordedStep) {
	var want []string
	for _, r := range step.HTTP {
		want = append(want, httpArrival(r.Line, r.Headers, r.Body.String())...)
	}
	for _, r := range step.GRPC {
		var m proto.Message = &runtimev1.TopicEventRequest{}
		if strings.HasSuffix(r.Method, "OnBulkTopicEvent") {
			m = &runtimev1.TopicEventBulkRequest{}
		}
		if err := proto.Unmarshal(r.Request.B64, m); err != nil {
			t.Fatal(err)
		}
		want = append(want, grpcArrival(r.Method, r.Metadata, m)...)
	}
	slices.Sort(want)
	app.expect(slices.Concat(step.HTTP, step.GRPC))
	for _, p := range step.publishes(t) {
		p.again(t, s)
	}
	eventually(t, "all arrives", func() bool { return app.count() >= len(want) })
	if diff := cmp.Diff(want, app.take()); diff != "" {
		t.Error(diff)
	}
}

// again makes the recorded call.
func (p recordedPublish) again(t *testing.T, s *runtimetest.Sidecar) {
	t.Helper()
	if p.HTTP != nil {
		response, _ := rawly(t, s.HTTPAddress().String(), p.HTTP.Request.Head+p.HTTP.Request.Body.String())
		if got := "HTTP/1.1 " + response.Status; got != p.HTTP.Response.Line {
			t.Errorf("publish: %s, want %s", got, p.HTTP.Response.Line)
		}
		return
	}
	var request, answer proto.Message = &runtimev1.PublishEventRequest{}, &emptypb.Empty{}
	if strings.HasSuffix(p.GRPC.Call, "BulkPublishEventAlpha1") {
		request, answer = &runtimev1.BulkPublishRequest{}, &runtimev1.BulkPublishResponse{}
	}
	if err := proto.Unmarshal(p.GRPC.Request[0].B64, request); err != nil {
		t.Fatal(err)
	}
	// The trace of a call comes back in its header.
	ctx := metadata.AppendToOutgoingContext(t.Context(), "grpc-trace-bin", string(p.GRPC.Header.Trace[0]))
	if err := dial(t, s.GRPCAddress().String()).Invoke(ctx, p.GRPC.Call, request, answer); err != nil {
		t.Errorf("publish: %v", err)
	}
}
