package test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/daprd/daprd/pkg/components/redis/redistest"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// settingsAPI is configuration and locks in the words of what callers want.
type settingsAPI interface {
	settings(ctx context.Context, store string, keys ...string) meaning
	lock(ctx context.Context, store, resource, owner string, seconds int) meaning
	unlock(ctx context.Context, store, resource, owner string) meaning
}

func (h *httpAPI) settings(ctx context.Context, store string, keys ...string) meaning {
	answer := h.call(ctx, "GET", "/v1.0/configuration/"+segment(store)+"?"+url.Values{"key": keys}.Encode(), "", nil)
	if f := answer.fault(); f != nil {
		return meaning{Fault: f}
	}
	var items map[string]struct{ Value, Version string }
	if answer.status != http.StatusNoContent {
		if err := json.Unmarshal([]byte(answer.body), &items); err != nil {
			return meaning{Fault: &fault{Text: err.Error()}}
		}
	}
	m := meaning{}
	for key, item := range items {
		m.Header = withHeader(m.Header, key, item.Value, item.Version)
	}
	return m
}

func withHeader(h map[string][]string, key, value, version string) map[string][]string {
	if h == nil {
		h = map[string][]string{}
	}
	h[key] = []string{value, version}
	return h
}

func (h *httpAPI) lock(ctx context.Context, store, resource, owner string, seconds int) meaning {
	body, _ := json.Marshal(map[string]any{"resourceId": resource, "lockOwner": owner, "expiryInSeconds": seconds})
	answer := h.call(ctx, "POST", "/v1.0-alpha1/lock/"+segment(store), string(body), nil)
	return meaning{Value: strings.TrimSuffix(strings.TrimPrefix(answer.body, `{"success":`), "}"), Fault: answer.fault()}.onlyFault()
}

func (h *httpAPI) unlock(ctx context.Context, store, resource, owner string) meaning {
	body, _ := json.Marshal(map[string]any{"resourceId": resource, "lockOwner": owner})
	answer := h.call(ctx, "POST", "/v1.0-alpha1/unlock/"+segment(store), string(body), nil)
	return meaning{Value: strings.TrimSuffix(strings.TrimPrefix(answer.body, `{"status":`), "}"), Fault: answer.fault()}.onlyFault()
}

func (m meaning) onlyFault() meaning {
	if m.Fault != nil {
		return meaning{Fault: m.Fault}
	}
	return m
}

func (g *grpcAPI) settings(ctx context.Context, store string, keys ...string) meaning {
	answer, err := g.client.GetConfiguration(g.context(ctx), &runtimev1.GetConfigurationRequest{StoreName: store, Keys: keys})
	m := meaning{Fault: faultOf(err)}
	for key, item := range answer.GetItems() {
		m.Header = withHeader(m.Header, key, item.GetValue(), item.GetVersion())
	}
	return m
}

func (g *grpcAPI) lock(ctx context.Context, store, resource, owner string, seconds int) meaning {
	answer, err := g.client.TryLockAlpha1(g.context(ctx), &runtimev1.TryLockRequest{StoreName: store, ResourceId: resource, LockOwner: owner, ExpiryInSeconds: int32(seconds)})
	return meaning{Value: map[bool]string{true: "true", false: "false"}[answer.GetSuccess()], Fault: faultOf(err)}.onlyFault()
}

func (g *grpcAPI) unlock(ctx context.Context, store, resource, owner string) meaning {
	answer, err := g.client.UnlockAlpha1(g.context(ctx), &runtimev1.UnlockRequest{StoreName: store, ResourceId: resource, LockOwner: owner})
	return meaning{Value: string(rune('0' + int(answer.GetStatus()))), Fault: faultOf(err)}.onlyFault()
}

const settingsManifest = `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: settings}
spec: {type: configuration.redis, version: v1, metadata: [{name: redisHost, value: "REDIS"}]}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: locks}
spec: {type: lock.redis, version: v1, metadata: [{name: redisHost, value: "REDIS"}]}
`

func settingsCases() []parityCase {
	bad := func(text string) meaning {
		return meaning{Fault: &fault{HTTP: 400, Code: "ERR_MALFORMED_REQUEST", GRPC: codes.InvalidArgument, Text: text}}
	}
	get := func(store string, keys ...string) func(*asker) meaning {
		return func(a *asker) meaning { return a.api.settings(a.ctx, store, keys...) }
	}
	return []parityCase{
		{name: "some", do: get("settings", "b", "absent", "a"), want: meaning{Header: map[string][]string{"a": {"1", "v1"}, "b": {"2", ""}}}},
		{name: "none", do: get("settings", "absent"), want: meaning{}},
		{name: "no UTF-8", do: get("settings", "a", "binary"), want: meaning{Header: map[string][]string{"a": {"1", "v1"}, "binary": {"x\ufffd", ""}}}},
		{name: "unknown store", do: get("nope", "a"), want: meaning{Fault: &fault{HTTP: 400, Code: "ERR_CONFIGURATION_STORE_NOT_FOUND", GRPC: codes.InvalidArgument,
			Text: "configuration store nope not found", Reason: "ERR_CONFIGURATION_STORE_NOT_FOUND"}}},
		{name: "lock", do: func(a *asker) meaning {
			r, told := a.key("r"), ""
			say := func(m meaning) {
				told += m.Value + " "
				if m.Fault != nil {
					told += m.Fault.Text
				}
			}
			say(a.api.lock(a.ctx, "locks", r, "a", 60))
			say(a.api.lock(a.ctx, "locks", r, "b", 60))
			say(a.api.unlock(a.ctx, "locks", r, "b"))
			say(a.api.unlock(a.ctx, "locks", r, "a"))
			say(a.api.unlock(a.ctx, "locks", r, "a"))
			return meaning{Value: told}
		}, want: meaning{Value: "true false 2 0 1 "}},
		{name: "no expiry", do: func(a *asker) meaning { return a.api.lock(a.ctx, "locks", "r", "a", 0) }, want: bad("ExpiryInSeconds is not positive in lock store locks")},
		{name: "no resource", do: func(a *asker) meaning { return a.api.lock(a.ctx, "locks", "", "a", 1) }, want: bad("ResourceId is empty in lock store locks")},
		{name: "no owner", do: func(a *asker) meaning { return a.api.unlock(a.ctx, "locks", "r", "") }, want: bad("LockOwner is empty in lock store locks")},
		{name: "separator", do: func(a *asker) meaning { return a.api.lock(a.ctx, "locks", "a||b", "a", 1) }, want: meaning{Fault: &fault{HTTP: 500,
			Code: "ERR_TRY_LOCK", GRPC: codes.Internal, Text: "failed to try acquiring lock: input key/keyPrefix 'a||b' can't contain '||'"}}},
		{name: "unknown lock store", do: func(a *asker) meaning { return a.api.lock(a.ctx, "nope", "r", "a", 1) }, want: meaning{Fault: &fault{HTTP: 400,
			Code: "ERR_LOCK_STORE_NOT_FOUND", GRPC: codes.InvalidArgument, Text: "lock store nope not found"}}},
	}
}

func TestSettingsParity(t *testing.T) {
	runtimetest.Isolate(t)
	redis := redistest.Start(t)
	put := redisWriter(t, redis.Address)
	put("a", "1||v1")
	put("b", "2")
	put("binary", `"x\xff"`)
	s := runtimetest.Start(t, "settings-parity", runtimetest.Manifests(t, strings.ReplaceAll(settingsManifest, "REDIS", redis.Address)))
	askAll(t, settingsCases(), transports(t, s), "", false)
	t.Run("none loaded", func(t *testing.T) {
		bare := runtimetest.Start(t, "settings-bare")
		askAll(t, []parityCase{
			{name: "configuration", do: func(a *asker) meaning { return a.api.settings(a.ctx, "x") }, want: meaning{Fault: &fault{HTTP: 500,
				Code: "ERR_CONFIGURATION_STORE_NOT_CONFIGURED", GRPC: codes.FailedPrecondition, Text: "configuration stores not configured", Reason: "ERR_CONFIGURATION_STORE_NOT_CONFIGURED"}}},
			{name: "lock", do: func(a *asker) meaning { return a.api.lock(a.ctx, "x", "r", "a", 1) }, want: meaning{Fault: &fault{HTTP: 500,
				Code: "ERR_LOCK_STORE_NOT_CONFIGURED", GRPC: codes.FailedPrecondition, Text: "lock store is not configured"}}},
		}, transports(t, bare), "", false)
	})
}

// redisWriter sets keys over a plain connection.
func redisWriter(t *testing.T, address string) func(key, value string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	answers := bufio.NewReader(conn)
	return func(key, value string) {
		t.Helper()
		if _, err := io.WriteString(conn, "SET "+key+" "+value+"\r\n"); err != nil {
			t.Fatal(err)
		}
		if line, err := answers.ReadString('\n'); err != nil || line != "+OK\r\n" {
			t.Fatalf("%q %v", line, err)
		}
	}
}

// TestSettingsUpdates: an HTTP application is told of changes by calls, a caller of gRPC by its stream; both
// end when they are asked to, and at the shutdown.
func TestSettingsUpdates(t *testing.T) {
	runtimetest.Isolate(t)
	redis := redistest.Start(t)
	put := redisWriter(t, redis.Address)
	put("a", "1||v1")
	type update struct{ path, body string }
	told := make(chan update, 100)
	app := startApplication(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method == http.MethodPost {
			told <- update{r.URL.Path, string(body)}
		}
	})
	s := runtimetest.Start(t, "settings-updates", appOn(app), runtimetest.Manifests(t, strings.ReplaceAll(settingsManifest, "REDIS", redis.Address)))
	apis := transports(t, s)
	overHTTP, overGRPC := apis[0].(*httpAPI), apis[1].(*grpcAPI)
	answer := overHTTP.call(t.Context(), "GET", "/v1.0/configuration/settings/subscribe?key=a", "", nil)
	var begun struct{ ID string }
	if err := json.Unmarshal([]byte(answer.body), &begun); err != nil || begun.ID == "" {
		t.Fatalf("%+v %v", answer, err)
	}
	stream, err := overGRPC.client.SubscribeConfiguration(t.Context(), &runtimev1.SubscribeConfigurationRequest{StoreName: "settings", Keys: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil || first.GetId() == "" || len(first.GetItems()) > 0 {
		t.Fatalf("the first message: %v, %v", first, err)
	}
	put("a", "2||v2")
	select {
	case got := <-told:
		want := update{"/configuration/settings/a", `{"id":"` + begun.ID + `","items":{"a":{"value":"2","version":"v2"}}}`}
		if got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	case <-time.After(patience):
		t.Fatal("the application is not told")
	}
	news, err := stream.Recv()
	if err != nil || news.GetId() != first.GetId() || news.GetItems()["a"].GetValue() != "2" {
		t.Errorf("%v, %v", news, err)
	}
	if got := overHTTP.call(t.Context(), "GET", "/v1.0-alpha1/configuration/settings/"+begun.ID+"/unsubscribe", "", nil); got.status != 200 || got.body != "{\"ok\":true}\n" {
		t.Errorf("%+v", got)
	}
	if got := overHTTP.call(t.Context(), "GET", "/v1.0/configuration/settings/"+begun.ID+"/unsubscribe", "", nil); got.status != 500 ||
		!strings.Contains(got.body, "failed to unsubscribe to configuration request "+begun.ID+": subscription with id") {
		t.Errorf("%+v", got)
	}
	ended, err := overGRPC.client.UnsubscribeConfigurationAlpha1(t.Context(), &runtimev1.UnsubscribeConfigurationRequest{Id: first.GetId()})
	if err != nil || !ended.GetOk() {
		t.Errorf("%v, %v", ended, err)
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Errorf("the stream ends with %v", err)
	}
	unknown, err := overGRPC.client.UnsubscribeConfiguration(t.Context(), &runtimev1.UnsubscribeConfigurationRequest{Id: "x"})
	if err != nil || unknown.GetOk() || unknown.GetMessage() != "failed to unsubscribe to configuration request x: subscription does not exist" {
		t.Errorf("%v, %v", unknown, err)
	}
	// One that is open at the shutdown ends in order; Stop of the test's end fails otherwise.
	open, err := overGRPC.client.SubscribeConfigurationAlpha1(t.Context(), &runtimev1.SubscribeConfigurationRequest{StoreName: "settings"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if _, err := open.Recv(); err != io.EOF {
		t.Errorf("at the shutdown the stream ends with %v", err)
	}
}

// TestSettingsWithoutApp: nobody would be told.
func TestSettingsWithoutApp(t *testing.T) {
	runtimetest.Isolate(t)
	redis := redistest.Start(t)
	s := runtimetest.Start(t, "settings-alone", runtimetest.Manifests(t, strings.ReplaceAll(settingsManifest, "REDIS", redis.Address)))
	got := transports(t, s)[0].(*httpAPI).call(t.Context(), "GET", "/v1.0/configuration/settings/subscribe?key=a", "", nil).fault()
	if got == nil || got.HTTP != 500 || got.Code != "ERR_APP_CHANNEL_NIL" {
		t.Errorf("%+v", got)
	}
}

// TestSettingsSubscriptionPolicy: a subscription is made under the component's policy.
func TestSettingsSubscriptionPolicy(t *testing.T) {
	runtimetest.Isolate(t)
	redis := redistest.Start(t)
	app := startApplication(t, func(http.ResponseWriter, *http.Request) {})
	const policy = `---
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: r}
spec:
  policies: {timeouts: {quick: 500ms}}
  targets: {components: {settings: {outbound: {timeout: quick}}}}
`
	s := runtimetest.Start(t, "settings-policy", appOn(app), runtimetest.Manifests(t, strings.ReplaceAll(settingsManifest, "REDIS", redis.Address)+policy))
	apis := transports(t, s)
	overHTTP, overGRPC := apis[0].(*httpAPI), apis[1].(*grpcAPI)
	redis.Pause()
	const late = `the component settings did not answer within 500ms (timeout policy "quick")`
	got := overHTTP.call(t.Context(), "GET", "/v1.0/configuration/settings/subscribe?key=a", "", nil).fault()
	if got == nil || got.Code != "ERR_CONFIGURATION_SUBSCRIBE" || !strings.Contains(got.Text, late) {
		t.Errorf("%+v", got)
	}
	stream, err := overGRPC.client.SubscribeConfiguration(t.Context(), &runtimev1.SubscribeConfigurationRequest{StoreName: "settings", Keys: []string{"a"}})
	if err == nil {
		_, err = stream.Recv()
	}
	if got := faultOf(err); got == nil || !strings.Contains(got.Text, late) {
		t.Errorf("%+v", got)
	}
}
