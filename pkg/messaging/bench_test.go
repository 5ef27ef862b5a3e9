package messaging_test

import (
	"bytes"
	"context"
	"syscall"
	"testing"

	"github.com/daprd/daprd/pkg/channel"
)

// BenchmarkRemote is one call of 1 KiB with the headers of an ordinary client, over real sockets, both
// sidecars in this process.
func BenchmarkRemote(b *testing.B) {
	peer := startCallee(b, "callee", serving(func(_ context.Context, req *channel.Request) (*channel.Response, error) {
		return &channel.Response{Status: 200, ContentType: req.ContentType, Body: req.Body}, nil
	}))
	c := newCaller(b, map[string][]string{"callee": {peer.address}})
	body := bytes.Repeat([]byte("x"), 1024)
	header := channel.Header{
		{Name: "User-Agent", Value: "bench/1.0"}, {Name: "Accept", Value: "*/*"}, {Name: "X-Request-Id", Value: "0123456789"},
	}
	b.SetParallelism(8)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	b.ResetTimer()
	before := processorTime(b)
	defer func() { b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op") }()
	b.RunParallel(func(pb *testing.PB) {
		req := &channel.Request{ContentType: "application/octet-stream", Verb: "POST", Method: "echo"}
		for pb.Next() {
			req.Header, req.Body = header, channel.Body{Bytes: body}
			res, err := c.Invoke(context.Background(), "callee", req)
			if err != nil {
				b.Error(err)
				return
			}
			if len(res.Body.Bytes) != len(body) {
				b.Errorf("answer of %d bytes", len(res.Body.Bytes))
			}
			res.Close()
		}
	})
}

// processorTime is what this process has used, in nanoseconds: unlike the time that passed it does not
// depend on what else the machine does.
func processorTime(b *testing.B) int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}
