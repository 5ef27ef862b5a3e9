package runtime

import (
	"context"
	"errors"
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
	if r.cfg.Mode == Kubernetes {
		return ending{}, errors.New("kubernetes mode is not supported by this daprd yet: run it with --mode standalone")
	}
	if !r.cfg.MTLS.Enabled {
		r.log.Info("mTLS is disabled. Skipping certificate request and tls validation")
		return ending{}, nil
	}
	r.log.Info("mTLS enabled. creating sidecar authenticator")
	log := r.deps.Logs.Scope("dapr.runtime.security")
	m := r.cfg.MTLS
	anchors, err := security.NewAnchors(m.TrustAnchors, m.TrustAnchorsFile, log)
	if err != nil {
		return ending{}, err
	}
	log.Info("trust anchors and cert chain extracted successfully")
	sentry, err := security.NewSentry(security.SentrySettings{
		Address: m.SentryAddress, AppID: r.cfg.AppID, Namespace: r.namespace(), TrustDomain: r.configuration.Spec.AccessControl.TrustDomain,
		Name: m.SentryIdentity, ControlPlaneNamespace: m.ControlPlaneNamespace, ControlPlaneTrustDomain: m.ControlPlaneTrustDomain,
		TokenFile: m.SentryTokenFile, Kubernetes: r.cfg.Mode == Kubernetes, Chain: []byte(m.CertChain), Key: []byte(m.CertKey.Reveal()),
	}, anchors)
	if err != nil {
		return ending{}, err
	}
	r.identity.Establish(anchors, sentry)
	log.Info("authenticator created")
	return ending{}, nil
}

// namespace is this sidecar's in names and identities.
func (r *Runtime) namespace() string {
	if r.cfg.Namespace == "" {
		return nameresolution.DefaultNamespace
	}
	return r.cfg.Namespace
}

// obtainIdentity asks sentry for the certificate of this sidecar, and keeps it renewed until stop.
func (r *Runtime) obtainIdentity(ctx context.Context) (stop func(), err error) {
	if !r.cfg.MTLS.Enabled {
		return func() {}, nil
	}
	log := r.deps.Logs.Scope("dapr.runtime.grpc.internal")
	log.Info("sending workload csr request to sentry")
	if err := r.identity.Obtain(ctx); err != nil {
		return func() {}, fmt.Errorf("failed to start internal gRPC server: %w", err)
	}
	log.Info("certificate signed successfully")
	log.Infof("starting workload cert expiry watcher. current cert expires on: %s", r.identity.Expires().UTC())
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wait sync.WaitGroup
	wait.Go(func() { r.identity.Run(running) })
	return func() {
		cancel()
		wait.Wait()
	}, nil
}
