package process

import (
	"context"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/security"
)

// Credentials are what a part of the control plane comes to its certificate by.
type Credentials struct {
	// AppID is its name to sentry, Namespace and TrustDomain are the control plane's.
	AppID, Namespace, TrustDomain string
	// SentryAddress is host and port of the certificate authority.
	SentryAddress string
	// AnchorsFile holds the roots that are trusted; TokenFile the token for sentry, "" for the places of a pod.
	AnchorsFile, TokenFile string
	// Kubernetes says that tokens are those of pods.
	Kubernetes bool
}

// Obtain reads the roots and asks sentry for the certificate, until both are there; it is kept current until ctx ends. If
// ctx ends first, ok is false.
func (c *Credentials) Obtain(ctx context.Context, start Start, log logrus.FieldLogger) (identity *security.Identity, anchors *security.Anchors, ok bool) {
	ok = Insist(ctx, log, "No certificate of sentry yet", func() (err error) {
		if anchors, err = security.NewAnchors("", c.AnchorsFile, log); err != nil {
			return err
		}
		signer, err := security.NewSentry(security.SentrySettings{
			Address: c.SentryAddress, AppID: c.AppID, Namespace: c.Namespace, TrustDomain: c.TrustDomain,
			ControlPlaneNamespace: c.Namespace, ControlPlaneTrustDomain: c.TrustDomain, TokenFile: c.TokenFile, Kubernetes: c.Kubernetes,
		}, anchors)
		if err != nil {
			return err
		}
		identity = security.NewIdentity(c.AppID, log, nil)
		identity.Establish(anchors, signer)
		return identity.Obtain(ctx)
	})
	if ok {
		start(func() error { identity.Run(ctx); return nil })
	}
	return identity, anchors, ok
}
