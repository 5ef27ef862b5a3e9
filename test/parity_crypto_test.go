package test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
)

// cryptoAPI is cryptography in the words of what callers want.
type cryptoAPI interface {
	encrypt(ctx context.Context, provider string, options encryption, plaintext string) meaning
	decrypt(ctx context.Context, provider, key, document string) meaning
	// subtle runs one operation; members are those of the HTTP body, bytes as they are.
	subtle(ctx context.Context, provider, operation string, members subtleMembers) subtleMembers
}

type encryption struct {
	Key, Algorithm, Cipher, DecryptionKey string
	Omit                                  bool
}

// subtleMembers are the members of a request or an answer by their names in JSON.
type subtleMembers map[string]string

func (h *httpAPI) encrypt(ctx context.Context, provider string, o encryption, plaintext string) meaning {
	header := http.Header{}
	for name, value := range map[string]string{"dapr-key-name": o.Key, "dapr-key-wrap-algorithm": o.Algorithm,
		"dapr-data-encryption-cipher": o.Cipher, "dapr-decryption-key-name": o.DecryptionKey} {
		if value != "" {
			header.Set(name, value)
		}
	}
	if o.Omit {
		header.Set("dapr-omit-decryption-key-name", "true")
	}
	answer := h.call(ctx, "PUT", "/v1.0-alpha1/crypto/"+segment(provider)+"/encrypt", plaintext, header)
	if f := answer.fault(); f != nil {
		return meaning{Fault: f}
	}
	return meaning{Value: answer.body}
}

func (h *httpAPI) decrypt(ctx context.Context, provider, key, document string) meaning {
	header := http.Header{}
	if key != "" {
		header.Set("dapr-key-name", key)
	}
	answer := h.call(ctx, "PUT", "/v1.0-alpha1/crypto/"+segment(provider)+"/decrypt", document, header)
	if f := answer.fault(); f != nil {
		return meaning{Fault: f}
	}
	return meaning{Value: answer.body}
}

func (h *httpAPI) subtle(ctx context.Context, provider, operation string, members subtleMembers) subtleMembers {
	body := map[string]any{}
	for name, value := range members {
		switch name {
		case "name", "format", "keyName", "algorithm":
			body[name] = value
		default:
			body[name] = []byte(value)
		}
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	answer := h.call(ctx, "POST", "/v1.0-alpha1/subtlecrypto/"+segment(provider)+"/"+strings.ToLower(operation), string(text), nil)
	if f := answer.fault(); f != nil {
		return subtleMembers{"fault": f.Text}
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(answer.body), &got); err != nil {
		return subtleMembers{"fault": err.Error()}
	}
	result := subtleMembers{}
	for name, value := range got {
		switch value := value.(type) {
		case bool:
			result[name] = map[bool]string{true: "yes", false: "no"}[value]
		case string:
			decoded, err := base64.StdEncoding.DecodeString(value)
			if result[name] = string(decoded); err != nil || name == "name" || name == "publicKey" {
				result[name] = value
			}
		}
	}
	return result
}

func (g *grpcAPI) encrypt(ctx context.Context, provider string, o encryption, plaintext string) meaning {
	stream, err := g.client.EncryptAlpha1(g.context(ctx))
	if err != nil {
		return meaning{Fault: faultOf(err)}
	}
	err = stream.Send(&runtimev1.EncryptRequest{Options: &runtimev1.EncryptRequestOptions{ComponentName: provider, KeyName: o.Key,
		KeyWrapAlgorithm: o.Algorithm, DataEncryptionCipher: o.Cipher, OmitDecryptionKeyName: o.Omit, DecryptionKeyName: o.DecryptionKey}})
	seq := uint64(0)
	for rest := []byte(plaintext); err == nil && len(rest) > 0; seq++ {
		n := min(len(rest), 50000)
		err = stream.Send(&runtimev1.EncryptRequest{Payload: &commonv1.StreamPayload{Data: rest[:n], Seq: seq}})
		rest = rest[n:]
	}
	_ = stream.CloseSend()
	return received(func() (*commonv1.StreamPayload, error) {
		message, err := stream.Recv()
		return message.GetPayload(), err
	})
}

func (g *grpcAPI) decrypt(ctx context.Context, provider, key, document string) meaning {
	stream, err := g.client.DecryptAlpha1(g.context(ctx))
	if err != nil {
		return meaning{Fault: faultOf(err)}
	}
	_ = stream.Send(&runtimev1.DecryptRequest{Options: &runtimev1.DecryptRequestOptions{ComponentName: provider, KeyName: key},
		Payload: &commonv1.StreamPayload{Data: []byte(document)}})
	_ = stream.CloseSend()
	return received(func() (*commonv1.StreamPayload, error) {
		message, err := stream.Recv()
		return message.GetPayload(), err
	})
}

// received is what a stream brings, in the order of its numbers.
func received(next func() (*commonv1.StreamPayload, error)) meaning {
	var whole bytes.Buffer
	for expected := uint64(0); ; expected++ {
		payload, err := next()
		switch {
		case errors.Is(err, io.EOF):
			return meaning{Value: whole.String()}
		case err != nil:
			return meaning{Fault: faultOf(err)}
		case payload.GetSeq() != expected:
			return meaning{Fault: &fault{Text: "the numbers of the pieces have gaps"}}
		}
		whole.Write(payload.GetData())
	}
}

func (g *grpcAPI) subtle(ctx context.Context, provider, operation string, m subtleMembers) subtleMembers {
	b := func(name string) []byte { return []byte(m[name]) }
	result := subtleMembers{}
	keep := func(name string, value []byte) {
		if len(value) > 0 {
			result[name] = string(value)
		}
	}
	var err error
	switch ctx = g.context(ctx); operation {
	case "getKey":
		var r *runtimev1.SubtleGetKeyResponse
		r, err = g.client.SubtleGetKeyAlpha1(ctx, &runtimev1.SubtleGetKeyRequest{ComponentName: provider, Name: m["name"],
			Format: runtimev1.SubtleGetKeyRequest_KeyFormat(runtimev1.SubtleGetKeyRequest_KeyFormat_value[m["format"]])})
		keep("name", []byte(r.GetName()))
		keep("publicKey", []byte(r.GetPublicKey()))
	case "encrypt":
		var r *runtimev1.SubtleEncryptResponse
		r, err = g.client.SubtleEncryptAlpha1(ctx, &runtimev1.SubtleEncryptRequest{ComponentName: provider, KeyName: m["keyName"],
			Algorithm: m["algorithm"], Nonce: b("nonce"), AssociatedData: b("associatedData"), Plaintext: b("plaintext")})
		keep("ciphertext", r.GetCiphertext())
		keep("tag", r.GetTag())
	case "decrypt":
		var r *runtimev1.SubtleDecryptResponse
		r, err = g.client.SubtleDecryptAlpha1(ctx, &runtimev1.SubtleDecryptRequest{ComponentName: provider, KeyName: m["keyName"],
			Algorithm: m["algorithm"], Nonce: b("nonce"), AssociatedData: b("associatedData"), Ciphertext: b("ciphertext"), Tag: b("tag")})
		keep("plaintext", r.GetPlaintext())
	case "wrapKey":
		var r *runtimev1.SubtleWrapKeyResponse
		r, err = g.client.SubtleWrapKeyAlpha1(ctx, &runtimev1.SubtleWrapKeyRequest{ComponentName: provider, KeyName: m["keyName"],
			Algorithm: m["algorithm"], Nonce: b("nonce"), PlaintextKey: b("plaintextKey")})
		keep("wrappedKey", r.GetWrappedKey())
		keep("tag", r.GetTag())
	case "unwrapKey":
		var r *runtimev1.SubtleUnwrapKeyResponse
		r, err = g.client.SubtleUnwrapKeyAlpha1(ctx, &runtimev1.SubtleUnwrapKeyRequest{ComponentName: provider, KeyName: m["keyName"],
			Algorithm: m["algorithm"], Nonce: b("nonce"), WrappedKey: b("wrappedKey"), Tag: b("tag")})
		keep("plaintextKey", r.GetPlaintextKey())
	case "sign":
		var r *runtimev1.SubtleSignResponse
		r, err = g.client.SubtleSignAlpha1(ctx, &runtimev1.SubtleSignRequest{ComponentName: provider, KeyName: m["keyName"],
			Algorithm: m["algorithm"], Digest: b("digest")})
		keep("signature", r.GetSignature())
	case "verify":
		var r *runtimev1.SubtleVerifyResponse
		r, err = g.client.SubtleVerifyAlpha1(ctx, &runtimev1.SubtleVerifyRequest{ComponentName: provider, KeyName: m["keyName"],
			Algorithm: m["algorithm"], Digest: b("digest"), Signature: b("signature")})
		result["valid"] = map[bool]string{true: "yes", false: "no"}[r.GetValid()]
	}
	if f := faultOf(err); f != nil {
		return subtleMembers{"fault": f.Text}
	}
	return result
}

const cryptoManifest = `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: ring}
spec:
  type: crypto.dapr.jwks
  version: v1
  metadata:
    - name: jwks
      value: >-
        {"keys":[{"kty":"oct","kid":"k","k":"MEijopFTCJ_nokDlTPGxnsvSn3jP-R5Glv4Dwl25CrQ"},
        {"kty":"OKP","crv":"Ed25519","kid":"ed","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}
`

func cryptoFault(text string) meaning {
	return meaning{Fault: &fault{HTTP: http.StatusInternalServerError, Code: "ERR_CRYPTO", GRPC: codes.Internal, Text: "failed to perform operation: " + text}}
}

func cryptoCases() []parityCase {
	whole := encryption{Key: "k", Algorithm: "A256KW"}
	large := strings.Repeat("0123456789abcdef", 10000)
	around := func(o encryption, key, text string) func(*asker) meaning {
		return func(a *asker) meaning {
			document := a.api.encrypt(a.ctx, "ring", o, text)
			if document.Fault != nil {
				return document
			}
			if strings.Contains(document.Value, "0123456789abcdef") {
				return meaning{Value: "the document holds its plaintext"}
			}
			return a.api.decrypt(a.ctx, "ring", key, document.Value)
		}
	}
	encrypt := func(provider string, o encryption) func(*asker) meaning {
		return func(a *asker) meaning { return a.api.encrypt(a.ctx, provider, o, "x") }
	}
	bad := func(http, grpc string) meaning {
		return meaning{Fault: &fault{HTTP: 400, Code: "ERR_BAD_REQUEST", GRPC: codes.InvalidArgument, Text: "invalid request: " + grpc,
			OnHTTP: "invalid request: " + http}}
	}
	return []parityCase{
		{name: "a document", do: around(whole, "", large), want: meaning{Value: large}},
		{name: "an empty document", do: around(whole, "", ""), want: meaning{}},
		{name: "another cipher", do: around(encryption{Key: "k", Algorithm: "aes", Cipher: "ChaCha20-Poly1305"}, "", "x"), want: meaning{Value: "x"}},
		{name: "without the name of the key", do: around(encryption{Key: "k", Algorithm: "AES", Omit: true}, "k", "x"), want: meaning{Value: "x"}},
		{name: "another name of the key", do: around(encryption{Key: "k", Algorithm: "AES", DecryptionKey: "other"}, "", "x"),
			want: cryptoFault("failed to validate the document's signature")},
		{name: "no document", do: func(a *asker) meaning { return a.api.decrypt(a.ctx, "ring", "", "hello") },
			want: cryptoFault("invalid header: scheme name not found")},
		{name: "unknown algorithm", do: encrypt("ring", encryption{Key: "k", Algorithm: "foo"}),
			want: cryptoFault("option Algorithm is not valid: algorithm FOO is not supported")},
		{name: "unknown key", do: encrypt("ring", encryption{Key: "x", Algorithm: "AES"}),
			want: cryptoFault("failed to wrap the file key: failed to retrieve the key encryption key: key not found")},
		{name: "another kind of key", do: encrypt("ring", encryption{Key: "k", Algorithm: "RSA"}),
			want: cryptoFault("failed to wrap the file key: failed to encrypt data: key type mismatch")},
		{name: "no name of a key", do: encrypt("ring", encryption{Algorithm: "AES"}),
			want: bad("missing header 'dapr-key-name'", "missing property 'keyName' in the options message")},
		{name: "no algorithm", do: encrypt("ring", encryption{Key: "k"}),
			want: bad("missing header 'dapr-key-wrap-algorithm'", "missing property 'keyWrapAlgorithm' in the options message")},
		{name: "unknown provider", do: encrypt("nope", whole), want: meaning{Fault: &fault{HTTP: 400, Code: "ERR_CRYPTO_PROVIDER_NOT_FOUND",
			GRPC: codes.InvalidArgument, Text: "crypto provider nope not found"}}},
		{name: "encrypt with a key", do: func(a *asker) meaning {
			key := subtleMembers{"keyName": "k", "algorithm": "a256gcm", "nonce": "0123456789ab", "associatedData": "with"}
			key["plaintext"] = "secret"
			sealed := a.api.subtle(a.ctx, "ring", "encrypt", key)
			delete(key, "plaintext")
			key["ciphertext"], key["tag"] = sealed["ciphertext"], sealed["tag"]
			opened := a.api.subtle(a.ctx, "ring", "decrypt", key)
			return meaning{Value: opened["plaintext"] + opened["fault"], ETag: len(sealed["tag"]) == 16}
		}, want: meaning{Value: "secret", ETag: true}},
		{name: "wrap a key", do: func(a *asker) meaning {
			key := subtleMembers{"keyName": "k", "algorithm": "A256KW", "plaintextKey": "0123456789abcdef"}
			key["wrappedKey"] = a.api.subtle(a.ctx, "ring", "wrapKey", key)["wrappedKey"]
			return meaning{Value: a.api.subtle(a.ctx, "ring", "unwrapKey", key)["plaintextKey"]}
		}, want: meaning{Value: "0123456789abcdef"}},
		{name: "sign", do: func(a *asker) meaning {
			key := subtleMembers{"keyName": "ed", "algorithm": "EdDSA", "digest": "text"}
			key["signature"] = a.api.subtle(a.ctx, "ring", "sign", key)["signature"]
			good := a.api.subtle(a.ctx, "ring", "verify", key)["valid"]
			key["digest"] = "other text"
			return meaning{Value: good + " " + a.api.subtle(a.ctx, "ring", "verify", key)["valid"]}
		}, want: meaning{Value: "yes no"}},
		{name: "public key", do: func(a *asker) meaning {
			pem := a.api.subtle(a.ctx, "ring", "getKey", subtleMembers{"name": "ed", "format": "PEM"})
			jwk := a.api.subtle(a.ctx, "ring", "getKey", subtleMembers{"name": "ed", "format": "JSON"})
			first, _, _ := strings.Cut(pem["publicKey"], "\n")
			return meaning{Value: first + " " + jwk["name"] + " " + jwk["publicKey"]}
		}, want: meaning{Value: `-----BEGIN PUBLIC KEY----- ed {"crv":"Ed25519","kid":"ed","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`}},
		{name: "a symmetric key stays", do: func(a *asker) meaning {
			return meaning{Value: a.api.subtle(a.ctx, "ring", "getKey", subtleMembers{"name": "k"})["fault"]}
		}, want: meaning{Value: "failed to retrieve key k: a symmetric key has no public half"}},
		{name: "a fault of an operation", do: func(a *asker) meaning {
			return meaning{Value: a.api.subtle(a.ctx, "ring", "sign", subtleMembers{"keyName": "k", "algorithm": "ES256", "digest": "x"})["fault"]}
		}, want: meaning{Value: "failed to perform operation: failed to sign: the digest has 1 bytes; ES256 takes the 32 of SHA-256"}},
	}
}

func TestCryptoParity(t *testing.T) {
	runtimetest.Isolate(t)
	s := runtimetest.Start(t, "crypto-parity", runtimetest.Manifests(t, cryptoManifest))
	askAll(t, cryptoCases(), transports(t, s), "", false)
}

// TestCryptoFirstMessage: a stream that says nothing, or not what it wants, ends with the reason.
func TestCryptoFirstMessage(t *testing.T) {
	runtimetest.Isolate(t)
	s := runtimetest.Start(t, "crypto-first")
	client := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String()))
	for name, test := range map[string]struct {
		send func(runtimev1.Dapr_EncryptAlpha1Client)
		want fault
	}{
		"closed at once": {func(c runtimev1.Dapr_EncryptAlpha1Client) { _ = c.CloseSend() },
			fault{GRPC: codes.Internal, Text: "failed to perform operation: error receiving the first message: EOF"}},
		"no options": {func(c runtimev1.Dapr_EncryptAlpha1Client) { _ = c.Send(&runtimev1.EncryptRequest{}) },
			fault{GRPC: codes.InvalidArgument, Text: "invalid request: first message does not contain the required options"}},
		"no provider at all": {func(c runtimev1.Dapr_EncryptAlpha1Client) {
			_ = c.Send(&runtimev1.EncryptRequest{Options: &runtimev1.EncryptRequestOptions{ComponentName: "x", KeyName: "k", KeyWrapAlgorithm: "AES"}})
		}, fault{GRPC: codes.Internal, Text: "crypto providers not configured"}},
	} {
		t.Run(name, func(t *testing.T) {
			stream, err := client.EncryptAlpha1(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			test.send(stream)
			_, err = stream.Recv()
			if got := faultOf(err); got == nil || *got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}

// TestCryptoSequence: pieces must come in the order of their numbers.
func TestCryptoSequence(t *testing.T) {
	runtimetest.Isolate(t)
	s := runtimetest.Start(t, "crypto-sequence", runtimetest.Manifests(t, cryptoManifest))
	client := runtimev1.NewDaprClient(dial(t, s.GRPCAddress().String()))
	options := &runtimev1.EncryptRequestOptions{ComponentName: "ring", KeyName: "k", KeyWrapAlgorithm: "AES"}
	piece := func(seq uint64) *commonv1.StreamPayload {
		return &commonv1.StreamPayload{Data: []byte("x"), Seq: seq}
	}
	for want, second := range map[string]*runtimev1.EncryptRequest{
		"failed to perform operation: invalid sequence number received: 2 (expected: 1)": {Payload: piece(2)},
		"failed to perform operation: options found in non-leading message":              {Options: options},
	} {
		stream, err := client.EncryptAlpha1(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.Send(&runtimev1.EncryptRequest{Options: options, Payload: piece(0)})
		_ = stream.Send(second)
		for err == nil {
			_, err = stream.Recv()
		}
		if got := faultOf(err); got.GRPC != codes.Internal || got.Text != want {
			t.Errorf("%+v, want %s", got, want)
		}
	}
}

// TestCryptoOverLimit: a body over the limit is refused as such.
func TestCryptoOverLimit(t *testing.T) {
	runtimetest.Isolate(t)
	s := runtimetest.Start(t, "crypto-limit", runtimetest.Manifests(t, cryptoManifest))
	api := transports(t, s)[0].(*httpAPI)
	got := api.encrypt(t.Context(), "ring", encryption{Key: "k", Algorithm: "AES"}, strings.Repeat("x", 5<<20))
	want := fault{HTTP: http.StatusBadRequest, Code: "ERR_BODY_READ", Text: "failed to read request body: stream too large"}
	if got.Fault == nil || *got.Fault != want {
		t.Errorf("%+v, want %+v", got.Fault, want)
	}
}
