// Package runtime is the life of a sidecar: New wires every object from flags alone and does no I/O; Run
// walks the table of stages, serves, and drains at the end. It is given the set of component types and
// knows no technology.
package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/actors"
	"github.com/daprd/daprd/pkg/actors/placement"
	"github.com/daprd/daprd/pkg/actors/placement/embedded"
	"github.com/daprd/daprd/pkg/api"
	"github.com/daprd/daprd/pkg/bindings"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/configuration"
	"github.com/daprd/daprd/pkg/crypto"
	"github.com/daprd/daprd/pkg/grpc"
	"github.com/daprd/daprd/pkg/lock"
	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/messaging"
	"github.com/daprd/daprd/pkg/metadata"
	"github.com/daprd/daprd/pkg/metrics"
	"github.com/daprd/daprd/pkg/middleware"
	"github.com/daprd/daprd/pkg/nameresolution"
	"github.com/daprd/daprd/pkg/outbox"
	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/ready"
	"github.com/daprd/daprd/pkg/resiliency"
	"github.com/daprd/daprd/pkg/secrets"
	"github.com/daprd/daprd/pkg/security"
	"github.com/daprd/daprd/pkg/state"
	"github.com/daprd/daprd/pkg/tracing"
	"github.com/daprd/daprd/pkg/version"
)

// ErrForced says that a caller asked for an end without draining.
var ErrForced = errors.New("forced shutdown requested")

// farewell is how long a forced end leaves for the answer to the caller that forced it, as in Dapr.
const farewell = 100 * time.Millisecond

// Deps are what code passes to a Runtime.
type Deps struct {
	// Components are the types that manifests can name.
	Components components.Set
	Logs       *logging.Logs
}

// Runtime is one sidecar. Run is called once.
type Runtime struct {
	cfg  Config
	deps Deps
	log  *logrus.Entry

	metrics    *metrics.Registry
	tracer     *tracing.Tracer
	health     *metadata.Health
	policies   *resiliency.Policies
	state      *state.Service
	secrets    *secrets.Service
	pubsub     *pubsub.Service
	outbox     *outbox.Service
	bindings   *bindings.Service
	settings   *configuration.Service
	locks      *lock.Service
	crypto     *crypto.Service
	middleware *middleware.Service
	loader     *components.Loader
	identity   *security.Identity
	peers      *messaging.Peers
	messaging  *messaging.Direct
	callee     *messaging.Callee
	actors     *actors.Service
	access     *security.AccessControl
	proxy      *grpc.Proxy
	blocks     api.Blocks

	app       ready.Slot[channel.App]
	resolver  ready.Slot[nameresolution.Resolver]
	endpoints ready.Slot[*messaging.Endpoints]
	// table says where actors live: placement, which is nil where there is none. embedded is the one within this machine.
	table     ready.Slot[actors.Table]
	placement *placement.Client
	embedded  *embedded.Servers

	// configuration is the defaults until its stage.
	configuration *config.Configuration
	// heeded are the Resiliency resources in force.
	heeded []config.Resiliency
	// source gives the resources; establish reads whom to trust, once.
	source    source
	establish func() error
	// read is what the source gave at the start.
	read startResources
	// httpEndpoints are the names of the HTTPEndpoint resources in use.
	httpEndpoints ready.Slot[[]string]
	// opened are these endpoints. Only who opens them looks.
	opened   []messaging.Endpoint
	internal internalListener
	// appConfiguration is what the application says of itself.
	appConfiguration *channel.AppConfiguration
	// appHealth is nil where nobody looks after it.
	appHealth *channel.Health
	intake    intake

	stop chan error
	// Addresses tell where the servers listen, once they do: for tests that ask for port 0.
	addresses addresses
}

// New wires a sidecar. The error is that of Config.Validate.
func New(cfg Config, deps Deps) (*Runtime, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &Runtime{cfg: cfg, deps: deps, log: deps.Logs.Scope("dapr.runtime"), stop: make(chan error, 1),
		configuration: config.DefaultConfiguration(), appConfiguration: &channel.AppConfiguration{}}
	r.metrics = metrics.New(cfg.AppID, cfg.Namespace)
	r.tracer = tracing.New(tracing.Deps{AppID: cfg.AppID, Host: cfg.HostAddress, Log: r.log, Spans: deps.Logs.Scope("dapr.runtime.trace"), Observer: r.metrics})
	r.health = metadata.NewHealth(cfg.AppID)
	r.health.Watch(r.absent)
	r.policies = resiliency.New(resiliency.WithLog(deps.Logs.Scope("dapr.runtime.resiliency")), resiliency.WithObserver(r.metrics))
	r.establish = sync.OnceValue(r.newTrust)
	r.source = folders{cfg.ResourcesPaths, cfg.ConfigFiles}
	if cfg.Mode == Kubernetes {
		r.source = &cluster{Runtime: r, log: deps.Logs.Scope("dapr.runtime.operator")}
	}
	r.secrets = secrets.NewService(secrets.Deps{Observer: r.metrics, Policies: r.policies})
	r.wireBlocks()
	r.loader = components.NewLoader(components.Deps{
		Set: deps.Components, State: r.state, Secrets: r.secrets, PubSub: r.pubsub, Bindings: r.bindings, Configuration: r.settings,
		Lock: r.locks, Crypto: r.crypto, Middleware: r.middleware, Counter: r.metrics, MaxBodySize: cfg.MaxBodySize,
		Templates: config.Templates{AppID: cfg.AppID, Namespace: cfg.Namespace, PodName: cfg.PodName},
		Log:       r.log, ComponentLog: deps.Logs.Scope("dapr.contrib"),
	})
	r.wireMessaging()
	r.blocks = api.Blocks{
		State: r.state, Secrets: r.secrets, PubSub: r.pubsub, Bindings: r.bindings, Configuration: r.settings, Lock: r.locks, Crypto: r.crypto,
		Messaging: r.messaging, Actors: r.actors, Health: r.health, Shutdown: r.shutdown,
		Metadata: metadata.New(metadata.Sources{
			ID: cfg.AppID, RuntimeVersion: version.Version(), EnabledFeatures: r.enabledFeatures,
			Components: r.loadedComponents, HTTPEndpoints: r.endpointNames, Resiliencies: r.policies.Names, App: r.appConnection,
			Subscriptions: r.pubsub.Subscriptions, Attributes: r.outages, Actors: r.activeActors, ActorRuntime: r.actorRuntime,
		}),
	}
	return r, nil
}

// wireBlocks makes the blocks that reach the application or other systems.
func (r *Runtime) wireBlocks() {
	r.pubsub = pubsub.NewService(pubsub.Deps{AppID: r.cfg.AppID, Namespace: r.cfg.Namespace, App: &r.app, Policies: r.policies, Log: r.log, Observer: r.metrics, Tracer: r.tracer,
		SkipAppSubscriptions: r.cfg.SkipAppSubscriptions})
	r.outbox = outbox.NewService(outbox.Deps{AppID: r.cfg.AppID, Namespace: r.cfg.Namespace, PubSub: r.pubsub, Log: r.deps.Logs.Scope("dapr.outbox")})
	r.state = state.NewService(state.Deps{AppID: r.cfg.AppID, Namespace: r.cfg.Namespace, Log: r.log, Observer: r.metrics, Policies: r.policies,
		Outbox: r.outbox})
	r.bindings = bindings.NewService(bindings.Deps{App: &r.app, ProbeTimeout: r.cfg.AppBindingOptionsTimeout, Policies: r.policies,
		Observer: r.metrics, Tracer: r.tracer, Log: r.log})
	r.settings = configuration.NewService(configuration.Deps{App: &r.app, Policies: r.policies, Log: r.log, Observer: r.metrics})
	r.locks = lock.NewService(lock.Deps{AppID: r.cfg.AppID, Policies: r.policies})
	r.middleware = middleware.NewService(r.deps.Logs.Scope("dapr.middleware.http"))
	r.crypto = crypto.NewService(crypto.Deps{Policies: r.policies, Observer: r.metrics})
}

func (r *Runtime) wireMessaging() {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	self := messaging.Self{AppID: r.cfg.AppID, Namespace: r.namespace(), HostIP: r.cfg.HostAddress, HostName: host,
		InternalPort: r.cfg.InternalGRPCPort}
	r.identity = security.NewIdentity(r.cfg.AppID, r.deps.Logs.Scope("dapr.runtime.security"), r.metrics)
	r.peers = messaging.NewPeers(r.peerCredentials(), r.cfg.MaxBodySize)
	r.access = security.NewAccessControl(r.metrics, r.deps.Logs.Scope("dapr.acl"))
	r.messaging = messaging.New(messaging.Deps{Self: self, App: &r.app, Resolver: &r.resolver, Peers: r.peers, Endpoints: &r.endpoints,
		Policies: r.policies, Observer: r.metrics})
	r.wireActors()
	r.callee = messaging.NewCallee(messaging.CalleeDeps{AppID: r.cfg.AppID, App: &r.app, Policy: r.access, MaxBodySize: r.cfg.MaxBodySize,
		Observer: r.metrics, Tracer: r.tracer, Actors: r.actors})
	r.proxy = grpc.NewProxy(grpc.ProxyDeps{Self: self, Direct: r.messaging, Policy: r.access, Observer: r.metrics})
}

// Run starts the sidecar, serves until ctx ends or a caller asks for the end, and drains. It returns nil
// when everything was drained; an error that is ErrGrace when the grace period ended first, ErrForced when a
// caller did not want to wait, or what kept the sidecar from starting.
func (r *Runtime) Run(ctx context.Context) error {
	began := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case err := <-r.stop:
			cancel(err)
		case <-ctx.Done():
		}
	}()
	stages, err := r.walk(ctx, table)
	if err == nil {
		r.log.Infof("dapr initialized. Status: Running. Init Elapsed %vms", float64(time.Since(began))/float64(time.Millisecond))
		r.health.SetReady(true)
		shrink(ctx)
		<-ctx.Done()
	}
	switch {
	case errors.Is(context.Cause(ctx), ErrForced):
		time.Sleep(farewell)
		return ErrForced
	case ctx.Err() != nil:
		err = nil // the start was interrupted on purpose
	}
	return errors.Join(err, r.end(stages))
}

// end drains and closes what was started, within the grace period.
func (r *Runtime) end(stages []started) error {
	r.health.SetReady(false)
	r.block()
	ctx, cancel := within(r.cfg.Grace)
	defer cancel()
	if _, ok := r.state.ActorStore(); ok {
		r.log.Info("Shutting down actor")
	}
	r.log.Info("dapr shutting down.")
	r.health.SetOutbound(false)
	r.log.Info("Stopping Dapr APIs")
	r.log.Infof("Waiting %s to finish outstanding operations", r.cfg.Grace)
	drained := drain(ctx, stages)
	r.log.Info("Shutting down all components")
	err := errors.Join(drained, release(ctx, stages))
	if ctx.Err() != nil {
		return fmt.Errorf("%w after %s: %w", ErrGrace, r.cfg.Grace, err)
	}
	if err != nil {
		r.log.Warnf("error while shutting down: %s", err)
	}
	return nil
}

// block goes on serving for a while after the signal, for applications that finish their work through the
// sidecar. It ends early when the application is ill. Nothing new is brought to the application meanwhile.
func (r *Runtime) block() {
	if r.cfg.BlockShutdown == nil {
		return
	}
	r.log.Infof("Blocking graceful shutdown for %s or until app reports unhealthy...", *r.cfg.BlockShutdown)
	ctx, cancel := context.WithTimeout(context.Background(), *r.cfg.BlockShutdown)
	defer cancel()
	var wait sync.WaitGroup
	wait.Go(func() {
		// What is left in hand then is waited for in the drain.
		if err := r.intake.end(ctx); err != nil && ctx.Err() == nil {
			r.log.Warnf("error while subscriptions and input bindings stopped: %s", err)
		}
	})
	if r.ill(ctx) {
		r.log.Info("App reported unhealthy, entering shutdown...")
	} else {
		r.log.Info("Block shutdown period expired, entering shutdown...")
	}
	cancel()
	wait.Wait()
}

// shutdown is what callers of the API ask for.
func (r *Runtime) shutdown(forced bool) {
	var cause error
	if forced {
		cause = ErrForced
	} else {
		r.log.Info("Shutdown requested via API")
	}
	select {
	case r.stop <- cause:
	default: // it is ending already
	}
}
