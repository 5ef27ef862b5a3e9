package crypto

import (
	"context"
	stdcrypto "crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"strings"

	"github.com/lestrrat-go/jwx/v3/jwk"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/ready"
)

// Format is how a public key is written.
type Format int

// The formats, with the numbers of the protocol.
const (
	// PEM is PKIX in PEM.
	PEM Format = iota
	// JWK is a JSON Web Key.
	JWK
)

// PublicKey gives the public half of a provider's key as text.
func (s *Service) PublicKey(ctx context.Context, provider, name string, format Format) (string, error) {
	held, err := s.take(provider)
	if err != nil {
		return "", err
	}
	defer held.Leave()
	key, err := held.Value.PublicKey(ctx, name)
	if err != nil {
		return "", apierr.CryptoKey.New(name, err)
	}
	text, err := write(key, name, format)
	if err != nil {
		return "", apierr.CryptoKey.New(name, err)
	}
	return text, nil
}

func write(key stdcrypto.PublicKey, name string, format Format) (string, error) {
	if format == JWK {
		j, err := jwk.Import(key)
		if err != nil {
			return "", err
		}
		if err := j.Set(jwk.KeyIDKey, name); err != nil {
			return "", err
		}
		text, err := json.Marshal(j)
		return string(text), err
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

// SubtleEncrypt encrypts with a provider's key; tag is nil for algorithms without one.
func (s *Service) SubtleEncrypt(ctx context.Context, provider string, key Key, plaintext []byte) (ciphertext, tag []byte, err error) {
	out, err := subtle(s, provider, func(c *component) (out sealed, err error) {
		out.text, out.tag, err = c.Encrypt(ctx, key.folded(), plaintext)
		return out, err
	})
	return out.text, out.tag, err
}

// SubtleDecrypt decrypts with a provider's key.
func (s *Service) SubtleDecrypt(ctx context.Context, provider string, key Key, ciphertext, tag []byte) ([]byte, error) {
	return subtle(s, provider, func(c *component) ([]byte, error) { return c.Decrypt(ctx, key.folded(), ciphertext, tag) })
}

// SubtleWrapKey encrypts a key with a provider's key; tag is nil for algorithms without one.
func (s *Service) SubtleWrapKey(ctx context.Context, provider string, key Key, plaintext []byte) (wrapped, tag []byte, err error) {
	out, err := subtle(s, provider, func(c *component) (out sealed, err error) {
		out.text, out.tag, err = c.WrapKey(ctx, key.folded(), plaintext)
		return out, err
	})
	return out.text, out.tag, err
}

// SubtleUnwrapKey decrypts a key with a provider's key.
func (s *Service) SubtleUnwrapKey(ctx context.Context, provider string, key Key, wrapped, tag []byte) ([]byte, error) {
	return subtle(s, provider, func(c *component) ([]byte, error) { return c.UnwrapKey(ctx, key.folded(), wrapped, tag) })
}

// SubtleSign signs a digest with a provider's key.
func (s *Service) SubtleSign(ctx context.Context, provider string, key Key, digest []byte) ([]byte, error) {
	return subtle(s, provider, func(c *component) ([]byte, error) { return c.Sign(ctx, key.folded(), digest) })
}

// SubtleVerify says whether a signature of a digest is that of a provider's key. A signature that is not is no error.
func (s *Service) SubtleVerify(ctx context.Context, provider string, key Key, digest, signature []byte) (bool, error) {
	return subtle(s, provider, func(c *component) (bool, error) { return c.Verify(ctx, key.folded(), digest, signature) })
}

func subtle[T any](s *Service, provider string, do func(*component) (T, error)) (result T, err error) {
	var held *ready.Held[*component]
	if held, err = s.take(provider); err != nil {
		return result, err
	}
	defer held.Leave()
	if result, err = do(held.Value); err != nil {
		return result, apierr.Crypto.New(err)
	}
	return result, nil
}

// folded is the key with its algorithm in upper case: callers may write it in any.
func (k Key) folded() Key {
	k.Algorithm = strings.ToUpper(k.Algorithm)
	return k
}
