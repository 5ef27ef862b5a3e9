package channel

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/daprd/daprd/pkg/config"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
)

// topicApp is a gRPC application that a test answers for.
type topicApp struct {
	runtimev1.UnimplementedAppCallbackServer
	answer func() (*runtimev1.TopicEventResponse, error)
	bulk   func(*runtimev1.TopicEventBulkRequest) (*runtimev1.TopicEventBulkResponse, error)
	topics func() (*runtimev1.ListTopicSubscriptionsResponse, error)
}

func (a *topicApp) OnTopicEvent(context.Context, *runtimev1.TopicEventRequest) (*runtimev1.TopicEventResponse, error) {
	return a.answer()
}

func (a *topicApp) OnBulkTopicEvent(_ context.Context, r *runtimev1.TopicEventBulkRequest) (*runtimev1.TopicEventBulkResponse, error) {
	return a.bulk(r)
}

func (a *topicApp) ListTopicSubscriptions(context.Context, *emptypb.Empty) (*runtimev1.ListTopicSubscriptionsResponse, error) {
	return a.topics()
}

// serveTopics serves a gRPC application until it is stopped.
func serveTopics(t *testing.T, a runtimev1.AppCallbackServer) (address string, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, done := grpc.NewServer(), make(chan struct{})
	runtimev1.RegisterAppCallbackServer(server, a)
	go func() { defer close(done); _ = server.Serve(listener) }()
	stop = func() { server.Stop(); <-done }
	t.Cleanup(stop)
	return listener.Addr().String(), stop
}

var anEvent = &TopicEvent{PubSub: "ps", Topic: "t", Path: "/t", Body: []byte(`{"id":"1","data":1,"datacontenttype":"application/json"}`)}

// verdicts names an answer.
func verdicts(a TopicAnswer, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	text := []string{"success", "retry", "drop"}[a.Verdict]
	if a.Unhandled {
		text += ", unhandled"
	}
	return text + ": " + a.Reason
}

func TestAnswersOverHTTP(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"empty": {200, "", "success: "}, "201": {201, "", "success: "}, "204": {204, "", "success: "}, "no JSON": {200, "ok", "success: "}, "no object": {200, "[1]", "success: "},
		"no status": {200, `{"a":1}`, "success: "}, "an empty status": {200, `{"status":""}`, "success: "}, "a status of another type": {200, `{"status":5}`, "success: "},
		"success": {200, `{"status":"SUCCESS"}`, "success: "}, "retry": {200, `{"status":"RETRY"}`, "retry: RETRY status returned from app"},
		"drop": {200, `{"status":"DROP"}`, "drop: DROP status returned from app"}, "unknown": {200, `{"status":"WHAT"}`, `retry: unknown status "WHAT" returned from app: want SUCCESS, RETRY or DROP`},
		"lower case": {200, `{"status":"success"}`, `retry: unknown status "success" returned from app: want SUCCESS, RETRY or DROP`},
		"404":        {404, "no such route", "drop, unhandled: status code 404: no such route"}, "500": {500, "boom", "retry: status code 500: boom"},
		"400": {400, "", "retry: status code 400"}, "301": {301, "", "retry: status code 301"}, "429": {429, "", "retry: status code 429"},
		"500 with a status": {500, `{"status":"SUCCESS"}`, `retry: status code 500: {"status":"SUCCESS"}`},
		"very long":         {500, strings.Repeat("é", 1000), "retry: status code 500: " + strings.Repeat("é", 128) + "…"},
	} {
		for _, protocol := range []string{"http", "h2c"} {
			t.Run(name+", "+protocol, func(t *testing.T) {
				app := openTest(t, Settings{Protocol: protocol, Address: serveHTTP(t, protocol, func(w http.ResponseWriter, _ *http.Request) {
					w.WriteHeader(c.status)
					_, _ = io.WriteString(w, c.body)
				})})
				if got := verdicts(app.Deliver(testContext(t), anEvent)); got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
			})
		}
	}
}

func TestAnswersOverGRPC(t *testing.T) {
	app := &topicApp{}
	address, _ := serveTopics(t, app)
	channel := openTest(t, Settings{Protocol: "grpc", Address: address})
	for name, c := range map[string]struct {
		status runtimev1.TopicEventResponse_TopicEventResponseStatus
		err    error
		want   string
	}{
		"success": {want: "success: "}, "retry": {status: 1, want: "retry: RETRY status returned from app"}, "drop": {status: 2, want: "drop: DROP status returned from app"},
		"unknown":       {status: 9, want: "retry: unknown status 9 returned from app"},
		"unimplemented": {err: status.Error(codes.Unimplemented, "no"), want: "drop, unhandled: Unimplemented: no"},
		"an error":      {err: status.Error(codes.Internal, "boom"), want: "retry: Internal: boom"},
		"of another that it could not reach": {err: status.Error(codes.Unavailable, `connection error: desc = "transport: Error while dialing: refused"`),
			want: `retry: Unavailable: connection error: desc = "transport: Error while dialing: refused"`},
		"cancelled by itself": {err: status.Error(codes.Canceled, "x"), want: "retry: Canceled: x"},
	} {
		t.Run(name, func(t *testing.T) {
			app.answer = func() (*runtimev1.TopicEventResponse, error) {
				return &runtimev1.TopicEventResponse{Status: c.status}, c.err
			}
			if got := verdicts(channel.Deliver(testContext(t), anEvent)); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// TestBulkOverGRPC: the first form of the call is tried where an application has it alone; each entry has its answer.
func TestBulkOverGRPC(t *testing.T) {
	app := &topicApp{bulk: func(r *runtimev1.TopicEventBulkRequest) (*runtimev1.TopicEventBulkResponse, error) {
		return &runtimev1.TopicEventBulkResponse{Statuses: []*runtimev1.TopicEventBulkResponseEntry{{EntryId: "c", Status: 2}, {EntryId: "a"}, {EntryId: "nobody"}, {EntryId: "d", Status: 7}}}, nil
	}}
	address, _ := serveTopics(t, app)
	channel := openTest(t, Settings{Protocol: "grpc", Address: address})
	events := &BulkTopicEvent{ID: "1", PubSub: "ps", Topic: "t", Path: "/t"}
	for _, id := range []string{"a", "b", "c", "d"} {
		events.Entries = append(events.Entries, BulkEntry{ID: id, Data: anEvent.Body})
	}
	ask := func() (got []string) {
		answers, err := channel.DeliverBulk(testContext(t), events)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range answers {
			got = append(got, verdicts(a, nil))
		}
		return got
	}
	want := []string{"success: ", "retry: the answer has no status of this entry", "drop: DROP status returned from app", "retry: unknown status 7 returned from app"}
	if diff := cmp.Diff(want, ask()); diff != "" {
		t.Error(diff)
	}
	app.bulk = func(*runtimev1.TopicEventBulkRequest) (*runtimev1.TopicEventBulkResponse, error) {
		return nil, status.Error(codes.Unimplemented, "no")
	}
	if diff := cmp.Diff([]string{"success: ", "success: ", "success: ", "success: "}, ask()); diff != "" {
		t.Errorf("an application that has neither form:\n%s", diff)
	}
	app.bulk = func(*runtimev1.TopicEventBulkRequest) (*runtimev1.TopicEventBulkResponse, error) {
		return nil, status.Error(codes.Internal, "boom")
	}
	if diff := cmp.Diff([]string{"retry: Internal: boom", "retry: Internal: boom", "retry: Internal: boom", "retry: Internal: boom"}, ask()); diff != "" {
		t.Error(diff)
	}
}

// TestHowFar: a call that nobody took tells itself from one that broke off in the middle, and both from one that took too
// long.
func TestHowFar(t *testing.T) {
	for _, protocol := range []string{"http", "https", "h2c", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			begun, release := make(chan struct{}, 10), make(chan struct{})
			defer close(release)
			var address string
			var kill func()
			if protocol == "grpc" {
				address, kill = serveTopics(t, &topicApp{answer: func() (*runtimev1.TopicEventResponse, error) {
					begun <- struct{}{}
					<-release
					return nil, status.Error(codes.Internal, "late")
				}})
			} else {
				server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
					begun <- struct{}{}
					<-release
				}))
				switch protocol {
				case "h2c":
					server.Config.Protocols = new(http.Protocols)
					server.Config.Protocols.SetUnencryptedHTTP2(true)
					server.Start()
				case "https":
					server.StartTLS()
				default:
					server.Start()
				}
				address, kill = server.Listener.Addr().String(), func() { _ = server.Config.Close() }
				t.Cleanup(kill)
			}
			app := openTest(t, Settings{Protocol: protocol, Address: address})
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := app.Deliver(ctx, anEvent)
			if !errors.Is(err, context.DeadlineExceeded) || Unreached(err) || BrokenOff(err) {
				t.Errorf("too long: %v; unreached %v, broken off %v", err, Unreached(err), BrokenOff(err))
			}
			<-begun
			ended := make(chan error, 1)
			go func() {
				_, err := app.Deliver(testContext(t), anEvent)
				ended <- err
			}()
			<-begun
			kill()
			if err := <-ended; !BrokenOff(err) || Unreached(err) {
				t.Errorf("killed: %v; unreached %v, broken off %v", err, Unreached(err), BrokenOff(err))
			}
			if _, err := app.Deliver(testContext(t), anEvent); !Unreached(err) || BrokenOff(err) {
				t.Errorf("gone: %v; unreached %v, broken off %v", err, Unreached(err), BrokenOff(err))
			}
		})
	}
	if BrokenOff(nil) || Unreached(nil) || !Unreached(ErrUnhealthy) || BrokenOff(ErrUnhealthy) {
		t.Error("nil and an ill application")
	}
}

// TestBusyIsUnreached: a message that waited for its turn in vain has not reached the application.
func TestBusyIsUnreached(t *testing.T) {
	release := make(chan struct{})
	begun := make(chan struct{}, 1)
	app := openTest(t, Settings{Protocol: "http", MaxConcurrency: 1, Address: serveHTTP(t, "http", func(http.ResponseWriter, *http.Request) { begun <- struct{}{}; <-release })})
	done := make(chan struct{})
	go func() { defer close(done); _, _ = app.Deliver(testContext(t), anEvent) }()
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := app.Deliver(ctx, anEvent); !Unreached(err) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	close(release)
	<-done
}

// TestAskedForTopics: what the answers to the question for topics mean.
func TestAskedForTopics(t *testing.T) {
	rule := func(match, path string) config.TopicRule { return config.TopicRule{Match: match, Path: path} }
	for name, c := range map[string]struct {
		status   int
		body     string
		want     []config.TopicSubscription
		unusable bool
	}{
		"none": {404, "", nil, false}, "nothing": {204, "", nil, false}, "an empty list": {200, "[]", nil, false}, "null": {200, "null", nil, false},
		"a route": {200, `[{"pubsubname":"p","topic":"t","route":"r","metadata":{"a":"b"},"unknown":1}]`,
			[]config.TopicSubscription{{PubSub: "p", Topic: "t", Metadata: map[string]string{"a": "b"}, Rules: []config.TopicRule{rule("", "r")}}}, false},
		"routes": {200, `[{"pubsubname":"p","topic":"t","route":"r","routes":{"rules":[{"match":"m","path":"/a"}],"default":"/d"},"deadLetterTopic":"dl","bulkSubscribe":{"enabled":true,"maxMessagesCount":3,"maxAwaitDurationMs":4}}]`,
			[]config.TopicSubscription{{PubSub: "p", Topic: "t", DeadLetterTopic: "dl", Bulk: config.BulkSubscribe{Enabled: true, MaxMessages: 3, MaxAwaitMilliseconds: 4},
				Rules: []config.TopicRule{rule("m", "/a"), rule("", "/d")}}}, false},
		"no JSON": {200, "<html>", nil, true}, "an object": {200, "{}", nil, true}, "500": {500, "", nil, true}, "a number for a name": {200, `[{"pubsubname":1}]`, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			app := openTest(t, Settings{Protocol: "http", AppID: "me", Address: serveHTTP(t, "http", func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/dapr/subscribe" || r.Method != "GET" || r.Header.Get("Dapr-App-Id") != "me" {
					t.Errorf("%s %s of %s", r.Method, r.URL, r.Header.Get("Dapr-App-Id"))
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})})
			got, err := app.Subscriptions(testContext(t))
			if errors.Is(err, ErrUnusable) != c.unusable || (err != nil) != c.unusable || len(got) != len(c.want) || len(got) > 0 && cmp.Diff(c.want, got) != "" {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// FuzzTopics: no answer of an application makes it panic, and what is read is there.
func FuzzTopics(f *testing.F) {
	for _, seed := range []string{"", "[]", "null", "{}", `[{"pubsubname":"p","topic":"t","route":"/r"}]`, `[{"routes":{"rules":[{"match":"m","path":"p"}],"default":"d"}}]`,
		`[null]`, `[{"metadata":{"a":null}}]`, `[{"bulkSubscribe":{"maxMessagesCount":-1}}]`, "[[[[", "\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := parseSubscriptions(body)
		if err != nil && (!errors.Is(err, ErrUnusable) || list != nil) {
			t.Errorf("%v, %v", list, err)
		}
	})
}

// TestSaidStatus: an answer's body is read as encoding/json reads it; one that cannot be read says nothing.
func TestSaidStatus(t *testing.T) {
	for _, body := range []string{`{"status":"RETRY"}`, `{"STATUS":"DROP"}`, ` {"status" : "RETRY" } `, `{"st\u0061tus":"RE\u0054RY"}`,
		`{"status":"SUCCESS","status":"RETRY"}`, `{"other":{"status":"RETRY"}}`, `{"status":1}`, `{"status":null}`, `{"status":["RETRY"]}`,
		`{"status":"RETRY"} x`, `{"status":"RET`, `"RETRY"`, `[]`, `null`, `OK`} {
		var want struct{ Status string }
		if json.Unmarshal([]byte(body), &want) != nil {
			want.Status = ""
		}
		if got := saidStatus([]byte(body)); got != want.Status {
			t.Errorf("%s: %q, want %q", body, got, want.Status)
		}
	}
}
