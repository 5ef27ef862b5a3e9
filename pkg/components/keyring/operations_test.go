package keyring

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"strings"
	"testing"
	"time"
)

var longAgo = time.Unix(1_000_000_000, 0)

func TestEncryptions(t *testing.T) {
	pair, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	secret := func(size int) *key { return &key{raw: bytes.Repeat([]byte{7}, size)} }
	nonce := bytes.Repeat([]byte{9}, 32)
	text := []byte(strings.Repeat("0123456789abcdef", 4))
	for name, test := range map[string]struct {
		key   *key
		nonce int
		tag   int
	}{
		"A128KW": {secret(16), 0, 0}, "A192KW": {secret(24), 0, 0}, "A256KW": {secret(32), 0, 0},
		"A128CBC": {secret(16), 16, 0}, "A256CBC-NOPAD": {secret(32), 16, 0}, "A192CBC": {secret(24), 16, 0},
		"A128GCM": {secret(16), 12, 16}, "A256GCMKW": {secret(32), 12, 16}, "C20P": {secret(32), 12, 16}, "XC20PKW": {secret(32), 24, 16},
		"RSA-OAEP": {&key{raw: pair}, 0, 0}, "RSA-OAEP-256": {&key{raw: pair}, 0, 0}, "RSA-OAEP-512": {&key{raw: pair}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := find(name)
			if err != nil {
				t.Fatal(err)
			}
			sealed, tag, err := a.encrypt(test.key, nonce[:test.nonce], nil, text)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(sealed, text[:16]) || len(tag) != test.tag {
				t.Errorf("sealed %x, tag %x", sealed, tag)
			}
			got, err := a.decrypt(test.key, nonce[:test.nonce], nil, sealed, tag)
			if err != nil || !bytes.Equal(got, text) {
				t.Errorf("decrypted %q, %v", got, err)
			}
			if test.nonce > 0 {
				if _, _, err := a.encrypt(test.key, nil, nil, text); err == nil {
					t.Error("it works without a nonce")
				}
			}
			if test.tag > 0 {
				tag[0] ^= 1
				if _, err := a.decrypt(test.key, nonce[:test.nonce], nil, sealed, tag); err == nil {
					t.Error("a changed tag passes")
				}
			}
			if _, _, err := a.encrypt(&key{raw: ed25519.PublicKey(nil)}, nonce[:test.nonce], nil, text); err == nil || err.Error() != "key type mismatch" {
				t.Errorf("another kind of key: %v", err)
			}
		})
	}
}

func TestSignatures(t *testing.T) {
	pair, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	curve := func(c elliptic.Curve) *key {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return &key{raw: k}
	}
	_, edwards, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	short, long := sha256.Sum256([]byte("x")), sha512.Sum512([]byte("x"))
	for name, test := range map[string]struct {
		key    *key
		digest []byte
	}{
		"RS256": {&key{raw: pair}, short[:]}, "PS512": {&key{raw: pair}, long[:]}, "ES256": {curve(elliptic.P256()), short[:]},
		"ES512": {curve(elliptic.P521()), long[:]}, "EDDSA": {&key{raw: edwards}, []byte("any text")},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := find(name)
			if err != nil {
				t.Fatal(err)
			}
			signature, err := a.sign(test.key, test.digest)
			if err != nil {
				t.Fatal(err)
			}
			public, err := test.key.public()
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range []*key{test.key, {raw: public}} {
				if ok, err := a.verify(k, test.digest, signature); err != nil || !ok {
					t.Errorf("%T: %t, %v", k.raw, ok, err)
				}
			}
			signature[len(signature)-1] ^= 1
			if ok, err := a.verify(test.key, test.digest, signature); err != nil || ok {
				t.Errorf("a changed signature: %t, %v", ok, err)
			}
			if _, err := a.sign(&key{raw: public}, test.digest); err == nil {
				t.Error("a public key signs")
			}
			if name != "EDDSA" {
				if _, err := a.sign(test.key, test.digest[1:]); err == nil {
					t.Error("a digest of the wrong size is signed")
				}
			}
		})
	}
	a, _ := find("ES256")
	if _, err := a.sign(curve(elliptic.P384()), short[:]); err == nil {
		t.Error("ES256 signs with P-384")
	}
}
