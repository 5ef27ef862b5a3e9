package http

import (
	"encoding/json"
	"errors"
	"net"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/daprd/daprd/pkg/apierr"
)

const jsonType = "application/json"

// The parts of an error's body, in the order and with the names that Dapr prints.
type (
	errorBody struct {
		Code    string `json:"errorCode"`
		Message string `json:"message"`
		Details []any  `json:"details,omitempty"`
	}
	badRequest struct {
		Type       string      `json:"@type"`
		Violations []violation `json:"field_violations"`
	}
	violation struct {
		Field       string `json:"field"`
		Description string `json:"description"`
	}
	resourceInfo struct {
		Type        string `json:"@type"`
		Description string `json:"description"`
		Owner       string `json:"owner"`
		Name        string `json:"resource_name"`
		Kind        string `json:"resource_type"`
	}
	errorInfo struct {
		Type     string            `json:"@type"`
		Domain   string            `json:"domain"`
		Metadata map[string]string `json:"metadata"`
		Reason   string            `json:"reason"`
	}
	help struct {
		Type  string `json:"@type"`
		Links []link `json:"links"`
	}
	link struct {
		Description string `json:"description"`
		URL         string `json:"url"`
	}
)

const typePrefix = "type.googleapis.com/google.rpc."

// fail answers with an error: the one function that prints them.
func (c *call) fail(err error) {
	e := apierr.From(err)
	body := errorBody{Code: e.Code, Message: e.HTTPMessage()}
	if e.Rich {
		body.Details = details(e)
	}
	printed, marshalErr := json.Marshal(body)
	if marshalErr != nil {
		printed = []byte(`{"errorCode":"ERROR","message":"the error cannot be printed"}`)
	}
	c.server.log.Debugf("%s %s: %s", c.verb, c.shownPath(), printed)
	c.json(e.HTTP, printed)
}

func details(e *apierr.Error) []any {
	var all []any
	if v := e.Violation; v != nil {
		all = append(all, badRequest{typePrefix + "BadRequest", []violation{{v.Field, e.HTTPPrefix + v.Description}}})
	}
	if r := e.Resource; r != nil {
		all = append(all, resourceInfo{typePrefix + "ResourceInfo", r.Description, r.Owner, r.Name, r.Type})
	}
	all = append(all, errorInfo{typePrefix + "ErrorInfo", "dapr.io", e.Metadata, e.Reason})
	if h := e.Help; h != nil {
		all = append(all, help{typePrefix + "Help", []link{{h.Description, h.URL}}})
	}
	return all
}

// json answers with a body that is JSON already.
func (c *call) json(status int, body []byte) {
	c.ctx.SetStatusCode(status)
	c.ctx.Response.Header.SetContentType(jsonType)
	c.ctx.Response.SetBodyRaw(body)
}

func (c *call) text(status int, body string) {
	c.ctx.SetStatusCode(status)
	c.ctx.Response.Header.SetContentType(textType)
	c.ctx.SetBodyString(body)
}

func (c *call) noContent() { c.ctx.SetStatusCode(fasthttp.StatusNoContent) }

// refuse ends the connection with the status as text, as Dapr's HTTP server does.
func (c *call) refuse(status int) { refuseWith(c.ctx, status) }

// refuse is fasthttp's way to tell of a request that cannot be read.
func refuse(ctx *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case errors.As(err, &small):
		refuseWith(ctx, fasthttp.StatusRequestHeaderFieldsTooLarge)
	case errors.As(err, &timeout) && timeout.Timeout():
		refuseWith(ctx, fasthttp.StatusRequestTimeout)
	default:
		refuseWith(ctx, fasthttp.StatusBadRequest)
	}
	if c, ok := ctx.Conn().(*conn); ok {
		c.lingering()
	}
}

func refuseWith(ctx *fasthttp.RequestCtx, status int) {
	ctx.SetStatusCode(status)
	ctx.Response.Header.SetContentType(textType)
	ctx.SetBodyString(strconv.Itoa(status) + " " + fasthttp.StatusMessage(status))
	ctx.SetConnectionClose()
}
