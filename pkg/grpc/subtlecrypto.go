package grpc

import (
	"context"

	"github.com/daprd/daprd/pkg/crypto"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
)

// SubtleGetKeyAlpha1 gives the public half of a key.
func (h *handlers) SubtleGetKeyAlpha1(ctx context.Context, req *runtimev1.SubtleGetKeyRequest) (*runtimev1.SubtleGetKeyResponse, error) {
	text, err := h.blocks.Crypto.PublicKey(ctx, req.GetComponentName(), req.GetName(), crypto.Format(req.GetFormat()))
	if err != nil {
		return nil, err
	}
	return &runtimev1.SubtleGetKeyResponse{Name: req.GetName(), PublicKey: text}, nil
}

// SubtleEncryptAlpha1 encrypts with a key.
func (h *handlers) SubtleEncryptAlpha1(ctx context.Context, req *runtimev1.SubtleEncryptRequest) (*runtimev1.SubtleEncryptResponse, error) {
	ciphertext, tag, err := h.blocks.Crypto.SubtleEncrypt(ctx, req.GetComponentName(), sealingKey(req), req.GetPlaintext())
	if err != nil {
		return nil, err
	}
	return &runtimev1.SubtleEncryptResponse{Ciphertext: ciphertext, Tag: tag}, nil
}

// SubtleDecryptAlpha1 decrypts with a key.
func (h *handlers) SubtleDecryptAlpha1(ctx context.Context, req *runtimev1.SubtleDecryptRequest) (*runtimev1.SubtleDecryptResponse, error) {
	plaintext, err := h.blocks.Crypto.SubtleDecrypt(ctx, req.GetComponentName(), sealingKey(req), req.GetCiphertext(), req.GetTag())
	if err != nil {
		return nil, err
	}
	return &runtimev1.SubtleDecryptResponse{Plaintext: plaintext}, nil
}

// SubtleWrapKeyAlpha1 encrypts a key with a key.
func (h *handlers) SubtleWrapKeyAlpha1(ctx context.Context, req *runtimev1.SubtleWrapKeyRequest) (*runtimev1.SubtleWrapKeyResponse, error) {
	wrapped, tag, err := h.blocks.Crypto.SubtleWrapKey(ctx, req.GetComponentName(), sealingKey(req), req.GetPlaintextKey())
	if err != nil {
		return nil, err
	}
	return &runtimev1.SubtleWrapKeyResponse{WrappedKey: wrapped, Tag: tag}, nil
}

// SubtleUnwrapKeyAlpha1 decrypts a key with a key.
func (h *handlers) SubtleUnwrapKeyAlpha1(ctx context.Context, req *runtimev1.SubtleUnwrapKeyRequest) (*runtimev1.SubtleUnwrapKeyResponse, error) {
	plaintext, err := h.blocks.Crypto.SubtleUnwrapKey(ctx, req.GetComponentName(), sealingKey(req), req.GetWrappedKey(), req.GetTag())
	if err != nil {
		return nil, err
	}
	return &runtimev1.SubtleUnwrapKeyResponse{PlaintextKey: plaintext}, nil
}

// SubtleSignAlpha1 signs a digest.
func (h *handlers) SubtleSignAlpha1(ctx context.Context, req *runtimev1.SubtleSignRequest) (*runtimev1.SubtleSignResponse, error) {
	signature, err := h.blocks.Crypto.SubtleSign(ctx, req.GetComponentName(), signingKey(req), req.GetDigest())
	if err != nil {
		return nil, err
	}
	return &runtimev1.SubtleSignResponse{Signature: signature}, nil
}

// SubtleVerifyAlpha1 checks a signature.
func (h *handlers) SubtleVerifyAlpha1(ctx context.Context, req *runtimev1.SubtleVerifyRequest) (*runtimev1.SubtleVerifyResponse, error) {
	valid, err := h.blocks.Crypto.SubtleVerify(ctx, req.GetComponentName(), signingKey(req), req.GetDigest(), req.GetSignature())
	if err != nil {
		return nil, err
	}
	return &runtimev1.SubtleVerifyResponse{Valid: valid}, nil
}

// keyed is a request that names a key.
type keyed interface {
	GetKeyName() string
	GetAlgorithm() string
}

func signingKey(req keyed) crypto.Key {
	return crypto.Key{Name: req.GetKeyName(), Algorithm: req.GetAlgorithm()}
}

func sealingKey(req interface {
	keyed
	GetNonce() []byte
	GetAssociatedData() []byte
}) crypto.Key {
	key := signingKey(req)
	key.Nonce, key.AssociatedData = req.GetNonce(), req.GetAssociatedData()
	return key
}
