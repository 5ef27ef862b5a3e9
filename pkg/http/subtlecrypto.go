package http

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/crypto"
)

// subtleRequest is the body of every operation with a key; each uses its own members. Bytes are base64, as protobuf's
// JSON takes them: of either alphabet, with padding or without.
type subtleRequest struct {
	Name           string `json:"name"`
	Format         string `json:"format"`
	KeyName        string `json:"keyName"`
	Algorithm      string `json:"algorithm"`
	Nonce          octets `json:"nonce"`
	AssociatedData octets `json:"associatedData"`
	Plaintext      octets `json:"plaintext"`
	Ciphertext     octets `json:"ciphertext"`
	PlaintextKey   octets `json:"plaintextKey"`
	WrappedKey     octets `json:"wrappedKey"`
	Tag            octets `json:"tag"`
	Digest         octets `json:"digest"`
	Signature      octets `json:"signature"`
}

func (r *subtleRequest) key() crypto.Key {
	return crypto.Key{Name: r.KeyName, Algorithm: r.Algorithm, Nonce: r.Nonce, AssociatedData: r.AssociatedData}
}

// octets are bytes in a body.
type octets []byte

var errBase64 = errors.New("want bytes in base64")

// UnmarshalJSON reads either alphabet.
func (o *octets) UnmarshalJSON(text []byte) error {
	var encoded string
	if err := json.Unmarshal(text, &encoded); err != nil {
		return errBase64
	}
	encoded = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(encoded), "=")
	decoded, err := base64.RawStdEncoding.DecodeString(encoded)
	if err != nil {
		return errBase64
	}
	*o = decoded
	return nil
}

// subtleOperation runs one operation of a provider and gives the members of the answer.
type subtleOperation func(ctx context.Context, provider string, r *subtleRequest) (map[string]any, error)

// subtleOperations are the operations by the last segment of their path.
func (s *Server) subtleOperations() map[string]subtleOperation {
	block := s.blocks.Crypto
	return map[string]subtleOperation{
		"getkey": func(ctx context.Context, provider string, r *subtleRequest) (map[string]any, error) {
			format := crypto.PEM
			if r.Format == "JSON" {
				format = crypto.JWK
			}
			text, err := block.PublicKey(ctx, provider, r.Name, format)
			return map[string]any{"name": r.Name, "publicKey": text}, err
		},
		"encrypt": func(ctx context.Context, provider string, r *subtleRequest) (map[string]any, error) {
			ciphertext, tag, err := block.SubtleEncrypt(ctx, provider, r.key(), r.Plaintext)
			return withTag("ciphertext", ciphertext, tag), err
		},
		"decrypt": func(ctx context.Context, provider string, r *subtleRequest) (map[string]any, error) {
			plaintext, err := block.SubtleDecrypt(ctx, provider, r.key(), r.Ciphertext, r.Tag)
			return map[string]any{"plaintext": plaintext}, err
		},
		"wrapkey": func(ctx context.Context, provider string, r *subtleRequest) (map[string]any, error) {
			wrapped, tag, err := block.SubtleWrapKey(ctx, provider, r.key(), r.PlaintextKey)
			return withTag("wrappedKey", wrapped, tag), err
		},
		"unwrapkey": func(ctx context.Context, provider string, r *subtleRequest) (map[string]any, error) {
			plaintext, err := block.SubtleUnwrapKey(ctx, provider, r.key(), r.WrappedKey, r.Tag)
			return map[string]any{"plaintextKey": plaintext}, err
		},
		"sign": func(ctx context.Context, provider string, r *subtleRequest) (map[string]any, error) {
			signature, err := block.SubtleSign(ctx, provider, r.key(), r.Digest)
			return map[string]any{"signature": signature}, err
		},
		"verify": func(ctx context.Context, provider string, r *subtleRequest) (map[string]any, error) {
			valid, err := block.SubtleVerify(ctx, provider, r.key(), r.Digest, r.Signature)
			return map[string]any{"valid": valid}, err
		},
	}
}

// withTag leaves a tag out where the algorithm has none.
func withTag(name string, text, tag []byte) map[string]any {
	members := map[string]any{name: text}
	if len(tag) > 0 {
		members["tag"] = tag
	}
	return members
}

func subtleCrypto(run subtleOperation) func(*call) {
	return func(c *call) {
		var request subtleRequest
		body, err := c.bytes()
		if err != nil {
			c.fail(apierr.BodyRead.New(err))
			return
		}
		if len(body) > 0 {
			if err := unmarshal(body, &request); err != nil {
				c.fail(apierr.MalformedBody.New(err))
				return
			}
		}
		members, err := run(c.Context(), c.parameter("name"), &request)
		if err != nil {
			c.fail(err)
			return
		}
		answer, err := json.Marshal(members)
		if err != nil {
			c.fail(apierr.Uncategorised.New(err))
			return
		}
		c.json(fasthttp.StatusOK, append(answer, '\n'))
	}
}
