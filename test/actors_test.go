package test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/go-redis/redis/v8"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/daprd/daprd/pkg/components/redis/redistest"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// memoryActors is a store for actors in memory.
const memoryActors = `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: actorstore}
spec:
  type: state.in-memory
  version: v1
  metadata:
  - {name: actorStateStore, value: "true"}
`

// actorApp is an HTTP application that hosts actors.
type actorApp struct {
	*application
	// configuration is what it answers to GET /dapr/config.
	configuration string
	// method is what an actor does; nil answers with the body.
	method func(w http.ResponseWriter, r *http.Request, id, method string, body []byte)

	mu   sync.Mutex
	seen []actorRequest
}

// actorRequest is a call that the application has seen: "PUT /actors/T/1/method/m?x=1".
type actorRequest struct {
	Line, Body string
	Header     http.Header
}

func newActorApp(t *testing.T, configuration string) *actorApp {
	t.Helper()
	a := &actorApp{configuration: configuration}
	a.application = newApplication(t, a.serve)
	return a
}

func (a *actorApp) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller is gone
	}
	rest, actor := strings.CutPrefix(r.URL.Path, "/actors/")
	if !actor {
		if r.URL.Path == "/dapr/config" {
			_, _ = io.WriteString(w, a.configuration)
		} else {
			w.WriteHeader(http.StatusNotFound)
		}
		return
	}
	a.mu.Lock()
	a.seen = append(a.seen, actorRequest{r.Method + " " + r.URL.RequestURI(), string(body), r.Header})
	a.mu.Unlock()
	parts := strings.SplitN(rest, "/", 4)
	if a.method != nil && r.Method == http.MethodPut {
		a.method(w, r, parts[1], parts[3], body)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

func (a *actorApp) requests() []actorRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]actorRequest(nil), a.seen...)
}

// startActors runs a sidecar beside an application that hosts the type T, and waits until it does.
func startActors(t *testing.T, app *actorApp, options ...runtimetest.Option) *runtimetest.Sidecar {
	t.Helper()
	app.live(t)
	s := runtimetest.Start(t, "myapp", append([]runtimetest.Option{appOn(app.application)}, options...)...)
	eventually(t, "the types are hosted", func() bool {
		return strings.Contains(string(get(t, s.URL("/v1.0/metadata"))), `"hostReady":true`)
	})
	return s
}

func get(t *testing.T, url string) []byte {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// callAPI makes a call of the HTTP API and gives status and body.
func callAPI(t *testing.T, verb, url, body string, header ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), verb, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(answer), res.Header
}

// recordedActors is a capture of Dapr's actors over Redis.
type recordedActors struct {
	Steps []struct {
		Name string
		Ops  []struct {
			HTTP *struct {
				Request  struct{ Head, Body recordedText }
				Response struct {
					StatusLine string `json:"status_line"`
					Body       recordedText
				}
			}
			GRPC *struct {
				Call              string
				Request, Response []struct{ B64 []byte }
			}
		}
		RedisAfter map[string]struct {
			TTL   int
			Value map[string]string
		} `json:"redis_after"`
		AppReceived []struct {
			RequestLine string `json:"request_line"`
			Headers     [][2]string
			Body        recordedText
		} `json:"app_received"`
	}
}

// recordedText is a text, or the text of a body.
type recordedText string

// UnmarshalJSON reads both forms.
func (r *recordedText) UnmarshalJSON(b []byte) error {
	var body struct{ Text string }
	if err := json.Unmarshal(b, &body); err == nil {
		*r = recordedText(body.Text)
		return nil
	}
	return json.Unmarshal(b, (*string)(r))
}

// TestActorCapture: the calls that were made to Dapr 1.18 are answered as it did, the application sees the same, and the
// same stands in Redis.
func TestActorCapture(t *testing.T) {
	text, err := os.ReadFile("testdata/actors/state-1.18.3.json")
	if err != nil {
		t.Fatal(err)
	}
	var recorded recordedActors
	if err := json.Unmarshal(text, &recorded); err != nil {
		t.Fatal(err)
	}
	runtimetest.Isolate(t)
	server := redistest.Start(t)
	stored := goredis.NewClient(&goredis.Options{Addr: server.Address})
	t.Cleanup(func() { stored.Close() })
	app := newActorApp(t, `{"entities":["T"],"actorIdleTimeout":"1h","drainOngoingCallTimeout":"1s","drainRebalancedActors":true}`)
	app.method = func(w http.ResponseWriter, _ *http.Request, _, _ string, _ []byte) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"ok":true}`)
	}
	s := startActors(t, app, runtimetest.Manifests(t, redisStore(server.Address, "")+"  - {name: actorStateStore, value: \"true\"}\n"))
	client := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String()))
	steps := 0
	for _, step := range recorded.Steps {
		if strings.Contains(step.Name, "timer") || strings.Contains(step.Name, "stop") {
			continue
		}
		steps++
		before := len(app.requests())
		for _, op := range step.Ops {
			if op.HTTP != nil {
				head := strings.Split(string(op.HTTP.Request.Head), "\r\n")
				verb, rest, _ := strings.Cut(head[0], " ")
				path, _, _ := strings.Cut(rest, " ")
				var header []string
				for _, line := range head[1:] {
					if name, value, ok := strings.Cut(line, ": "); ok && strings.HasPrefix(name, "X-") {
						header = append(header, name, value)
					}
				}
				code, body, _ := callAPI(t, verb, s.URL(path), string(op.HTTP.Request.Body), header...)
				want := fmt.Sprint(op.HTTP.Response.StatusLine, "|", op.HTTP.Response.Body)
				if got := fmt.Sprintf("HTTP/1.1 %d %s|%s", code, http.StatusText(code), compacted(body)); got != want {
					t.Errorf("%s: %s: %s, want %s", step.Name, head[0], got, want)
				}
			}
			if op.GRPC != nil {
				replayActorCall(t, client, op.GRPC.Call, op.GRPC.Request[0].B64, op.GRPC.Response[0].B64)
			}
		}
		for key, want := range step.RedisAfter {
			got, err := stored.HGetAll(t.Context(), key).Result()
			if err != nil {
				t.Fatal(err)
			}
			for field, value := range got {
				got[field] = base64.StdEncoding.EncodeToString([]byte(compacted(value)))
			}
			if diff := cmp.Diff(want.Value, got); diff != "" {
				t.Errorf("%s: %s: %s", step.Name, key, diff)
			}
			if ttl := stored.TTL(t.Context(), key).Val(); (ttl > 0) != (want.TTL > 0) {
				t.Errorf("%s: %s: time to live %s, want %d s", step.Name, key, ttl, want.TTL)
			}
		}
		if strings.Contains(step.Name, "delete") && stored.Exists(t.Context(), "myapp||T||a1||s").Val() != 0 {
			t.Errorf("%s: the key is still there", step.Name)
		}
		got := app.requests()[before:]
		if len(got) != len(step.AppReceived) {
			t.Fatalf("%s: the application saw %v", step.Name, got)
		}
		for i, want := range step.AppReceived {
			if line := got[i].Line + " HTTP/1.1"; line != want.RequestLine || got[i].Body != string(want.Body) {
				t.Errorf("%s: the application saw %s %s", step.Name, line, got[i].Body)
			}
			for _, h := range want.Headers {
				switch h[0] {
				case "Host", "Content-Length", "Accept-Encoding":
				default:
					if got[i].Header.Get(h[0]) != h[1] {
						t.Errorf("%s: the application saw %s: %q, want %q", step.Name, h[0], got[i].Header.Get(h[0]), h[1])
					}
				}
			}
		}
	}
	if steps < 6 {
		t.Errorf("%d steps", steps)
	}
}

// compacted is JSON as Dapr stores it; here values stay as they were sent.
func compacted(text string) string {
	var compact bytes.Buffer
	if json.Compact(&compact, []byte(text)) != nil {
		return text
	}
	return compact.String()
}

// replayActorCall makes a recorded call that worked, and compares the answer.
func replayActorCall(t *testing.T, client runtimev1.DaprClient, call string, sent, want []byte) {
	t.Helper()
	var (
		transaction runtimev1.ExecuteActorStateTransactionRequest
		read        runtimev1.GetActorStateRequest
		answer      proto.Message
		err         error
	)
	switch call {
	case runtimev1.Dapr_ExecuteActorStateTransaction_FullMethodName:
		if err = proto.Unmarshal(sent, &transaction); err == nil {
			answer, err = client.ExecuteActorStateTransaction(t.Context(), &transaction)
		}
	case runtimev1.Dapr_GetActorState_FullMethodName:
		if err = proto.Unmarshal(sent, &read); err == nil {
			answer, err = client.GetActorState(t.Context(), &read)
		}
	default:
		t.Fatalf("the capture has a call of %s", call)
	}
	if err != nil {
		t.Errorf("%s: %v", call, err)
		return
	}
	if got, err := proto.Marshal(answer); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %q, want %q (%v)", call, got, want, err)
	}
}

// TestActorErrors: what goes wrong has the codes and texts of Dapr 1.18, over both transports.
func TestActorErrors(t *testing.T) {
	runtimetest.Isolate(t)
	app := newActorApp(t, `{"entities":["T"]}`)
	app.method = func(w http.ResponseWriter, _ *http.Request, _, method string, body []byte) {
		switch method {
		case "missing":
			w.WriteHeader(http.StatusNotFound)
		case "fails":
			http.Error(w, "oh no", http.StatusInternalServerError)
		case "actor-error":
			w.Header().Set("X-DaprErrorResponseHeader", "yes")
			_, _ = io.WriteString(w, "the actor says no")
		default:
			_, _ = w.Write(body)
		}
	}
	s := startActors(t, app, runtimetest.Manifests(t, memoryActors))
	client := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String()))
	for _, c := range []struct {
		actorType, id, method string
		httpCode              int
		code, text            string
		grpc                  codes.Code
		grpcText              string
	}{
		{"T", "1", "missing", 500, "ERR_ACTOR_INVOKE_METHOD", "error invoke actor method: actor method not found: actors/T/1/method/missing", codes.Internal, ""},
		{"T", "1", "fails", 500, "ERR_ACTOR_INVOKE_METHOD", "error invoke actor method: error from actor service: (500) oh no\n", codes.Internal, ""},
		{"T", "a%23b", "m", 400, "ERR_BAD_REQUEST", `invalid actorId: name contains forbidden character: "a#b"`, codes.InvalidArgument, ""},
		{"Nobody", "1", "m", 500, "ERR_ACTOR_INVOKE_METHOD", "error invoke actor method: failed to lookup actor: api error: code = FailedPrecondition desc = did not find address for actor 'Nobody/1'",
			codes.FailedPrecondition, "failed to lookup actor: api error: code = FailedPrecondition desc = did not find address for actor 'Nobody/1'"},
	} {
		code, body, _ := callAPI(t, "POST", s.URL("/v1.0/actors/"+c.actorType+"/"+c.id+"/method/"+c.method), "{}")
		var said struct{ ErrorCode, Message string }
		if err := json.Unmarshal([]byte(body), &said); err != nil || code != c.httpCode || said.ErrorCode != c.code || said.Message != c.text {
			t.Errorf("%s/%s/%s: %d %s", c.actorType, c.id, c.method, code, body)
		}
		_, err := client.InvokeActor(t.Context(), &runtimev1.InvokeActorRequest{ActorType: c.actorType, ActorId: strings.ReplaceAll(c.id, "%23", "#"), Method: c.method})
		if c.grpcText == "" {
			c.grpcText = c.text
		}
		if st := status.Convert(err); st.Code() != c.grpc || st.Message() != c.grpcText {
			t.Errorf("%s/%s/%s: %v", c.actorType, c.id, c.method, err)
		}
	}
	code, body, header := callAPI(t, "POST", s.URL("/v1.0/actors/T/1/method/actor-error"), "{}")
	if code != 200 || body != "the actor says no" || header.Get("X-Daprerrorresponseheader") != "yes" {
		t.Errorf("an actor's own error: %d %s %v", code, body, header)
	}
	answer, err := client.InvokeActor(t.Context(), &runtimev1.InvokeActorRequest{ActorType: "T", ActorId: "1", Method: "actor-error"})
	if err != nil || string(answer.GetData()) != "the actor says no" {
		t.Errorf("an actor's own error: %v, %v", answer, err)
	}
	write := &runtimev1.ExecuteActorStateTransactionRequest{ActorType: "T", ActorId: "inactive", Operations: []*runtimev1.TransactionalActorStateOperation{
		{OperationType: "upsert", Key: "k", Value: &anypb.Any{Value: []byte("1")}}}}
	if _, err := client.ExecuteActorStateTransaction(t.Context(), write); status.Convert(err).Message() != "actor instance is missing" || status.Code(err) != codes.Internal {
		t.Errorf("a write for an actor that is not active: %v", err)
	}
	write.Operations[0].OperationType = "flip"
	if _, err := client.ExecuteActorStateTransaction(t.Context(), write); status.Convert(err).Message() != "operation type flip not supported" || status.Code(err) != codes.Unimplemented {
		t.Errorf("an unknown operation: %v", err)
	}
	if code, body, _ := callAPI(t, "POST", s.URL("/v1.0/actors/dapr.internal.x/1/state"), "[]"); code != 403 || !strings.Contains(body, `"ERR_ACTOR_TYPE_RESERVED"`) {
		t.Errorf("a type of workflows: %d %s", code, body)
	}
}

// TestActorCallbacks: a timer ticks at the application in the form of Dapr 1.18, over both transports.
func TestActorCallbacks(t *testing.T) {
	runtimetest.Isolate(t)
	app := newActorApp(t, `{"entities":["T"]}`)
	s := startActors(t, app, runtimetest.Manifests(t, memoryActors))
	client := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String()))
	code, body, _ := callAPI(t, "POST", s.URL("/v1.0/actors/T/a1/timers/t1"), `{"dueTime": "0s", "period": "1h", "callback": "cb", "data": {"x": 1}}`)
	if code != http.StatusNoContent {
		t.Fatalf("%d %s", code, body)
	}
	_, err := client.RegisterActorTimer(t.Context(), &runtimev1.RegisterActorTimerRequest{ActorType: "T", ActorId: "a2", Name: "t2", DueTime: "0s", Callback: "cb",
		Data: []byte("1")})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "both have ticked", func() bool { return len(app.requests()) == 2 })
	got := map[string]string{}
	for _, r := range app.requests() {
		got[r.Line] = r.Body
	}
	want := map[string]string{
		"PUT /actors/T/a1/method/timer/t1": `{"data":{"x": 1},"callback":"cb","dueTime":"0s","period":"1h"}`,
		"PUT /actors/T/a2/method/timer/t2": `{"data":"MQ==","callback":"cb","dueTime":"0s","period":""}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, url := range []string{"/v1.0/actors/T/a1/timers/t1", "/v1.0/actors/T/a1/timers/none"} {
		if code, body, _ := callAPI(t, "DELETE", s.URL(url), ""); code != http.StatusNoContent {
			t.Errorf("%s: %d %s", url, code, body)
		}
	}
	if code, body, _ := callAPI(t, "POST", s.URL("/v1.0/actors/T/a1/timers/t"), `{"dueTime": "soon"}`); code != 500 || !strings.Contains(body, "ERR_ACTOR_TIMER_CREATE") {
		t.Errorf("a time that is none: %d %s", code, body)
	}
	for verb, body := range map[string]string{"POST": `{"dueTime": "1s"}`, "GET": "", "DELETE": "", "PATCH": `{"newName":"x"}`} {
		if code, body, _ := callAPI(t, verb, s.URL("/v1.0/actors/U/1/reminders/r"), body); code != 403 || !strings.Contains(body, "ERR_ACTOR_REMINDER_NON_HOSTED") {
			t.Errorf("%s of a type that is not hosted: %d %s", verb, code, body)
		}
	}
}

// TestActorStream: a gRPC application hosts actors over the stream that it opens; they are called over it, and are gone
// with it.
func TestActorStream(t *testing.T) {
	runtimetest.Isolate(t)
	s := runtimetest.Start(t, "streamed", runtimetest.Manifests(t, memoryActors))
	client := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String()))
	stream, err := client.SubscribeActorEventsAlpha1(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	send := func(m *runtimev1.SubscribeActorEventsRequestAlpha1) {
		if err := stream.Send(m); err != nil {
			t.Error(err)
		}
	}
	send(&runtimev1.SubscribeActorEventsRequestAlpha1{RequestType: &runtimev1.SubscribeActorEventsRequestAlpha1_InitialRequest{
		InitialRequest: &runtimev1.SubscribeActorEventsRequestInitialAlpha1{Entities: []string{"T"}}}})
	if first, err := stream.Recv(); err != nil || first.GetInitialResponse() == nil {
		t.Fatalf("%v, %v", first, err)
	}
	var served sync.WaitGroup
	asked := make(chan string, 10)
	served.Go(func() {
		for {
			question, err := stream.Recv()
			if err != nil {
				return
			}
			switch q := question.GetResponseType().(type) {
			case *runtimev1.SubscribeActorEventsResponseAlpha1_InvokeRequest:
				r := q.InvokeRequest
				asked <- fmt.Sprintf("%s invoke %s/%s/%s %s %s", r.GetId(), r.GetActorType(), r.GetActorId(), r.GetMethod(), r.GetData(), r.GetMetadata()["X-One"])
				if r.GetMethod() == "missing" {
					send(&runtimev1.SubscribeActorEventsRequestAlpha1{RequestType: &runtimev1.SubscribeActorEventsRequestAlpha1_RequestFailed{
						RequestFailed: &runtimev1.SubscribeActorEventsRequestFailedAlpha1{Id: r.GetId(), Code: uint32(codes.NotFound)}}})
					continue
				}
				send(&runtimev1.SubscribeActorEventsRequestAlpha1{RequestType: &runtimev1.SubscribeActorEventsRequestAlpha1_InvokeResponse{
					InvokeResponse: &runtimev1.SubscribeActorEventsRequestInvokeResponseAlpha1{Id: r.GetId(), Data: []byte("answer"), Error: r.GetMethod() == "fails"}}})
			case *runtimev1.SubscribeActorEventsResponseAlpha1_TimerRequest:
				send(&runtimev1.SubscribeActorEventsRequestAlpha1{RequestType: &runtimev1.SubscribeActorEventsRequestAlpha1_TimerResponse{
					TimerResponse: &runtimev1.SubscribeActorEventsRequestReminderResponseAlpha1{Id: q.TimerRequest.GetId()}}})
				asked <- fmt.Sprintf("%s timer %s %s", q.TimerRequest.GetId(), q.TimerRequest.GetName(), q.TimerRequest.GetCallback())
			}
		}
	})
	code, body, _ := callAPI(t, "POST", s.URL("/v1.0/actors/T/1/method/m"), "hi", "X-One", "1")
	if code != 200 || body != "answer" || <-asked != "1 invoke T/1/m hi 1" {
		t.Errorf("%d %s", code, body)
	}
	code, body, header := callAPI(t, "POST", s.URL("/v1.0/actors/T/1/method/fails"), "")
	if code != 200 || header.Get("X-Daprerrorresponseheader") == "" || <-asked != "2 invoke T/1/fails  " {
		t.Errorf("%d %s %v", code, body, header)
	}
	_, err = client.InvokeActor(t.Context(), &runtimev1.InvokeActorRequest{ActorType: "T", ActorId: "1", Method: "missing"})
	if status.Convert(err).Message() != "error invoke actor method: actor method not found: missing" || <-asked != "3 invoke T/1/missing  " {
		t.Errorf("a missing method: %v", err)
	}
	if _, err := client.RegisterActorTimer(t.Context(), &runtimev1.RegisterActorTimerRequest{ActorType: "T", ActorId: "1", Name: "n", DueTime: "0s", Callback: "cb"}); err != nil {
		t.Error(err)
	}
	if got := <-asked; got != "4 timer n cb" {
		t.Errorf("the timer: %s", got)
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
	served.Wait()
	eventually(t, "the type is gone with its stream", func() bool {
		return strings.Contains(string(get(t, s.URL("/v1.0/metadata"))), `"hostReady":false`)
	})
}

// TestActorStoreComes: without a store for its state nothing is hosted, and calls say why; when the store comes the types
// are hosted, when it goes the actors leave.
func TestActorStoreComes(t *testing.T) {
	runtimetest.Isolate(t)
	app := newActorApp(t, `{"entities":["T"]}`)
	app.live(t)
	dir := t.TempDir()
	manifest := filepath.Join(dir, "store.yaml")
	s := runtimetest.Start(t, "myapp", appOn(app.application), func(c *runtime.Config) { c.ResourcesPaths = []string{dir} })
	if !s.Log.Contains("failed to init actors: no actor state store defined") {
		t.Error("the trace's warning is missing")
	}
	refused := func() bool {
		code, body, _ := callAPI(t, "POST", s.URL("/v1.0/actors/T/1/method/m"), "{}")
		return code == 500 && strings.Contains(body, "ERR_ACTOR_RUNTIME_NOT_FOUND") && strings.Contains(body, "actorStateStore")
	}
	eventually(t, "calls say that there is no store", refused)
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(manifest, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(memoryActors)
	eventually(t, "the types are hosted", func() bool {
		code, _, _ := callAPI(t, "POST", s.URL("/v1.0/actors/T/1/method/m"), "{}")
		return code == 200
	})
	if err := os.Remove(manifest); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the store has gone", refused)
	eventually(t, "the actor has left", func() bool {
		return slices.ContainsFunc(app.requests(), func(r actorRequest) bool { return r.Line == "DELETE /actors/T/1" })
	})
}

// TestActorAppDies: an application that is killed in the middle of a turn fails that call, and no later one.
func TestActorAppDies(t *testing.T) {
	runtimetest.Isolate(t)
	app := newActorApp(t, `{"entities":["T"]}`)
	begun := make(chan struct{}, 1)
	app.method = func(w http.ResponseWriter, r *http.Request, _, method string, body []byte) {
		if method == "hang" {
			begun <- struct{}{}
			<-r.Context().Done()
			return
		}
		_, _ = w.Write(body)
	}
	s := startActors(t, app, runtimetest.Manifests(t, memoryActors))
	result := make(chan string, 1)
	go func() {
		code, body, _ := callAPI(t, "POST", s.URL("/v1.0/actors/T/1/method/hang"), "{}")
		result <- fmt.Sprint(code, " ", body)
	}()
	<-begun
	app.die()
	if got := <-result; !strings.HasPrefix(got, `500 {"errorCode":"ERR_ACTOR_INVOKE_METHOD"`) {
		t.Errorf("the call in the middle: %s", got)
	}
	// The next call waits for the application, as it does for a host that moves.
	go func() {
		code, body, _ := callAPI(t, "POST", s.URL("/v1.0/actors/T/1/method/m"), "{}")
		result <- fmt.Sprint(code, " ", body)
	}()
	app.live(t)
	if got := <-result; got != "200 {}" {
		t.Errorf("the next call: %s", got)
	}
}

// TestActorHealth: an application that says that it is ill hosts nothing, until it is well again.
func TestActorHealth(t *testing.T) {
	runtimetest.Isolate(t)
	app := newActorApp(t, `{"entities":["T"]}`)
	var ill atomic.Bool
	inner := app.handler
	app.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/healthz":
			inner.ServeHTTP(w, r)
		case ill.Load():
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	s := startActors(t, app, runtimetest.Manifests(t, memoryActors), func(c *runtime.Config) {
		c.AppHealth = &runtime.AppHealth{Path: "/healthz", Interval: 20 * time.Millisecond, Timeout: 10 * time.Second, Threshold: 1}
	})
	if code, body, _ := callAPI(t, "POST", s.URL("/v1.0/actors/T/1/method/m"), "{}"); code != 200 {
		t.Fatalf("%d %s", code, body)
	}
	hosts := func(ready string) func() bool {
		return func() bool {
			return strings.Contains(string(get(t, s.URL("/v1.0/metadata"))), `"hostReady":`+ready)
		}
	}
	ill.Store(true)
	eventually(t, "nothing is hosted", hosts("false"))
	ill.Store(false)
	eventually(t, "the types are hosted again", hosts("true"))
	if code, body, _ := callAPI(t, "POST", s.URL("/v1.0/actors/T/1/method/m"), "{}"); code != 200 {
		t.Errorf("%d %s", code, body)
	}
}
