// Package sentry is the certificate authority of a mesh: it gives sidecars, and the parts of the control plane, the
// certificates by which they know each other (dapr.proto.sentry.v1.CA). It keeps its trust bundle in a folder or in
// Kubernetes, and renews root and issuer before they end. It must not know what certificates are used for: who may
// call whom is the sidecars' matter.
package sentry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/daprd/daprd/pkg/listen"
	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/process"
	sentryv1 "github.com/daprd/daprd/pkg/proto/sentry/v1"
)

// grace is how long calls in flight have at the end.
const grace = 5 * time.Second

// Deps are what code passes.
type Deps struct {
	Logs *logging.Logs
	// Now is the clock; nil is the machine's.
	Now func() time.Time
}

// Sentry is one certificate authority, ready when certificates can be asked for. Run is called once.
type Sentry struct {
	*process.Part
	cfg     Config
	own     identity
	now     func() time.Time
	logs    *logging.Logs
	log     *logrus.Entry
	metrics *metrics
	oidc    net.Addr
}

// New checks the Config; it does no I/O.
func New(cfg Config, deps Deps) (*Sentry, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	domain, err := parseDomain(cfg.TrustDomain)
	if err != nil {
		return nil, err
	}
	own, err := newIdentity(domain, cfg.Namespace, ownAppID)
	if err != nil {
		return nil, fmt.Errorf("environment variable NAMESPACE: %w", err)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	log, metrics := deps.Logs.Scope("dapr.sentry"), newMetrics()
	return &Sentry{Part: process.NewPart(metrics.registry, log), cfg: cfg, own: own, now: deps.Now, logs: deps.Logs, log: log, metrics: metrics}, nil
}

// ID is the SPIFFE ID under which the server shows itself: spiffe://<trust domain>/ns/<namespace>/dapr-sentry.
func (s *Sentry) ID() spiffeid.ID { return s.own.id }

// OIDCAddress is where others learn of the keys of tokens, nil if they cannot; call it once Ready is closed.
func (s *Sentry) OIDCAddress() net.Addr { return s.oidc }

// Run serves until ctx ends, and then lets the calls in flight end. An error tells why it could not start or go on.
func (s *Sentry) Run(ctx context.Context) error {
	var at *surroundings
	err := s.Live(ctx, &s.cfg.Observed, func(ctx context.Context, start process.Start) (err error) {
		if at, err = s.surroundings(ctx); err != nil {
			return err
		}
		return s.runAt(ctx, start, at)
	})
	if at != nil {
		err = errors.Join(err, at.close())
	}
	return err
}

// runAt takes the bundle up and serves.
func (s *Sentry) runAt(ctx context.Context, start process.Start, at *surroundings) error {
	settings, err := newSettings(&at.mtls, &s.cfg.JWT)
	if err != nil {
		return err
	}
	validators, err := newValidators(s.cfg.Mode, at.validator, at.mtls.TokenValidators, s.own.id, s.now)
	if err != nil {
		return err
	}
	plan, err := newTokenPlan(&s.cfg.JWT)
	if err != nil {
		return err
	}
	ca := &authority{rotation: rotation{s.own, settings, plan}, store: at.store, now: s.now, log: s.logs.Scope("dapr.sentry.ca"), metrics: s.metrics}
	if err := ca.refresh(ctx); err != nil {
		return err
	}
	own := &own{authority: ca, metrics: s.metrics, log: s.logs.Scope("dapr.sentry.server")}
	if err := s.serveOIDC(ctx, start, ca, own); err != nil {
		return err
	}
	return s.serveCA(ctx, start, own, validators)
}

// serveCA signs until ctx ends; then the calls in flight have the grace period.
func (s *Sentry) serveCA(ctx context.Context, start process.Start, shown *own, validators validators) error {
	listeners, err := listen.TCP(ctx, []string{s.cfg.ListenAddress}, s.cfg.Port, s.log)
	if err != nil {
		return err
	}
	log, ca := shown.log, shown.authority
	grpcServer := grpc.NewServer(grpc.Creds(credentials.NewTLS(shown.tls())))
	sentryv1.RegisterCAServer(grpcServer, &server{authority: ca, validators: validators, metrics: s.metrics, log: log})
	start(func() error { ca.watch(ctx); return nil })
	s.GRPC(ctx, start, log, listeners[0], grpcServer, grace)
	return nil
}
