// Package bindings is the bindings building block: the contracts of input and output bindings, and the Service that
// brings events to the application and requests to other systems. It knows no wire: no HTTP, no protobuf.
package bindings

import "context"

// Output reaches another system. Its methods may be called by many goroutines at once. An output that has io.Closer
// is closed at the end.
type Output interface {
	// Operations are those that Invoke takes.
	Operations() []string
	// Invoke makes one request. A nil Response means that the system has nothing to say. The request belongs to the
	// caller: once Invoke returned, the binding holds neither it nor its bytes.
	Invoke(ctx context.Context, req *Request) (*Response, error)
}

// Input brings events of another system. An input that has io.Closer is closed at the end.
type Input interface {
	// Read hands events to deliver until ctx ends, and returns an error when the source is lost: whoever reads
	// tries again. When ctx ends it takes no new events, waits until the calls of deliver in hand have returned,
	// and returns nil. Contexts of deliver do not end with ctx.
	Read(ctx context.Context, deliver Handler) error
}

// Handler brings one event to the application and gives its answer. An event that got an error is delivered again if
// the source can do so.
type Handler func(ctx context.Context, event *Event) ([]byte, error)

// Event is one event of an input binding.
type Event struct {
	Data     []byte
	Metadata map[string]string
}

// Request is one request to an output binding.
type Request struct {
	Operation string
	Data      []byte
	Metadata  map[string]string
}

// Response is the other system's answer.
type Response struct {
	Data     []byte
	Metadata map[string]string
}
