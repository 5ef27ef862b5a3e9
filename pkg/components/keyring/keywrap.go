package keyring

import (
	"crypto/aes"
	"crypto/subtle"
	"encoding/binary"
	"errors"
)

// The wrapping of keys by AES, RFC 3394. No library that is here already has it for others' use.

// integrity is the initial value of RFC 3394, 2.2.3.1.
const integrity = 0xa6a6a6a6a6a6a6a6

var (
	errWrapSize   = errors.New("the key to wrap must be a multiple of 8 bytes, 16 at least")
	errUnwrapSize = errors.New("a wrapped key is a multiple of 8 bytes, 24 at least")
	errUnwrap     = errors.New("the wrapped key does not fit the key")
)

func wrap(kek, plaintext []byte) ([]byte, error) {
	if len(plaintext)%8 != 0 || len(plaintext) < 16 {
		return nil, errWrapSize
	}
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	n := len(plaintext) / 8
	out := make([]byte, 8+len(plaintext))
	copy(out[8:], plaintext)
	var b [16]byte
	a := uint64(integrity)
	for j := range 6 {
		for i := 1; i <= n; i++ {
			binary.BigEndian.PutUint64(b[:8], a)
			copy(b[8:], out[8*i:])
			block.Encrypt(b[:], b[:])
			a = binary.BigEndian.Uint64(b[:8]) ^ uint64(n*j+i)
			copy(out[8*i:], b[8:])
		}
	}
	binary.BigEndian.PutUint64(out, a)
	return out, nil
}

func unwrap(kek, wrapped []byte) ([]byte, error) {
	if len(wrapped)%8 != 0 || len(wrapped) < 24 {
		return nil, errUnwrapSize
	}
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	n := len(wrapped)/8 - 1
	out := make([]byte, len(wrapped)-8)
	copy(out, wrapped[8:])
	var b, want [16]byte
	a := binary.BigEndian.Uint64(wrapped)
	for j := 5; j >= 0; j-- {
		for i := n; i >= 1; i-- {
			binary.BigEndian.PutUint64(b[:8], a^uint64(n*j+i))
			copy(b[8:], out[8*(i-1):])
			block.Decrypt(b[:], b[:])
			a = binary.BigEndian.Uint64(b[:8])
			copy(out[8*(i-1):8*i], b[8:])
		}
	}
	binary.BigEndian.PutUint64(b[:8], a)
	binary.BigEndian.PutUint64(want[:8], integrity)
	if subtle.ConstantTimeCompare(b[:8], want[:8]) != 1 {
		return nil, errUnwrap
	}
	return out, nil
}
