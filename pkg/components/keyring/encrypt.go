package keyring

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"

	"golang.org/x/crypto/chacha20poly1305"
)

// encrypt gives a tag where the algorithm has one.
func (a algorithm) encrypt(k *key, nonce, associated, plaintext []byte) (ciphertext, tag []byte, err error) {
	switch a.family {
	case oaep:
		public, err := rsaPublic(k)
		if err != nil {
			return nil, nil, err
		}
		ciphertext, err = rsa.EncryptOAEP(a.hash.New(), rand.Reader, public, plaintext, associated)
		return ciphertext, nil, err
	case keyWrap:
		secret, err := a.secret(k)
		if err != nil {
			return nil, nil, err
		}
		ciphertext, err = wrap(secret, plaintext)
		return ciphertext, nil, err
	case cbc, cbcNoPadding:
		ciphertext, err = a.encryptCBC(k, nonce, plaintext)
		return ciphertext, nil, err
	}
	seal, err := a.aead(k)
	if err != nil {
		return nil, nil, err
	}
	if len(nonce) != seal.NonceSize() {
		return nil, nil, errNonce
	}
	sealed := seal.Seal(nil, nonce, plaintext, associated)
	end := len(sealed) - seal.Overhead()
	return sealed[:end:end], sealed[end:], nil
}

func (a algorithm) decrypt(k *key, nonce, associated, ciphertext, tag []byte) ([]byte, error) {
	switch a.family {
	case oaep:
		private, err := rsaPrivate(k)
		if err != nil {
			return nil, err
		}
		return rsa.DecryptOAEP(a.hash.New(), nil, private, ciphertext, associated)
	case keyWrap:
		secret, err := a.secret(k)
		if err != nil {
			return nil, err
		}
		return unwrap(secret, ciphertext)
	case cbc, cbcNoPadding:
		return a.decryptCBC(k, nonce, ciphertext)
	}
	open, err := a.aead(k)
	switch {
	case err != nil:
		return nil, err
	case len(nonce) != open.NonceSize():
		return nil, errNonce
	case len(tag) != open.Overhead():
		return nil, errTag
	}
	plaintext, err := open.Open(nil, nonce, append(bytes.Clone(ciphertext), tag...), associated)
	if err != nil {
		return nil, errPadding
	}
	return plaintext, nil
}

func (a algorithm) aead(k *key) (cipher.AEAD, error) {
	if a.family != gcm && a.family != chacha && a.family != xchacha {
		return nil, unsupported(a.name)
	}
	secret, err := a.secret(k)
	if err != nil {
		return nil, err
	}
	switch a.family {
	case chacha:
		return chacha20poly1305.New(secret)
	case xchacha:
		return chacha20poly1305.NewX(secret)
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (a algorithm) block(k *key, iv []byte) (cipher.Block, error) {
	secret, err := a.secret(k)
	if err != nil {
		return nil, err
	}
	if len(iv) != aes.BlockSize {
		return nil, errNonce
	}
	return aes.NewCipher(secret)
}

func (a algorithm) encryptCBC(k *key, iv, plaintext []byte) ([]byte, error) {
	block, err := a.block(k, iv)
	if err != nil {
		return nil, err
	}
	text := bytes.Clone(plaintext)
	if a.family == cbc {
		padding := aes.BlockSize - len(text)%aes.BlockSize
		text = append(text, bytes.Repeat([]byte{byte(padding)}, padding)...)
	}
	if len(text)%aes.BlockSize != 0 {
		return nil, errBlocks
	}
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(text, text)
	return text, nil
}

func (a algorithm) decryptCBC(k *key, iv, ciphertext []byte) ([]byte, error) {
	block, err := a.block(k, iv)
	if err != nil {
		return nil, err
	}
	if len(ciphertext)%aes.BlockSize != 0 {
		return nil, errBlocks
	}
	text := make([]byte, len(ciphertext))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(text, ciphertext)
	if a.family == cbcNoPadding {
		return text, nil
	}
	if len(text) == 0 {
		return nil, errPadding
	}
	padding := int(text[len(text)-1])
	if padding < 1 || padding > aes.BlockSize || !bytes.HasSuffix(text, bytes.Repeat([]byte{byte(padding)}, padding)) {
		return nil, errPadding
	}
	return text[:len(text)-padding], nil
}
