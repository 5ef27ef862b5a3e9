package runtime

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	google "google.golang.org/grpc"

	"github.com/daprd/daprd/pkg/grpc"
	"github.com/daprd/daprd/pkg/listen"
)

// internalListener is the socket of the internal server: bound before the name is announced, served later.
type internalListener struct{ net.Listener }

// bindInternal listens on the internal port. Without one a port is made of what stays the same from start
// to start, so that peers' caches and firewalls keep their value; if it is taken, any other does.
func (r *Runtime) bindInternal(ctx context.Context) error {
	var config net.ListenConfig
	ports := []int{r.cfg.InternalGRPCPort}
	if r.cfg.InternalGRPCPort == 0 {
		ports = []int{stablePort(r.cfg.AppID), 0}
	}
	var errs []error
	for _, port := range ports {
		listener, err := config.Listen(ctx, "tcp", listen.Endpoint(r.cfg.InternalListenAddress, port))
		if err == nil {
			r.internal.Listener = listener
			r.addresses.set(&r.addresses.internal, listener.Addr())
			return nil
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("failed to start internal gRPC server: could not listen on any endpoint: %w; --dapr-internal-grpc-port chooses another port", errors.Join(errs...))
}

func (r *Runtime) closeInternal(context.Context) error {
	if err := r.internal.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// stablePort is Dapr's choice: 47300 and up, from a hash of app id, folder, user and host.
func stablePort(appID string) int {
	folder, _ := os.Getwd()
	host, _ := os.Hostname()
	sum := sha256.Sum256(fmt.Appendf(nil, "%s|%s|%d|%s", appID, folder, os.Getuid(), host))
	return (int(sum[0])+256*int(sum[1]))%(65535-47300) + 47300
}

func (r *Runtime) serveInternal(ctx context.Context) (ending, error) {
	log := r.deps.Logs.Scope("dapr.runtime.grpc.internal")
	server := grpc.NewInternal(grpc.InternalDeps{Callee: r.callee, Proxy: r.proxy, Tracer: r.tracer, MaxBodySize: r.cfg.MaxBodySize,
		Credentials: r.internalCredentials(), Options: []google.ServerOption{grpc.Observed(r.metrics)}})
	if !r.tracer.Off() {
		log.Info("enabled gRPC tracing middleware")
	}
	if spec := r.configuration.MetricSettings(); spec.On() {
		log.Info("enabled gRPC metrics middleware")
	}
	forget, err := r.obtainIdentity(ctx)
	if err != nil {
		return ending{}, err
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := server.Serve(r.internal); err != nil {
			log.Errorf("gRPC serve error: %s", err)
		}
	})
	r.log.Infof("internal gRPC server is running on port %d", port(r.InternalAddress()))
	r.health.SetOutbound(true)
	settle := func(ctx context.Context) error {
		r.leaveActors(ctx) // others call for them until they know that they are gone
		return server.Quiesce(ctx)
	}
	return ending{settle: settle, close: func(context.Context) error {
		server.Stop()
		wait.Wait()
		forget()
		r.proxy.Wait()
		return nil
	}}, nil
}
