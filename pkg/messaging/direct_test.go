package messaging_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/messaging"
	"github.com/daprd/daprd/pkg/nameresolution"
	"github.com/daprd/daprd/pkg/ready"
)

func TestRemoteCall(t *testing.T) {
	var got channel.Request
	app := serving(func(ctx context.Context, req *channel.Request) (*channel.Response, error) {
		got = *req
		got.Header = append(channel.Header(nil), req.Header...)
		for i, f := range got.Header {
			got.Header[i] = channel.Field{Name: string([]byte(f.Name)), Value: string([]byte(f.Value))}
		}
		res, err := echo(ctx, req)
		res.Header = channel.Header{{Name: "X-A", Value: "1"}, {Name: "X-B", Value: "2"}, {Name: "X-A", Value: "3"}}
		res.Status = 201
		return res, err
	})
	peer := startCallee(t, "callee", app)
	c := newCaller(t, map[string][]string{"callee": {peer.address}})
	req := post("/a//b/../c", []byte("hello"))
	req.Query = "q=1&q=2"
	req.Header = channel.Header{
		{Name: "X-Rep", Value: "1"}, {Name: "Dapr-Caller-App-Id", Value: "liar"}, {Name: "x-rep", Value: "2"},
		{Name: "X-Forwarded-For", Value: "1.2.3.4"}, {Name: "x-raw-bin", Value: "\x00\xff"},
	}
	res, err := c.Invoke(context.Background(), "callee", req)
	if err != nil {
		t.Fatal(err)
	}
	if res.Status != 201 || res.ContentType != "text/plain" || string(res.Body.Bytes) != "hello" {
		t.Errorf("answer: %d %q %q", res.Status, res.ContentType, res.Body.Bytes)
	}
	wantHeader := channel.Header{{Name: "X-A", Value: "1"}, {Name: "X-A", Value: "3"}, {Name: "X-B", Value: "2"}}
	if diff := cmp.Diff(wantHeader, res.Header); diff != "" {
		t.Errorf("headers of the answer (-want +got):\n%s", diff)
	}
	res.Close()
	want := channel.Header{
		{Name: "X-Rep", Value: "1"}, {Name: "X-Rep", Value: "2"},
		{Name: "X-Forwarded-For", Value: "1.2.3.4"}, {Name: "X-Forwarded-For", Value: "127.0.0.1"},
		{Name: "x-raw-bin", Value: "\x00\xff"},
		{Name: "X-Forwarded-Host", Value: "host"},
		{Name: "Forwarded", Value: "for=127.0.0.1;by=127.0.0.1;host=host"},
		{Name: "destination-app-id", Value: "callee"},
		{Name: "dapr-caller-app-id", Value: "caller"},
		{Name: "dapr-caller-namespace", Value: "default"},
		{Name: "dapr-callee-app-id", Value: "callee"},
	}
	if diff := cmp.Diff(want, got.Header); diff != "" {
		t.Errorf("headers of the request (-want +got):\n%s", diff)
	}
	if got.Verb != "POST" || got.Method != "a/c" || got.Query != "q=1&q=2" || got.ContentType != "text/plain" {
		t.Errorf("request: %+v", got)
	}
}

func TestIDs(t *testing.T) {
	c := newCaller(t, nil)
	for _, test := range []struct {
		id, appID, namespace string
		local                bool
		err                  string
	}{
		{"app", "app", "default", false, ""},
		{"app.other", "app", "other", false, ""},
		{"caller", "caller", "default", true, ""},
		{"caller.default", "caller", "default", true, ""},
		{"caller.other", "caller", "other", false, ""},
		{"", "", "", false, "app id is empty"},
		{"a.b.c", "", "", false, "invalid app id a.b.c"},
		{"a.", "", "", false, "invalid app id a."},
		{".a", "", "", false, "invalid app id .a"},
	} {
		got, err := c.Target(test.id)
		if test.err != "" {
			if err == nil || err.Error() != test.err {
				t.Errorf("%q: error %v", test.id, err)
			}
			continue
		}
		if err != nil || got.AppID != test.appID || got.Namespace != test.namespace || got.Local != test.local || got.Port != 50002 {
			t.Errorf("%q: %+v, %v", test.id, got, err)
		}
	}
}

func TestErrors(t *testing.T) {
	c := newCaller(t, nil)
	for id, want := range map[string]string{
		"":       "failed to invoke, id: , err: app id is empty",
		"a.b.c":  "failed to invoke, id: a.b.c, err: invalid app id a.b.c",
		"nobody": "failed to invoke, id: nobody, err: couldn't find service: nobody",
		"caller": "failed to invoke, id: caller, err: cannot invoke local endpoint: app channel not initialized",
	} {
		if _, err := c.Invoke(context.Background(), id, post("m", nil)); err == nil || err.Error() != want {
			t.Errorf("%q: %v", id, err)
		}
	}
	_, err := c.Invoke(context.Background(), "nobody", post("a?b", nil))
	want := `failed to invoke, id: nobody, err: rpc error: code = InvalidArgument desc = invalid method: method contains forbidden character: "a?b"`
	if err == nil || err.Error() != want {
		t.Errorf("method: %v", err)
	}
}

func TestLocalCallIsDirect(t *testing.T) {
	c := newCaller(t, nil)
	c.app.Fill(serving(func(_ context.Context, req *channel.Request) (*channel.Response, error) {
		if len(req.Header) != 1 || req.Method != "m" {
			t.Errorf("request %+v", req)
		}
		return &channel.Response{Status: 204}, nil
	}))
	req := post("/m", nil)
	req.Header = channel.Header{{Name: "X", Value: "1"}}
	res, err := c.Invoke(context.Background(), "caller.default", req)
	if err != nil || res.Status != 204 {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestNotReady(t *testing.T) {
	peers := messaging.NewPeers(messaging.Insecure{}, 0)
	d := messaging.New(messaging.Deps{
		Self: messaging.Self{AppID: "caller", Namespace: "default"},
		App:  new(ready.Slot[channel.App]), Resolver: new(ready.Slot[nameresolution.Resolver]), Peers: peers,
	})
	if _, err := d.Invoke(context.Background(), "callee", post("m", nil)); err == nil || err.Error() != "invoke API is not ready" {
		t.Errorf("error %v", err)
	}
	_, _ = peers.Close(), d.Close()
}
