package http

import (
	"bytes"
	"net"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/messaging"
	"github.com/daprd/daprd/pkg/tracing"
)

// traced begins the span of the call and says whether the call goes on: baggage that cannot be read ends it. The span's
// context takes the place of the caller's in the headers, so that everything that is made of them is within the span.
// Where no spans are made no more happens than that baggage is looked at.
func (c *call) traced() bool {
	header := &c.ctx.Request.Header
	if len(header.Peek(tracing.BaggageHeader)) > 0 {
		if err := tracing.CheckBaggage(c.baggage()); err != nil {
			c.text(fasthttp.StatusBadRequest, "invalid baggage header: "+err.Error()+"\n")
			return false
		}
	}
	if !c.server.tracer.On() {
		return true
	}
	state := string(bytes.Join(header.PeekAll(tracing.StateHeader), []byte{','}))
	c.span = c.server.tracer.Start(tracing.Client, borrowed(header.Peek(tracing.ParentHeader)), state)
	header.Del(tracing.ParentHeader)
	header.Del(tracing.StateHeader)
	for _, f := range c.spanHeader() {
		header.Set(f.Name, f.Value)
	}
	if c.span.Recording() {
		c.describe()
	}
	return true
}

// baggage is the caller's, all values of it.
func (c *call) baggage() string {
	return string(bytes.Join(c.ctx.Request.Header.PeekAll(tracing.BaggageHeader), []byte{','}))
}

// spanHeader is the span's context as headers, none where there is no span.
func (c *call) spanHeader() channel.Header {
	if c.span == nil {
		return nil
	}
	header := channel.Header{{Name: "Traceparent", Value: c.span.Parent()}}
	if state := c.span.State(); state != "" {
		header = header.With("Tracestate", state)
	}
	return header
}

// describe tells what the call is.
func (c *call) describe() {
	span := c.span
	path, host := c.shownPath(), string(c.ctx.Host())
	span.Name(path)
	span.API(tracing.HTTP, c.verb+" "+path)
	span.Set("http.request.method", labelVerb(c.verb))
	span.Set("url.path", path)
	span.Set("url.full", "http://"+host+path)
	address, port, err := net.SplitHostPort(host)
	if err != nil {
		address = host
	}
	span.Set("server.address", address)
	if number, err := strconv.Atoi(port); err == nil {
		span.SetInt("server.port", number)
	}
	span.Set("url.scheme", "http")
	span.Set("user_agent.original", borrowed(c.ctx.UserAgent()))
	span.Headers(func(yield func(name, value string) bool) {
		for name, value := range c.ctx.Request.Header.All() {
			if !yield(borrowed(name), borrowed(value)) {
				return
			}
		}
	})
	if c.route == nil {
		return
	}
	span.Set("http.route", c.route.template)
	switch group := c.route.group; group {
	case "invoke":
		if id, method, ok := c.target(); ok {
			span.Call(messaging.WithoutUser(id), decodePath(strings.TrimPrefix(method, "/")))
		}
	case actorsGroup:
		if c.raw("method") != "" {
			actorType, actorID := c.actor()
			span.Actor(actorType, actorID, c.parameter("method"))
		}
	case tracing.State, tracing.Secrets, tracing.Bindings:
		span.Operation(group, c.parameter("name"), c.verb+" "+labelPath(c.path, c.route.segments))
	case "publish":
		span.Topic(c.parameter("topic"), "send")
	}
}
