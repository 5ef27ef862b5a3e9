package sentry

import (
	"context"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	sentryv1 "github.com/daprd/daprd/pkg/proto/sentry/v1"
)

// validator decides whether a request comes from whom it says.
type validator interface {
	// validate gives the trust domain of the identity that is asked for. Its error is told to the one who asks.
	validate(ctx context.Context, request *sentryv1.SignCertificateRequest) (spiffeid.TrustDomain, error)
}

// insecure believes everybody.
type insecure struct{}

func (insecure) validate(_ context.Context, request *sentryv1.SignCertificateRequest) (spiffeid.TrustDomain, error) {
	return requestedDomain(request)
}
