package http

import (
	"encoding/json"

	"github.com/valyala/fasthttp"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/jsontext"
)

func (s *Server) getSecret(c *call) {
	store, name := c.parameter("name"), c.parameter("key")
	values, err := s.blocks.Secrets.Secret(c.Context(), store, name, c.metadata())
	if err != nil {
		c.fail(err)
		return
	}
	if values == nil {
		c.noContent()
		return
	}
	c.json(fasthttp.StatusOK, append(jsontext.AppendMap(nil, values), '\n'))
}

func (s *Server) bulkGetSecret(c *call) {
	secrets, err := s.blocks.Secrets.All(c.Context(), c.parameter("name"), c.metadata())
	if err != nil {
		c.fail(err)
		return
	}
	if secrets == nil {
		c.noContent()
		return
	}
	body, err := json.Marshal(secrets)
	if err != nil {
		c.fail(apierr.Uncategorised.New(err))
		return
	}
	c.json(fasthttp.StatusOK, append(body, '\n'))
}
