package http

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/middleware"
)

// passage is the way of one call through the pipeline: the call outside, which the client waits for, becomes a request
// of net/http; behind the chain a call inside is made of what the chain passed on, and routed.
type passage struct {
	server  *Server
	outside *call
	body    *passing
	// exempt says that the call outside needed no API token.
	exempt bool
	// routed is where the call inside went, and closing says that the connection has to end after it.
	routed  atomic.Pointer[routed]
	closing atomic.Bool
}

// routed is what labels need of a call inside.
type routed struct {
	route   *route
	path    string
	unknown bool
}

// passing is the body of a call outside as the chain sees it.
type passing struct{ *limitedBody }

// pass sends a call through the chain.
func (s *Server) pass(c *call, chain *middleware.Chain) {
	c.piped = true
	p := &passage{server: s, outside: c, body: &passing{&c.body}, exempt: c.route != nil && c.route.health}
	r, err := p.request()
	if err != nil {
		chain.Leave()
		c.refuse(fasthttp.StatusBadRequest)
		return
	}
	answer, err := chain.Serve(r, p)
	c.unknown = true // a path that is not routed is no label
	if to := p.routed.Load(); to != nil {
		c.route, c.path, c.unknown = to.route, to.path, to.unknown
	}
	if p.closing.Load() {
		c.ctx.SetConnectionClose()
	}
	if err != nil {
		c.fail(apierr.Uncategorised.New(err.Error()))
		return
	}
	c.passed(answer)
}

// request is the call outside in net/http's form. Nothing of it borrows the connection's memory, since a middleware may
// keep what it saw.
func (p *passage) request() (*http.Request, error) {
	c := p.outside
	target := c.canonical()
	if c.query != "" {
		target += "?" + c.query
	}
	u, err := url.ParseRequestURI(strings.Clone(target))
	if err != nil {
		return nil, err
	}
	r := &http.Request{
		Method: strings.Clone(c.verb), URL: u, RequestURI: u.RequestURI(), Header: p.header(), Host: string(c.ctx.Host()),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, RemoteAddr: c.ctx.RemoteAddr().String(),
		Body: http.NoBody, ContentLength: c.body.length,
	}
	if c.body.length != 0 {
		r.Body = p.body
	}
	return r.WithContext(c.Context()), nil
}

// header leaves out what is between the client and this sidecar alone.
func (p *passage) header() http.Header {
	c := p.outside
	header := make(http.Header, c.ctx.Request.Header.Len())
	for key, value := range c.ctx.Request.Header.AllInOrder() {
		switch name := string(key); {
		case name == "Host", name == "Transfer-Encoding", name == "Expect":
		case c.span != nil && (name == "Traceparent" || name == "Tracestate"):
		case name == tokenHeader && c.server.config.Token.Required() && !p.exempt:
		default:
			header.Add(name, string(value))
		}
	}
	for _, f := range c.spanHeader() {
		header.Set(f.Name, f.Value)
	}
	return header
}

// canonical is the path on which the middleware decides, still escaped. The path of an invocation's method is routed
// decoded and clean (see messaging), so it is shown like that; elsewhere escapes keep parameters apart.
func (c *call) canonical() string {
	if c.route == nil || c.route.group != "invoke" || strings.IndexByte(c.path, '%') < 0 {
		return c.path
	}
	decoded := decodePath(c.path)
	cleaned := clean(decoded)
	if target, rest, ok := cutTargetURL(decoded); ok {
		cleaned = target + strings.TrimPrefix(clean(rest), "/")
	}
	if cleaned == decoded {
		return c.path
	}
	return string(channel.EscapeMethod(nil, cleaned))
}

// ServeHTTP is what is behind the chain.
func (p *passage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	carrier := &stream{Conn: p.outside.ctx.Conn()}
	carrier.call.parent, carrier.call.passage = r.Context(), p
	ctx := new(fasthttp.RequestCtx)
	ctx.Init2(carrier, quiet{p.server.log}, true)
	ctx.Response.Header.SetNoDefaultContentType(true)
	if !fill(&ctx.Request, r, target(r.URL), middleware.Length(r, p.body)) {
		http.Error(w, "400 Bad Request", http.StatusBadRequest)
		return
	}
	p.server.serve(ctx)
	p.closing.Store(ctx.Response.ConnectionClose())
	if err := send(w, &ctx.Response, r.Method == http.MethodHead); err != nil {
		// The answer is broken off, so that the client sees that something is missing.
		panic(http.ErrAbortHandler)
	}
}

// target is the request line of what the chain passed on. A path that it did not touch keeps its escapes.
func target(u *url.URL) string {
	path := u.EscapedPath()
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	return path
}

// inside routes a call behind the pipeline. Where the path outside needed no token, the one inside may.
func (s *Server) inside(c *call) {
	defer func() { c.passage.routed.Store(&routed{c.route, c.path, c.unknown}) }()
	sent := originPath(c.ctx.Request.Header.RequestURI())
	path, err := cleanPath(borrowed(sent))
	if err != nil || sent == nil {
		c.path = ""
		c.refuse(fasthttp.StatusBadRequest)
		return
	}
	c.path = path
	match := s.routes.match(c, path)
	switch {
	case c.passage.exempt && !s.authorised(c):
	case match == nil:
		c.notFound(s.routes)
	default:
		match.handle(c)
	}
}

// passed answers with what came out of the chain, which goes on while its body streams.
func (c *call) passed(answer *middleware.Answer) {
	to := &c.ctx.Response
	to.SetStatusCode(answer.Status)
	contentType := ""
	for _, name := range slices.Sorted(maps.Keys(answer.Header)) {
		for _, value := range answer.Header[name] {
			switch {
			case name == "Content-Type":
				contentType = value
			case name == "Connection", name == "Transfer-Encoding", name == "Keep-Alive", name == "Trailer":
			case isTrace(name):
				to.Header.Set(name, value)
			default:
				to.Header.Add(name, oneLine.Replace(value))
			}
		}
	}
	to.Header.SetContentType(contentType)
	response := &channel.Response{Release: func() { _ = answer.Close() }}
	switch {
	case channel.Bodyless(c.verb, answer.Status):
		declare(to, channel.Withhold(answer.Status, answer.Length))
		to.SkipBody = true
		response.Close()
	case answer.Stream == nil:
		to.SetBodyRaw(answer.Bytes)
		response.Close()
	default:
		body := channel.Body{Stream: answer.Stream, Length: answer.Length}
		a := newAnswer(c, response, body)
		c.answer = a
		c.flushHeader(body)
		to.SetBodyStream(a, int(body.Size()))
	}
}
