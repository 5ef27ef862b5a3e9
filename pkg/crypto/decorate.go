package crypto

import (
	"context"
	stdcrypto "crypto"
	"time"

	"github.com/daprd/daprd/pkg/resiliency"
)

// sealed is a ciphertext and its tag.
type sealed struct{ text, tag []byte }

// guarded runs a provider's operations under its policy.
type guarded struct {
	Provider
	guard *resiliency.Guard
}

func (g guarded) PublicKey(ctx context.Context, name string) (stdcrypto.PublicKey, error) {
	return resiliency.Do(ctx, g.guard, func(ctx context.Context) (stdcrypto.PublicKey, error) { return g.Provider.PublicKey(ctx, name) })
}

func (g guarded) Encrypt(ctx context.Context, key Key, plaintext []byte) ([]byte, []byte, error) {
	s, err := resiliency.Do(ctx, g.guard, func(ctx context.Context) (s sealed, err error) {
		s.text, s.tag, err = g.Provider.Encrypt(ctx, key, plaintext)
		return s, err
	})
	return s.text, s.tag, err
}

func (g guarded) Decrypt(ctx context.Context, key Key, ciphertext, tag []byte) ([]byte, error) {
	return resiliency.Do(ctx, g.guard, func(ctx context.Context) ([]byte, error) { return g.Provider.Decrypt(ctx, key, ciphertext, tag) })
}

func (g guarded) WrapKey(ctx context.Context, key Key, plaintext []byte) ([]byte, []byte, error) {
	s, err := resiliency.Do(ctx, g.guard, func(ctx context.Context) (s sealed, err error) {
		s.text, s.tag, err = g.Provider.WrapKey(ctx, key, plaintext)
		return s, err
	})
	return s.text, s.tag, err
}

func (g guarded) UnwrapKey(ctx context.Context, key Key, wrapped, tag []byte) ([]byte, error) {
	return resiliency.Do(ctx, g.guard, func(ctx context.Context) ([]byte, error) { return g.Provider.UnwrapKey(ctx, key, wrapped, tag) })
}

func (g guarded) Sign(ctx context.Context, key Key, digest []byte) ([]byte, error) {
	return resiliency.Do(ctx, g.guard, func(ctx context.Context) ([]byte, error) { return g.Provider.Sign(ctx, key, digest) })
}

func (g guarded) Verify(ctx context.Context, key Key, digest, signature []byte) (bool, error) {
	return resiliency.Do(ctx, g.guard, func(ctx context.Context) (bool, error) { return g.Provider.Verify(ctx, key, digest, signature) })
}

// counter counts the outcomes of one kind of operation.
type counter func(success bool, elapsed time.Duration)

// since counts an operation that began at start and has ended with err.
func (c counter) since(start time.Time, err *error) { c(*err == nil, time.Since(start)) }

// counted tells an observer of every operation of a provider.
type counted struct {
	Provider
	got, encrypted, decrypted, wrapped, unwrapped, signed, verified counter
}

// observed puts the observer around a provider; without one nothing is wrapped and no clock is read.
func observed(name string, provider Provider, observer Observer) Provider {
	if observer == nil {
		return provider
	}
	bind := func(operation string) counter { return observer.Crypto(name, operation) }
	return &counted{Provider: provider, got: bind("get_key"), encrypted: bind("encrypt"), decrypted: bind("decrypt"),
		wrapped: bind("wrap"), unwrapped: bind("unwrap"), signed: bind("sign"), verified: bind("verify")}
}

func (c *counted) PublicKey(ctx context.Context, name string) (key stdcrypto.PublicKey, err error) {
	defer c.got.since(time.Now(), &err)
	return c.Provider.PublicKey(ctx, name)
}

func (c *counted) Encrypt(ctx context.Context, key Key, plaintext []byte) (ciphertext, tag []byte, err error) {
	defer c.encrypted.since(time.Now(), &err)
	return c.Provider.Encrypt(ctx, key, plaintext)
}

func (c *counted) Decrypt(ctx context.Context, key Key, ciphertext, tag []byte) (plaintext []byte, err error) {
	defer c.decrypted.since(time.Now(), &err)
	return c.Provider.Decrypt(ctx, key, ciphertext, tag)
}

func (c *counted) WrapKey(ctx context.Context, key Key, plaintext []byte) (wrapped, tag []byte, err error) {
	defer c.wrapped.since(time.Now(), &err)
	return c.Provider.WrapKey(ctx, key, plaintext)
}

func (c *counted) UnwrapKey(ctx context.Context, key Key, wrapped, tag []byte) (plaintext []byte, err error) {
	defer c.unwrapped.since(time.Now(), &err)
	return c.Provider.UnwrapKey(ctx, key, wrapped, tag)
}

func (c *counted) Sign(ctx context.Context, key Key, digest []byte) (signature []byte, err error) {
	defer c.signed.since(time.Now(), &err)
	return c.Provider.Sign(ctx, key, digest)
}

func (c *counted) Verify(ctx context.Context, key Key, digest, signature []byte) (valid bool, err error) {
	defer c.verified.since(time.Now(), &err)
	return c.Provider.Verify(ctx, key, digest, signature)
}
