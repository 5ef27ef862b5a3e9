// Package crypto is the cryptography building block: the contract of providers of keys, and the Service that
// encrypts and decrypts whole documents as streams (scheme dapr.io/enc/v1) and runs single operations with keys. It
// knows no wire: no HTTP, no protobuf.
package crypto

import (
	"context"
	stdcrypto "crypto"
)

// Provider holds keys and works with them. Its methods may be called by many goroutines at once. A provider that has
// io.Closer is closed at the end. Algorithms are named as in JSON Web Algorithms, in upper case.
type Provider interface {
	// PublicKey is the public half of an asymmetric key; private and symmetric ones never leave the provider.
	PublicKey(ctx context.Context, name string) (stdcrypto.PublicKey, error)
	Encrypt(ctx context.Context, key Key, plaintext []byte) (ciphertext, tag []byte, err error)
	Decrypt(ctx context.Context, key Key, ciphertext, tag []byte) (plaintext []byte, err error)
	WrapKey(ctx context.Context, key Key, plaintext []byte) (wrapped, tag []byte, err error)
	UnwrapKey(ctx context.Context, key Key, wrapped, tag []byte) (plaintext []byte, err error)
	Sign(ctx context.Context, key Key, digest []byte) (signature []byte, err error)
	Verify(ctx context.Context, key Key, digest, signature []byte) (valid bool, err error)
}

// Key says which key is used, and how.
type Key struct {
	Name      string
	Algorithm string
	// Nonce and AssociatedData are for the algorithms that take them.
	Nonce, AssociatedData []byte
}
