package crypto

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/ready"
)

// EncryptOptions say how a document is encrypted.
type EncryptOptions struct {
	// KeyName is the provider's key that wraps the document's own. Required.
	KeyName string
	// Algorithm wraps the key: A256KW (or AES), RSA-OAEP-256 (or RSA), A128CBC-NOPAD, A192CBC-NOPAD, A256CBC-NOPAD,
	// in any case. Required.
	Algorithm string
	// Cipher encrypts the data: AES-GCM (the default) or CHACHA20-POLY1305, in any case.
	Cipher string
	// OmitKeyName leaves the name out of the document.
	OmitKeyName bool
	// DecryptionKeyName is written into the document; "" means KeyName.
	DecryptionKeyName string
}

// Encrypt makes an encrypted document (scheme dapr.io/enc/v1) of a plaintext, as a stream: the document is made while
// it is read, a segment of 64 KiB at a time. The caller closes it. An error of a Read, an *apierr.Error like that of
// Encrypt itself, means that what was read so far is no document.
func (s *Service) Encrypt(ctx context.Context, provider string, options EncryptOptions, plaintext io.Reader) (io.ReadCloser, error) {
	held, err := s.take(provider)
	if err != nil {
		return nil, err
	}
	document, err := encrypt(ctx, held, options, plaintext)
	return opened(held, document, err)
}

// Decrypt gives the plaintext of an encrypted document, as a stream. keyName beats the name inside the document. The
// caller closes it; an error of a Read means that what was read so far is worth nothing.
func (s *Service) Decrypt(ctx context.Context, provider, keyName string, document io.Reader) (io.ReadCloser, error) {
	held, err := s.take(provider)
	if err != nil {
		return nil, err
	}
	plaintext, err := decrypt(ctx, held, keyName, document)
	return opened(held, plaintext, err)
}

// opened is a stream of the block: its provider stays in use until it ends.
func opened(held *ready.Held[*component], stream *segments, err error) (io.ReadCloser, error) {
	if err != nil {
		held.Leave()
		return nil, apierr.Crypto.New(err)
	}
	return &failing{stream}, nil
}

// failing makes rows of the errors of a stream.
type failing struct{ *segments }

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.segments.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = apierr.Crypto.New(err)
	}
	return n, err
}

func encrypt(ctx context.Context, held *ready.Held[*component], options EncryptOptions, plaintext io.Reader) (*segments, error) {
	m := &manifest{NoncePrefix: make([]byte, noncePrefixSize)}
	var err error
	if m.Algorithm, err = wrapAlgorithm(options.Algorithm); err != nil {
		return nil, err
	}
	if m.Cipher, err = dataCipher(options.Cipher); err != nil {
		return nil, err
	}
	if m.KeyName = options.DecryptionKeyName; m.KeyName == "" {
		m.KeyName = options.KeyName
	}
	if options.OmitKeyName {
		m.KeyName = ""
	}
	fileKey := make([]byte, keySize)
	_, _ = rand.Read(fileKey) // it never fails
	_, _ = rand.Read(m.NoncePrefix)
	key := Key{Name: options.KeyName, Algorithm: wrapAlgorithms[m.Algorithm-1]}
	if m.WrappedKey, _, err = held.Value.WrapKey(ctx, key, fileKey); err != nil {
		return nil, fmt.Errorf("failed to wrap the file key: %w", err)
	}
	head, err := appendHeader(nil, m, fileKey)
	if err != nil {
		return nil, err
	}
	dataKey, err := payloadKey(fileKey, m.NoncePrefix)
	if err != nil {
		return nil, err
	}
	cipher, err := aead(m.Cipher, dataKey)
	if err != nil {
		return nil, err
	}
	return newSegments(plaintext, segmentSize, head, sealing(cipher, m.NoncePrefix), held.Leave), nil
}

var errNoKeyName = errors.New("document's manifest does not contain a key name, and no key name was provided")

func decrypt(ctx context.Context, held *ready.Held[*component], keyName string, document io.Reader) (*segments, error) {
	source := bufio.NewReaderSize(document, maxHeader)
	h, err := readHeader(source)
	if err != nil {
		return nil, err
	}
	if keyName == "" {
		keyName = h.KeyName
	}
	if keyName == "" {
		return nil, errNoKeyName
	}
	key := Key{Name: keyName, Algorithm: wrapAlgorithms[h.Algorithm-1]}
	fileKey, err := held.Value.UnwrapKey(ctx, key, h.WrappedKey, nil)
	if err != nil || len(fileKey) != keySize {
		// Whoever forges documents is not told whether the key or the signature was wrong. Dapr goes on with a key of
		// zeros, with which anybody can sign; this one nobody knows.
		fileKey = make([]byte, keySize)
		_, _ = rand.Read(fileKey)
	}
	if err := h.check(fileKey); err != nil {
		return nil, err
	}
	dataKey, err := payloadKey(fileKey, h.NoncePrefix)
	if err != nil {
		return nil, err
	}
	cipher, err := aead(h.Cipher, dataKey)
	if err != nil {
		return nil, err
	}
	return newSegments(source, segmentSize+tagSize, nil, opening(cipher, h.NoncePrefix), held.Leave), nil
}
