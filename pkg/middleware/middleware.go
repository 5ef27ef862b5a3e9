// Package middleware is what stands around HTTP requests by the Configuration's pipelines: the contract of
// middleware components, the components in service, and the chain that a pipeline makes of them. It knows neither the
// transport in front of a chain nor what is behind it.
package middleware

import "net/http"

// Middleware puts itself around a handler. It is called once for each time that a pipeline names it; one that has
// io.Closer is closed when the last call through it is over.
//
// The request's URL is the canonical one: what a middleware decides on is what is routed. A middleware may change the
// method, path, query, headers and body of the request (Replace swaps the body), and may answer itself. The
// ResponseWriter is an http.Flusher; bodies pass through it as they come.
type Middleware interface {
	Wrap(next http.Handler) http.Handler
}

// Settings are what the block reads of a manifest.
type Settings struct {
	// Type and Version are those of the component: "middleware.http.bearer", "v1".
	Type, Version string
}

// Handler is one entry of a pipeline of the Configuration. It means the component of that name and type.
type Handler struct {
	Name, Type, Version string
	// Tolerated says that the component's manifest has ignoreErrors: the sidecar starts without it.
	Tolerated bool
}
