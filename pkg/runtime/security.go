package runtime

import (
	"context"
	"fmt"
	"sync"

	google "google.golang.org/grpc/credentials"

	"github.com/daprd/daprd/pkg/messaging"
	"github.com/daprd/daprd/pkg/nameresolution"
	"github.com/daprd/daprd/pkg/security"
)

// peerCredentials are those of calls to other sidecars.
func (r *Runtime) peerCredentials() messaging.Credentials {
	if !r.cfg.MTLS.Enabled {
		return messaging.Insecure{}
	}
	return messaging.Mutual{Identity: r.identity}
}

// internalCredentials are those of the server for other sidecars, nil for clear text.
func (r *Runtime) internalCredentials() google.TransportCredentials {
	if !r.cfg.MTLS.Enabled {
		return nil
	}
	return google.NewTLS(r.identity.ServerConfig())
}

// establishSecurity reads whom to trust. It does not dial.
func (r *Runtime) establishSecurity(context.Context) (ending, error) {
	r.log.Infof("%s mode configured", r.cfg.Mode)
	r.log.Infof("app id: %s", r.cfg.AppID)
	if !r.cfg.MTLS.Enabled {
		r.log.Info("mTLS is disabled. Skipping certificate request and tls validation")
		return ending{}, nil
	}
	r.log.Info("mTLS enabled. creating sidecar authenticator")
	if err := r.establish(); err != nil {
		return ending{}, err
	}
	r.deps.Logs.Scope("dapr.runtime.security").Info("trust anchors and cert chain extracted successfully")
	r.log.Info("authenticator created")
	return ending{}, nil
}

// newTrust reads whom to trust, and says who gives certificates. In Kubernetes mode that is before the Configuration is
// known, whose trust domain sentry looks up itself.
func (r *Runtime) newTrust() error {
	m := r.cfg.MTLS
	anchors, err := security.NewAnchors(m.TrustAnchors, m.TrustAnchorsFile, r.deps.Logs.Scope("dapr.runtime.security"))
	if err != nil {
		return err
	}
	domain := r.configuration.Spec.AccessControl.TrustDomain
	if r.cfg.Mode == Kubernetes {
		domain = ""
	}
	sentry, err := security.NewSentry(security.SentrySettings{
		Address: m.SentryAddress, AppID: r.cfg.AppID, Namespace: r.namespace(), TrustDomain: domain,
		Name: m.SentryIdentity, ControlPlaneNamespace: m.ControlPlaneNamespace, ControlPlaneTrustDomain: m.ControlPlaneTrustDomain,
		TokenFile: m.SentryTokenFile, Kubernetes: r.cfg.Mode == Kubernetes, Chain: []byte(m.CertChain), Key: []byte(m.CertKey.Reveal()),
	}, anchors)
	if err != nil {
		return err
	}
	r.identity.Establish(anchors, sentry)
	return nil
}

// namespace is this sidecar's in names and identities.
func (r *Runtime) namespace() string {
	if r.cfg.Namespace == "" {
		return nameresolution.DefaultNamespace
	}
	return r.cfg.Namespace
}

// obtainIdentity asks sentry for the certificate of this sidecar, unless it has one, and keeps it renewed until stop.
// Without mutual TLS between sidecars there is one for the control plane of a cluster alone.
func (r *Runtime) obtainIdentity(ctx context.Context) (stop func(), err error) {
	log := r.deps.Logs.Scope("dapr.runtime.grpc.internal")
	switch {
	case r.cfg.MTLS.Enabled:
		log.Info("sending workload csr request to sentry")
	case r.cfg.Mode != Kubernetes:
		return func() {}, nil
	}
	if err := r.identity.Obtain(ctx); err != nil {
		return func() {}, fmt.Errorf("failed to start internal gRPC server: %w", err)
	}
	if r.cfg.MTLS.Enabled {
		log.Info("certificate signed successfully")
		log.Infof("starting workload cert expiry watcher. current cert expires on: %s", r.identity.Expires().UTC())
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wait sync.WaitGroup
	wait.Go(func() { r.identity.Run(running) })
	return func() {
		cancel()
		wait.Wait()
	}, nil
}
