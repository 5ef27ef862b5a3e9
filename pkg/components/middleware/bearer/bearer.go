// Package bearer is the middleware that lets requests pass which carry a valid JWT of an OpenID Connect issuer.
package bearer

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"
	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/middleware"
)

// skew is by how much the clocks of issuer and sidecar may differ, as in Dapr 1.18.
const skew = 5 * time.Minute

// longestToken is the most bytes of a token that is looked at.
const longestToken = 64 << 10

type settings struct {
	// Issuer is what tokens have to name in iss; its discovery document tells where the keys are.
	Issuer string `metadata:"issuer,required" aliases:"issuerURL"`
	// Audience is what tokens have to name in aud.
	Audience string `metadata:"audience,required" aliases:"clientID"`
	// JWKSURL is where the keys are, in place of what the discovery document says.
	JWKSURL string `metadata:"jwksURL"`
}

type bearer struct {
	settings settings
	keys     *keys
	log      logrus.FieldLogger
}

// New makes middleware.http.bearer. An issuer that cannot be reached is no error: calls are refused until it can be.
func New(ctx context.Context, spec *components.Spec) (middleware.Middleware, error) {
	var s settings
	if err := components.Decode(spec, &s); err != nil {
		return nil, err
	}
	source, err := newKeys(s.Issuer, s.JWKSURL)
	if err != nil {
		return nil, err
	}
	b := &bearer{settings: s, keys: source, log: spec.Log}
	var unreachable *unreachableError
	switch _, err = source.current(ctx); {
	case errors.As(err, &unreachable):
		spec.Log.Warnf("the keys of the issuer %s cannot be read yet: %s; until they can, calls are answered with 503", s.Issuer, err)
	case err != nil:
		return nil, err
	}
	return b, nil
}

// Wrap answers 401 to requests without a valid token, and 503 while there are no keys to tell.
func (b *bearer) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := tokenOf(r)
		if !ok {
			refuse(w, "")
			return
		}
		err := b.verify(r.Context(), token)
		var unreachable *unreachableError
		switch {
		case err == nil:
			next.ServeHTTP(w, r)
		case errors.As(err, &unreachable):
			b.log.Warnf("a call cannot be judged: %s", err)
			http.Error(w, "the keys of the token's issuer are not available", http.StatusServiceUnavailable)
		default:
			refuse(w, `, error="invalid_token"`)
		}
	})
}

func refuse(w http.ResponseWriter, reason string) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="dapr"`+reason)
	http.Error(w, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
}

// tokenOf is the token of the only Authorization header: of several ones the application might heed another.
func tokenOf(r *http.Request) (string, bool) {
	const scheme = "bearer "
	values := r.Header.Values("Authorization")
	if len(values) != 1 || len(values[0]) <= len(scheme) || len(values[0]) > longestToken || !strings.EqualFold(values[0][:len(scheme)], scheme) {
		return "", false
	}
	return strings.TrimSpace(values[0][len(scheme):]), true
}

// verify checks signature, times, issuer and audience. A token of a key that is not known is tried again with the
// issuer's present keys.
func (b *bearer) verify(ctx context.Context, token string) error {
	set, err := b.keys.current(ctx)
	if err != nil {
		return &unreachableError{err}
	}
	if !known(set, token) {
		set = b.keys.renewed(ctx, set)
	}
	_, err = jwt.ParseString(token,
		jwt.WithKeySet(set, jws.WithInferAlgorithmFromKey(true), jws.WithUseDefault(true)),
		jwt.WithValidate(true), jwt.WithAcceptableSkew(skew),
		jwt.WithIssuer(b.settings.Issuer), jwt.WithAudience(b.settings.Audience))
	return err
}

// known says whether the set has the key that the token names.
func known(set jwk.Set, token string) bool {
	message, err := jws.ParseString(token)
	if err != nil || len(message.Signatures()) == 0 {
		return true // no key makes it valid
	}
	id, ok := message.Signatures()[0].ProtectedHeaders().KeyID()
	if !ok {
		return true
	}
	_, ok = set.LookupKeyID(id)
	return ok
}
