package channel

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/grpc"

	"github.com/daprd/daprd/pkg/middleware"
	"github.com/daprd/daprd/pkg/tracing"
)

// h2c is an application that speaks HTTP/2 in cleartext, with prior knowledge.
type h2c struct {
	target    target
	pipeline  *middleware.Pipeline
	observer  Observer
	transport *http.Transport
	sockets   sockets
}

func openH2C(settings Settings) *h2c {
	a := &h2c{pipeline: settings.Pipeline, observer: settings.Observer, target: target{
		scheme:      "http",
		host:        settings.Address,
		appID:       settings.AppID,
		token:       settings.Token,
		contentType: settings.DefaultContentType,
	}}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	a.transport = &http.Transport{
		Protocols:          &protocols,
		DisableCompression: true,
		DialContext:        a.sockets.dial,
		IdleConnTimeout:    maxIdleAge,
	}
	return a
}

// Invoke sends req and gives the answer once its header is there; bodies stream as over HTTP/1.1.
func (a *h2c) Invoke(ctx context.Context, req *Request) (*Response, error) {
	if chain := a.pipeline.Take(); chain != nil {
		return through(ctx, chain, a.target.host, req, a.call)
	}
	return a.call(ctx, req)
}

// call is Invoke behind the pipeline.
func (a *h2c) call(ctx context.Context, req *Request) (*Response, error) {
	if err := checkVerb(req.Verb); err != nil {
		return nil, err
	}
	body := newGuarded(req.Body)
	seen := observe(a.observer, req)
	res, err := a.roundTrip(ctx, req, body)
	if err != nil {
		seen.failed()
		body.settle()
		return nil, a.target.failure(req, cause(ctx, body.reason(err)))
	}
	seen.answered(res.Status)
	download, streams := res.Body.Stream.(*h2cDownload)
	if !streams {
		seen.ended(int64(len(res.Body.Bytes)))
		return res, nil
	}
	release := res.Release
	res.Release = func() {
		release()
		seen.ended(download.got)
	}
	return res, nil
}

func (a *h2c) roundTrip(ctx context.Context, req *Request, body *guarded) (*Response, error) {
	header, err := a.target.header(req)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	request := (&http.Request{
		Method:        req.Verb,
		URL:           a.target.url(req),
		Host:          a.target.host,
		Header:        header,
		ContentLength: req.Body.Size(),
	}).WithContext(ctx)
	if request.ContentLength != 0 {
		request.Body = body
	}
	if replay := req.Body.Bytes; req.Body.Stream == nil {
		request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(replay)), nil }
	}
	res, err := a.transport.RoundTrip(request)
	if err != nil {
		cancel()
		return nil, err
	}
	return answerOf(res, req.Verb, body, cancel)
}

func answerOf(res *http.Response, verb string, body *guarded, cancel context.CancelFunc) (*Response, error) {
	answer := &Response{
		Status:      res.StatusCode,
		ContentType: res.Header.Get("Content-Type"),
		Header:      HeaderOf(res.Header),
	}
	closeAll := func() {
		// Otherwise closing the answer would wait for a request that the client has not sent to its end.
		cancel()
		_ = res.Body.Close()
		body.settle()
	}
	switch {
	case Bodyless(verb, res.StatusCode):
		closeAll()
		answer.Body = Withhold(res.StatusCode, declared(res.Header))
		return answer, nil
	case res.ContentLength < 0 || res.ContentLength > wholeBody:
		answer.Body = Body{Stream: &h2cDownload{Reader: res.Body, upload: body}, Length: res.ContentLength}
		answer.Release = closeAll
		return answer, nil
	}
	defer closeAll()
	var err error
	answer.Body.Bytes, err = io.ReadAll(res.Body)
	return answer, err
}

// declared is the Content-Length, -1 without one. What net/http makes of it differs where no body comes.
func declared(header http.Header) int64 {
	length, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64)
	if err != nil {
		return -1
	}
	return length
}

type h2cDownload struct {
	io.Reader
	upload *guarded
	// got are the bytes that were read.
	got int64
}

func (d *h2cDownload) Read(p []byte) (int, error) {
	n, err := d.Reader.Read(p)
	d.got += int64(n)
	if err != nil && err != io.EOF {
		err = d.upload.reason(err)
	}
	return n, err
}

// header makes net/http's form of the headers, through the same rules as over HTTP/1.1.
func (t *target) header(req *Request) (http.Header, error) {
	header := make(http.Header, len(req.Header)+4)
	options := connectionOptions(req.Header)
	for _, f := range req.Header {
		name, ok := HTTPName(f.Name)
		if ok && !t.replaces(f.Name) && !listed(options, f.Name) {
			// The strings may borrow memory that is gone before net/http has let go of them.
			header.Add(strings.Clone(name), strings.Clone(f.Value))
		}
	}
	if header.Get(tracing.ParentHeader) == "" && !req.Untraced {
		header.Set(tracing.ParentHeader, tracing.ZeroParent)
	}
	if contentType := t.contentTypeOf(req); contentType != "" {
		header.Set("Content-Type", strings.Clone(contentType))
	}
	if t.token.Required() {
		header.Set(tokenHeader, t.token.Reveal())
	}
	return header, nil
}

func (t *target) url(req *Request) *url.URL {
	return &url.URL{
		Scheme:   t.scheme,
		Host:     t.host,
		Path:     "/" + strings.Clone(req.Method),
		RawPath:  string(EscapeMethod([]byte{'/'}, req.Method)),
		RawQuery: string(EscapeQuery(nil, req.Query)),
	}
}

// Configuration asks for /dapr/config.
func (a *h2c) Configuration(ctx context.Context) (*AppConfiguration, error) {
	return configuration(ctx, a, a.target.appID)
}

// Close ends the connections; calls in flight fail.
func (a *h2c) Close() error {
	a.sockets.close()
	a.transport.CloseIdleConnections()
	return nil
}

// Conn refuses every call: the application speaks no gRPC.
func (a *h2c) Conn() grpc.ClientConnInterface { return refusing{protocol: "h2c"} }
