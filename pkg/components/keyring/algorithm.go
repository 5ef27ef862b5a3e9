package keyring

import (
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"

	// The digests of the algorithms.
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
)

// family is how an algorithm works.
type family int

const (
	keyWrap family = iota + 1
	cbc
	cbcNoPadding
	gcm
	chacha
	xchacha
	oaep
	pkcs1
	pss
	ecdsaSignature
	eddsa
)

// algorithm is one of JSON Web Algorithms, or of Dapr's additions to them.
type algorithm struct {
	name   string
	family family
	// size is that of a symmetric key in bytes.
	size int
	hash crypto.Hash
}

var (
	errKeyType = errors.New("key type mismatch")
	errNonce   = errors.New("the nonce has the wrong size for the algorithm")
	errTag     = errors.New("the tag has the wrong size for the algorithm")
	errPadding = errors.New("the text does not fit the key")
	errBlocks  = errors.New("the text must be a multiple of 16 bytes for an algorithm without padding")
)

// find knows every algorithm that this package has.
func find(name string) (algorithm, error) {
	a := algorithm{name: name}
	switch base := strings.TrimSuffix(name, "KW"); base {
	case "C20P":
		a.family, a.size = chacha, 32
		return a, nil
	case "XC20P":
		a.family, a.size = xchacha, 32
		return a, nil
	}
	for bits, size := range map[string]int{"A128": 16, "A192": 24, "A256": 32} {
		rest, ok := strings.CutPrefix(name, bits)
		if !ok {
			continue
		}
		a.size = size
		switch rest {
		case "KW":
			a.family = keyWrap
		case "CBC":
			a.family = cbc
		case "CBC-NOPAD":
			a.family = cbcNoPadding
		case "GCM", "GCMKW":
			a.family = gcm
		}
	}
	for suffix, hash := range map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512} {
		rest, ok := strings.CutSuffix(name, suffix)
		if !ok {
			continue
		}
		a.hash = hash
		switch rest {
		case "RSA-OAEP-":
			a.family = oaep
		case "RS":
			a.family = pkcs1
		case "PS":
			a.family = pss
		case "ES":
			a.family = ecdsaSignature
		}
	}
	switch name {
	case "RSA-OAEP":
		a.family, a.hash = oaep, crypto.SHA1
	case "EDDSA":
		a.family = eddsa
	}
	if a.family == 0 {
		return a, unsupported(name)
	}
	return a, nil
}

func unsupported(name string) error {
	return fmt.Errorf("algorithm %s is not supported: want one of A128KW, A128CBC, A128CBC-NOPAD, A128GCM (and those of 192 and 256 bits), "+
		"C20P, XC20P, RSA-OAEP, RSA-OAEP-256, -384, -512 to encrypt; RS256, PS256, ES256 (and 384, 512), EdDSA to sign", name)
}

// secret is a symmetric key of the algorithm's size.
func (a algorithm) secret(k *key) ([]byte, error) {
	raw, ok := k.raw.([]byte)
	if !ok || len(raw) != a.size {
		return nil, errKeyType
	}
	return raw, nil
}

func rsaPublic(k *key) (*rsa.PublicKey, error) {
	switch raw := k.raw.(type) {
	case *rsa.PublicKey:
		return raw, nil
	case *rsa.PrivateKey:
		return &raw.PublicKey, nil
	}
	return nil, errKeyType
}

func rsaPrivate(k *key) (*rsa.PrivateKey, error) {
	raw, ok := k.raw.(*rsa.PrivateKey)
	if !ok {
		return nil, errKeyType
	}
	return raw, nil
}
