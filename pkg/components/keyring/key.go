// Package keyring holds the providers of keys that need no other system: crypto.dapr.localstorage and
// crypto.dapr.jwks. Keys never leave it, public halves excepted. It knows nothing of the API and of other technologies.
package keyring

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lestrrat-go/jwx/v3/jwk"
)

// key is one key with the rules that its JWK names.
type key struct {
	// raw is []byte, *rsa.PrivateKey, *rsa.PublicKey, *ecdsa.PrivateKey, *ecdsa.PublicKey, ed25519.PrivateKey or
	// ed25519.PublicKey.
	raw any
	// algorithm, use and operations are "" and nil where everything is allowed.
	algorithm, use string
	operations     []string
}

var errKind = errors.New("its kind is not supported: want RSA, EC, OKP (Ed25519) or oct")

// ofJWK takes a key of a JWK.
func ofJWK(j jwk.Key) (*key, error) {
	k := &key{}
	if err := jwk.Export(j, &k.raw); err != nil {
		return nil, errors.New("it is no usable JWK") // the library's text could quote the key
	}
	switch raw := k.raw.(type) {
	case []byte, *rsa.PrivateKey, *rsa.PublicKey, *ecdsa.PrivateKey, *ecdsa.PublicKey, ed25519.PrivateKey, ed25519.PublicKey:
	case rsa.PublicKey:
		k.raw = &raw
	case ecdsa.PublicKey:
		k.raw = &raw
	default:
		return nil, errKind
	}
	if algorithm, ok := j.Algorithm(); ok {
		k.algorithm = strings.ToUpper(algorithm.String())
	}
	k.use, _ = j.KeyUsage()
	operations, _ := j.KeyOps()
	for _, operation := range operations {
		k.operations = append(k.operations, string(operation))
	}
	return k, nil
}

// parse reads the content of a key file. name tells the form by its extension; else the content does.
func parse(name string, content []byte) (*key, error) {
	trimmed := bytes.TrimSpace(content)
	size := len(content)
	switch {
	case strings.HasSuffix(name, ".json"), bytes.HasPrefix(trimmed, []byte("{")) && size != 16 && size != 24 && size != 32:
		return parseJWK(trimmed)
	case strings.HasSuffix(name, ".pem"), bytes.HasPrefix(trimmed, []byte("-----")):
		return parsePEM(trimmed)
	}
	return &key{raw: symmetric(content)}, nil
}

func parseJWK(text []byte) (*key, error) {
	j, err := jwk.ParseKey(text)
	if err != nil {
		return nil, errors.New("it is no JSON Web Key")
	}
	return ofJWK(j)
}

// symmetric decodes base64 and base64url, with padding or without; anything else is the key itself.
func symmetric(content []byte) []byte {
	text := strings.TrimRight(string(content), "=")
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if decoded, err := encoding.Strict().DecodeString(text); err == nil && !strings.ContainsAny(text, "\r\n") {
			return decoded
		}
	}
	return content
}

// parsePEM reads PKCS#1, SEC 1, PKCS#8 and PKIX.
func parsePEM(text []byte) (*key, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it is no PEM text")
	}
	for _, read := range []func([]byte) (any, error){
		x509.ParsePKCS8PrivateKey, x509.ParsePKIXPublicKey,
		func(der []byte) (any, error) { return x509.ParsePKCS1PrivateKey(der) },
		func(der []byte) (any, error) { return x509.ParsePKCS1PublicKey(der) },
		func(der []byte) (any, error) { return x509.ParseECPrivateKey(der) },
	} {
		raw, err := read(block.Bytes)
		if err != nil {
			continue
		}
		switch raw.(type) {
		case *rsa.PrivateKey, *rsa.PublicKey, *ecdsa.PrivateKey, *ecdsa.PublicKey, ed25519.PrivateKey, ed25519.PublicKey:
			return &key{raw: raw}, nil
		}
		return nil, errKind
	}
	return nil, fmt.Errorf("its PEM block %q holds no key in PKCS#1, PKCS#8, SEC 1 or PKIX form", block.Type)
}

// public is the public half.
func (k *key) public() (crypto.PublicKey, error) {
	switch raw := k.raw.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
		return raw, nil
	case interface{ Public() crypto.PublicKey }:
		return raw.Public(), nil
	}
	return nil, errors.New("a symmetric key has no public half")
}

// allows keeps the rules of the JWK. operation is a word of key_ops.
func (k *key) allows(operation, algorithm string) error {
	encrypts := operation != "sign" && operation != "verify"
	if k.operations != nil && !slices.Contains(k.operations, operation) || k.use == "sig" && encrypts || k.use == "enc" && !encrypts {
		return fmt.Errorf("key cannot perform the '%s' operation", operation)
	}
	if k.algorithm != "" && k.algorithm != algorithm {
		return fmt.Errorf("key cannot be used with algorithm '%s'", algorithm)
	}
	return nil
}
