package crypto

import (
	"bufio"
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// The scheme dapr.io/enc/v1 (reference: building-blocks 8.1): three lines, then binary segments.
const (
	schemeName = "dapr.io/enc/v1"
	// maxHeader bounds the three lines, in bytes.
	maxHeader = 65536
	// keySize is that of the file key and of the keys made of it.
	keySize = 32
	// noncePrefixSize is the part of a segment's nonce that is the document's.
	noncePrefixSize = 7
)

// manifest is the second line, its members in the order in which they are written.
type manifest struct {
	KeyName     string `json:"k,omitempty"`
	Algorithm   int    `json:"kw"`
	WrappedKey  []byte `json:"wfk"`
	Cipher      int    `json:"cph"`
	NoncePrefix []byte `json:"np"`
}

var (
	errNoScheme  = errors.New("invalid header: scheme name not found")
	errScheme    = errors.New("invalid header: unsupported scheme")
	errManifest  = errors.New("invalid header: invalid manifest")
	errSignature = errors.New("invalid header: invalid signature")
	errHeader    = fmt.Errorf("invalid header: longer than %d bytes", maxHeader)
	// errForged is a header that the file key has not signed; a key that cannot be unwrapped ends here too.
	errForged = errors.New("failed to validate the document's signature")
)

// appendHeader writes the three lines.
func appendHeader(b []byte, m *manifest, fileKey []byte) ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	start := len(b)
	b = append(b, schemeName...)
	b = append(b, '\n')
	b = append(append(b, text...), '\n')
	mac, err := headerMAC(fileKey, b[start:])
	if err != nil {
		return nil, err
	}
	b = append(base64.StdEncoding.AppendEncode(b, mac), '\n')
	if len(b)-start > maxHeader {
		return nil, errHeader
	}
	return b, nil
}

// headerMAC signs the first two lines, line ends included.
func headerMAC(fileKey, lines []byte) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, fileKey, nil, "header", keySize)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(lines)
	return mac.Sum(nil), nil
}

// payloadKey is the key of the segments.
func payloadKey(fileKey, noncePrefix []byte) ([]byte, error) {
	return hkdf.Key(sha256.New, fileKey, noncePrefix, "payload", keySize)
}

// header is what was read of a document.
type header struct {
	manifest
	// signed are the bytes that mac has to be of.
	signed []byte
	mac    []byte
}

// readHeader reads the three lines. What follows them stays in r, which must hold maxHeader bytes.
func readHeader(r *bufio.Reader) (*header, error) {
	h := &header{}
	scheme, err := h.line(r)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, err
	case err != nil || !bytes.HasPrefix(scheme, []byte("dapr.io/enc/")):
		return nil, errNoScheme
	case string(scheme) != schemeName:
		return nil, errScheme
	}
	text, err := h.line(r)
	if err != nil {
		return nil, broken(err, errManifest)
	}
	if err := json.Unmarshal(text, &h.manifest); err != nil || !h.valid() {
		return nil, errManifest
	}
	signed := len(h.signed)
	mac, err := h.line(r)
	if err != nil {
		return nil, broken(err, errSignature)
	}
	if h.mac, err = base64.StdEncoding.DecodeString(string(mac)); err != nil {
		return nil, errSignature
	}
	h.signed = h.signed[:signed]
	return h, nil
}

// broken is a document that ends too early, unless reading it failed for another reason.
func broken(err, early error) error {
	if errors.Is(err, io.EOF) {
		return early
	}
	return err
}

// line reads up to the next line end and keeps it among the signed bytes.
func (h *header) line(r *bufio.Reader) ([]byte, error) {
	text, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) || len(h.signed)+len(text) > maxHeader {
		return nil, errHeader
	}
	if err != nil {
		return nil, err
	}
	start := len(h.signed)
	h.signed = append(h.signed, text...)
	return h.signed[start : len(h.signed)-1], nil
}

func (h *header) valid() bool {
	return h.Algorithm >= 1 && h.Algorithm <= len(wrapAlgorithms) && h.Cipher >= 1 && h.Cipher <= len(dataCiphers) &&
		len(h.WrappedKey) > 0 && len(h.NoncePrefix) == noncePrefixSize
}

// check wants the header to be signed by the file key.
func (h *header) check(fileKey []byte) error {
	mac, err := headerMAC(fileKey, h.signed)
	if err != nil {
		return err
	}
	if !hmac.Equal(mac, h.mac) {
		return errForged
	}
	return nil
}
