package http

import (
	"github.com/valyala/fasthttp"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/bindings"
	"github.com/daprd/daprd/pkg/jsontext"
	"github.com/daprd/daprd/pkg/tracing"
)

// bindingsRoutes are the routes of bindings.
func (s *Server) bindingsRoutes() []route {
	return []route{{methods: []string{"POST", "PUT"}, versions: []string{v1}, path: "bindings/{name}", group: "bindings",
		name: "InvokeOutputBinding", handle: s.invokeBinding, segments: 3}}
}

func (s *Server) invokeBinding(c *call) {
	body, err := c.bytes()
	if err != nil {
		c.fail(apierr.MalformedBody.New(err))
		return
	}
	request, err := bindingRequest(body)
	if err != nil {
		c.fail(apierr.MalformedBody.New(err))
		return
	}
	c.addTrace(request)
	response, err := s.blocks.Bindings.Invoke(c.Context(), c.parameter("name"), request)
	if response != nil {
		c.answerMetadata(response.Metadata)
	}
	switch {
	case err != nil:
		c.fail(err)
	case response == nil:
		c.noContent()
	default:
		c.json(fasthttp.StatusOK, response.Data)
	}
}

// bindingRequest decodes {"operation","data","metadata"}. The data are a slice of the body: the value as it was sent, a
// string with its quotes.
func bindingRequest(body []byte) (*bindings.Request, error) {
	s := jsontext.Scan(body)
	r := &bindings.Request{Data: []byte("null")}
	s.Members(func(name []byte) {
		switch {
		case is(name, "operation"):
			r.Operation = s.Text()
		case is(name, "data"):
			r.Data = s.Value()
		case is(name, "metadata"):
			r.Metadata = s.StringMap()
		default:
			s.Value()
		}
	})
	if !s.End() {
		// The name is Dapr's; texts show it.
		type OutputBindingRequest struct {
			Metadata  map[string]string `json:"metadata"`
			Data      any               `json:"data"`
			Operation string            `json:"operation"`
		}
		return nil, mistake(body, new(OutputBindingRequest))
	}
	return r, nil
}

// addTrace hands the caller's trace on to the component.
func (c *call) addTrace(request *bindings.Request) {
	header := &c.ctx.Request.Header
	if len(header.Peek(tracing.BaggageHeader)) > 0 {
		addMetadata(request, tracing.BaggageHeader, c.baggage())
	}
	parent := header.Peek(tracing.ParentHeader)
	if !isParent(parent) {
		return
	}
	addMetadata(request, tracing.ParentHeader, string(parent))
	if state := header.Peek(tracing.StateHeader); len(state) > 0 {
		addMetadata(request, tracing.StateHeader, string(state))
	}
}

func addMetadata(request *bindings.Request, name, value string) {
	if request.Metadata == nil {
		request.Metadata = map[string]string{}
	}
	request.Metadata[name] = value
}
