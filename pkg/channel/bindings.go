package channel

import "context"

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
