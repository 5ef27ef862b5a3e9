package http

import (
	"github.com/valyala/fasthttp"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/jsontext"
)

// configurationRoutes are the routes of configuration.
func (s *Server) configurationRoutes() []route {
	get, both := []string{"GET"}, []string{v1, alpha1}
	const path, group = "configuration/{name}", "configuration"
	return []route{
		{methods: get, versions: both, path: path, group: group, name: "GetConfiguration", handle: s.getConfiguration},
		{methods: get, versions: both, path: path + "/subscribe", group: group, name: "SubscribeConfiguration", handle: s.subscribeConfiguration},
		{methods: get, versions: both, path: path + "/{key}/unsubscribe", group: group, name: "UnsubscribeConfiguration", handle: s.unsubscribeConfiguration, segments: 3},
	}
}

// keys are the query parameters "key", which may stand more than once.
func (c *call) keys() (keys []string) {
	if c.query == "" {
		return nil
	}
	for _, key := range c.ctx.QueryArgs().PeekMulti("key") {
		keys = append(keys, string(key))
	}
	return keys
}

func (s *Server) getConfiguration(c *call) {
	found, err := s.blocks.Configuration.Get(c.Context(), c.parameter("name"), c.keys(), c.metadata())
	switch {
	case err != nil:
		c.fail(err)
	case len(found) == 0:
		c.noContent()
	default:
		items := make(map[string]channel.ConfigurationItem, len(found))
		for key, item := range found {
			items[key] = channel.ConfigurationItem(item)
		}
		c.json(fasthttp.StatusOK, append(channel.AppendItems(nil, items), '\n'))
	}
}

func (s *Server) subscribeConfiguration(c *call) {
	id, err := s.blocks.Configuration.SubscribeApp(c.Context(), c.parameter("name"), c.keys(), c.metadata())
	if err != nil {
		c.fail(err)
		return
	}
	c.json(fasthttp.StatusOK, append(jsontext.AppendString([]byte(`{"id":`), id), "}\n"...))
}

func (s *Server) unsubscribeConfiguration(c *call) {
	id := c.parameter("key")
	if err := s.blocks.Configuration.Unsubscribe(id); err != nil {
		message := "failed to unsubscribe to configuration request " + id + ": subscription with id " + id + " does not exist"
		c.json(fasthttp.StatusInternalServerError, append(jsontext.AppendString([]byte(`{"message":`), message), "}\n"...))
		return
	}
	c.json(fasthttp.StatusOK, []byte("{\"ok\":true}\n"))
}
