package channel

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// maxBindingAnswer bounds, in bytes, what an HTTP application answers to an event, since it is held whole.
const maxBindingAnswer = 64 << 20

// wantsBinding asks an HTTP application: any 2xx is a yes, and so is 405, the answer of a server that has a handler for
// POST alone.
func wantsBinding(ctx context.Context, app App, route string) (bool, error) {
	method, query, err := bindingTarget(route)
	if err != nil {
		return false, err
	}
	res, err := app.Invoke(ctx, &Request{Verb: http.MethodOptions, Method: method, Query: query, ContentType: jsonType})
	if err != nil {
		return false, err
	}
	defer res.Close()
	return res.Status/100 == 2 || res.Status == http.StatusMethodNotAllowed, nil
}

// bindingEvent brings an event to an HTTP application.
func bindingEvent(ctx context.Context, app App, event *BindingEvent) (*BindingAnswer, error) {
	method, query, err := bindingTarget(event.Route)
	if err != nil {
		return nil, err
	}
	res, err := app.Invoke(ctx, &Request{Verb: http.MethodPost, Method: method, Query: query, ContentType: jsonType,
		Header: eventHeader(event.Metadata), Body: Body{Bytes: event.Data}})
	if err != nil {
		return nil, err
	}
	defer res.Close()
	data, err := res.Body.Whole(maxBindingAnswer)
	if err != nil {
		return nil, fmt.Errorf("read the app's answer to the event: %w", err)
	}
	return &BindingAnswer{Status: res.Status, Data: slices.Clone(data)}, nil
}

// bindingTarget is a route as an application's path and query.
func bindingTarget(route string) (method, query string, err error) {
	method, query, _ = strings.Cut(strings.TrimLeft(route, "/"), "?")
	method, err = CanonicalMethod(method)
	return method, query, err
}

// eventHeader is metadata as headers, sorted by name. Names that no header can have are left out, and what would end a
// header's value becomes a blank: an event is not held up by what only accompanies it.
func eventHeader(metadata map[string]string) Header {
	header := make(Header, 0, len(metadata))
	for name, value := range metadata {
		if IsHeaderName(name) {
			header = header.With(name, strings.Map(blankControl, value))
		}
	}
	slices.SortFunc(header, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	return header
}

func blankControl(r rune) rune {
	if r < ' ' || r == 0x7f {
		return ' '
	}
	return r
}

// WantsBinding asks with OPTIONS.
func (a *http1) WantsBinding(ctx context.Context, _, route string) (bool, error) {
	return wantsBinding(ctx, a, route)
}

// BindingEvent posts the event.
func (a *http1) BindingEvent(ctx context.Context, event *BindingEvent) (*BindingAnswer, error) {
	return bindingEvent(ctx, a, event)
}

// WantsBinding asks with OPTIONS.
func (a *h2c) WantsBinding(ctx context.Context, _, route string) (bool, error) {
	return wantsBinding(ctx, a, route)
}

// BindingEvent posts the event.
func (a *h2c) BindingEvent(ctx context.Context, event *BindingEvent) (*BindingAnswer, error) {
	return bindingEvent(ctx, a, event)
}
