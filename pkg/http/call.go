package http

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"time"
	"unsafe"

	"github.com/valyala/fasthttp"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/metrics"
	"github.com/daprd/daprd/pkg/tracing"
)

// call is one call of the API from its header to the last byte of its answer. Its strings borrow the
// request's memory and are valid until then; what outlives the call is copied.
type call struct {
	server *Server
	ctx    *fasthttp.RequestCtx
	route  *route
	// verb, path (escaped, clean) and query are those of the request line.
	verb, path, query string
	// uri is the request line's target as it was sent.
	uri   string
	start time.Time
	body  limitedBody

	// conn is nil for a call over HTTP/2, whose context is parent.
	conn    *conn
	parent  context.Context
	context *callContext
	public  bool
	// unknown says that the call names no route and no target; its path is no label.
	unknown bool

	// header is the memory for the headers of an invocation.
	header  channel.Header
	request channel.Request
	buffer  *[]byte
	// answer is the answer that is streamed, nil if it is in memory.
	answer *answerBody

	// span is that of the call, nil where none is made.
	span *tracing.Span

	// piped says that the call went into the pipeline; passage is where a call came from that is behind it.
	piped   bool
	passage *passage
}

// carrier is what carries calls: a connection, or a stream of HTTP/2.
type carrier interface{ state() *call }

func callOf(ctx *fasthttp.RequestCtx) *call { return ctx.Conn().(carrier).state() }

// borrowed is b as a string without a copy.
func borrowed(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// serve is the handler of every request.
func (s *Server) serve(ctx *fasthttp.RequestCtx) {
	c := callOf(ctx)
	if conn, ok := ctx.Conn().(*conn); ok {
		c.conn, c.public = conn, conn.public
	}
	c.begin(s, ctx)
	defer c.handled()
	if c.passage != nil {
		s.inside(c)
		return
	}
	s.dispatch(c)
}

func (c *call) begin(s *Server, ctx *fasthttp.RequestCtx) {
	c.server, c.ctx, c.route = s, ctx, nil
	if c.start = ctx.Time(); c.start.IsZero() {
		c.start = time.Now()
	}
	c.verb = borrowed(ctx.Method())
	uri := ctx.Request.Header.RequestURI()
	c.uri, c.query = borrowed(uri), borrowed(originQuery(uri))
	c.unknown, c.answer, c.context, c.piped, c.span = false, nil, nil, false, nil
	c.body.reset(c.conn, ctx.RequestBodyStream(), int64(ctx.Request.Header.ContentLength()), s.config.MaxBodySize)
	if c.conn != nil {
		c.context = &callContext{conn: c.conn}
		c.conn.begin(c.context, c.body.whole())
	}
}

// Context is the context of the call: it ends when the client goes away, and with the call.
func (c *call) Context() context.Context {
	if c.context != nil {
		return c.context
	}
	return c.parent
}

// handled runs when the handler has returned, also by a panic. A streamed answer ends the call later.
func (c *call) handled() {
	if cause := recover(); cause != nil {
		c.server.log.Errorf("%s %s: panic: %v\n%s", c.verb, c.shownPath(), cause, debug.Stack())
		c.ctx.Response.Reset()
		c.fail(apierr.Uncategorised.New(fmt.Sprintf("the sidecar failed at this call: %v; its log has the details", cause)))
	}
	// What is unread of the body would be taken for the next request.
	if c.server.draining.Load() || !c.body.ended.Load() {
		c.ctx.SetConnectionClose()
	}
	if c.answer == nil {
		c.end(int64(len(c.ctx.Response.Body())))
	}
}

// end ends the call, when the last byte of the answer is written or, where it is in memory, about to be.
func (c *call) end(sent int64) {
	if c.context != nil {
		c.context.cancel()
	}
	_ = c.body.Close()
	if c.conn != nil {
		c.conn.end()
		if !c.body.ended.Load() {
			c.conn.lingering()
		}
	}
	c.release()
	c.request = channel.Request{}
	c.span.EndHTTP(c.ctx.Response.StatusCode())
	c.observe(c.body.count, sent)
	c.ctx.ResetUserValues()
}

// observe tells metrics and the API log. With a pipeline the one counts what went in, the other logs what came out
// behind it, as in Dapr.
func (c *call) observe(received, sent int64) {
	s := c.server
	logged := s.apiLog != nil && !c.public && !c.piped
	counted := s.observer != nil && c.passage == nil
	if !counted && !logged {
		return
	}
	elapsed := time.Since(c.start)
	status := c.ctx.Response.StatusCode()
	if counted {
		c.count(status, received, sent, elapsed)
	}
	if logged {
		c.log(status, sent, elapsed)
	}
}

// count tells the observer. Nobody further up recovers from a panic of it, and one that cannot count is not the
// end of the sidecar.
func (c *call) count(status int, received, sent int64, elapsed time.Duration) {
	defer func() {
		if cause := recover(); cause != nil {
			c.server.log.Errorf("a call of the API could not be counted: panic: %v\n%s", cause, debug.Stack())
		}
	}()
	path, label := c.labels()
	c.server.observer.HTTPServed(labelVerb(c.verb), path, label, status, received, sent, elapsed)
}

// labels are the path that metrics look for patterns in, and the one that they show without.
func (c *call) labels() (path, label string) {
	switch {
	case c.route == nil:
		return noLabel, noLabel
	case c.unknown, c.route.group == "invoke" && namesURL(c.path):
		return c.route.template, c.route.template
	case c.route.group == actorsGroup:
		return c.path, metrics.ActorLabel(c.path)
	}
	return c.path, labelPath(c.path, c.route.segments)
}

// namesURL says whether the target of an invocation is a URL: a service outside, whose paths are many and which
// may hold a password.
func namesURL(path string) bool {
	const scheme = invokePrefix + "http"
	return len(path) > len(scheme) && strings.HasPrefix(path, scheme) && strings.IndexByte("s:%", path[len(scheme)]) >= 0 &&
		isURL(decodePath(path[len(invokePrefix):]))
}

// bytes reads the whole body into memory that is valid until the call ends.
func (c *call) bytes() ([]byte, error) {
	if c.buffer == nil {
		c.buffer = buffers.Get().(*[]byte)
	}
	body, err := c.body.readAll(*c.buffer)
	if body != nil {
		*c.buffer = body
	}
	return body, err
}

func (c *call) release() {
	if c.buffer == nil {
		return
	}
	if cap(*c.buffer) <= keptBuffer {
		buffers.Put(c.buffer)
	}
	c.buffer = nil
}

// parameter is a parameter of the path, decoded.
func (c *call) parameter(name string) string { return unescape(c.raw(name)) }

// raw is a parameter of the path as it was sent.
func (c *call) raw(name string) string {
	value, _ := c.ctx.UserValue(name).(string)
	return value
}
