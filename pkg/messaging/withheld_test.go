package messaging_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/grpc"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/messaging"
	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	internalsv1 "github.com/daprd/daprd/pkg/proto/internals/v1"
)

const withheldLength = 5_000_000

// withholding answers as an HTTP application's channel does to HEAD, and to a conditional GET.
func withholding(_ context.Context, req *channel.Request) (*channel.Response, error) {
	status, length := http.StatusOK, int64(withheldLength)
	switch req.Method {
	case "unchanged":
		status = http.StatusNotModified
	case "unknown":
		length = -1
	case "empty":
		length = 0
	case "nothing":
		return &channel.Response{Status: http.StatusNoContent}, nil
	}
	return &channel.Response{Status: status, Body: channel.Withhold(status, length)}, nil
}

// TestWithheld: the length of a body that is not sent reaches the caller through two sidecars, and nobody
// waits for the body.
func TestWithheld(t *testing.T) {
	for name, peer := range map[string]*callee{
		"streamed": startCallee(t, "callee", serving(withholding)),
		"unary":    startOldPeer(t, serving(withholding)),
	} {
		c := newCaller(t, map[string][]string{"callee": {peer.address}})
		for _, test := range []struct {
			verb, method string
			withheld     bool
			declared     int64
		}{
			{"HEAD", "large", true, withheldLength}, {"HEAD", "unknown", true, -1}, {"HEAD", "empty", true, 0},
			{"GET", "unchanged", true, withheldLength}, {"HEAD", "nothing", false, 0}, {"GET", "nothing", false, 0},
		} {
			t.Run(name+" "+test.verb+" "+test.method, func(t *testing.T) {
				res, err := c.Invoke(within(t), "callee", &channel.Request{Verb: test.verb, Method: test.method})
				if err != nil {
					t.Fatal(err)
				}
				if b := res.Body; b.Withheld != test.withheld || b.Declared() != test.declared || b.Size() != 0 {
					t.Errorf("body %+v", b)
				}
				if body := readAll(t, res); body != "" {
					t.Errorf("body %q", body)
				}
			})
		}
	}
}

// startOldPeer is a sidecar that knows calls in one message only.
func startOldPeer(t *testing.T, app channel.App) *callee {
	t.Helper()
	desc := messaging.NewCallee(messaging.CalleeDeps{AppID: "callee", App: filled(app), Policy: allowAll{}}).ServiceDesc()
	desc.Streams = nil
	listener := listen(t)
	c := &callee{address: listener.Addr().String(), server: newServer()}
	c.server.RegisterService(desc, nil)
	c.serve(t, listener)
	return c
}

// TestWithheldByDapr: sidecars of Dapr put the length of a body that does not come into the headers, too.
func TestWithheldByDapr(t *testing.T) {
	listener := listen(t)
	peer := &callee{address: listener.Addr().String(), server: grpc.NewServer()}
	internalsv1.RegisterServiceInvocationServer(peer.server, daprHead{})
	peer.serve(t, listener)
	c := newCaller(t, map[string][]string{"callee": {peer.address}})
	res, err := c.Invoke(within(t), "callee", &channel.Request{Verb: "HEAD", Method: "m"})
	if err != nil {
		t.Fatal(err)
	}
	if !res.Body.Withheld || res.Body.Declared() != 42 {
		t.Errorf("body %+v", res.Body)
	}
	if body := readAll(t, res); body != "" {
		t.Errorf("body %q", body)
	}
}

type daprHead struct {
	internalsv1.UnimplementedServiceInvocationServer
}

func (daprHead) CallLocalStream(stream internalsv1.ServiceInvocation_CallLocalStreamServer) error {
	return stream.Send(&internalsv1.InternalInvokeResponseStream{Response: &internalsv1.InternalInvokeResponse{
		Status:  &internalsv1.Status{Code: 200},
		Headers: map[string]*internalsv1.ListStringValue{"Content-Length": {Values: []string{"42"}}},
		Message: &commonv1.InvokeResponse{ContentType: "text/plain"},
	}})
}

func TestWithheldByEndpoint(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.Header().Set("Content-Length", "5000000")
			return
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		// Go's server leaves the length out.
		_, _ = io.WriteString(conn, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5000000\r\nConnection: close\r\n\r\n")
	}))
	defer server.Close()
	d := withEndpoints(t)
	for _, verb := range []string{"HEAD", "GET"} {
		res, err := d.Invoke(within(t), server.URL, &channel.Request{Verb: verb, Method: "m"})
		if err != nil {
			t.Fatal(err)
		}
		if !res.Body.Withheld || res.Body.Declared() != withheldLength {
			t.Errorf("%s: body %+v", verb, res.Body)
		}
		if body := readAll(t, res); body != "" {
			t.Errorf("%s: body %q", verb, body)
		}
	}
}
