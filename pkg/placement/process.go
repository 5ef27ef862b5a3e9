package placement

import (
	"context"
	"net/http"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/daprd/daprd/pkg/listen"
	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/process"
	placementv1 "github.com/daprd/daprd/pkg/proto/placement/v1"
	"github.com/daprd/daprd/pkg/security"
)

// AppID is the service's name in its SPIFFE id.
const AppID = "dapr-placement"

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

// Process is the placement service with all that is around it, ready when sidecars are answered, if only that another
// server leads. Run is called once.
type Process struct {
	*process.Part
	cfg     Config
	deps    ProcessDeps
	log     *logrus.Entry
	metrics *metrics
}

// NewProcess checks the Config; it does no I/O.
func NewProcess(cfg Config, deps ProcessDeps) (*Process, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	log, metrics := deps.Logs.Scope("dapr.placement"), newMetrics()
	return &Process{process.NewPart(metrics.registry, log), cfg, deps, log, metrics}, nil
}

// Run serves until ctx ends. An error tells why it could not start or go on.
func (p *Process) Run(ctx context.Context) error {
	deps := Deps{ID: p.cfg.ID, MTLS: p.cfg.TLS, Observer: p.metrics, Log: p.log}
	var elector Elector
	if p.deps.Elect != nil {
		deps.Confirm = func(ctx context.Context) error { return elector.Confirm(ctx) }
	}
	service := NewService(p.cfg.Settings, deps)
	shown := p.cfg.Observed
	if p.cfg.Metadata {
		shown.Pages = map[string]http.Handler{"/placement/state": statePage{service}}
	}
	return p.Live(ctx, &shown, func(ctx context.Context, start process.Start) (err error) {
		identity, ok := p.identify(ctx, start)
		if !ok {
			return nil
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
	})
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
	p.log.Infof("Running gRPC server on %s", listeners[0].Addr())
	start(func() error { return server.Serve(listeners[0]) })
	p.SetReady(listeners[0].Addr())
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

// identify obtains the certificate; without TLS there is none.
func (p *Process) identify(ctx context.Context, start process.Start) (identity *security.Identity, ok bool) {
	if !p.cfg.TLS {
		return nil, true
	}
	credentials := process.Credentials{AppID: AppID, Namespace: p.cfg.Namespace, TrustDomain: p.cfg.TrustDomain,
		SentryAddress: p.cfg.SentryAddress, AnchorsFile: p.cfg.AnchorsFile, TokenFile: p.cfg.TokenFile, Kubernetes: p.cfg.Kubernetes}
	identity, _, ok = credentials.Obtain(ctx, start, p.deps.Logs.Scope("dapr.placement.security"))
	return identity, ok
}
