package channel

import (
	"errors"
	"fmt"

	"github.com/daprd/daprd/pkg/middleware"
	"github.com/daprd/daprd/pkg/security"
)

// Settings say where the application listens and how it is spoken to.
type Settings struct {
	// Protocol is that of --app-protocol: http, https, h2c, grpc or grpcs.
	Protocol string
	// TLS is --app-ssl: it makes https of http and grpcs of grpc.
	TLS bool
	// Address is the application's host and port.
	Address string
	// AppID is the sidecar's own app id.
	AppID string
	// Token goes with every call as dapr-api-token, in place of any that a caller sent.
	Token security.Token
	// DefaultContentType is the content type of a request that has none; "" leaves it without (the
	// feature ServiceInvocation.NoDefaultContentType). Only HTTP applications see it.
	DefaultContentType string
	// MaxConcurrency bounds the calls in flight (--app-max-concurrency); 0 and less is no bound.
	MaxConcurrency int
	// MaxBodySize bounds, in bytes, what is sent to a gRPC application and what it answers, since both are
	// held whole (--max-body-size); 0 is no bound. Bodies of HTTP applications stream, and their bound is
	// kept where they enter.
	MaxBodySize int64
	// Pipeline is the middleware around every call to an HTTP application but the health probe; nil is none.
	Pipeline *middleware.Pipeline
	// Observer is told of every call but the health probe; nil is told nothing.
	Observer Observer
}

var errNoAddress = errors.New("open app channel: the app's address is missing: set --app-port")

// Open makes the way to the application. Nothing is dialled before the first call. Errors are those of
// the settings.
func Open(settings Settings) (App, error) {
	if settings.Address == "" {
		return nil, errNoAddress
	}
	app, err := open(settings)
	if err != nil || settings.MaxConcurrency <= 0 {
		return app, err
	}
	return Limited(app, settings.MaxConcurrency), nil
}

func open(settings Settings) (App, error) {
	switch settings.Protocol {
	case "", "http":
		return openHTTP1(settings, settings.TLS), nil
	case "https":
		return openHTTP1(settings, true), nil
	case "h2c":
		return openH2C(settings), nil
	case "grpc":
		return openGRPC(settings, settings.TLS)
	case "grpcs":
		return openGRPC(settings, true)
	}
	return nil, fmt.Errorf("open app channel: unknown app protocol %q: --app-protocol is one of http, https, h2c, grpc, grpcs", settings.Protocol)
}
