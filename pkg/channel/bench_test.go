//go:build unix

package channel

import (
	"bytes"
	"context"
	"net"
	"syscall"
	"testing"

	"github.com/valyala/fasthttp"
)

// The budget's load: 1 KiB POST, echoed by a fasthttp server, 16 connections.

func echoServer(b *testing.B) string {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
		ctx.SetContentType("application/json")
		ctx.SetBody(ctx.PostBody())
	}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	b.Cleanup(func() {
		_ = server.Shutdown()
		<-done
	})
	return listener.Addr().String()
}

// reportCPU tells the processor time of client and server together, which other load on the machine does
// not change.
func reportCPU(b *testing.B) func() {
	used := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}

func benchRequest(body []byte) *Request {
	return &Request{
		Verb: "POST", Method: "echo", ContentType: "application/json",
		Header: Header{
			{"X-Forwarded-For", "127.0.0.1"}, {"X-Forwarded-Host", "host"},
			{"Forwarded", "for=127.0.0.1;by=127.0.0.1;host=host"},
			{"dapr-caller-app-id", "caller"}, {"dapr-callee-app-id", "callee"}, {"dapr-caller-namespace", "default"},
			{"User-Agent", "fasthttp"},
		},
		Body: Body{Bytes: body},
	}
}

func BenchmarkInvoke(b *testing.B) {
	b.Run("background", func(b *testing.B) { benchInvoke(b, context.Background()) })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.Run("cancellable", func(b *testing.B) { benchInvoke(b, ctx) })
	b.Run("own context", func(b *testing.B) { benchInvoke(b, nil) })
}

func benchInvoke(b *testing.B, ctx context.Context) {
	app, err := Open(Settings{Protocol: "http", Address: echoServer(b), DefaultContentType: "application/json"})
	if err != nil {
		b.Fatal(err)
	}
	defer app.Close()
	payload := bytes.Repeat([]byte("x"), 1024)
	b.ReportAllocs()
	b.SetParallelism(8)
	b.ResetTimer()
	defer reportCPU(b)()
	b.RunParallel(func(pb *testing.PB) {
		req := benchRequest(payload)
		for pb.Next() {
			ctx, cancel := ctx, func() {}
			if ctx == nil {
				var stop context.CancelFunc
				ctx, stop = context.WithCancel(context.Background())
				cancel = stop
			}
			res, err := app.Invoke(ctx, req)
			if err != nil {
				b.Error(err)
				return
			}
			if res.Status != 200 || len(res.Body.Bytes) != len(payload) {
				b.Errorf("status %d, %d bytes", res.Status, len(res.Body.Bytes))
			}
			res.Close()
			cancel()
		}
	})
}

// BenchmarkHostClient is fasthttp's own client with the same headers, as the measure.
func BenchmarkHostClient(b *testing.B) {
	client := &fasthttp.HostClient{Addr: echoServer(b)}
	defer client.CloseIdleConnections()
	payload := bytes.Repeat([]byte("x"), 1024)
	b.ReportAllocs()
	b.SetParallelism(8)
	b.ResetTimer()
	defer reportCPU(b)()
	b.RunParallel(func(pb *testing.PB) {
		shape := benchRequest(nil)
		for pb.Next() {
			req, res := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
			req.Header.SetMethod("POST")
			req.SetRequestURI("http://127.0.0.1/echo")
			req.Header.SetContentType("application/json")
			for _, f := range shape.Header {
				req.Header.Add(f.Name, f.Value)
			}
			req.Header.Add("Traceparent", "00-00000000000000000000000000000000-0000000000000000-00")
			req.SetBodyRaw(payload)
			if err := client.Do(req, res); err != nil {
				b.Error(err)
				return
			}
			if len(res.Body()) != len(payload) {
				b.Errorf("%d bytes", len(res.Body()))
			}
			fasthttp.ReleaseRequest(req)
			fasthttp.ReleaseResponse(res)
		}
	})
}
