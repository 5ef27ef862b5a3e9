package runtime

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	google "google.golang.org/grpc"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/grpc"
	"github.com/daprd/daprd/pkg/http"
	"github.com/daprd/daprd/pkg/nameresolution"
	"github.com/daprd/daprd/pkg/nameresolution/registry"
)

// addresses are where the servers listen.
type addresses struct {
	mu                            sync.Mutex
	http, grpc, internal, metrics net.Addr
}

func (a *addresses) set(which *net.Addr, address net.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	*which = address
}

// HTTPAddress is where the HTTP API listens, nil before it does.
func (r *Runtime) HTTPAddress() net.Addr { return r.addresses.get(&r.addresses.http) }

// GRPCAddress is where the gRPC API listens, nil before it does.
func (r *Runtime) GRPCAddress() net.Addr { return r.addresses.get(&r.addresses.grpc) }

// InternalAddress is where other sidecars call, nil before it listens.
func (r *Runtime) InternalAddress() net.Addr { return r.addresses.get(&r.addresses.internal) }

// MetricsAddress is where the metrics are, nil before they are served.
func (r *Runtime) MetricsAddress() net.Addr { return r.addresses.get(&r.addresses.metrics) }

func (a *addresses) get(which *net.Addr) net.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	return *which
}

// internalListener is the socket of the internal server: bound before the name is announced, served later.
type internalListener struct{ net.Listener }

// openResolver binds the internal port, then announces it.
func (r *Runtime) openResolver(ctx context.Context) (ending, error) {
	if err := r.bindInternal(ctx); err != nil {
		return ending{}, err
	}
	name := r.configuration.Spec.NameResolution.Component
	if name == "" {
		name = "mdns"
	}
	resolver, err := r.newResolver(ctx, name)
	if err != nil {
		r.log.Warnf("failed to init name resolution: %s; calls to other sidecars will fail", err)
		return ending{close: r.closeInternal}, nil
	}
	cache := nameresolution.NewCache(resolver, nameresolution.CacheTTL, nameresolution.CacheSize)
	r.announce(ctx, resolver)
	r.resolver.Fill(cache)
	r.log.Infof("Initialized name resolution to %s", name)
	return ending{
		withdraw: func() { r.withdraw(resolver) },
		close: func(ctx context.Context) error {
			r.resolver.Empty()
			return errors.Join(cache.Close(), closeAny(resolver), r.closeInternal(ctx))
		},
	}, nil
}

// newResolver makes the resolver of the name; mDNS is asked after the registry of this machine.
func (r *Runtime) newResolver(ctx context.Context, name string) (nameresolution.Resolver, error) {
	spec := r.configuration.Spec.NameResolution
	factory, err := r.deps.Components.Resolver.Factory(name, spec.Version)
	if err != nil {
		return nil, err
	}
	properties, err := config.Properties(spec.Configuration)
	if err != nil {
		return nil, err
	}
	resolver, err := factory(ctx, &components.Spec{Name: "nr", Type: name, Version: spec.Version, Properties: properties,
		AppID: r.cfg.AppID, Namespace: r.cfg.Namespace, Log: r.deps.Logs.Scope("dapr.contrib")})
	if err != nil || name != "mdns" {
		return resolver, err
	}
	local, err := registry.Open(registry.Path())
	if err == nil {
		return nameresolution.Chain{local, resolver}, nil
	}
	r.log.Warnf("the registry of this machine's sidecars cannot be used, mDNS goes on: %s", err)
	return resolver, nil
}

func (r *Runtime) announce(ctx context.Context, resolver nameresolution.Resolver) {
	announcer, ok := resolver.(nameresolution.Announcer)
	if !ok {
		return
	}
	port := r.InternalAddress().(*net.TCPAddr).Port
	err := announcer.Announce(ctx, nameresolution.Announcement{AppID: r.cfg.AppID, Namespace: r.cfg.Namespace,
		Host: r.cfg.HostAddress, Port: port, HTTPPort: r.cfg.HTTPPort, AppPort: r.cfg.AppPort})
	if err != nil {
		r.log.Warnf("this sidecar could not be announced everywhere: %s", err)
	}
}

func (r *Runtime) withdraw(resolver nameresolution.Resolver) {
	if w, ok := resolver.(nameresolution.Withdrawer); ok {
		ctx, cancel := within(r.cfg.Grace)
		defer cancel()
		if err := w.Withdraw(ctx); err != nil {
			r.log.Warnf("withdraw the name %s: %s", r.cfg.AppID, err)
		}
	}
}

func closeAny(v any) error {
	if c, ok := v.(interface{ Close() error }); ok {
		return c.Close()
	}
	return nil
}

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
		listener, err := config.Listen(ctx, "tcp", net.JoinHostPort(r.cfg.InternalListenAddress, strconv.Itoa(port)))
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

func (r *Runtime) serveHTTP(ctx context.Context) (ending, error) {
	log := r.deps.Logs.Scope("dapr.runtime.http")
	spec := r.configuration.Spec
	server := http.New(http.Config{
		MaxBodySize: r.cfg.MaxBodySize, ReadBufferSize: int(r.cfg.ReadBufferSize), AllowedOrigins: r.cfg.AllowedOrigins,
		Token: r.cfg.APIToken, DisableHTTP2: r.cfg.DisableH2C,
		Allowed: httpRules(spec.API.Allowed), Denied: httpRules(spec.API.Denied),
		ObfuscateURLs: spec.Logging.APILogging.ObfuscateURLs, OmitHealthChecks: spec.Logging.APILogging.OmitHealthChecks,
	}, r.httpDeps())
	end := ending{quiesce: server.Quiesce, close: func(context.Context) error { return server.Close() }}
	if err := r.listenHTTP(ctx, server); err != nil {
		return end, fmt.Errorf("failed to start HTTP server: %w; --dapr-http-port chooses another port", err)
	}
	server.Serve()
	if r.cfg.EnableProfiling {
		profiling, err := http.ListenProfiling(ctx, r.cfg.ListenAddresses, r.cfg.ProfilePort, log)
		if err != nil {
			return end, fmt.Errorf("failed to start profiling server: %w; --profile-port chooses another port", err)
		}
		end.close = func(context.Context) error { return errors.Join(profiling.Close(), server.Close()) }
	}
	if r.cfg.UnixSocketDir != "" {
		r.log.Info("http server is running on a unix domain socket")
	} else {
		r.log.Infof("http server is running on port %d", r.cfg.HTTPPort)
	}
	r.log.Infof("The request body size parameter is: %s", megabytes(r.cfg.MaxBodySize))
	return end, nil
}

func (r *Runtime) httpDeps() http.Deps {
	deps := http.Deps{Blocks: r.blocks, Log: r.deps.Logs.Scope("dapr.runtime.http"), Observer: r.metrics}
	if r.apiLogging() {
		deps.APILog = r.deps.Logs.Scope("dapr.runtime.http-info")
	}
	return deps
}

func (r *Runtime) apiLogging() bool {
	if r.cfg.APILogging != nil {
		return *r.cfg.APILogging
	}
	return r.configuration.Spec.Logging.APILogging.Enabled
}

func (r *Runtime) listenHTTP(ctx context.Context, server *http.Server) error {
	if r.cfg.UnixSocketDir != "" {
		return server.ListenUnix(ctx, r.socket("http"))
	}
	if err := server.Listen(ctx, r.cfg.ListenAddresses, r.cfg.HTTPPort); err != nil {
		return err
	}
	r.addresses.set(&r.addresses.http, server.Addresses()[0])
	if r.cfg.PublicPort == 0 {
		return nil
	}
	return server.ListenPublic(ctx, r.cfg.PublicListenAddress, r.cfg.PublicPort)
}

func (r *Runtime) socket(kind string) string {
	return filepath.Join(r.cfg.UnixSocketDir, "dapr-"+r.cfg.AppID+"-"+kind+".socket")
}

// megabytes is a limit as the trace writes it: a number of MiB, 4 for one.
func megabytes(limit int64) string {
	if limit <= 0 {
		return "unlimited"
	}
	return strconv.FormatFloat(float64(limit)/(1<<20), 'f', -1, 64)
}

func httpRules(rules []config.APIRule) (list []http.Rule) {
	for _, rule := range rules {
		if rule.Protocol == "http" {
			list = append(list, http.Rule{Name: rule.Name, Version: rule.Version})
		}
	}
	return list
}

func (r *Runtime) serveInternal(context.Context) (ending, error) {
	log := r.deps.Logs.Scope("dapr.runtime.grpc.internal")
	server := grpc.NewInternal(grpc.InternalDeps{Callee: r.callee, Proxy: r.proxy, MaxBodySize: r.cfg.MaxBodySize,
		Options: []google.ServerOption{grpc.Observed(r.metrics)}})
	log.Info("enabled gRPC tracing middleware")
	if enabled, _ := r.configuration.MetricSettings(); enabled {
		log.Info("enabled gRPC metrics middleware")
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := server.Serve(r.internal); err != nil {
			log.Errorf("gRPC serve error: %s", err)
		}
	})
	r.log.Infof("internal gRPC server is running on port %d", r.InternalAddress().(*net.TCPAddr).Port)
	r.health.SetOutbound(true)
	return ending{quiesce: server.Quiesce, close: func(context.Context) error {
		server.Stop()
		wait.Wait()
		r.proxy.Wait()
		return nil
	}}, nil
}

func (r *Runtime) awaitApp(ctx context.Context) (ending, error) {
	if r.cfg.AppPort == 0 {
		return ending{}, nil
	}
	r.log.Infof("application protocol: %s. waiting on port %d.  This will block until the app is listening on that port.",
		r.cfg.AppProtocol, r.cfg.AppPort)
	if err := channel.Await(ctx, r.appAddress()); err != nil {
		return ending{}, err
	}
	r.log.Infof("application discovered on port %d", r.cfg.AppPort)
	return ending{}, nil
}

func (r *Runtime) appAddress() string {
	return net.JoinHostPort(r.cfg.AppChannelAddress, strconv.Itoa(r.cfg.AppPort))
}

const contentTypeNotice = "[DEPRECATION NOTICE] Adding a default content type to incoming service invocation requests is deprecated and will be " +
	"removed in the future. See https://docs.dapr.io/operations/support/support-preview-features/ for more details. You can opt into the new " +
	"behavior today by setting the configuration option `ServiceInvocation.NoDefaultContentType` to true."

func (r *Runtime) openChannel(ctx context.Context) (ending, error) {
	if r.cfg.AppPort == 0 {
		r.log.Warn("app channel is not initialized. did you make sure to configure an app-port?")
		return ending{}, nil
	}
	settings := channel.Settings{Protocol: string(r.cfg.AppProtocol), Address: r.appAddress(), AppID: r.cfg.AppID, Token: r.cfg.AppToken,
		MaxConcurrency: r.cfg.AppMaxConcurrency, MaxBodySize: r.cfg.MaxBodySize}
	if !r.cfg.AppProtocol.IsGRPC() && !r.configuration.FeatureEnabled(config.NoDefaultContentType) {
		settings.DefaultContentType = "application/json"
		r.log.Warn(contentTypeNotice)
	}
	app, err := channel.Open(settings)
	if err != nil {
		return ending{}, err
	}
	r.app.Fill(app)
	end := ending{close: func(context.Context) error {
		r.app.Empty()
		return app.Close()
	}}
	if r.cfg.SkipAppConfiguration {
		r.log.Warn("Skipping programmatic dapr configuration loading (see 'disable-init-endpoints' flag/annotation)")
		return end, nil
	}
	if _, err := app.Configuration(ctx); err != nil {
		r.log.Debugf("the application's configuration could not be read: %s", err)
	} else {
		r.log.Info("application configuration loaded")
	}
	return end, nil
}

// openMessaging has nothing left to open: calls to other sidecars work since the internal server, those to
// the application since its channel. At the end it waits for what is in flight.
func (r *Runtime) openMessaging(context.Context) (ending, error) {
	return ending{close: func(context.Context) error { return errors.Join(r.peers.Close(), r.messaging.Close()) }}, nil
}
