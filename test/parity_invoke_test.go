package test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/daprd/daprd/pkg/config"
	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// saw is an application that answers with what it saw of the call. Paths "/status/<n>" answer that status.
// Every answer has the header X-App.
func saw(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the caller is gone
		}
		w.Header().Set("X-App", name)
		if code, ok := strings.CutPrefix(r.URL.Path, "/status/"); ok {
			n, _ := strconv.Atoi(code)
			w.Header().Add("X-App-Multi", "one")
			w.Header().Add("X-App-Multi", "two")
			w.WriteHeader(n)
			if n != http.StatusNoContent && n != http.StatusNotModified {
				fmt.Fprintf(w, "status %d", n)
			}
			return
		}
		s := sighting{At: name, Verb: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, ContentType: r.Header.Get("Content-Type"),
			Body: string(body), Header: tested(r.Header)}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, s.String())
	}
}

// tested are the headers of a request that tests look at.
func tested(header map[string][]string) map[string][]string {
	var found map[string][]string
	for name, values := range header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-test") || strings.HasPrefix(name, "x-set") || name == "dapr-caller-app-id" {
			if found == nil {
				found = map[string][]string{}
			}
			found[name] = values
		}
	}
	return found
}

// sawGRPC is a gRPC application that does as saw does. The method "fail" answers a status.
type sawGRPC struct {
	runtimev1.UnimplementedAppCallbackServer
	at string
}

func (a sawGRPC) OnInvoke(ctx context.Context, req *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
	_ = grpc.SetHeader(ctx, metadata.Pairs("x-app", a.at))
	if req.GetMethod() == "fail" {
		return nil, status.Error(codes.NotFound, "no such thing")
	}
	md, _ := metadata.FromIncomingContext(ctx)
	s := sighting{At: a.at, Verb: req.GetHttpExtension().GetVerb().String(), Path: req.GetMethod(), Query: req.GetHttpExtension().GetQuerystring(),
		ContentType: req.GetContentType(), Body: string(req.GetData().GetValue()), Header: tested(md)}
	return &commonv1.InvokeResponse{ContentType: "application/json", Data: &anypb.Any{Value: []byte(s.String())}}, nil
}

// serveGRPC serves until the test ends and gives the address.
func serveGRPC(t *testing.T, register func(*grpc.Server), options ...grpc.ServerOption) net.Addr {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(options...)
	register(server)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return listener.Addr()
}

// startParityCallees starts the sidecars that the table calls.
func startParityCallees(t *testing.T) {
	t.Helper()
	runtimetest.Start(t, "parity-callee", inNamespace("ns1"), appOn(startApplication(t, saw("callee"))))
	runtimetest.Start(t, "parity-far", inNamespace("ns2"), appOn(startApplication(t, saw("far"))))
	address := serveGRPC(t, func(s *grpc.Server) { runtimev1.RegisterAppCallbackServer(s, sawGRPC{at: "grpc"}) })
	runtimetest.Start(t, "parity-grpc", inNamespace("ns1"), runtimetest.App(address, config.GRPC))
	runtimetest.Start(t, "parity-without", inNamespace("ns1"))
	waiting := runtimetest.Launch(t, "parity-waiting", inNamespace("ns1"), appOn(newApplication(t, saw("waiting"))))
	waiting.Await(t, "/v1.0/healthz/outbound")
}

func notInvoked(id, cause string) meaning {
	return meaning{Fault: &fault{HTTP: http.StatusInternalServerError, Code: "ERR_DIRECT_INVOKE", GRPC: codes.Internal,
		Text: "failed to invoke, id: " + id + ", err: " + cause}}
}

func markedBy(app string) map[string][]string { return map[string][]string{"x-app": {app}} }

// seenBy is the answer of an application that saw s.
func seenBy(s sighting) meaning {
	return meaning{Status: http.StatusOK, Value: s.String(), Header: markedBy(s.At)}
}

func invokeCases(outside string) []parityCase {
	cases := append(targetCases(outside), requestCases()...)
	return append(cases, answerCases()...)
}

// targetCases: where a call goes.
func targetCases(outside string) []parityCase {
	call := func(id string) func(*asker) meaning {
		return func(a *asker) meaning {
			return a.api.invoke(a.ctx, invocation{ID: id, Verb: "POST", Method: "echo", ContentType: "text/plain", Body: "hello"})
		}
	}
	seen := func(at string) sighting {
		return sighting{At: at, Verb: "POST", Path: "/echo", ContentType: "text/plain", Body: "hello"}
	}
	remote := func(at string) sighting {
		s := seen(at)
		s.Header = map[string][]string{"dapr-caller-app-id": {"parity"}}
		return s
	}
	fromResource, byGRPC := seen("outside"), remote("grpc")
	fromResource.Path, fromResource.Header = "/base/echo", map[string][]string{"x-set": {"by the resource"}}
	byGRPC.Path = "echo"
	answered := seenBy(byGRPC)
	overGRPC := answered
	overGRPC.Status = 0 // no HTTP status: the application is none
	noApp := notInvoked("parity", "cannot invoke local endpoint: app channel not initialized")
	return []parityCase{
		{name: "itself", do: call("parity"), want: seenBy(seen("parity")), early: &noApp},
		{name: "itself with its namespace", do: call("parity.ns1"), want: seenBy(seen("parity")),
			early: ptr(notInvoked("parity.ns1", "cannot invoke local endpoint: app channel not initialized"))},
		{name: "another", do: call("parity-callee"), want: seenBy(remote("callee"))},
		{name: "another with the namespace", do: call("parity-callee.ns1"), want: seenBy(remote("callee"))},
		{name: "in another namespace", do: call("parity-far.ns2"), want: seenBy(remote("far"))},
		{name: "a gRPC application", do: call("parity-grpc"), want: answered, grpc: &overGRPC},
		{name: "an HTTPEndpoint", do: call("outside"), want: seenBy(fromResource)},
		{name: "a URL", do: call(outside), want: seenBy(seen("outside"))},
		{name: "nobody", do: call("parity-nobody"), want: notInvoked("parity-nobody", "couldn't find service: parity-nobody…")},
		{name: "an id of three parts", do: call("a.b.c"), want: notInvoked("a.b.c", "invalid app id a.b.c")},
		{name: "a sidecar without application", do: call("parity-without"),
			want: notInvoked("parity-without", "rpc error: code = Internal desc = app channel is not initialized")},
		{name: "a sidecar that awaits its application", do: call("parity-waiting"),
			want: notInvoked("parity-waiting", "rpc error: code = Internal desc = app channel is not initialized")},
		{name: "a URL where nobody listens", do: call("http://127.0.0.1:1"), want: notInvoked("http://127.0.0.1:1", "Post \"http://127.0.0.1:1/echo\": …")},
	}
}

func ptr[T any](v T) *T { return &v }

// requestCases: what reaches the application, of the one beside this sidecar and of another.
func requestCases() []parityCase {
	var cases []parityCase
	add := func(name string, call invocation, want sighting) {
		for _, target := range []struct{ id, at string }{{"parity", "parity"}, {"parity-callee", "callee"}} {
			call, want := call, want
			call.ID, want.At = target.id, target.at
			if want.Header == nil {
				want.Header = map[string][]string{}
			}
			header := map[string][]string{}
			for name, values := range want.Header {
				header[name] = values
			}
			c := parityCase{name: name + "/" + target.at, do: func(a *asker) meaning { return a.api.invoke(a.ctx, call) }}
			if target.id == "parity" {
				c.early = ptr(notInvoked("parity", "cannot invoke local endpoint: app channel not initialized"))
			} else {
				header["dapr-caller-app-id"] = []string{"parity"}
			}
			if want.Header = header; len(header) == 0 {
				want.Header = nil
			}
			c.want = seenBy(want)
			if call.Verb == "HEAD" {
				c.want.Value = ""
				if c.early != nil {
					c.early.Fault.Silent = true
				}
			}
			cases = append(cases, c)
		}
	}
	for _, verb := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} {
		body := "body"
		if verb == "HEAD" || verb == "TRACE" || verb == "GET" {
			body = ""
		}
		add("verb "+verb, invocation{Verb: verb, Method: "verb", ContentType: "text/plain", Body: body},
			sighting{Verb: verb, Path: "/verb", ContentType: "text/plain", Body: body})
	}
	add("no content type", invocation{Verb: "POST", Method: "m", Body: "x"}, sighting{Verb: "POST", Path: "/m", ContentType: "application/json", Body: "x"})
	add("empty body", invocation{Verb: "POST", Method: "m", ContentType: "text/plain"}, sighting{Verb: "POST", Path: "/m", ContentType: "text/plain"})
	add("query as it was sent", invocation{Verb: "GET", Method: "m", ContentType: "a/b", Query: "b=2&a=1&b=%20%2b+&c&=d&a=%C3%A9"},
		sighting{Verb: "GET", Path: "/m", ContentType: "a/b", Query: "b=2&a=1&b=%20%2b+&c&=d&a=%C3%A9"})
	add("repeated headers", invocation{Verb: "GET", Method: "m", ContentType: "a/b", Header: map[string][]string{"x-test": {"2", "1", "2"}, "x-test-more": {""}}},
		sighting{Verb: "GET", Path: "/m", ContentType: "a/b", Header: map[string][]string{"x-test": {"2", "1", "2"}, "x-test-more": {""}}})
	// Another application never sees it; one that calls itself may say what it likes.
	add("a false caller", invocation{Verb: "GET", Method: "m", ContentType: "a/b", Header: map[string][]string{"dapr-caller-app-id": {"forged"}}},
		sighting{Verb: "GET", Path: "/m", ContentType: "a/b", Header: map[string][]string{"dapr-caller-app-id": {"forged"}}})
	for method, path := range map[string]string{
		"a/b/c": "/a/b/c", "a//b": "/a/b", "a/./b/../c": "/a/c", "../../a": "/a", "a b+c": "/a%20b+c", "a/": "/a/", "é": "/%C3%A9",
		"": "/", "a%2Fb": "/a%252Fb", "a;b=c,d@e:f": "/a;b=c,d@e:f",
	} {
		add("path "+strconv.Quote(method), invocation{Verb: "GET", Method: method, ContentType: "a/b"}, sighting{Verb: "GET", Path: path, ContentType: "a/b"})
	}
	add("a body of half a megabyte", invocation{Verb: "PUT", Method: "m", ContentType: "a/b", Body: strings.Repeat("0123456789abcdef", 1<<15)},
		sighting{Verb: "PUT", Path: "/m", ContentType: "a/b", Body: strings.Repeat("0123456789abcdef", 1<<15)})
	for method, shown := range map[string]string{"a?b": `"a?b"`, "a#b": `"a#b"`, "a\x00b": `"a\x00b"`, "a\nb": `"a\nb"`} {
		for _, id := range []string{"parity", "parity-callee"} {
			cases = append(cases, parityCase{name: "forbidden " + shown + "/" + id,
				do:   func(a *asker) meaning { return a.api.invoke(a.ctx, invocation{ID: id, Verb: "GET", Method: method}) },
				want: notInvoked(id, "rpc error: code = InvalidArgument desc = invalid method: method contains forbidden character: "+shown)})
		}
	}
	return cases
}

// answerCases: what comes back.
func answerCases() []parityCase {
	var cases []parityCase
	for _, code := range []int{200, 201, 204, 302, 304, 400, 401, 403, 404, 408, 409, 418, 429, 500, 501, 503, 504} {
		for id, at := range map[string]string{"parity": "parity", "parity-callee": "callee", "outside": "outside"} {
			call := invocation{ID: id, Verb: "GET", Method: "status/" + strconv.Itoa(code), ContentType: "a/b"}
			c := parityCase{name: fmt.Sprintf("status %d/%s", code, at), do: func(a *asker) meaning { return a.api.invoke(a.ctx, call) }}
			c.want = meaning{Status: code, Value: fmt.Sprintf("status %d", code), Header: map[string][]string{"x-app": {at}, "x-app-multi": {"one", "two"}}}
			if slices.Contains([]int{http.StatusNoContent, http.StatusNotModified}, code) {
				c.want.Value = ""
			}
			if id == "outside" {
				// The resource's path stands before the method's.
				c.want = seenBy(sighting{At: at, Verb: "GET", Path: "/base/status/" + strconv.Itoa(code), ContentType: "a/b",
					Header: map[string][]string{"x-set": {"by the resource"}}})
			}
			if id == "parity" {
				c.early = ptr(notInvoked("parity", "cannot invoke local endpoint: app channel not initialized"))
			}
			cases = append(cases, c)
		}
	}
	failed := func(a *asker) meaning {
		return a.api.invoke(a.ctx, invocation{ID: "parity-grpc", Verb: "GET", Method: "fail"})
	}
	return append(cases, parityCase{name: "status of a gRPC application", do: failed,
		// HTTP callers see the status that stands for the code, and its JSON form.
		want: meaning{Status: http.StatusNotFound, Value: `{"code":5,"message":"no such thing"}`, Header: markedBy("grpc")},
		grpc: &meaning{Header: markedBy("grpc"), Fault: &fault{GRPC: codes.NotFound, Text: "no such thing"}}})
}

func anyOf(value []byte) *anypb.Any { return &anypb.Any{Value: value} }
