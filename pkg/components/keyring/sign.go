package keyring

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"math/big"
)

// digest wants what it signs to have the size of the algorithm's digests. EdDSA takes the message itself.
func (a algorithm) digest(digest []byte) error {
	if a.family != eddsa && len(digest) != a.hash.Size() {
		return fmt.Errorf("the digest has %d bytes; %s takes the %d of %s", len(digest), a.name, a.hash.Size(), a.hash)
	}
	return nil
}

func (a algorithm) signs() bool {
	return a.family == pkcs1 || a.family == pss || a.family == ecdsaSignature || a.family == eddsa
}

func (a algorithm) sign(k *key, digest []byte) ([]byte, error) {
	if !a.signs() {
		return nil, unsupported(a.name)
	}
	if err := a.digest(digest); err != nil {
		return nil, err
	}
	switch private := k.raw.(type) {
	case *rsa.PrivateKey:
		switch a.family {
		case pkcs1:
			return rsa.SignPKCS1v15(nil, private, a.hash, digest)
		case pss:
			return rsa.SignPSS(rand.Reader, private, a.hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
	case *ecdsa.PrivateKey:
		if a.family == ecdsaSignature && a.fits(&private.PublicKey) {
			return signECDSA(private, digest)
		}
	case ed25519.PrivateKey:
		if a.family == eddsa {
			return private.Sign(nil, digest, crypto.Hash(0))
		}
	}
	return nil, errKeyType
}

func (a algorithm) verify(k *key, digest, signature []byte) (bool, error) {
	if !a.signs() {
		return false, unsupported(a.name)
	}
	if err := a.digest(digest); err != nil {
		return false, err
	}
	public, err := k.public()
	if err != nil {
		return false, errKeyType
	}
	switch public := public.(type) {
	case *rsa.PublicKey:
		switch a.family {
		case pkcs1:
			return rsa.VerifyPKCS1v15(public, a.hash, digest, signature) == nil, nil
		case pss:
			return rsa.VerifyPSS(public, a.hash, digest, signature, nil) == nil, nil
		}
	case *ecdsa.PublicKey:
		if a.family == ecdsaSignature && a.fits(public) {
			return verifyECDSA(public, digest, signature), nil
		}
	case ed25519.PublicKey:
		if a.family == eddsa {
			return ed25519.Verify(public, digest, signature), nil
		}
	}
	return false, errKeyType
}

// fits holds RFC 7518, 3.4: each of the algorithms goes with one curve.
func (a algorithm) fits(public *ecdsa.PublicKey) bool {
	bits := public.Curve.Params().BitSize
	return a.hash == crypto.SHA256 && bits == 256 || a.hash == crypto.SHA384 && bits == 384 || a.hash == crypto.SHA512 && bits == 521
}

// signECDSA writes both numbers one after the other, as JSON Web Signatures do.
func signECDSA(private *ecdsa.PrivateKey, digest []byte) ([]byte, error) {
	r, s, err := ecdsa.Sign(rand.Reader, private, digest)
	if err != nil {
		return nil, err
	}
	size := (private.Curve.Params().BitSize + 7) / 8
	signature := make([]byte, 2*size)
	r.FillBytes(signature[:size])
	s.FillBytes(signature[size:])
	return signature, nil
}

func verifyECDSA(public *ecdsa.PublicKey, digest, signature []byte) bool {
	size := (public.Curve.Params().BitSize + 7) / 8
	if len(signature) != 2*size {
		return false
	}
	return ecdsa.Verify(public, digest, new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:]))
}
