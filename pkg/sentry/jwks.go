package sentry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	sentryv1 "github.com/daprd/daprd/pkg/proto/sentry/v1"
)

// tokenSkew is by how much the clocks of who signs tokens and of sentry may differ, as in Dapr 1.18.
const tokenSkew = 5 * time.Minute

// jwks believes a JWT for sentry (aud) whose subject is the identity that is asked for.
type jwks struct {
	keys     *keySet
	audience spiffeid.ID
	now      func() time.Time
}

func (v *jwks) validate(ctx context.Context, request *sentryv1.SignCertificateRequest) (spiffeid.TrustDomain, error) {
	domain, err := requestedDomain(request)
	if err != nil {
		return domain, err
	}
	asked, err := newIdentity(domain, request.GetNamespace(), request.GetId())
	if err != nil {
		return domain, err
	}
	if request.GetToken() == "" {
		return domain, errors.New("the request does not contain a token")
	}
	set, err := v.keys.current(ctx)
	if err != nil {
		return domain, fmt.Errorf("%w: %w", errUnavailable, err)
	}
	if _, err = jwt.ParseString(request.GetToken(),
		jwt.WithKeySet(set, jws.WithInferAlgorithmFromKey(true), jws.WithUseDefault(true)),
		jwt.WithValidate(true), jwt.WithAcceptableSkew(tokenSkew), jwt.WithClock(jwt.ClockFunc(v.now)),
		jwt.WithAudience(v.audience.String()), jwt.WithSubject(asked.id.String()), jwt.WithRequiredClaim(jwt.ExpirationKey)); err != nil {
		return domain, fmt.Errorf("token validation failed: %w", err)
	}
	return domain, nil
}
