package sentry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/daprd/daprd/pkg/config"
	sentryv1 "github.com/daprd/daprd/pkg/proto/sentry/v1"
)

// kind is how a request names a validator.
type kind = sentryv1.SignCertificateRequest_TokenValidator

// validator decides whether a request comes from whom it says.
type validator interface {
	// validate gives the trust domain of the identity that is asked for. Its error is told to the one who asks.
	validate(ctx context.Context, request *sentryv1.SignCertificateRequest) (spiffeid.TrustDomain, error)
}

// errUnavailable says that a request cannot be judged now; a later one may be.
var errUnavailable = errors.New("the token cannot be checked now")

// insecure believes everybody.
type insecure struct{}

func (insecure) validate(_ context.Context, request *sentryv1.SignCertificateRequest) (spiffeid.TrustDomain, error) {
	return requestedDomain(request)
}

// validators are those that are enabled.
type validators struct {
	byKind map[kind]validator
	// standard is for requests that name none; UNKNOWN where they have to.
	standard kind
}

// newValidators has those of the Configuration at work. Without any, the one of the mode holds; besides them, in
// Kubernetes only.
func newValidators(mode Mode, ofMode validator, specs []config.TokenValidator, own spiffeid.ID, now func() time.Time) (validators, error) {
	v := validators{byKind: map[kind]validator{}}
	for _, spec := range specs {
		switch spec.Name {
		case "jwks":
		case "kubernetes", "insecure":
			return v, errors.New("invalid token validator: the built-in 'kubernetes' and 'insecure' validators cannot be configured manually")
		default:
			return v, fmt.Errorf("invalid token validator: %q (it takes jwks)", spec.Name)
		}
		keys, err := newKeySet(spec.Options, now)
		if err != nil {
			return v, fmt.Errorf("token validator %s: %w", spec.Name, err)
		}
		v.byKind[sentryv1.SignCertificateRequest_JWKS] = &jwks{keys, own, now}
	}
	switch {
	case mode == Kubernetes:
		v.standard = sentryv1.SignCertificateRequest_KUBERNETES
	case len(specs) == 0:
		v.standard = sentryv1.SignCertificateRequest_INSECURE
	default:
		return v, nil
	}
	v.byKind[v.standard] = ofMode
	return v, nil
}
