// Package injector is the mutating webhook that gives annotated pods of Kubernetes their sidecar: a table of annotations,
// a JSON patch, and the upkeep of what the API server has to know to ask it. It must not know what a sidecar does with its
// flags.
package injector

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/cluster"
	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/process"
	"github.com/daprd/daprd/pkg/security"
	"github.com/daprd/daprd/pkg/version"
)

const (
	// ownAppID is the injector's name to sentry, which puts the name of the service into the certificate.
	ownAppID = "dapr-injector"
	// grace is how long reviews in flight have at the end.
	grace = 5 * time.Second
	// retryPause is how long the start waits before it tries again what is not there yet: sentry or its roots.
	retryPause = time.Second
)

// Deps are what code passes.
type Deps struct {
	Logs *logging.Logs
}

// Injector is one webhook server. Run is called once.
type Injector struct {
	cfg     Config
	callers *callers
	log     *logrus.Entry
	logs    *logging.Logs
	metrics *metrics

	ready                   chan struct{}
	address, health, scrape net.Addr
}

// New checks the Config; it does no I/O.
func New(cfg Config, deps Deps) (*Injector, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	callers, err := newCallers(cfg.AllowedAccounts, cfg.AllowedAccountPrefixes)
	if err != nil {
		return nil, err
	}
	return &Injector{cfg: cfg, callers: callers, log: deps.Logs.Scope("dapr.injector"), logs: deps.Logs, metrics: newMetrics(), ready: make(chan struct{})}, nil
}

// Ready is closed when pods are injected.
func (i *Injector) Ready() <-chan struct{} { return i.ready }

// Address is where reviews are answered; call it once Ready is closed.
func (i *Injector) Address() net.Addr { return i.address }

// HealthAddress is where /healthz answers; call it once Ready is closed.
func (i *Injector) HealthAddress() net.Addr { return i.health }

// MetricsAddress is where metrics are served, nil if they are not; call it once Ready is closed.
func (i *Injector) MetricsAddress() net.Addr { return i.scrape }

// Run serves until ctx ends, and then lets the reviews in flight end. It waits for sentry as long as that takes. An error
// tells why it could not start or go on.
func (i *Injector) Run(ctx context.Context) error {
	i.log.Infof("Starting Dapr Sidecar Injector -- version %s -- commit %s", version.Version(), version.Commit())
	i.log.Infof("Log level set to: %s", i.cfg.LogLevel)
	api, err := cluster.New(i.cfg.Kubeconfig, ownAppID)
	if err != nil {
		return err
	}
	defer api.Close()
	err = process.Together(ctx, func(ctx context.Context, start process.Start) (err error) {
		if i.health, i.scrape, err = i.cfg.Serve(ctx, start, i.log, i.ready, i.metrics.registry); err != nil {
			return err
		}
		return i.serve(ctx, start, api)
	})
	if err == nil {
		i.log.Info("Sidecar injector shut down gracefully")
	}
	return err
}

// serve takes up the identity, and answers reviews under it.
func (i *Injector) serve(ctx context.Context, start process.Start, api *cluster.Client) error {
	identity, anchors, err := i.identify(ctx)
	if err != nil || ctx.Err() != nil {
		return err
	}
	start(func() error { identity.Run(ctx); return nil })
	kept := &upkeep{api: api, anchors: anchors, namespace: i.cfg.Mesh.Namespace, log: i.log}
	mux := http.NewServeMux()
	mux.Handle("/mutate", &webhook{mesh: &i.cfg.Mesh, callers: i.callers, components: kept, trust: kept.trust, metrics: i.metrics, log: i.log})
	at := process.Endpoint{Address: i.cfg.ListenAddress, Port: i.cfg.Port, TLS: identity.WebhookConfig(), Grace: grace}
	if i.address, err = process.HTTP(ctx, start, i.log, at, mux); err != nil {
		return fmt.Errorf("webhook server: %w", err)
	}
	kept.run(ctx, func() {
		i.log.Infof("Sidecar injector is listening on %s, patching Dapr-enabled pods", i.address)
		close(i.ready)
	})
	return nil
}

// identify reads the roots and asks sentry for the certificate, again and again until both are there or ctx ends.
func (i *Injector) identify(ctx context.Context) (*security.Identity, *security.Anchors, error) {
	log := i.logs.Scope("dapr.injector.security")
	for told := ""; ctx.Err() == nil; {
		identity, anchors, err := i.tryIdentify(ctx, log)
		if err == nil || ctx.Err() != nil {
			return identity, anchors, nil
		}
		if err.Error() != told {
			told = err.Error()
			log.Warnf("No certificate of sentry yet; it is tried again until there is one: %s", err)
		}
		pause(ctx, retryPause)
	}
	return nil, nil, nil
}

func (i *Injector) tryIdentify(ctx context.Context, log logrus.FieldLogger) (*security.Identity, *security.Anchors, error) {
	anchors, err := security.NewAnchors("", i.cfg.AnchorsFile, log)
	if err != nil {
		return nil, nil, err
	}
	mesh := &i.cfg.Mesh
	signer, err := security.NewSentry(security.SentrySettings{
		Address: i.cfg.sentryAddress(), AppID: ownAppID, Namespace: mesh.Namespace, TrustDomain: mesh.TrustDomain,
		ControlPlaneNamespace: mesh.Namespace, ControlPlaneTrustDomain: mesh.TrustDomain, TokenFile: i.cfg.TokenFile, Kubernetes: true,
	}, anchors)
	if err != nil {
		return nil, nil, err
	}
	identity := security.NewIdentity(ownAppID, log, nil)
	identity.Establish(anchors, signer)
	return identity, anchors, identity.Obtain(ctx)
}

// pause waits, or returns when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
