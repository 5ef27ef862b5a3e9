package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"

	"github.com/valyala/fasthttp"
)

// actorType is what the application hosts.
const actorType = "Bench"

// echo is the application: it answers every request with its body, prints its port and runs until ctx
// ends. It hosts actors that do the same. With streaming it sends bodies of any size back as they come.
func echo(ctx context.Context, streaming bool) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	server := &fasthttp.Server{StreamRequestBody: streaming, Handler: answer}
	go func() {
		<-ctx.Done()
		_ = server.Shutdown()
	}()
	return server.Serve(listener)
}

// firedPath tells how many reminders the application was told of.
const firedPath = "/fired"

var fired atomic.Int64

func answer(ctx *fasthttp.RequestCtx) {
	switch path := ctx.Path(); {
	case string(path) == firedPath:
		ctx.SetBodyString(strconv.FormatInt(fired.Load(), 10))
		return
	case bytes.Contains(path, []byte("/method/remind/")):
		fired.Add(1)
	}
	if string(ctx.Path()) == "/dapr/config" {
		ctx.SetBodyString(`{"entities":["` + actorType + `"]}`)
		return
	}
	ctx.SetContentType("application/octet-stream")
	if ctx.Request.IsBodyStream() {
		ctx.SetBodyStream(ctx.RequestBodyStream(), ctx.Request.Header.ContentLength())
		return
	}
	ctx.SetBody(ctx.Request.Body())
}
