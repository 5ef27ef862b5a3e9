package runtime

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/daprd/daprd/pkg/actors/placement"
	"github.com/daprd/daprd/pkg/actors/placement/embedded"
	"github.com/daprd/daprd/pkg/nameresolution/registry"
	"github.com/daprd/daprd/pkg/security"
)

// placementAppID is the placement service's in its SPIFFE id.
const placementAppID = "dapr-placement"

// wirePlacement makes the client of placement: of the servers that are named, or, standalone, of the one that this
// machine's sidecars have among themselves. It is nil where there is neither. It does not connect.
func (r *Runtime) wirePlacement(hosting placement.Hosting) *placement.Client {
	log := r.deps.Logs.Scope("dapr.runtime.actor.internal.placement")
	deps := placement.Deps{AppID: r.cfg.AppID, Namespace: r.namespace(), Address: r.placementAddress, Hosting: hosting,
		RoundTimeout: r.cfg.DisseminateTimeout, Log: log}
	switch {
	case r.cfg.named():
		// Validate has read the list before.
		deps.Servers, _ = placement.NewAddresses(r.cfg.PlacementAddress, r.placementCredentials())
	case r.cfg.Mode == Standalone:
		r.embedded = embedded.New(registry.Path(), log)
		deps.Servers, deps.Pause, deps.Lazy = r.embedded, embedded.Pause, true
	default:
		return nil
	}
	return placement.NewClient(deps)
}

// named says whether placement servers are given. The injector writes a blank where there are none.
func (c *Config) named() bool { return strings.TrimSpace(c.PlacementAddress) != "" }

// placementAddress is how other sidecars dial this one for its actors.
func (r *Runtime) placementAddress() string {
	return net.JoinHostPort(r.cfg.HostAddress, strconv.Itoa(port(r.InternalAddress())))
}

func (r *Runtime) placementCredentials() credentials.TransportCredentials {
	if !r.cfg.MTLS.Enabled {
		return insecure.NewCredentials()
	}
	return credentials.NewTLS(r.identity.ClientConfig(security.Peer{TrustDomain: r.cfg.MTLS.ControlPlaneTrustDomain,
		Namespace: r.cfg.MTLS.ControlPlaneNamespace, AppID: placementAppID}))
}

// openPlacement has the client connect, now or when it is needed, until close.
func (r *Runtime) openPlacement(ctx context.Context) (closing func() error) {
	if r.placement == nil {
		return func() error { return nil }
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wait sync.WaitGroup
	wait.Go(func() { r.placement.Run(running) })
	return func() error {
		stop()
		wait.Wait()
		if r.embedded == nil {
			return nil
		}
		return r.embedded.Close()
	}
}
