package http

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	logtest "github.com/sirupsen/logrus/hooks/test"
	"github.com/valyala/fasthttp"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/state"
	"github.com/daprd/daprd/pkg/tracing"
)

// BenchmarkStateGet and BenchmarkEcho send the same requests to the sidecar and to a bare fasthttp server.
func BenchmarkStateGet(b *testing.B) {
	s := start(b, setup{})
	value := `"` + strings.Repeat("x", 1024) + `"`
	if err := s.state.Set(b.Context(), "st", []state.SetRequest{{Key: "k", Value: []byte(value)}}); err != nil {
		b.Fatal(err)
	}
	roundTrips(b, s, request("GET", "/v1.0/state/st/k", ""), value)
}

func BenchmarkStateSave(b *testing.B) {
	s := start(b, setup{})
	roundTrips(b, s, request("POST", "/v1.0/state/st", `[{"key":"k","value":"`+strings.Repeat("x", 1024)+`"}]`), "")
}

func BenchmarkInvoke(b *testing.B) {
	s := start(b, setup{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write(body)
	})})
	body := strings.Repeat("x", 1024)
	roundTrips(b, s, request("POST", "/v1.0/invoke/myapp/method/echo", body), body)
}

func BenchmarkEcho(b *testing.B) {
	value := strings.Repeat("x", 1026)
	server := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString(value) }}
	s := start(b, setup{})
	s.http1 = nil
	l := listenLocal(b)
	go func() { _ = server.Serve(l) }()
	defer server.Shutdown()
	s.address = l.Addr().String()
	roundTrips(b, s, request("GET", "/v1.0/state/st/k", ""), value)
}

// roundTrips measures one call after the other on one connection.
func roundTrips(b *testing.B, s *sidecar, raw, want string) {
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	var response fasthttp.Response
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := io.WriteString(conn, raw); err != nil {
			b.Fatal(err)
		}
		response.Reset()
		if err := response.Read(r); err != nil {
			b.Fatal(err)
		}
		if string(response.Body()) != want {
			b.Fatal("got " + strconv.Itoa(response.StatusCode()) + " " + response.String())
		}
	}
}

// BenchmarkHandlers measures the handlers without a socket.
func BenchmarkHandlers(b *testing.B) {
	s := start(b, setup{observer: unseen{}})
	if err := s.state.Set(b.Context(), "st", []state.SetRequest{{Key: "k", Value: []byte(`"` + strings.Repeat("x", 1024) + `"`)}}); err != nil {
		b.Fatal(err)
	}
	for name, raw := range map[string]string{
		"state get":  request("GET", "/v1.0/state/st/k", ""),
		"state save": request("POST", "/v1.0/state/st", `[{"key":"k","value":"`+strings.Repeat("x", 1024)+`"}]`),
		"health":     request("GET", "/v1.0/healthz", ""),
		"no route":   request("GET", "/nothing", ""),
	} {
		b.Run(name, func(b *testing.B) {
			serve := handling(b, s, raw)
			b.ReportAllocs()
			for range b.N {
				serve()
			}
		})
	}
}

// handling gives one call of the API without a socket, to be made again and again.
func handling(t testing.TB, s *sidecar, raw string) func() {
	carrier := &stream{}
	carrier.call.parent = t.Context()
	ctx := new(fasthttp.RequestCtx)
	ctx.Init2(carrier, nil, false)
	source := strings.NewReader(raw)
	r := bufio.NewReader(source)
	return func() {
		source.Reset(raw)
		r.Reset(source)
		ctx.Request.Reset()
		ctx.Response.Reset()
		if err := ctx.Request.Header.Read(r); err != nil {
			t.Fatal(err)
		}
		if n := ctx.Request.Header.ContentLength(); n > 0 {
			ctx.Request.SetBodyStream(r, n)
		}
		s.serve(ctx)
	}
}

// tracings are the states of tracing: switched off, without a word of the Configuration, and with a rate of which hardly
// a call is sampled.
func tracings(t testing.TB, s *sidecar) map[string]func() {
	log, _ := logtest.NewNullLogger()
	rare := tracing.New(tracing.Deps{Log: log})
	if err := rare.Configure(config.TracingSpec{SamplingRate: "0.000001"}, func(string) string { return "" }); err != nil {
		t.Fatal(err)
	}
	set := func(off bool, tracer *tracing.Tracer) func() {
		return func() { s.config.NoTracing, s.tracer = off, tracer }
	}
	return map[string]func(){"off": set(true, nil), "default": set(false, tracing.New(tracing.Deps{})), "rare": set(false, rare)}
}

// BenchmarkTracing is a read of state in each state of tracing.
func BenchmarkTracing(b *testing.B) {
	s := start(b, setup{})
	for name, set := range tracings(b, s) {
		set()
		b.Run(name, func(b *testing.B) {
			serve := handling(b, s, request("GET", "/v1.0/state/st/none", ""))
			b.ReportAllocs()
			for range b.N {
				serve()
			}
		})
	}
}

// TestWithoutSpansNothingIsAllocated: where no spans are made a call of the API takes as much memory as with tracing
// switched off, also when it brings a trace.
func TestWithoutSpansNothingIsAllocated(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget at random")
	}
	s := start(t, setup{})
	states := tracings(t, s)
	for _, header := range []string{"", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: a=b\r\n"} {
		got := map[string]float64{}
		for name, set := range states {
			set()
			raw := strings.Replace(request("GET", "/v1.0/state/st/none", ""), "\r\n", "\r\n"+header, 1)
			got[name] = testing.AllocsPerRun(100, handling(t, s, raw))
		}
		if got["default"] != got["off"] || got["rare"] <= got["off"] {
			t.Errorf("with header %q: %v allocations", header, got)
		}
	}
}

// BenchmarkPublish sends messages to a broker that keeps nothing.
func BenchmarkPublish(b *testing.B) {
	s := start(b, setup{})
	body := `{"note":"` + strings.Repeat("x", 1013) + `"}`
	raw := strings.Replace(request("POST", "/v1.0/publish/pubsub/t", body), "\r\n\r\n", "\r\nContent-Type: application/json\r\n\r\n", 1)
	roundTrips(b, s, raw, "")
}

// BenchmarkPublishBulk sends a hundred messages at once to a broker that keeps nothing.
func BenchmarkPublishBulk(b *testing.B) {
	s := start(b, setup{})
	entries := make([]string, 100)
	for i := range entries {
		entries[i] = `{"entryId":"` + strconv.Itoa(i) + `","event":{"note":"` + strings.Repeat("x", 1013) + `"},"contentType":"application/json"}`
	}
	body := "[" + strings.Join(entries, ",") + "]"
	roundTrips(b, s, strings.Replace(request("POST", "/v1.0/publish/bulk/pubsub/t", body), "\r\n\r\n", "\r\nContent-Type: application/json\r\n\r\n", 1), "")
}
