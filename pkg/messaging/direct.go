// Package messaging is service invocation: it takes a call and brings it to the application that it names,
// beside this sidecar, behind another sidecar, or at a plain HTTP address; and it serves the calls that
// other sidecars bring. It must not know from which transport a call came nor which protocol an
// application speaks.
package messaging

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/nameresolution"
	"github.com/daprd/daprd/pkg/ready"
	"github.com/daprd/daprd/pkg/resiliency"
)

// Self is what other sidecars and applications are told of this one.
type Self struct {
	AppID     string
	Namespace string
	// HostIP and HostName go out in X-Forwarded-For, X-Forwarded-Host and Forwarded.
	HostIP   string
	HostName string
	// InternalPort is this sidecar's own; the kubernetes resolver assumes it of every sidecar.
	InternalPort int
}

// Deps are what service invocation works with.
type Deps struct {
	Self Self
	// App is the application beside this sidecar, once there is one.
	App *ready.Slot[channel.App]
	// Resolver finds other sidecars; while it is empty calls to them answer that invocation is not ready.
	Resolver *ready.Slot[nameresolution.Resolver]
	// Peers are the connections to other sidecars. They stay the maker's to close, before Direct: that ends
	// the calls whose bodies Direct waits for.
	Peers *Peers
	// Endpoints are the HTTPEndpoint resources, once they are loaded; nil where there are none ever.
	Endpoints *ready.Slot[*Endpoints]
	// Policies are the resiliency policies in force; nil has none but the built-in retries.
	Policies *resiliency.Policies
	// RetryInterval is the pause of the built-in retries; 0 means that of their policy.
	RetryInterval RetryInterval
	// Observer is told of every call to another sidecar; nil observes nothing.
	Observer Observer
}

// Direct is service invocation. Its methods may be called by many goroutines at once.
type Direct struct {
	self      Self
	app       *ready.Slot[channel.App]
	resolver  *ready.Slot[nameresolution.Resolver]
	endpoints *ready.Slot[*Endpoints]
	peers     *Peers
	plain     *Endpoints
	policies  *resiliency.Policies
	interval  RetryInterval
	observer  Observer
	forwarded string
	rounds    roundRobin
	exchanges exchanges
	outgoing  sync.Pool
	uploads   sync.WaitGroup
}

var (
	errNoLocalApp = errors.New("cannot invoke local endpoint: app channel not initialized")
	errNoMethod   = "invalid method: %v"
)

// New makes service invocation. It does no I/O.
func New(deps Deps) *Direct {
	d := &Direct{
		self:      deps.Self,
		app:       deps.App,
		resolver:  deps.Resolver,
		endpoints: deps.Endpoints,
		peers:     deps.Peers,
		plain:     NewEndpoints(nil),
		interval:  deps.RetryInterval,
		policies:  deps.Policies,
		observer:  deps.Observer,
		forwarded: deps.Self.forwardedValue(),
	}
	if d.endpoints == nil {
		d.endpoints = new(ready.Slot[*Endpoints])
	}
	d.outgoing.New = func() any { return &outgoing{uploads: &d.uploads} }
	return d
}

// Close waits for the bodies that are still on their way to other sidecars and ends the connections to
// plain HTTP addresses. No call may begin any more.
func (d *Direct) Close() error {
	d.uploads.Wait()
	return d.plain.Close()
}

// Invoke brings req to the application id ("app", "app.namespace", the name of an HTTPEndpoint, or a URL)
// and gives its answer, whatever its status. Errors are *apierr.Error of the Invoke rows. The caller closes
// the Response. A streamed body that is an io.Closer is closed when the call ends before the body does;
// one that is not may still be read then, until its Read returns.
func (d *Direct) Invoke(ctx context.Context, id string, req *channel.Request) (*channel.Response, error) {
	res, err := d.invoke(ctx, id, req)
	if err != nil {
		return nil, failure(WithoutUser(id), err)
	}
	return res, nil
}

func (d *Direct) invoke(ctx context.Context, id string, req *channel.Request) (*channel.Response, error) {
	method, err := channel.CanonicalMethod(req.Method)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, errNoMethod, err)
	}
	req.Method = method
	if endpoint, ok := d.endpoint(id); ok {
		if guard := d.policies.App(WithoutUser(id)); guard != nil {
			return d.guarded(ctx, guard, "", req, endpoint.Invoke)
		}
		return endpoint.Invoke(ctx, req)
	}
	target, err := d.Target(id)
	if err != nil {
		return nil, err
	}
	if guard := d.guard(id); guard != nil {
		return d.guarded(ctx, guard, req.Method, req, func(ctx context.Context, req *channel.Request) (*channel.Response, error) {
			return d.toApp(ctx, target, req, !guard.Explicit() && !guard.Retries())
		})
	}
	return d.toApp(ctx, target, req, true)
}

// toApp calls an application. retries says whether the built-in retries hold.
func (d *Direct) toApp(ctx context.Context, target Target, req *channel.Request, retries bool) (*channel.Response, error) {
	if target.Local {
		return d.local(ctx, req)
	}
	return d.remote(ctx, target, req, retries)
}

func (d *Direct) local(ctx context.Context, req *channel.Request) (*channel.Response, error) {
	app, ok := d.app.Load()
	if !ok {
		return nil, errNoLocalApp
	}
	return app.Invoke(ctx, req)
}

// failure is the row for what went wrong: a refusal by the callee's access control differs.
func failure(id string, err error) error {
	var row *apierr.Error
	if errors.As(err, &row) {
		return row
	}
	if code, ok := resiliency.Code(err); ok {
		return apierr.Invoke.As(http.StatusInternalServerError, code).New(id, err)
	}
	if status.Code(err) == codes.PermissionDenied {
		return apierr.InvokeDenied.New(id, err)
	}
	return apierr.Invoke.New(id, err)
}
