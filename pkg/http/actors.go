package http

import (
	"github.com/valyala/fasthttp"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/state"
)

// actorsGroup is the group of the routes of actors.
const actorsGroup = "actors"

// actorRoutes are the routes of actors.
func (s *Server) actorRoutes() []route {
	const actor = "actors/{name}/{key}"
	get, write, stable := []string{"GET"}, []string{"POST", "PUT"}, []string{v1}
	return []route{
		{methods: []string{"GET", "POST", "PUT", "DELETE"}, versions: stable, path: actor + "/method/{method}", group: actorsGroup, name: "InvokeActor", handle: s.invokeActor},
		{methods: write, versions: stable, path: actor + "/state", group: actorsGroup, name: "ExecuteActorStateTransaction", handle: s.transactActor},
		{methods: get, versions: stable, path: actor + "/state/{field}", group: actorsGroup, name: "GetActorState", handle: s.getActorState},
	}
}

// actor is the type and the id that the path names.
func (c *call) actor() (actorType, actorID string) { return c.parameter("name"), c.parameter("key") }

func (s *Server) invokeActor(c *call) {
	body, err := c.bytes()
	if err != nil {
		c.fail(apierr.BodyRead.New(err))
		return
	}
	actorType, actorID := c.actor()
	c.request = channel.Request{Query: c.query, Header: c.headers(), ContentType: borrowed(c.ctx.Request.Header.ContentType()),
		Body: channel.Body{Bytes: body}}
	response, err := s.blocks.Actors.Invoke(c.Context(), actorType, actorID, c.parameter("method"), &c.request)
	if err != nil {
		c.fail(err)
		return
	}
	c.incoming(response)
}

func (s *Server) getActorState(c *call) {
	actorType, actorID := c.actor()
	item, err := s.blocks.Actors.GetState(c.Context(), actorType, actorID, c.parameter("field"))
	switch {
	case err != nil:
		c.fail(err)
	case !item.Found:
		c.noContent()
	default:
		c.answerMetadata(item.Metadata)
		c.json(fasthttp.StatusOK, item.Value)
	}
}

func (s *Server) transactActor(c *call) {
	body, err := c.bytes()
	if err != nil {
		c.fail(apierr.MalformedBody.New(err))
		return
	}
	operations, err := readOperations(body)
	if err != nil {
		c.fail(apierr.MalformedBody.New(err))
		return
	}
	actorType, actorID := c.actor()
	c.done(s.blocks.Actors.Transact(c.Context(), actorType, actorID, operations))
}

// readOperations decodes the body of a transaction on an actor's state.
func readOperations(body []byte) (operations []state.RawOperation, err error) {
	s := newScanner(body)
	if !s.Null() {
		s.Each(func() {
			if s.room(len(operations)) {
				operations = append(operations, s.rawOperation())
			}
		})
	}
	if s.full {
		return nil, state.CheckItems(len(operations) + 1)
	}
	if !s.End() {
		return nil, mistake(body, new([]operation))
	}
	return operations, nil
}
