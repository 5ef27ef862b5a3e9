package http

import (
	"bytes"
	"errors"
	"io"

	"github.com/valyala/fasthttp"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/crypto"
)

// cryptoRoutes are the routes of cryptography.
func (s *Server) cryptoRoutes() []route {
	put, post, alpha := []string{"PUT"}, []string{"POST"}, []string{alpha1}
	table := []route{
		{methods: put, versions: alpha, path: "crypto/{name}/encrypt", group: "crypto", name: "Encrypt", handle: s.encrypt, segments: 3},
		{methods: put, versions: alpha, path: "crypto/{name}/decrypt", group: "crypto", name: "Decrypt", handle: s.decrypt, segments: 3},
	}
	for operation, run := range s.subtleOperations() {
		table = append(table, route{methods: post, versions: alpha, path: "subtlecrypto/{name}/" + operation, group: "subtlecrypto",
			name: "SubtleCrypto", handle: subtleCrypto(run), segments: 3})
	}
	return table
}

// The headers of the cryptography API.
const (
	keyNameHeader       = "dapr-key-name"
	wrapAlgorithmHeader = "dapr-key-wrap-algorithm"
	cipherHeader        = "dapr-data-encryption-cipher"
	omitKeyNameHeader   = "dapr-omit-decryption-key-name"
	decryptionKeyHeader = "dapr-decryption-key-name"
)

func (c *call) sent(name string) string { return string(c.ctx.Request.Header.Peek(name)) }

func (s *Server) encrypt(c *call) {
	options := crypto.EncryptOptions{
		KeyName:           c.sent(keyNameHeader),
		Algorithm:         c.sent(wrapAlgorithmHeader),
		Cipher:            c.sent(cipherHeader),
		OmitKeyName:       config.Truthy(c.sent(omitKeyNameHeader)),
		DecryptionKeyName: c.sent(decryptionKeyHeader),
	}
	for name, value := range map[string]string{keyNameHeader: options.KeyName, wrapAlgorithmHeader: options.Algorithm} {
		if value == "" {
			c.fail(apierr.BadRequest.New("missing header '" + name + "'"))
			return
		}
	}
	document, err := s.blocks.Crypto.Encrypt(c.Context(), c.parameter("name"), options, &c.body)
	c.document(document, err)
}

func (s *Server) decrypt(c *call) {
	plaintext, err := s.blocks.Crypto.Decrypt(c.Context(), c.parameter("name"), c.sent(keyNameHeader), &c.body)
	c.document(plaintext, err)
}

// wholeDocument is up to which size a document is sent whole.
const wholeDocument = 64 << 10

// document answers with a document that is made while it is read. Of a short one the outcome is known before the
// status is sent; a longer one breaks off when it fails.
func (c *call) document(document io.ReadCloser, err error) {
	if err != nil {
		c.cryptoFailed(err)
		return
	}
	start := make([]byte, wholeDocument)
	n, err := io.ReadFull(document, start)
	body := channel.Body{Bytes: start[:n]}
	switch {
	case err == nil:
		body = channel.Body{Stream: io.MultiReader(bytes.NewReader(start), document), Length: -1}
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		_ = document.Close()
		c.cryptoFailed(err)
		return
	}
	c.incoming(&channel.Response{Status: fasthttp.StatusOK, ContentType: "application/octet-stream", Body: body,
		Release: func() { _ = document.Close() }})
}

// cryptoFailed tells a body that could not be read from an operation that failed.
func (c *call) cryptoFailed(err error) {
	if cause := c.body.failed(); cause != nil && cause != io.EOF {
		err = apierr.BodyRead.New(cause)
	}
	c.fail(err)
}
