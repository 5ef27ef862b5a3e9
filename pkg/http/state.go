package http

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/jsontext"
	"github.com/daprd/daprd/pkg/state"
)

// errTrailing is a body with something behind its JSON value.
var errTrailing = errors.New("invalid character after top-level value")

// errKeyRequired is Dapr's text for an item of a save without a key.
var errKeyRequired = errors.New(`"key" is a required field`)

// metadataPrefix marks the query parameters that are metadata of a request.
const metadataPrefix = "metadata."

// metadata are the query parameters "metadata.<key>"; nil if there are none.
func (c *call) metadata() map[string]string {
	if c.query == "" {
		return nil
	}
	var m map[string]string
	c.ctx.QueryArgs().All()(func(key, value []byte) bool {
		if name, ok := strings.CutPrefix(string(key), metadataPrefix); ok {
			if m == nil {
				m = make(map[string]string)
			}
			m[name] = string(value)
		}
		return true
	})
	return m
}

// argument is a query parameter.
func (c *call) argument(name string) string {
	if c.query == "" {
		return ""
	}
	return string(c.ctx.QueryArgs().Peek(name))
}

// merged puts the metadata of the query over those of the body.
func merged(body, query map[string]string) map[string]string {
	if len(body) == 0 {
		return query
	}
	for name, value := range query {
		body[name] = value
	}
	return body
}

// answerMetadata shows the metadata of an answer as headers.
func (c *call) answerMetadata(m map[string]string) {
	for name, value := range m {
		if channel.IsHeaderName(name) {
			c.ctx.Response.Header.Set(metadataPrefix+name, value)
		}
	}
}

func (s *Server) getState(c *call) {
	item, err := s.blocks.State.Get(c.Context(), c.parameter("name"), state.GetRequest{
		Key:         c.parameter("key"),
		Consistency: state.Consistency(c.argument("consistency")),
		Metadata:    c.metadata(),
	})
	switch {
	case err != nil:
		c.fail(err)
	case !item.Found:
		c.noContent()
	default:
		if item.ETag != "" {
			c.ctx.Response.Header.Set("Etag", item.ETag)
		}
		c.answerMetadata(item.Metadata)
		c.json(fasthttp.StatusOK, item.Value)
	}
}

func (s *Server) saveState(c *call) {
	body, err := c.bytes()
	if err != nil {
		c.fail(apierr.MalformedRequest.New(err))
		return
	}
	requests, err := setRequests(body)
	if err != nil {
		c.fail(apierr.MalformedRequest.New(err))
		return
	}
	if query := c.metadata(); query != nil {
		for i := range requests {
			requests[i].Metadata = merged(requests[i].Metadata, query)
		}
	}
	err = s.blocks.State.Set(c.Context(), c.parameter("name"), requests)
	var refused *apierr.Error
	if errors.As(err, &refused) && refused.Format == apierr.StateKeyEmpty.Format {
		err = apierr.MalformedRequest.New(errKeyRequired)
	}
	c.done(err)
}

// done answers a call that has nothing to say but whether it worked.
func (c *call) done(err error) {
	if err != nil {
		c.fail(err)
		return
	}
	c.noContent()
}

func (s *Server) deleteState(c *call) {
	request := state.DeleteRequest{
		Key:         c.parameter("key"),
		Concurrency: state.Concurrency(c.argument("concurrency")),
		Consistency: state.Consistency(c.argument("consistency")),
		Metadata:    c.metadata(),
	}
	if tag := string(c.ctx.Request.Header.Peek("If-Match")); tag != "" {
		request.ETag = &tag
	}
	c.done(s.blocks.State.Delete(c.Context(), c.parameter("name"), request))
}

func (s *Server) bulkGetState(c *call) {
	var request struct {
		Keys        []string
		Parallelism int
		Metadata    map[string]string
	}
	if !c.decode(&request) {
		return
	}
	items, err := s.blocks.State.BulkGet(c.Context(), c.parameter("name"), state.BulkGetRequest{
		Keys:        request.Keys,
		Parallelism: request.Parallelism,
		Metadata:    merged(request.Metadata, c.metadata()),
	})
	if err != nil {
		c.fail(err)
		return
	}
	c.json(fasthttp.StatusOK, append(appendItems(nil, items), '\n'))
}

// decode reads a body of JSON; it answers itself when that fails.
func (c *call) decode(into any) bool {
	body, err := c.bytes()
	if err == nil {
		err = unmarshal(body, into)
	}
	if err != nil {
		c.fail(apierr.MalformedBody.New(err))
	}
	return err == nil
}

// unmarshal decodes with the error texts of a decoder on a stream, which are Dapr's.
func unmarshal(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return mistake(body, into)
	}
	return nil
}

// appendItems writes the array of a bulk get or a query. Of a key that is absent there is only the key.
func appendItems(dst []byte, items []state.Item) []byte {
	dst = append(dst, '[')
	for i := range items {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendItem(dst, &items[i])
	}
	return append(dst, ']')
}

func appendItem(dst []byte, item *state.Item) []byte {
	dst = append(dst, `{"key":`...)
	dst = jsontext.AppendString(dst, item.Key)
	if len(item.Value) > 0 {
		dst = append(dst, `,"data":`...)
		dst = jsontext.AppendValue(dst, item.Value)
	}
	if item.ETag != "" {
		dst = append(dst, `,"etag":`...)
		dst = jsontext.AppendString(dst, item.ETag)
	}
	if len(item.Metadata) > 0 {
		dst = append(dst, `,"metadata":`...)
		dst = jsontext.AppendMap(dst, item.Metadata)
	}
	if item.Err != nil {
		dst = append(dst, `,"error":`...)
		dst = jsontext.AppendString(dst, item.Err.Error())
	}
	return append(dst, '}')
}

func (s *Server) transactState(c *call) {
	body, err := c.bytes()
	if err != nil {
		c.fail(apierr.MalformedBody.New(err))
		return
	}
	t, err := readTransaction(body)
	if err != nil {
		c.fail(apierr.MalformedBody.New(err))
		return
	}
	if query := c.metadata(); query != nil {
		t.Metadata = merged(t.Metadata, query)
		for i := range t.Operations {
			t.Operations[i].Set.Metadata = merged(t.Operations[i].Set.Metadata, query)
		}
	}
	t.TraceParent, t.TraceState = c.trace()
	c.done(s.blocks.State.Transact(c.Context(), c.parameter("name"), t))
}

func (s *Server) queryState(c *call) {
	body, err := c.bytes()
	if err != nil {
		c.fail(apierr.MalformedBody.New(err))
		return
	}
	result, err := s.blocks.State.Query(c.Context(), c.parameter("name"), body, c.metadata())
	switch {
	case err != nil:
		c.fail(err)
	case len(result.Items) == 0:
		c.noContent()
	default:
		c.json(fasthttp.StatusOK, appendQueryResult(nil, result))
	}
}

func appendQueryResult(dst []byte, result state.QueryResult) []byte {
	dst = append(dst, `{"results":`...)
	dst = appendItems(dst, result.Items)
	if result.Token != "" {
		dst = append(dst, `,"token":`...)
		dst = jsontext.AppendString(dst, result.Token)
	}
	if len(result.Metadata) > 0 {
		dst = append(dst, `,"metadata":`...)
		dst = jsontext.AppendMap(dst, result.Metadata)
	}
	return append(dst, '}', '\n')
}
