package sentry

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jwt"
)

const (
	// mostAudiences and longestAudience bound what one request may ask for: each audience costs a signature.
	mostAudiences   = 64
	longestAudience = 2048
)

// tokens are what a client gets beside its certificate.
type tokens struct {
	// all is for the trust domain and every audience that was asked for.
	all string
	// each has one token for each of them.
	each map[string]string
}

// checkAudiences says whether tokens for the audiences can be made.
func checkAudiences(audiences []string) error {
	if len(audiences) > mostAudiences {
		return fmt.Errorf("invalid request: %d JWT audiences are asked for, more than %d", len(audiences), mostAudiences)
	}
	for _, audience := range audiences {
		if audience == "" || len(audience) > longestAudience {
			return fmt.Errorf("invalid request: a JWT audience must have 1 to %d bytes", longestAudience)
		}
	}
	return nil
}

// signTokens makes JWT-SVIDs, nil where there are none. They are no secret of the authority, but whoever holds one is the
// identity to its audience.
func (a *authority) signTokens(who identity, audiences []string) (*tokens, error) {
	held, now := a.held.Load(), a.now()
	if held.tokens == nil {
		return nil, nil
	}
	by := held.tokens.key
	if next := held.tokens.next; next != nil && held.next != nil && !now.Before(a.due(held.next)) {
		by = next
	}
	key, err := jwk.Import(by)
	if err != nil {
		return nil, err
	}
	id, err := a.tokens.idOf(key)
	if err != nil {
		return nil, err
	}
	if err := key.Set(jwk.KeyIDKey, id); err != nil {
		return nil, err
	}
	every := []string{who.id.TrustDomain().Name()}
	for _, audience := range audiences {
		if !slices.Contains(every, audience) {
			every = append(every, audience)
		}
	}
	made := &tokens{each: make(map[string]string, len(every))}
	if made.all, err = a.signToken(key, who, every, now); err != nil {
		return nil, err
	}
	for _, audience := range every {
		if made.each[audience], err = a.signToken(key, who, []string{audience}, now); err != nil {
			return nil, err
		}
	}
	return made, nil
}

func (a *authority) signToken(key jwk.Key, who identity, audiences []string, now time.Time) (string, error) {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return "", err
	}
	token := jwt.New()
	err := errors.Join(token.Set(jwt.SubjectKey, who.id.String()), token.Set(jwt.AudienceKey, audiences),
		token.Set(jwt.IssuedAtKey, now), token.Set(jwt.NotBeforeKey, now.Add(-a.skew)), token.Set(jwt.ExpirationKey, now.Add(a.tokenTTL)),
		token.Set(jwt.JwtIDKey, hex.EncodeToString(id[:])), token.Set("use", "sig"))
	if a.tokenIssuer != "" {
		err = errors.Join(err, token.Set(jwt.IssuerKey, a.tokenIssuer))
	}
	if err != nil {
		return "", err
	}
	signed, err := jwt.Sign(token, jwt.WithKey(a.tokens.algorithm, key))
	return string(signed), err
}
