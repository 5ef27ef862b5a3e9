package http

import (
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/daprd/daprd/pkg/tracing"
)

// textType is the content type of the answers that are no JSON.
const textType = "text/plain; charset=utf-8"

// healthPath is what health checks begin with; their answers carry no trace.
const healthPath = "/" + v1 + "/healthz"

// dispatch is the way of every call: route, trace, CORS, token, pipeline, handler.
func (s *Server) dispatch(c *call) {
	sent := originPath(c.ctx.Request.Header.RequestURI())
	path, err := cleanPath(borrowed(sent))
	if err != nil || sent == nil {
		c.path = ""
		c.refuse(fasthttp.StatusBadRequest)
		return
	}
	c.path = path
	r := s.routes
	if c.public {
		r = s.public
	}
	match := r.match(c, path)
	if !strings.HasPrefix(path, healthPath) && !s.config.NoTracing {
		if !c.traced() {
			return
		}
		c.echoTrace()
	}
	if !c.public {
		if s.origins != nil && s.origins.answer(c.ctx) {
			return
		}
		if !s.authorised(c) {
			return
		}
		if chain := s.pipeline.Take(); chain != nil {
			s.pass(c, chain)
			return
		}
	}
	if match == nil {
		c.notFound(r)
		return
	}
	match.handle(c)
}

// authorised checks the API token. Health checks need none, on their two exact routes.
func (s *Server) authorised(c *call) bool {
	if !s.config.Token.Required() || c.route != nil && c.route.health {
		return true
	}
	if s.config.Token.Matches(borrowed(c.ctx.Request.Header.Peek(tokenHeader))) {
		return true
	}
	c.ctx.Response.Header.Set("X-Content-Type-Options", "nosniff")
	c.text(fasthttp.StatusUnauthorized, "invalid api token\n")
	return false
}

// tokenHeader carries the API token.
const tokenHeader = "Dapr-Api-Token"

// echoTrace gives the caller its trace context back, the all-zero one where it sent none.
func (c *call) echoTrace() {
	request, answer := &c.ctx.Request.Header, &c.ctx.Response.Header
	if len(request.Peek(tracing.BaggageHeader)) > 0 {
		answer.Set("Baggage", c.baggage())
	}
	parent := request.Peek(tracing.ParentHeader)
	if !isParent(parent) {
		answer.Set("Traceparent", tracing.ZeroParent)
		return
	}
	answer.SetBytesV("Traceparent", parent)
	if state := request.Peek(tracing.StateHeader); len(state) > 0 {
		answer.SetBytesV("Tracestate", state)
	}
}

// isParent looks at the form of a trace parent: 00-<32 hex>-<16 hex>-<2 hex>.
func isParent(b []byte) bool {
	if len(b) != len(tracing.ZeroParent) {
		return false
	}
	for i, c := range b {
		switch i {
		case 2, 35, 52:
			if c != '-' {
				return false
			}
		default:
			if !isHex(c) {
				return false
			}
		}
	}
	return true
}

// notFound answers where there is no route and no invocation: the public port, or an API whose rules
// removed it.
func (c *call) notFound(r *router) {
	if verbs := r.allowed(c.path); len(verbs) > 0 {
		c.ctx.Response.Header.Set("Allow", strings.Join(verbs, ", "))
		c.ctx.SetStatusCode(fasthttp.StatusMethodNotAllowed)
		return
	}
	c.ctx.Response.Header.Set("X-Content-Type-Options", "nosniff")
	c.text(fasthttp.StatusNotFound, "404 page not found\n")
}
