package channel

import "context"

// Prober is the application as something that may be ill.
type Prober interface {
	// Probe is nil when the application says that it is well: a 2xx of GET path, or an OK of the gRPC health
	// callback. It passes by the bound on calls at once, and carries no token over HTTP, as in Dapr.
	Probe(ctx context.Context, path string) error
}

func (a *http1) Probe(context.Context, string) error   { return errNotYet }
func (a *h2c) Probe(context.Context, string) error     { return errNotYet }
func (a *grpcApp) Probe(context.Context, string) error { return errNotYet }
