package keyring

import (
	"context"
	stdcrypto "crypto"
	"fmt"

	"github.com/daprd/daprd/pkg/crypto"
)

// source finds keys by name.
type source interface {
	key(ctx context.Context, name string) (*key, error)
}

// provider works with the keys of a source.
type provider struct{ source }

// PublicKey is the public half of an asymmetric key.
func (p provider) PublicKey(ctx context.Context, name string) (stdcrypto.PublicKey, error) {
	k, err := p.key(ctx, name)
	if err != nil {
		return nil, err
	}
	return k.public()
}

// Encrypt encrypts with a key.
func (p provider) Encrypt(ctx context.Context, key crypto.Key, plaintext []byte) (ciphertext, tag []byte, err error) {
	k, a, err := p.find(ctx, key, "encrypt")
	if err != nil {
		return nil, nil, err
	}
	return told2(a.encrypt(k, key.Nonce, key.AssociatedData, plaintext))
}

// Decrypt decrypts with a key.
func (p provider) Decrypt(ctx context.Context, key crypto.Key, ciphertext, tag []byte) ([]byte, error) {
	k, a, err := p.find(ctx, key, "decrypt")
	if err != nil {
		return nil, err
	}
	return told(a.decrypt(k, key.Nonce, key.AssociatedData, ciphertext, tag))
}

// WrapKey encrypts a key with a key.
func (p provider) WrapKey(ctx context.Context, key crypto.Key, plaintext []byte) (wrapped, tag []byte, err error) {
	k, a, err := p.find(ctx, key, "wrapKey")
	if err != nil {
		return nil, nil, fmt.Errorf("failed to retrieve the key encryption key: %w", err)
	}
	return told2(a.encrypt(k, key.Nonce, key.AssociatedData, plaintext))
}

// UnwrapKey decrypts a key with a key.
func (p provider) UnwrapKey(ctx context.Context, key crypto.Key, wrapped, tag []byte) ([]byte, error) {
	k, a, err := p.find(ctx, key, "unwrapKey")
	if err != nil {
		return nil, fmt.Errorf("failed to retrieve the key encryption key: %w", err)
	}
	return told(a.decrypt(k, key.Nonce, key.AssociatedData, wrapped, tag))
}

// Sign signs a digest.
func (p provider) Sign(ctx context.Context, key crypto.Key, digest []byte) ([]byte, error) {
	k, a, err := p.find(ctx, key, "sign")
	if err != nil {
		return nil, err
	}
	signature, err := a.sign(k, digest)
	if err != nil {
		return nil, fmt.Errorf("failed to sign: %w", err)
	}
	return signature, nil
}

// Verify checks a signature of a digest.
func (p provider) Verify(ctx context.Context, key crypto.Key, digest, signature []byte) (bool, error) {
	k, a, err := p.find(ctx, key, "verify")
	if err != nil {
		return false, err
	}
	valid, err := a.verify(k, digest, signature)
	if err != nil {
		return false, fmt.Errorf("failed to verify: %w", err)
	}
	return valid, nil
}

// find gives a key that may be used in this way.
func (p provider) find(ctx context.Context, wanted crypto.Key, operation string) (*key, algorithm, error) {
	a, err := find(wanted.Algorithm)
	if err != nil {
		return nil, a, err
	}
	k, err := p.key(ctx, wanted.Name)
	if err != nil {
		return nil, a, err
	}
	return k, a, k.allows(operation, wanted.Algorithm)
}

func told(text []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, fmt.Errorf("failed to decrypt data: %w", err)
	}
	return text, nil
}

func told2(text, tag []byte, err error) ([]byte, []byte, error) {
	if err != nil {
		return nil, nil, fmt.Errorf("failed to encrypt data: %w", err)
	}
	return text, tag, nil
}
