package http

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/messaging"
)

// The headers that name the target of an invocation.
const (
	appIDHeader = "Dapr-App-Id"
	basicUser   = "dapr-app-id"
)

// sniffed is how much of a body tells its content type.
const sniffed = 512

// invoke brings the call to an application and its answer back.
func (s *Server) invoke(c *call) {
	id, path, ok := c.target()
	if !ok {
		c.unknown = true
		c.fail(apierr.InvokeNoAppID.New())
		return
	}
	if c.body.over() {
		c.fail(apierr.Invoke.New(messaging.WithoutUser(id), errTooLarge))
		return
	}
	if err := c.outgoing(decodePath(strings.TrimPrefix(path, "/"))); err != nil {
		c.fail(apierr.Invoke.New(messaging.WithoutUser(id), err))
		return
	}
	response, err := s.blocks.Messaging.Invoke(c.Context(), id, &c.request)
	if err != nil {
		if c.body.failed() == errTooLarge {
			err = apierr.Invoke.New(messaging.WithoutUser(id), errTooLarge)
		}
		c.fail(err)
		return
	}
	c.incoming(response)
}

// target is the id of the application and the path of the method: from the header, from basic
// authorization, or from the path, in this order (Dapr 1.18). The path is still escaped.
func (c *call) target() (id, path string, ok bool) {
	if id := c.ctx.Request.Header.Peek(appIDHeader); len(id) > 0 {
		return string(id), c.path, true
	}
	if id := basicTarget(borrowed(c.ctx.Request.Header.Peek("Authorization"))); id != "" {
		return id, c.path, true
	}
	rest, ok := strings.CutPrefix(c.path, invokePrefix)
	if !ok {
		return "", "", false
	}
	raw, method, ok := strings.Cut(rest, "/method/")
	if !ok || raw == "" {
		return "", "", false
	}
	if id = decodePath(strings.Clone(raw)); strings.Contains(raw, "/") && !isURL(id) {
		return "", "", false
	}
	return id, method, true
}

func isURL(id string) bool {
	return strings.HasPrefix(id, "http://") || strings.HasPrefix(id, "https://")
}

// basicTarget is the password of the user dapr-app-id.
func basicTarget(authorization string) string {
	const scheme = "basic "
	if len(authorization) <= len(scheme) || !strings.EqualFold(authorization[:len(scheme)], scheme) {
		return ""
	}
	pair, err := base64.StdEncoding.DecodeString(strings.TrimSpace(authorization[len(scheme):]))
	if err != nil {
		return ""
	}
	user, id, ok := strings.Cut(string(pair), ":")
	if !ok || !strings.EqualFold(user, basicUser) {
		return ""
	}
	return id
}

// outgoing puts the request together. Messaging makes the method's canonical form.
func (c *call) outgoing(method string) error {
	c.request = channel.Request{
		Verb:        knownVerb(c.verb),
		Method:      method,
		Query:       c.query,
		Header:      c.headers(),
		ContentType: borrowed(c.ctx.Request.Header.ContentType()),
	}
	switch {
	case c.body.length == 0:
		return nil
	case c.body.whole():
		body, err := c.bytes()
		c.request.Body = channel.Body{Bytes: body}
		return err
	}
	c.request.Body = channel.Body{Stream: &c.body, Length: c.body.length}
	return nil
}

// knownVerb is the verb as sidecars name it among themselves: one that HTTP does not define is POST.
func knownVerb(verb string) string {
	if known := labelVerb(verb); known != unknownVerb {
		return known
	}
	return http.MethodPost
}

// headers are those that leave this transport, all values in the order sent.
func (c *call) headers() channel.Header {
	options := ""
	header := c.header[:0]
	for key, value := range c.ctx.Request.Header.AllInOrder() {
		name := borrowed(key)
		if name == "Connection" {
			options = joined(options, borrowed(value))
		}
		if !c.stays(name) {
			header = append(header, channel.Field{Name: name, Value: borrowed(value)})
		}
	}
	if options != "" {
		header = c.withoutListed(header, options)
	}
	c.header = append(header, c.spanHeader()...)
	return c.header
}

// withoutListed leaves out the headers that the Connection headers name, and heeds their close: fasthttp knows
// the last of them only.
func (c *call) withoutListed(header channel.Header, options string) channel.Header {
	if listed(options, "close") {
		c.ctx.SetConnectionClose()
	}
	return slices.DeleteFunc(header, func(f channel.Field) bool { return listed(options, f.Name) })
}

func joined(options, more string) string {
	if options == "" {
		return more
	}
	return options + "," + more
}

// stays says that a header is between the caller and this sidecar alone, as its trace is within a span. Names come in canonical form.
func (c *call) stays(name string) bool {
	switch name {
	case "Host", "Content-Length", "Content-Type", "Connection", "Keep-Alive", "Proxy-Connection",
		"Transfer-Encoding", "Upgrade", "Http2-Settings", "Te", "Trailer", "Proxy-Authorization",
		"Proxy-Authenticate", "Expect", appIDHeader:
		return true
	case tokenHeader:
		return c.server.config.Token.Required()
	case "Traceparent", "Tracestate":
		return c.span != nil
	}
	return false
}

// listed says that a Connection header names name.
func listed(options, name string) bool {
	for option := range strings.SplitSeq(options, ",") {
		if strings.EqualFold(strings.TrimSpace(option), name) {
			return true
		}
	}
	return false
}

// incoming answers with what the application said. The answer holds the response until it is written.
func (c *call) incoming(response *channel.Response) {
	status, contentType, body := response.HTTPAnswer()
	answer := &c.ctx.Response
	answer.SetStatusCode(status)
	for i := range response.Header {
		f := &response.Header[i]
		// A gRPC application's may be binary, or gRPC's own.
		name, ok := channel.HTTPName(f.Name)
		switch {
		case !ok:
		case isTrace(name):
			answer.Header.Set(name, f.Value)
		default:
			answer.Header.Add(name, f.Value)
		}
	}
	a := newAnswer(c, response, body)
	if channel.Bodyless(c.verb, status) {
		answer.Header.SetContentType(contentType)
		declare(answer, body)
		answer.SkipBody = true
		a.body = channel.Body{}
		_ = a.Close()
		return
	}
	if contentType == "" {
		contentType = a.sniff(status)
	}
	answer.Header.SetContentType(contentType)
	c.answer = a
	c.flushHeader(body)
	answer.SetBodyStream(a, int(body.Size()))
}

// flushHeader lets the header leave before the first piece of a body that may take its time. That of a short
// body of known length comes with it.
func (c *call) flushHeader(body channel.Body) {
	if body.Stream == nil || body.Length >= 0 && body.Length <= copySize {
		return
	}
	c.ctx.Response.ImmediateHeaderFlush = true
	if c.conn != nil && body.Length < 0 {
		c.conn.corkIn()
	}
}

func isTrace(name string) bool {
	return strings.EqualFold(name, "traceparent") || strings.EqualFold(name, "tracestate") || strings.EqualFold(name, "baggage")
}

// declare tells the length of a body that is not sent. fasthttp's own setter leaves it out of a 304.
func declare(answer *fasthttp.Response, body channel.Body) {
	status := answer.StatusCode()
	if length := body.Declared(); length >= 0 && status != fasthttp.StatusNoContent && status >= fasthttp.StatusOK {
		answer.Header.Set("Content-Length", strconv.FormatInt(length, 10))
	}
}

// sniff finds the content type of an answer that names none: JSON for errors, else what the first bytes
// look like, as Dapr does; none for an empty body.
func (a *answerBody) sniff(status int) string {
	if status >= fasthttp.StatusBadRequest {
		return jsonType
	}
	start := a.peek()
	if len(start) == 0 {
		return ""
	}
	return http.DetectContentType(start)
}
