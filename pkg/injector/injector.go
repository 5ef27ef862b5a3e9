// Package injector is the mutating webhook that gives annotated pods of Kubernetes their sidecar: a table of annotations,
// a JSON patch, and the upkeep of what the API server has to know to ask it. It must not know what a sidecar does with its
// flags.
package injector

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/cluster"
	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/process"
)

const (
	// ownAppID is the injector's name to sentry, which puts the name of the service into the certificate.
	ownAppID = "dapr-injector"
	// grace is how long reviews in flight have at the end.
	grace = 5 * time.Second
)

// Deps are what code passes.
type Deps struct {
	Logs *logging.Logs
}

// Injector is one webhook server, ready when pods are injected. Run is called once.
type Injector struct {
	*process.Part
	cfg     Config
	callers *callers
	log     *logrus.Entry
	logs    *logging.Logs
	metrics *metrics
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
	log, metrics := deps.Logs.Scope("dapr.injector"), newMetrics()
	return &Injector{process.NewPart(metrics.registry, log), cfg, callers, log, deps.Logs, metrics}, nil
}

// Run serves until ctx ends, and then lets the reviews in flight end. It waits for sentry as long as that takes. An error
// tells why it could not start or go on.
func (i *Injector) Run(ctx context.Context) error {
	api, err := cluster.New(i.cfg.Kubeconfig, ownAppID)
	if err != nil {
		return err
	}
	defer api.Close()
	return i.Live(ctx, &i.cfg.Observed, func(ctx context.Context, start process.Start) error { return i.serve(ctx, start, api) })
}

// serve takes up the identity, and answers reviews under it.
func (i *Injector) serve(ctx context.Context, start process.Start, api *cluster.Client) error {
	mesh := &i.cfg.Mesh
	credentials := process.Credentials{AppID: ownAppID, Namespace: mesh.Namespace, TrustDomain: mesh.TrustDomain,
		SentryAddress: i.cfg.sentryAddress(), AnchorsFile: i.cfg.AnchorsFile, TokenFile: i.cfg.TokenFile, Kubernetes: true}
	identity, anchors, ok := credentials.Obtain(ctx, start, i.logs.Scope("dapr.injector.security"))
	if !ok {
		return nil
	}
	kept := &upkeep{api: api, anchors: anchors, namespace: mesh.Namespace, log: i.log}
	mux := http.NewServeMux()
	mux.Handle("/mutate", &webhook{mesh: mesh, callers: i.callers, components: kept, trust: kept.trust, metrics: i.metrics, log: i.log})
	at := process.Endpoint{Address: i.cfg.ListenAddress, Port: i.cfg.Port, TLS: identity.WebhookConfig(), Grace: grace}
	address, err := process.HTTP(ctx, start, i.log, at, mux)
	if err != nil {
		return fmt.Errorf("webhook server: %w", err)
	}
	kept.run(ctx, func() {
		i.log.Infof("Sidecar injector is listening on %s, patching Dapr-enabled pods", address)
		i.SetReady(address)
	})
	return nil
}
