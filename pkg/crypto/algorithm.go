package crypto

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// The numbers of the scheme's key wrapping algorithms, by position from 1 (reference: building-blocks 8.1).
var wrapAlgorithms = []string{"A256KW", "A128CBC-NOPAD", "A192CBC-NOPAD", "A256CBC-NOPAD", "RSA-OAEP-256"}

// The numbers of the scheme's ciphers of data, by position from 1.
var dataCiphers = []string{"AES-GCM", "CHACHA20-POLY1305"}

// wrapAlgorithm finds an algorithm in any case, by its name or an alias.
func wrapAlgorithm(name string) (number int, err error) {
	folded := strings.ToUpper(name)
	switch folded {
	case "AES":
		folded = "A256KW"
	case "RSA":
		folded = "RSA-OAEP-256"
	}
	if i := slices.Index(wrapAlgorithms, folded); i >= 0 {
		return i + 1, nil
	}
	return 0, fmt.Errorf("option Algorithm is not valid: algorithm %s is not supported", folded)
}

// dataCipher finds a cipher in any case; an empty name means the first.
func dataCipher(name string) (number int, err error) {
	if name == "" {
		return 1, nil
	}
	folded := strings.ToUpper(name)
	if i := slices.Index(dataCiphers, folded); i >= 0 {
		return i + 1, nil
	}
	return 0, fmt.Errorf("option Cipher is not valid: cipher %s is not supported", folded)
}

// aead is the cipher of that number with a key of 32 bytes.
func aead(number int, key []byte) (cipher.AEAD, error) {
	if number == 2 {
		return chacha20poly1305.New(key)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
