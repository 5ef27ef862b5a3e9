// Package middleware is what stands around HTTP requests by the Configuration's pipelines: the contract of
// middleware components, and the chain of a pipeline. It knows neither the transport in front of a chain nor what is
// behind it.
package middleware

import "net/http"

// Middleware puts itself around a handler. It is called once for each pipeline that names it; one that has io.Closer
// is closed at the end.
type Middleware interface {
	Wrap(next http.Handler) http.Handler
}
