package channel

import (
	"context"
	"crypto/tls"
	"net/url"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/middleware"
)

// http1 is an application that speaks HTTP/1.1.
//
// fasthttp's client cannot be cancelled, writes the whole request before it reads, and holds the answer
// whole; so only its header codec is used, over connections of our own.
type http1 struct {
	target    target
	pipeline  *middleware.Pipeline
	observer  Observer
	pool      *pool
	exchanges sync.Pool
	uploads   sync.WaitGroup
}

func openHTTP1(settings Settings, secure bool) *http1 {
	t := target{
		scheme:      "http",
		host:        settings.Address,
		appID:       settings.AppID,
		token:       settings.Token,
		contentType: settings.DefaultContentType,
	}
	var config *tls.Config
	if secure {
		t.scheme = "https"
		config = besideUs()
	}
	a := newHTTP1(t, newPool(settings.Address, config))
	a.pipeline, a.observer = settings.Pipeline, settings.Observer
	return a
}

func newHTTP1(t target, p *pool) *http1 {
	a := &http1{target: t, pool: p}
	a.exchanges.New = func() any { return newExchange(a) }
	return a
}

// besideUs is for an application on the same machine, which has no name that a certificate could prove.
func besideUs() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
}

// Invoke sends req and gives the answer once its header is there. Bodies of 64 KiB and less, both ways,
// pass in one piece; larger and unmeasured ones stream, and an answer may come before the request ends.
func (a *http1) Invoke(ctx context.Context, req *Request) (*Response, error) {
	if chain := a.pipeline.Take(); chain != nil {
		return through(ctx, chain, a.target.host, req, a.call)
	}
	return a.call(ctx, req)
}

// call is Invoke behind the pipeline.
func (a *http1) call(ctx context.Context, req *Request) (*Response, error) {
	if err := checkVerb(req.Verb); err != nil {
		return nil, err
	}
	x := a.exchanges.Get().(*exchange)
	x.seen = observe(a.observer, req)
	res, err := a.invoke(ctx, x, req)
	if err != nil {
		x.seen.failed()
		x.free()
		return nil, a.target.failure(req, cause(ctx, err))
	}
	x.seen.answered(res.Status)
	if res.Body.Stream == nil {
		x.seen.ended(int64(len(res.Body.Bytes)))
	}
	return res, nil
}

func (a *http1) invoke(ctx context.Context, x *exchange, req *Request) (*Response, error) {
	if err := x.compose(&a.target, req); err != nil {
		return nil, err
	}
	conn, err := a.pool.take(ctx)
	if err != nil {
		return nil, err
	}
	res, err := x.run(ctx, conn, req)
	if err == nil || !conn.reused || !x.mayRepeat(req) || ctx.Err() != nil {
		return res, err
	}
	if conn, err = a.pool.dial(ctx); err != nil {
		return nil, err
	}
	return x.run(ctx, conn, req)
}

// Configuration asks for /dapr/config.
func (a *http1) Configuration(ctx context.Context) (*AppConfiguration, error) {
	return configuration(ctx, a, a.target.appID)
}

// Close ends the connections and waits for the bodies that are on their way to the application.
func (a *http1) Close() error {
	a.pool.close()
	a.uploads.Wait()
	return nil
}

// Conn refuses every call: the application speaks no gRPC.
func (a *http1) Conn() grpc.ClientConnInterface { return refusing{protocol: a.target.scheme} }

var (
	errNoExtension = status.Error(codes.InvalidArgument, "missing HTTP extension field")
	errVerb        = status.Error(codes.InvalidArgument, "invalid HTTP verb")
)

func checkVerb(verb string) error {
	switch verb {
	case "GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "TRACE":
		return nil
	case "":
		return errNoExtension
	}
	return errVerb
}

// failure names the call as net/http does. The query is left out: it may hold secrets of the caller.
func (t *target) failure(req *Request, err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	path := EscapeMethod([]byte(t.scheme+"://"+t.host+"/"), req.Method)
	return &url.Error{Op: req.Verb[:1] + strings.ToLower(req.Verb[1:]), URL: string(path), Err: err}
}

// cause prefers the reason for which a call was ended over what its connection said of it.
func cause(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	return err
}
