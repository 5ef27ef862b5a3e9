// Package channel reaches the application beside the sidecar. It is the only place that asks which
// protocol the application speaks: http1.go and h2c.go implement App for HTTP applications, grpc.go for
// gRPC ones, and Open chooses. It must not know who calls or why.
package channel

import (
	"context"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"
)

// App is the application. Every method may be called by many goroutines at once.
type App interface {
	// Invoke makes one call and gives the application's answer, whatever its status. The error is about
	// reaching the application; it carries a gRPC status where the protocol names one. The caller closes
	// the Response. When ctx ends, the application sees its request cancelled.
	Invoke(ctx context.Context, req *Request) (*Response, error)
	// Configuration asks the application for its settings (GET /dapr/config), once per start. An
	// application that has none gives an empty one.
	Configuration(ctx context.Context) (*AppConfiguration, error)
	// CalledForActors says whether the application is called for the actors that it hosts; one that is not opens a stream
	// for them. See Actors.
	CalledForActors() bool
	Subscriber
	Bound
	Updated
	Prober
	// Close ends the connections. Calls in flight fail.
	Close() error
}

// Request is a call on its way to an application: from an API of this sidecar or from another sidecar.
// Its strings and bytes may borrow memory of the transport; they are valid until the Response is closed
// or, without one, until Invoke returns.
type Request struct {
	// Verb is the HTTP verb in upper case, "" where a gRPC caller gave no HTTP extension, "NONE" where it
	// gave one without a verb.
	Verb string
	// Method is the canonical path (see CanonicalMethod): decoded, without a leading slash.
	Method string
	// Query is the query string as it was sent, without the question mark.
	Query string
	// Header holds the headers in the order sent, repeated ones included, hop-by-hop ones not. The
	// content type and length are the fields below, never in here.
	Header Header
	// ContentType is "" if none was sent.
	ContentType string
	// TypeURL is the type of the Any in which a gRPC caller sent its data, else "".
	TypeURL string
	// Body is the payload.
	Body Body
	// Untraced leaves a call without a trace parent as it is; others get the all-zero one.
	Untraced bool
}

// Response is the answer of an application, or that of another sidecar's application.
type Response struct {
	// Status is an HTTP status (100 and up) or a gRPC code (below 100).
	Status int
	// Message is the text of a gRPC status.
	Message string
	// Details are those of a gRPC status.
	Details *statuspb.Status
	// Header is as in Request.
	Header Header
	// Trailer holds gRPC trailers; HTTP trailers are dropped, as Dapr does.
	Trailer Header
	// ContentType is "" if the application named none.
	ContentType string
	// TypeURL is the type of the Any in which a gRPC application answered, else "".
	TypeURL string
	// Body is the payload. Reading it to its end or closing the Response frees the connection.
	Body Body
	// Release is called by Close; nil where there is nothing to free.
	Release func()
}

// IsHTTP says whether Status is an HTTP status.
func (r *Response) IsHTTP() bool { return r.Status >= 100 }

// Close frees what the answer holds. It may be called more than once, by one goroutine.
func (r *Response) Close() {
	if r != nil && r.Release != nil {
		release := r.Release
		r.Release = nil
		release()
	}
}

// Field is one header.
type Field struct{ Name, Value string }

// Header is a list of headers in order. Names compare without regard to case.
type Header []Field
