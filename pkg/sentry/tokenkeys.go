package sentry

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
)

// rsaBits is the size of the RSA keys that are made, as in Dapr.
const rsaBits = 2048

// tokenPlan is what the flags say of the keys of tokens. The zero plan has none.
type tokenPlan struct {
	algorithm jwa.SignatureAlgorithm
	// keyID names the key in place of its thumbprint. Such a key is not rotated: two would have one name.
	keyID   string
	enabled bool
}

// newTokenPlan takes the algorithms by which others can check a token without being able to sign one.
func newTokenPlan(c *JWT) (tokenPlan, error) {
	if !c.Enabled {
		return tokenPlan{}, nil
	}
	algorithm, known := jwa.LookupSignatureAlgorithm(c.Algorithm)
	if _, err := generateTokenKey(c.Algorithm, true); !known || err != nil {
		return tokenPlan{}, fmt.Errorf("invalid value for --jwt-signing-algorithm: %q (it takes RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA)",
			c.Algorithm)
	}
	return tokenPlan{algorithm: algorithm, keyID: c.KeyID, enabled: true}, nil
}

// tokenKeys are what JWT-SVIDs are signed with, and the set of all keys that others may meet. They do not change.
type tokenKeys struct {
	key crypto.Signer
	// next is nil unless a rotation is under way; it is in the set already.
	next crypto.Signer
	set  jwk.Set
}

// generateTokenKey makes a key for an algorithm; a trial only says whether there is one.
func generateTokenKey(algorithm string, trial bool) (crypto.Signer, error) {
	curves := map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}
	switch algorithm {
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		if trial {
			return nil, nil
		}
		return rsa.GenerateKey(rand.Reader, rsaBits)
	case "ES256", "ES384", "ES512":
		return ecdsa.GenerateKey(curves[algorithm], rand.Reader)
	case "EdDSA":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("algorithm %q signs no tokens", algorithm)
}

// first are the keys of a bundle that has none.
func (p tokenPlan) first() (*tokenKeys, error) {
	key, err := generateTokenKey(p.algorithm.String(), false)
	if err != nil {
		return nil, err
	}
	return p.publish(key, nil, nil)
}

// announce has a further key become known before it signs.
func (p tokenPlan) announce(k *tokenKeys) (*tokenKeys, error) {
	next, err := generateTokenKey(p.algorithm.String(), false)
	if err != nil {
		return nil, err
	}
	return p.publish(k.key, next, k.set)
}

// takeOver has the next key sign; the one before stays in the set.
func (p tokenPlan) takeOver(k *tokenKeys) *tokenKeys { return &tokenKeys{key: k.next, set: k.set} }

// forget drops the keys from the set that sign no more.
func (p tokenPlan) forget(k *tokenKeys) (*tokenKeys, error) { return p.publish(k.key, k.next, nil) }

// publish makes sure that the set has the keys that sign, beside those of before.
func (p tokenPlan) publish(key, next crypto.Signer, before jwk.Set) (*tokenKeys, error) {
	k := &tokenKeys{key: key, next: next, set: jwk.NewSet()}
	for _, signer := range []crypto.Signer{key, next} {
		if signer == nil {
			continue
		}
		public, err := p.public(signer)
		if err != nil {
			return nil, err
		}
		if err := k.set.AddKey(public); err != nil {
			return nil, fmt.Errorf("keys of tokens: %w", err)
		}
	}
	for i := range lenOf(before) {
		if other, ok := before.Key(i); ok && !has(k.set, other) {
			if err := k.set.AddKey(other); err != nil {
				return nil, fmt.Errorf("keys of tokens: %w", err)
			}
		}
	}
	return k, nil
}

func lenOf(set jwk.Set) int {
	if set == nil {
		return 0
	}
	return set.Len()
}

func has(set jwk.Set, key jwk.Key) bool {
	for i := range set.Len() {
		if other, _ := set.Key(i); jwk.Equal(other, key) {
			return true
		}
	}
	return false
}

// public is the key as it stands in the set.
func (p tokenPlan) public(signer crypto.Signer) (jwk.Key, error) {
	key, err := jwk.Import(signer.Public())
	if err != nil {
		return nil, fmt.Errorf("the key of tokens: %w", err)
	}
	id, err := p.idOf(key)
	if err != nil {
		return nil, err
	}
	return key, errors.Join(key.Set(jwk.KeyIDKey, id), key.Set(jwk.AlgorithmKey, p.algorithm), key.Set(jwk.KeyUsageKey, "sig"))
}

// idOf is the kid of a key: as in Dapr, its SHA-256 thumbprint in base64, or what the flag says.
func (p tokenPlan) idOf(key jwk.Key) (string, error) {
	if p.keyID != "" {
		return p.keyID, nil
	}
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("the key of tokens: %w", err)
	}
	return base64.StdEncoding.EncodeToString(thumbprint), nil
}

// fits says whether a key can sign by the plan's algorithm.
func (p tokenPlan) fits(key crypto.Signer) bool {
	name := p.algorithm.String()
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return strings.HasPrefix(name, "RS") || strings.HasPrefix(name, "PS")
	case *ecdsa.PrivateKey:
		bits := map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}
		return name == bits[key.Curve.Params().BitSize]
	case ed25519.PrivateKey:
		return p.algorithm == jwa.EdDSA()
	}
	return false
}

// parse reads the keys of a bundle, nil where there are none. A public key that is missing in the set is added: the
// store may hold one half of a change.
func (p tokenPlan) parse(c texts) (*tokenKeys, error) {
	if c.tokenKey == "" {
		if c.tokenSet != "" {
			return nil, fmt.Errorf("%w: the key of the JSON Web Key Set is missing: restore it, or remove the set to have a new key made", errIncomplete)
		}
		return nil, nil
	}
	key, err := p.parseKey(c.tokenKey)
	if err != nil {
		return nil, err
	}
	var next crypto.Signer
	if c.nextTokenKey != "" {
		next, _ = p.parseKey(c.nextTokenKey) // one that is of no use is made anew
	}
	if c.tokenSet == "" {
		return p.publish(key, next, nil)
	}
	before, err := jwk.Parse([]byte(c.tokenSet))
	if err != nil {
		return nil, errors.New("the set of keys of tokens is no JSON Web Key Set")
	}
	public, err := jwk.PublicSetOf(before) // a set is for everybody to read
	if err != nil {
		return nil, errors.New("the set of keys of tokens: it holds a key that has no public half")
	}
	return p.publish(key, next, public)
}

func (p tokenPlan) parseKey(text string) (crypto.Signer, error) {
	key, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("the key of tokens: %w", err)
	}
	if !p.fits(key) {
		return nil, fmt.Errorf("the key of tokens: it is none for --jwt-signing-algorithm %s", p.algorithm)
	}
	return key, nil
}

// encode puts the keys into texts as they are stored.
func (k *tokenKeys) encode(c *texts) (err error) {
	if k == nil {
		return nil
	}
	set, err := json.Marshal(k.set)
	if err != nil {
		return fmt.Errorf("encode the keys of tokens: %w", err)
	}
	c.tokenSet = string(set)
	if c.tokenKey, err = encodeKey(k.key); err != nil || k.next == nil {
		return err
	}
	c.nextTokenKey, err = encodeKey(k.next)
	return err
}
