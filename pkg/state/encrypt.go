package state

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
)

// keyring encrypts the values of one store with the primary key and decrypts them with either. A stored
// value is base64(nonce, ciphertext, tag), the separator, and the name of the key's secret: Dapr's form.
type keyring struct {
	primary encryptionKey
	// secondary reads what was written before the keys changed; its cipher is nil if there is none.
	secondary encryptionKey
}

type encryptionKey struct {
	name   string
	cipher cipher.AEAD
}

// parseKeyring gives nil where the manifest asks for no encryption.
func parseKeyring(properties, secretNames map[string]string) (*keyring, error) {
	primary, err := parseKey(propertyPrimaryKey, properties, secretNames)
	if err != nil {
		return nil, err
	}
	secondary, err := parseKey(propertySecondaryKey, properties, secretNames)
	if err != nil {
		return nil, err
	}
	if primary.cipher == nil {
		if secondary.cipher != nil {
			return nil, fmt.Errorf("%s is set without %s: name the key that new values are encrypted with",
				propertySecondaryKey, propertyPrimaryKey)
		}
		return nil, nil
	}
	return &keyring{primary: primary, secondary: secondary}, nil
}

// parseKey refuses what Dapr accepts to the user's harm: with a key that is a plain value it writes what it
// can never read, since the name of the secret is missing in the record; with a reference that was not
// resolved it stores values unencrypted without a word.
func parseKey(name string, properties, secretNames map[string]string) (encryptionKey, error) {
	value, _ := property(properties, name)
	secret, _ := property(secretNames, name)
	switch {
	case value == "" && secret == "":
		return encryptionKey{}, nil
	case value == "":
		return encryptionKey{}, fmt.Errorf("%s: the secret %q gave no key; "+
			"set auth.secretStore of the component to the secret store that holds it", name, secret)
	case secret == "":
		return encryptionKey{}, fmt.Errorf("%s is a plain value: give it as a secretKeyRef, "+
			"since every encrypted value carries the name of its key's secret", name)
	}
	aead, err := newCipher(value)
	if err != nil {
		return encryptionKey{}, fmt.Errorf("%s (secret %q): %w", name, secret, err)
	}
	return encryptionKey{name: secret, cipher: aead}, nil
}

func newCipher(text string) (cipher.AEAD, error) {
	key, err := hex.DecodeString(text)
	if err != nil || (len(key) != 16 && len(key) != 24 && len(key) != 32) {
		// The cause stays out: it would quote characters of the key.
		return nil, errors.New("expected an AES key as 32, 48 or 64 hexadecimal digits")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// seal encrypts plain into the stored form.
func (k *keyring) seal(plain []byte) ([]byte, error) {
	aead := k.primary.cipher
	sealed := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	if _, err := rand.Read(sealed); err != nil {
		return nil, fmt.Errorf("encrypt value: %w", err)
	}
	sealed = aead.Seal(sealed, sealed, plain, nil)
	encoding := base64.StdEncoding
	stored := make([]byte, 0, encoding.EncodedLen(len(sealed))+len(separator)+len(k.primary.name))
	stored = encoding.AppendEncode(stored, sealed)
	stored = append(stored, separator...)
	return append(stored, k.primary.name...), nil
}

// open decrypts the stored form. An empty stored value is an empty value.
func (k *keyring) open(stored []byte) ([]byte, error) {
	if len(stored) == 0 {
		return stored, nil
	}
	at := bytes.LastIndex(stored, []byte(separator))
	if at < 0 {
		return nil, errors.New("encryption key name not found on record: " +
			"the value was saved without encryption; read it through a component without encryption keys")
	}
	aead, err := k.named(string(stored[at+len(separator):]))
	if err != nil {
		return nil, err
	}
	sealed, err := base64.StdEncoding.AppendDecode(nil, stored[:at])
	if err != nil {
		return nil, fmt.Errorf("decrypt value: %w", err)
	}
	if len(sealed) < aead.NonceSize() {
		return nil, errors.New("decrypt value: it is shorter than a nonce")
	}
	nonce, sealed := sealed[:aead.NonceSize()], sealed[aead.NonceSize():]
	plain, err := aead.Open(sealed[:0], nonce, sealed, nil)
	if err != nil {
		return nil, fmt.Errorf("decrypt value: %w", err)
	}
	return plain, nil
}

func (k *keyring) named(name string) (cipher.AEAD, error) {
	switch {
	case name == "":
		return nil, errors.New("encryption key name not found on record")
	case name == k.primary.name:
		return k.primary.cipher, nil
	case name == k.secondary.name && k.secondary.cipher != nil:
		return k.secondary.cipher, nil
	}
	return nil, fmt.Errorf("the value was encrypted with the key of secret %q, which is not a key of this store: "+
		"set it as %s", name, propertySecondaryKey)
}
