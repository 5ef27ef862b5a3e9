package channel

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
)

// Bound is the application as a receiver of the events of input bindings.
type Bound interface {
	// WantsBinding asks whether the application takes the events of a binding: OPTIONS of its route, or the list of
	// a gRPC application. The error means that it did not answer.
	WantsBinding(ctx context.Context, name, route string) (bool, error)
	// BindingEvent brings one event. What an HTTP application said, an error status included, is the answer; the error
	// is about reaching the application, or the status of a gRPC application that is not OK.
	BindingEvent(ctx context.Context, event *BindingEvent) (*BindingAnswer, error)
}

// BindingEvent is one event of an input binding on its way to the application.
type BindingEvent struct {
	// Name is that of the component, Route the path of an HTTP application.
	Name, Route string
	Data        []byte
	// Metadata goes along as headers.
	Metadata map[string]string
}

// BindingAnswer is what the application said of an event.
type BindingAnswer struct {
	// Status is an HTTP status (100 and up) or a gRPC code, as in Response.
	Status int
	// Data goes back to the component.
	Data []byte
	// To names output bindings that get Data with the operation create; Parallel says that they need not wait for
	// each other.
	To       []string
	Parallel bool
}

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

// BindingEvent waits for a slot, as Invoke does; the probe is not counted.
func (l *limited) BindingEvent(ctx context.Context, event *BindingEvent) (*BindingAnswer, error) {
	if err := l.wait(ctx); err != nil {
		return nil, err
	}
	defer l.leave()
	return l.App.BindingEvent(ctx, event)
}

// oneStart is how long the list of a gRPC application holds: all bindings of a start ask for it within less.
const oneStart = 2 * time.Second

// inputList is what a gRPC application said of the bindings that it takes.
type inputList struct {
	mu    sync.Mutex
	until time.Time
	names []string
}

// WantsBinding looks the name up in the application's list, which is asked for once for all that ask together. An
// application that does not implement the list takes none.
func (a *grpcApp) WantsBinding(ctx context.Context, name, _ string) (bool, error) {
	l := &a.inputs
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Now().After(l.until) {
		var answer runtimev1.ListInputBindingsResponse
		err := a.conn.Invoke(ctx, runtimev1.AppCallback_ListInputBindings_FullMethodName, &emptypb.Empty{}, &answer)
		if err != nil && status.Code(err) != codes.Unimplemented {
			return false, err
		}
		l.names, l.until = answer.GetBindings(), time.Now().Add(oneStart)
	}
	return slices.Contains(l.names, name), nil
}

// BindingEvent calls AppCallback/OnBindingEvent.
func (a *grpcApp) BindingEvent(ctx context.Context, event *BindingEvent) (*BindingAnswer, error) {
	md := make(metadata.MD, 3)
	for _, name := range []string{"traceparent", "tracestate", "baggage"} {
		if value := event.Metadata[name]; value != "" {
			md.Set(name, value)
		}
	}
	trace(md)
	if a.token.Required() {
		md.Set(tokenHeader, a.token.Reveal())
	}
	var answer runtimev1.BindingEventResponse
	err := a.conn.Invoke(metadata.NewOutgoingContext(ctx, md), runtimev1.AppCallback_OnBindingEvent_FullMethodName,
		&runtimev1.BindingEventRequest{Name: event.Name, Data: event.Data, Metadata: event.Metadata}, &answer)
	if err != nil {
		return nil, err
	}
	return &BindingAnswer{Data: answer.GetData(), To: answer.GetTo(),
		Parallel: answer.GetConcurrency() == runtimev1.BindingEventResponse_PARALLEL}, nil
}
