package tracing

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opencensus.io/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/proto/wire"
)

// exported is what a stand-in for a collector got of one export.
type exported struct {
	path, key string
	body      []byte
}

// answering makes the answers of a stand-in one after the other: 0 is a success, as is everything after the last.
type answering struct {
	got     chan exported
	answers []int
	next    atomic.Int64
	partial []byte
}

func (a *answering) answer(e exported) int {
	a.got <- e
	n := int(a.next.Add(1)) - 1
	if n < len(a.answers) {
		return a.answers[n]
	}
	return 0
}

func (a *answering) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if code := a.answer(exported{r.URL.Path, r.Header.Get("Key"), body}); code != 0 {
		w.WriteHeader(code)
		return
	}
	_, _ = w.Write(a.partial)
}

// serveOTLP is a collector that speaks gRPC.
func (a *answering) serveOTLP(t *testing.T, options ...grpc.ServerOption) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(append(options, grpc.ForceServerCodecV2(wire.Codec{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		var frame wire.Frame
		defer frame.Free()
		if err := stream.RecvMsg(&frame); err != nil {
			return err
		}
		method, _ := grpc.MethodFromServerStream(stream)
		md, _ := metadata.FromIncomingContext(stream.Context())
		if code := a.answer(exported{method, strings.Join(md["key"], ","), append([]byte(nil), frame.Bytes()...)}); code != 0 {
			return status.Error(codes.Code(code), "no")
		}
		return stream.SendMsg(wire.NewFrame(mem.BufferSlice{mem.SliceBuffer(a.partial)}))
	}))...)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return listener.Addr().String()
}

// configured is a tracer by a Configuration, with an environment.
func configured(t *testing.T, spec config.TracingSpec, environment map[string]string, log io.Writer) *Tracer {
	t.Helper()
	tracer := New(Deps{AppID: "shop", Host: "10.0.0.1", Log: quiet(log)})
	if err := tracer.Configure(spec, func(name string) string { return environment[name] }); err != nil {
		t.Fatal(err)
	}
	return tracer
}

func failedCall(tracer *Tracer) (parent string) {
	span := tracer.Start(Server, sampled, "a=b")
	span.Call("shop", "m")
	span.EndHTTP(404)
	return span.Parent()
}

func TestOTLP(t *testing.T) {
	for name, test := range map[string]struct {
		http, tls, environment bool
		// answers are the failures before the success.
		answers  []int
		attempts int
		partial  []byte
		fails    string
	}{
		"grpc":                  {attempts: 1},
		"grpc by environment":   {environment: true, attempts: 1},
		"grpc with TLS":         {tls: true, attempts: 1},
		"grpc, later":           {answers: []int{int(codes.Unavailable), int(codes.Aborted)}, attempts: 3},
		"grpc, never":           {answers: []int{int(codes.InvalidArgument)}, attempts: 1, fails: "InvalidArgument"},
		"grpc, in part":         {partial: rejecting(1, "too old"), attempts: 1, fails: "it rejects 1 spans: too old"},
		"http":                  {http: true, attempts: 1},
		"http by environment":   {http: true, environment: true, attempts: 1},
		"http with TLS":         {http: true, tls: true, attempts: 1},
		"http, later":           {http: true, answers: []int{503, 429}, attempts: 3},
		"http, never":           {http: true, answers: []int{400}, attempts: 1, fails: "it answers 400 Bad Request"},
		"http, in part":         {http: true, partial: rejecting(1, "too old"), attempts: 1, fails: "it rejects 1 spans: too old"},
		"http, unreadable good": {http: true, partial: []byte{0xff}, attempts: 1},
	} {
		t.Run(name, func(t *testing.T) {
			a := &answering{got: make(chan exported, 8), answers: test.answers, partial: test.partial}
			server := httptest.NewUnstartedServer(a)
			if test.tls {
				server.StartTLS()
			} else {
				server.Start()
			}
			defer server.Close()
			address, path, protocol := server.Listener.Addr().String(), otlpPath, HTTP
			environment := map[string]string{}
			if test.tls {
				environment["OTEL_EXPORTER_OTLP_CERTIFICATE"] = filepath.Join(t.TempDir(), "ca.pem")
				text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
				if err := os.WriteFile(environment["OTEL_EXPORTER_OTLP_CERTIFICATE"], text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if !test.http {
				path, protocol = otlpMethod, GRPC
				var options []grpc.ServerOption
				if test.tls {
					options = append(options, grpc.Creds(credentials.NewTLS(server.TLS)))
				}
				address = a.serveOTLP(t, options...)
			}
			spec := config.TracingSpec{SamplingRate: "1", OTel: config.OTelSpec{Protocol: protocol, EndpointAddress: address, IsSecure: &test.tls,
				Headers: []config.OTelHeader{{Name: "key", Value: "x=y"}}}}
			if test.environment {
				spec = config.TracingSpec{}
				environment = map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + address, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": protocol,
					"OTEL_EXPORTER_OTLP_PROTOCOL": "neither", "OTEL_EXPORTER_OTLP_INSECURE": "true", "OTEL_EXPORTER_OTLP_HEADERS": "key=x%3Dy"}
			}
			var log strings.Builder
			tracer := configured(t, spec, environment, &log)
			parent := failedCall(tracer)
			tracer.Close(t.Context())
			if said := strings.Contains(log.String(), "cannot be exported"); said != (test.fails != "") || !strings.Contains(log.String(), test.fails) {
				t.Errorf("log %s, want %q", log.String(), test.fails)
			}
			if len(a.got) != test.attempts {
				t.Fatalf("%d attempts, want %d", len(a.got), test.attempts)
			}
			got := <-a.got
			if got.path != path || got.key != "x=y" {
				t.Errorf("path %s, key %s", got.path, got.key)
			}
			isShop(t, got.body, parent)
		})
	}
}

// rejecting is the answer of a collector that does not take all spans.
func rejecting(n uint64, message string) []byte {
	partial := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), n)
	partial = protowire.AppendString(protowire.AppendTag(partial, 2, protowire.BytesType), message)
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), partial)
}

// isShop looks at the span of failedCall in the form of OTLP.
func isShop(t *testing.T, body []byte, parent string) {
	t.Helper()
	var data tracepb.TracesData
	if err := proto.Unmarshal(body, &data); err != nil {
		t.Fatal(err)
	}
	of := data.GetResourceSpans()[0]
	span := of.GetScopeSpans()[0].GetSpans()[0]
	attributes := map[string]string{}
	for _, a := range append(of.GetResource().GetAttributes(), span.GetAttributes()...) {
		attributes[a.GetKey()] = a.GetValue().GetStringValue()
	}
	if attributes["service.name"] != "shop" || attributes["net.peer.name"] != "shop" || attributes["error.type"] != "404" {
		t.Errorf("attributes %v", attributes)
	}
	binary, _ := Binary(parent)
	before, _ := Binary(sampled)
	want := []string{binary[2:18], binary[19:27], before[19:27], "CallLocal/shop/m", "Code(404): Not Found", "a=b"}
	got := []string{string(span.GetTraceId()), string(span.GetSpanId()), string(span.GetParentSpanId()), span.GetName(), span.GetStatus().GetMessage(), span.GetTraceState()}
	if diff := cmp.Diff(want, got); diff != "" || span.GetKind() != tracepb.Span_SPAN_KIND_SERVER || span.GetEndTimeUnixNano() < span.GetStartTimeUnixNano() ||
		span.GetStatus().GetCode() != tracepb.Status_STATUS_CODE_ERROR {
		t.Errorf("%v (-want +got):\n%s", span, diff)
	}
}

func TestZipkin(t *testing.T) {
	a := &answering{got: make(chan exported, 8), answers: []int{503}}
	server := httptest.NewServer(a)
	defer server.Close()
	tracer := configured(t, config.TracingSpec{SamplingRate: "1", Zipkin: config.ZipkinSpec{EndpointAddress: server.URL + "/api/v2/spans"}},
		map[string]string{"OTEL_RESOURCE_ATTRIBUTES": "service.name=named,x=y"}, io.Discard)
	parent := failedCall(tracer)
	tracer.Close(t.Context())
	if len(a.got) != 2 {
		t.Fatalf("%d attempts", len(a.got))
	}
	got := <-a.got
	var list []map[string]any
	if err := json.Unmarshal(got.body, &list); err != nil || len(list) != 1 || got.path != "/api/v2/spans" {
		t.Fatalf("%v at %s: %s", err, got.path, got.body)
	}
	span := list[0]
	if span["timestamp"].(float64) <= 0 {
		t.Errorf("time %v", span["timestamp"])
	}
	delete(span, "timestamp")
	delete(span, "duration")
	want := map[string]any{"traceId": parent[3:35], "id": parent[36:52], "parentId": sampled[36:52], "name": "calllocal/shop/m", "kind": "SERVER",
		"localEndpoint": map[string]any{"serviceName": "named", "ipv4": "10.0.0.1"},
		"tags": map[string]any{"service.name": "named", "otel.scope.name": scope, "otel.status_code": "ERROR", "error": "Code(404): Not Found",
			"dapr.invoke_method": "m", "dapr.status_code": "404", "http.response.status_code": "404", "error.type": "404", "net.peer.name": "shop",
			"rpc.system": "grpc", "rpc.service": "ServiceInvocation", "rpc.method": "CallLocal"}}
	if diff := cmp.Diff(want, span); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNobodyThere: an end does not wait for an exporter longer than it has time, and no secret of an address or a header
// is in the log, nor a user of it.
func TestNobodyThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	no := false
	headers := []config.OTelHeader{{Name: "authorization", Value: "Bearer secret"}}
	for place, spec := range map[string]config.TracingSpec{
		"Zipkin at http://" + address + "/spans": {Zipkin: config.ZipkinSpec{EndpointAddress: "http://me:secret@" + address + "/spans?key=secret"}},
		"OTLP at " + address:                     {OTel: config.OTelSpec{EndpointAddress: address, IsSecure: &no, Headers: headers}},
		"OTLP at " + address + "/v1":             {OTel: config.OTelSpec{EndpointAddress: "me:secret@" + address + "/v1?key=secret", IsSecure: &no, Protocol: HTTP, Headers: headers}},
	} {
		var log strings.Builder
		tracer := configured(t, spec, map[string]string{}, &log)
		failedCall(tracer)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		tracer.Close(ctx)
		cancel()
		if said := log.String(); !strings.Contains(said, "exported to "+place) || strings.Contains(said, "secret") || strings.Contains(said, "me:") {
			t.Errorf("log %s", said)
		}
	}
}

// TestClearText: who asks for TLS where there is none is told what to do.
func TestClearText(t *testing.T) {
	a := &answering{got: make(chan exported, 8)}
	server := httptest.NewServer(a)
	defer server.Close()
	for overHTTP, address := range map[bool]string{true: server.Listener.Addr().String(), false: a.serveOTLP(t)} {
		to, err := newOTLP(otlpSettings{address: address, http: overHTTP, tls: &tls.Config{MinVersion: tls.VersionTLS12}, timeout: otlpTimeout}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := to.send(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "isSecure: false") {
			t.Errorf("over HTTP %t: %v", overHTTP, err)
		}
		to.close()
	}
}

func TestShown(t *testing.T) {
	for address, want := range map[string]string{"c:4317": "c:4317", "u:p@c:4317/x?k=v": "c:4317/x", "http://u@c/api/v2/spans?k=v#f": "http://c/api/v2/spans",
		"[::1]:4317": "[::1]:4317", "": "", "http://c:x": "an address that cannot be read"} {
		if got := shown(address); got != want {
			t.Errorf("%s is shown as %s, want %s", address, got, want)
		}
	}
}

// TestOTLPPath: an address of all signals has that of traces below it, one of traces alone is complete.
func TestOTLPPath(t *testing.T) {
	for name, want := range map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "c/otlp/v1/traces", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "c/otlp"} {
		environment := map[string]string{name: "https://c/otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
		s, _, err := endpointOf(config.OTelSpec{}, func(name string) string { return environment[name] })
		if err != nil || s.address != want {
			t.Errorf("%s: %v, %s, want %s", name, err, s.address, want)
		}
	}
}

func TestSettings(t *testing.T) {
	yes := true
	for name, test := range map[string]struct {
		spec        config.OTelSpec
		environment map[string]string
		want        string // the error
	}{
		"protocol": {spec: config.OTelSpec{EndpointAddress: "c:4317", Protocol: "thrift"}, want: `spec.tracing.otel.protocol is "thrift": want grpc or http`},
		"timeout":  {spec: config.OTelSpec{EndpointAddress: "c:4317", Timeout: "10"}, want: `spec.tracing.otel.timeout is "10": want a duration like 10s`},
		"secret": {spec: config.OTelSpec{EndpointAddress: "c:4317", Headers: []config.OTelHeader{{Name: "h", SecretKeyRef: config.SecretKeyRef{Name: "s"}}}},
			want: "spec.tracing.otel.headers: h refers to a secret"},
		"secret that the operator gave": {spec: config.OTelSpec{EndpointAddress: "c:4317", Headers: []config.OTelHeader{{Name: "h", Value: "v", SecretKeyRef: config.SecretKeyRef{Name: "s"}}}}},
		"variable": {spec: config.OTelSpec{EndpointAddress: "c:4317", Headers: []config.OTelHeader{{Name: "h", EnvRef: "DAPR_API_TOKEN"}}},
			want: `spec.tracing.otel.headers: h: the environment variable "DAPR_API_TOKEN" is not allowed`},
		"certificate": {spec: config.OTelSpec{EndpointAddress: "c:4317", IsSecure: &yes}, environment: map[string]string{"OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere"},
			want: "OTEL_EXPORTER_OTLP_CERTIFICATE: open /nowhere"},
		"all right": {spec: config.OTelSpec{EndpointAddress: "https://c:4317", Timeout: "1s"}},
	} {
		t.Run(name, func(t *testing.T) {
			tracer := New(Deps{Log: quiet(io.Discard)})
			err := tracer.Configure(config.TracingSpec{OTel: test.spec}, func(name string) string { return test.environment[name] })
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			tracer.Close(t.Context())
		})
	}
}

// FuzzRejected: whatever a collector answers.
func FuzzRejected(f *testing.F) {
	f.Add([]byte{})
	f.Add(rejecting(7, "why"))
	f.Add([]byte{0x0a, 0x02, 0x08})
	f.Fuzz(func(t *testing.T, answer []byte) {
		if err := rejected(answer); err != nil && errors.Unwrap(err) == nil {
			t.Errorf("%v", err)
		}
	})
}

// BenchmarkExport is what one span costs its exporter.
func BenchmarkExport(b *testing.B) {
	c := &collector{}
	tracer := exportingTo(b, c, 1, io.Discard)
	failedCall(tracer)
	tracer.Close(b.Context())
	spans := make([]*trace.SpanData, batched)
	for i := range spans {
		spans[i] = c.all()[0]
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := proto.Marshal(tracesOf(map[string]string{serviceName: "shop"}, spans)); err != nil {
			b.Fatal(err)
		}
	}
}
