package placement

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/daprd/daprd/pkg/listen"
	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/process"
	placementv1 "github.com/daprd/daprd/pkg/proto/placement/v1"
	"github.com/daprd/daprd/pkg/security"
	"github.com/daprd/daprd/pkg/version"
)

const (
	// AppID is the service's name in its SPIFFE id.
	AppID = "dapr-placement"
	// retryPause is how long the start waits before it asks sentry again.
	retryPause = time.Second
)

// Elector has one of several servers lead; nil in ProcessDeps is for one alone.
type Elector interface {
	// Run calls lead each time that this server is elected, with a context that ends when another may be, until ctx ends.
	Run(ctx context.Context, lead func(ctx context.Context))
	// Confirm asks the others whether this server leads.
	Confirm(ctx context.Context) error
	Close() error
}

// ProcessDeps are what code passes to a Process.
type ProcessDeps struct {
	Logs *logging.Logs
	// Elect takes part in an election, once the identity is there (nil without mTLS); it is nil for a server alone.
	Elect func(ctx context.Context, identity *security.Identity) (Elector, error)
}

// Process is the placement service with all that is around it. Run is called once.
type Process struct {
	cfg     Config
	deps    ProcessDeps
	log     *logrus.Entry
	metrics *metrics

	ready                   chan struct{}
	address, health, scrape net.Addr
}

// NewProcess checks the Config; it does no I/O.
func NewProcess(cfg Config, deps ProcessDeps) (*Process, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Process{cfg: cfg, deps: deps, log: deps.Logs.Scope("dapr.placement"), metrics: newMetrics(), ready: make(chan struct{})}, nil
}

// Ready is closed when sidecars are answered, if only that another server leads.
func (p *Process) Ready() <-chan struct{} { return p.ready }

// Address is where sidecars are answered; call it once Ready is closed.
func (p *Process) Address() net.Addr { return p.address }

// HealthAddress is where /healthz answers; call it once Ready is closed.
func (p *Process) HealthAddress() net.Addr { return p.health }

// MetricsAddress is where metrics are served, nil if they are not; call it once Ready is closed.
func (p *Process) MetricsAddress() net.Addr { return p.scrape }

// Run serves until ctx ends. An error tells why it could not start or go on.
func (p *Process) Run(ctx context.Context) error {
	p.log.Infof("Starting Dapr Placement Service -- version %s -- commit %s", version.Version(), version.Commit())
	p.log.Infof("Log level set to: %s", p.cfg.LogLevel)
	err := process.Together(ctx, p.serve)
	if err == nil {
		p.log.Info("Placement service shut down gracefully")
	}
	return err
}

func (p *Process) serve(ctx context.Context, start process.Start) (err error) {
	var elector Elector
	deps := Deps{ID: p.cfg.ID, MTLS: p.cfg.TLS, Observer: p.metrics, Log: p.log}
	if p.deps.Elect != nil {
		deps.Confirm = func(ctx context.Context) error { return elector.Confirm(ctx) }
	}
	service := NewService(p.cfg.Settings, deps)
	shown := p.cfg.Observed
	if p.cfg.Metadata {
		shown.Pages = map[string]http.Handler{"/placement/state": statePage{service}}
	}
	if p.health, p.scrape, err = shown.Serve(ctx, start, p.log, p.ready, p.metrics.registry); err != nil {
		return err
	}
	identity, err := p.identify(ctx)
	if err != nil || ctx.Err() != nil {
		return err
	}
	if identity != nil {
		start(func() error { identity.Run(ctx); return nil })
	}
	if p.deps.Elect != nil {
		if elector, err = p.deps.Elect(ctx, identity); err != nil {
			return err
		}
		defer func() {
			if failed := elector.Close(); err == nil {
				err = failed
			}
		}()
	}
	return p.answer(ctx, start, service, identity, elector)
}

// answer has sidecars answered until ctx ends, and leads when it is to.
func (p *Process) answer(ctx context.Context, start process.Start, service *Service, identity *security.Identity, elector Elector) error {
	listeners, err := listen.TCP(ctx, []string{p.cfg.ListenAddress}, p.cfg.Port, p.log)
	if err != nil {
		return err
	}
	options := service.ServerOptions()
	if identity != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(identity.ServerConfig())))
	}
	server := grpc.NewServer(options...)
	placementv1.RegisterPlacementServer(server, service)
	p.address = listeners[0].Addr()
	p.log.Infof("Running gRPC server on %s", p.address)
	start(func() error { return server.Serve(listeners[0]) })
	close(p.ready)
	lead := func(ctx context.Context) {
		p.metrics.leads(true)
		p.log.Infof("Leader is ready to serve; the first round is in %s", max(0, service.settings.Quarantine))
		if err := service.Lead(ctx); ctx.Err() == nil {
			p.log.Warn(err)
		}
		p.metrics.leads(false)
	}
	if elector == nil {
		lead(ctx)
	} else {
		elector.Run(ctx, lead)
	}
	<-ctx.Done()
	server.Stop()
	service.Wait()
	return nil
}

// identify asks sentry for the certificate until it is there or ctx ends; without TLS there is none.
func (p *Process) identify(ctx context.Context) (*security.Identity, error) {
	if !p.cfg.TLS {
		return nil, nil
	}
	log := p.deps.Logs.Scope("dapr.placement.security")
	anchors, err := security.NewAnchors("", p.cfg.AnchorsFile, log)
	if err != nil {
		return nil, fmt.Errorf("--trust-anchors-file: %w", err)
	}
	signer, err := security.NewSentry(security.SentrySettings{Address: p.cfg.SentryAddress, AppID: AppID, Namespace: p.cfg.Namespace,
		TrustDomain: p.cfg.TrustDomain, ControlPlaneNamespace: p.cfg.Namespace, ControlPlaneTrustDomain: p.cfg.TrustDomain,
		TokenFile: p.cfg.TokenFile, Kubernetes: p.cfg.Kubernetes}, anchors)
	if err != nil {
		return nil, err
	}
	identity := security.NewIdentity(AppID, log, nil)
	identity.Establish(anchors, signer)
	for told := ""; ctx.Err() == nil; {
		err := identity.Obtain(ctx)
		if err == nil {
			break
		}
		if ctx.Err() == nil && err.Error() != told {
			told = err.Error()
			log.Warnf("No certificate of sentry yet; it is tried again until there is one: %s", err)
		}
		timer := time.NewTimer(retryPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	return identity, nil
}
