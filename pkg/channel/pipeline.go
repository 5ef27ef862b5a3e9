package channel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/daprd/daprd/pkg/middleware"
)

// sender makes a call to the application.
type sender func(context.Context, *Request) (*Response, error)

// passage is the way of one call through the pipeline to the application.
type passage struct {
	request *Request
	body    *passing
	send    sender
	// failure is why the application could not be reached, broken why its answer broke off.
	failure, broken atomic.Pointer[error]
}

// passing is the body of the call as the chain sees it.
type passing struct {
	io.Reader
	closer  io.Closer
	touched atomic.Bool
}

// Read gives the body as it comes.
func (p *passing) Read(b []byte) (int, error) {
	p.touched.Store(true)
	return p.Reader.Read(b)
}

// Close ends the reading, also one that is under way.
func (p *passing) Close() error {
	if p.closer == nil {
		return nil
	}
	return p.closer.Close()
}

// through makes a call through the chain, with send behind it. A failure of send is the call's, whatever the chain makes
// of it.
func through(ctx context.Context, chain *middleware.Chain, host string, req *Request, send sender) (*Response, error) {
	if err := checkVerb(req.Verb); err != nil {
		chain.Leave()
		return nil, err
	}
	p := &passage{request: req, body: &passing{Reader: req.Body.Reader()}, send: send}
	p.body.closer, _ = req.Body.Stream.(io.Closer)
	answer, err := chain.Serve(p.incoming(ctx, host), p)
	if failure := p.failure.Load(); failure != nil {
		if err == nil {
			_ = answer.Close()
		}
		return nil, *failure
	}
	if err != nil {
		return nil, fmt.Errorf("spec.appHttpPipeline: %w", p.reason(err))
	}
	return p.answered(answer), nil
}

// reason prefers what was wrong with the application's answer over what the chain made of it.
func (p *passage) reason(err error) error {
	if broken := p.broken.Load(); broken != nil {
		return *broken
	}
	return err
}

// stream is a body that came through the chain.
type stream struct {
	io.Reader
	passage *passage
}

func (s *stream) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	if err != nil && err != io.EOF {
		err = s.passage.reason(err)
	}
	return n, err
}

// incoming is the call in net/http's form. Nothing of it borrows memory, since a middleware may keep what it saw.
func (p *passage) incoming(ctx context.Context, host string) *http.Request {
	req := p.request
	u := &url.URL{Path: "/" + strings.Clone(req.Method), RawPath: string(EscapeMethod([]byte{'/'}, req.Method)),
		RawQuery: string(EscapeQuery(nil, req.Query))}
	header := make(http.Header, len(req.Header)+2)
	options := connectionOptions(req.Header)
	for _, f := range req.Header {
		if name, ok := HTTPName(f.Name); ok && !listed(options, f.Name) {
			header.Add(strings.Clone(name), strings.Clone(f.Value))
		}
	}
	if req.ContentType != "" {
		header.Set("Content-Type", strings.Clone(req.ContentType))
	}
	r := &http.Request{Method: strings.Clone(req.Verb), URL: u, RequestURI: u.RequestURI(), Header: header, Host: host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, RemoteAddr: localCaller, Body: http.NoBody, ContentLength: req.Body.Size()}
	if r.ContentLength != 0 {
		r.Body = p.body
	}
	return r.WithContext(ctx)
}

// localCaller is the address of every call to the application: the sidecar makes them all.
const localCaller = "127.0.0.1:0"

// ServeHTTP is what is behind the chain.
func (p *passage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out, err := p.outgoing(r)
	if err == nil {
		var res *Response
		if res, err = p.send(r.Context(), out); err == nil {
			defer res.Close()
			if err := write(w, res); err != nil {
				p.broken.CompareAndSwap(nil, &err)
				panic(http.ErrAbortHandler)
			}
			return
		}
	}
	p.failure.CompareAndSwap(nil, &err)
	w.WriteHeader(http.StatusBadGateway)
}

// outgoing is the call that the chain passed on. A body that it did not touch goes on as it is.
func (p *passage) outgoing(r *http.Request) (*Request, error) {
	method, err := CanonicalMethod(strings.TrimPrefix(r.URL.Path, "/"))
	if err != nil {
		return nil, err
	}
	out := &Request{Verb: r.Method, Method: method, Query: r.URL.RawQuery, Header: HeaderOf(r.Header),
		ContentType: r.Header.Get("Content-Type"), TypeURL: p.request.TypeURL}
	if whole, ok := middleware.Whole(r); ok {
		out.Body.Bytes = whole
		return out, nil
	}
	switch length := middleware.Length(r, p.body); {
	case r.Body == p.body && !p.body.touched.Load():
		out.Body = p.request.Body
	case length != 0:
		out.Body = Body{Stream: r.Body, Length: length}
	}
	return out, nil
}

// write hands an answer of the application to the chain, each piece as it comes.
func write(w http.ResponseWriter, res *Response) error {
	header := w.Header()
	for _, f := range res.Header {
		header.Add(strings.Clone(f.Name), strings.Clone(f.Value))
	}
	header["Content-Type"] = nil
	if res.ContentType != "" {
		header.Set("Content-Type", strings.Clone(res.ContentType))
	}
	if length := res.Body.Declared(); length >= 0 && (res.Body.Withheld || length > 0) {
		header.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	w.WriteHeader(res.Status)
	if res.Body.Stream == nil {
		_, err := w.Write(res.Body.Bytes)
		return err
	}
	return copyFlushing(w, res.Body.Stream)
}

func copyFlushing(w http.ResponseWriter, body io.Reader) error {
	flusher := http.NewResponseController(w)
	if err := flusher.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	buffer := make([]byte, 32<<10)
	for {
		n, err := body.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return err
			}
			// A middleware that holds the answer back on purpose has no Flush.
			if err := flusher.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// answered is what came out of the chain, which goes on while its body streams.
func (p *passage) answered(answer *middleware.Answer) *Response {
	res := &Response{Status: answer.Status, ContentType: answer.Header.Get("Content-Type"), Header: HeaderOf(answer.Header)}
	switch {
	case Bodyless(p.request.Verb, answer.Status):
		res.Body = Withhold(answer.Status, answer.Length)
		_ = answer.Close()
	case answer.Stream == nil:
		res.Body.Bytes = answer.Bytes
		_ = answer.Close()
	default:
		res.Body = Body{Stream: &stream{answer.Stream, p}, Length: answer.Length}
		res.Release = func() { _ = answer.Close() }
	}
	return res
}
