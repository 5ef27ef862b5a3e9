package crypto_test

import (
	"bytes"
	"context"
	stdcrypto "crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/crypto"
)

// mirror wraps a key by turning its bits; it knows the key "k" alone.
type mirror struct{ closed bool }

func (m *mirror) PublicKey(context.Context, string) (stdcrypto.PublicKey, error) {
	return nil, errors.New("none")
}

func (m *mirror) Encrypt(ctx context.Context, key crypto.Key, text []byte) ([]byte, []byte, error) {
	if key.Name != "k" {
		return nil, nil, errors.New("no such key")
	}
	turned := make([]byte, len(text))
	for i, b := range text {
		turned[i] = ^b
	}
	return turned, nil, nil
}

func (m *mirror) Decrypt(ctx context.Context, key crypto.Key, text, _ []byte) ([]byte, error) {
	plain, _, err := m.Encrypt(ctx, key, text)
	return plain, err
}

func (m *mirror) WrapKey(ctx context.Context, key crypto.Key, text []byte) ([]byte, []byte, error) {
	return m.Encrypt(ctx, key, text)
}

func (m *mirror) UnwrapKey(ctx context.Context, key crypto.Key, text, tag []byte) ([]byte, error) {
	return m.Decrypt(ctx, key, text, tag)
}

func (m *mirror) Sign(context.Context, crypto.Key, []byte) ([]byte, error) {
	return nil, errors.New("none")
}

func (m *mirror) Verify(context.Context, crypto.Key, []byte, []byte) (bool, error) {
	return false, errors.New("none")
}

func (m *mirror) Close() error {
	m.closed = true
	return nil
}

func service(t testing.TB) *crypto.Service {
	t.Helper()
	s := crypto.NewService(crypto.Deps{})
	if err := s.Add("p", &mirror{}); err != nil {
		t.Fatal(err)
	}
	return s
}

func encrypted(t testing.TB, s *crypto.Service, plaintext []byte, options crypto.EncryptOptions) []byte {
	t.Helper()
	stream, err := s.Encrypt(t.Context(), "p", options, bytes.NewReader(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	document, err := io.ReadAll(stream)
	if err != nil {
		t.Fatal(err)
	}
	return document
}

func decrypted(ctx context.Context, s *crypto.Service, key string, document io.Reader) ([]byte, error) {
	stream, err := s.Decrypt(ctx, "p", key, document)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	return io.ReadAll(stream)
}

func plaintext(size int) []byte {
	text := make([]byte, size)
	for i := range text {
		text[i] = byte(i*7 + i/256)
	}
	return text
}

var plain = crypto.EncryptOptions{KeyName: "k", Algorithm: "a256kw"}

// TestRoundTrip: sizes around the edges of segments, however the source hands its bytes out.
func TestRoundTrip(t *testing.T) {
	s := service(t)
	for _, size := range []int{0, 1, 65535, 65536, 65537, 131072, 200000} {
		for _, cipher := range []string{"", "chacha20-poly1305"} {
			t.Run(fmt.Sprintf("%d bytes %s", size, cipher), func(t *testing.T) {
				want := plaintext(size)
				document := encrypted(t, s, want, crypto.EncryptOptions{KeyName: "k", Algorithm: "A256KW", Cipher: cipher})
				for name, reader := range map[string]io.Reader{"at once": bytes.NewReader(document), "halved": iotest.HalfReader(bytes.NewReader(document)),
					"with its end": iotest.DataErrReader(bytes.NewReader(document))} {
					got, err := decrypted(t.Context(), s, "", reader)
					if err != nil || !bytes.Equal(got, want) {
						t.Errorf("%s: %d bytes, error %v", name, len(got), err)
					}
				}
			})
		}
	}
}

// TestSegmentsCannotBeMoved: a document that lost, gained or swapped segments is refused.
func TestSegmentsCannotBeMoved(t *testing.T) {
	s := service(t)
	document := encrypted(t, s, plaintext(3*65536), plain)
	const segment = 65536 + 16
	head := len(document) - 3*segment
	part := func(i int) []byte { return document[head+i*segment:][:segment] }
	for name, moved := range map[string][]byte{
		"the last is missing": document[:head+2*segment],
		"all are missing":     append(bytes.Clone(document[:head]), 0),
		"two are swapped":     bytes.Join([][]byte{document[:head], part(1), part(0), part(2)}, nil),
		"one stands twice":    bytes.Join([][]byte{document[:head], part(0), part(0), part(1), part(2)}, nil),
		"one byte more":       append(bytes.Clone(document), 0),
	} {
		if _, err := decrypted(t.Context(), s, "", bytes.NewReader(moved)); err == nil || !strings.Contains(err.Error(), "failed to decrypt segment") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestFaults(t *testing.T) {
	s := service(t)
	document := string(encrypted(t, s, []byte("hello"), plain))
	anonymous := string(encrypted(t, s, []byte("hello"), crypto.EncryptOptions{KeyName: "k", Algorithm: "A256KW", OmitKeyName: true}))
	lines := strings.SplitN(document, "\n", 4)
	for name, test := range map[string]struct{ document, key, want string }{
		"empty":               {"", "", "invalid header: scheme name not found"},
		"other text":          {"hello\nworld\n", "", "invalid header: scheme name not found"},
		"a later scheme":      {"dapr.io/enc/v2\n{}\n\n", "", "invalid header: unsupported scheme"},
		"no manifest":         {"dapr.io/enc/v1\n", "", "invalid header: invalid manifest"},
		"an empty manifest":   {"dapr.io/enc/v1\n{}\n\n", "", "invalid header: invalid manifest"},
		"no signature":        {lines[0] + "\n" + lines[1] + "\n", "", "invalid header: invalid signature"},
		"a signature of none": {lines[0] + "\n" + lines[1] + "\n!\n", "", "invalid header: invalid signature"},
		"an endless line":     {"dapr.io/enc/v1\n" + strings.Repeat("x", 70000), "", "invalid header: longer than 65536 bytes"},
		"another manifest":    {strings.Replace(document, `"cph":1`, `"cph":2`, 1), "", "failed to validate the document's signature"},
		"another key":         {document, "other", "failed to validate the document's signature"},
		"no name of a key":    {anonymous, "", "document's manifest does not contain a key name, and no key name was provided"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decrypted(t.Context(), s, test.key, strings.NewReader(test.document))
			e := apierr.From(err)
			if e == nil || e.Code != "ERR_CRYPTO" || e.Message != "failed to perform operation: "+test.want {
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}
	if got, err := decrypted(t.Context(), s, "k", strings.NewReader(anonymous)); err != nil || string(got) != "hello" {
		t.Errorf("the name of the key is given: %q, %v", got, err)
	}
}

// TestZeroKeyForgery: a key that cannot be unwrapped is replaced by one that nobody knows. With a key of zeros, as in
// Dapr, anybody could write documents.
func TestZeroKeyForgery(t *testing.T) {
	zeros, prefix := make([]byte, 32), make([]byte, 7)
	derived := func(salt []byte, info string) []byte {
		key, err := hkdf.Key(sha256.New, zeros, salt, info, 32)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	head := "dapr.io/enc/v1\n" + `{"k":"unknown","kw":1,"wfk":"AAAA","cph":1,"np":"AAAAAAAAAA=="}` + "\n"
	mac := hmac.New(sha256.New, derived(nil, "header"))
	mac.Write([]byte(head))
	block, err := aes.NewCipher(derived(prefix, "payload"))
	if err != nil {
		t.Fatal(err)
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	nonce := append(prefix, 0, 0, 0, 0, 1)
	forged := seal.Seal([]byte(head+base64.StdEncoding.EncodeToString(mac.Sum(nil))+"\n"), nonce, []byte("forged"), nil)
	if got, err := decrypted(t.Context(), service(t), "", bytes.NewReader(forged)); err == nil {
		t.Errorf("a document that a key of zeros has signed is accepted: %q", got)
	}
}

func TestOptions(t *testing.T) {
	s := service(t)
	for name, test := range map[string]struct {
		provider string
		options  crypto.EncryptOptions
		code     string
		want     string
	}{
		"algorithm": {"p", crypto.EncryptOptions{KeyName: "k", Algorithm: "foo"}, "ERR_CRYPTO",
			"failed to perform operation: option Algorithm is not valid: algorithm FOO is not supported"},
		"cipher": {"p", crypto.EncryptOptions{KeyName: "k", Algorithm: "AES", Cipher: "zzz"}, "ERR_CRYPTO",
			"failed to perform operation: option Cipher is not valid: cipher ZZZ is not supported"},
		"key": {"p", crypto.EncryptOptions{KeyName: "x", Algorithm: "AES"}, "ERR_CRYPTO",
			"failed to perform operation: failed to wrap the file key: no such key"},
		"provider":    {"q", plain, "ERR_CRYPTO_PROVIDER_NOT_FOUND", "crypto provider q not found"},
		"no provider": {"", plain, "ERR_BAD_REQUEST", "invalid request: missing component name"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Encrypt(t.Context(), test.provider, test.options, strings.NewReader(""))
			if e := apierr.From(err); e == nil || e.Code != test.code || e.Message != test.want {
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}
	_, err := crypto.NewService(crypto.Deps{}).Encrypt(t.Context(), "p", plain, strings.NewReader(""))
	if e := apierr.From(err); e == nil || e.Code != "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED" {
		t.Errorf("without providers: %v", err)
	}
}

// TestReplace: a stream that is open keeps its provider until it ends.
func TestReplace(t *testing.T) {
	s := crypto.NewService(crypto.Deps{})
	first := &mirror{}
	if err := s.Add("p", first); err != nil {
		t.Fatal(err)
	}
	if err := s.Add("p", first); err == nil {
		t.Error("the name is taken twice")
	}
	stream, err := s.Encrypt(t.Context(), "p", plain, strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	replaced := make(chan error, 1)
	go func() { replaced <- s.Replace(context.Background(), "p", &mirror{}) }()
	if _, err := io.ReadAll(stream); err != nil {
		t.Fatal(err)
	}
	if err := <-replaced; err != nil || !first.closed {
		t.Errorf("error %v, closed %t", err, first.closed)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestSourceFails: what goes wrong with the source is told, and nothing after it is given.
func TestSourceFails(t *testing.T) {
	lost := errors.New("lost")
	stream, err := service(t).Encrypt(t.Context(), "p", plain, io.MultiReader(bytes.NewReader(plaintext(100000)), iotest.ErrReader(lost)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(stream); !errors.Is(err, lost) {
		t.Errorf("error %v", err)
	}
}

func FuzzDecrypt(f *testing.F) {
	s := service(f)
	document := encrypted(f, s, []byte("hello"), plain)
	f.Add(document)
	f.Add(document[:len(document)/2])
	f.Add([]byte("dapr.io/enc/v1\n{\"kw\":1,\"cph\":1}\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := decrypted(t.Context(), s, "", bytes.NewReader(text))
		if err == nil && string(got) != "hello" {
			t.Errorf("%q is a document of %q", text, got)
		}
	})
}

func BenchmarkEncrypt(b *testing.B) {
	s := service(b)
	text := plaintext(1 << 20)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		stream, err := s.Encrypt(b.Context(), "p", plain, bytes.NewReader(text))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, stream); err != nil {
			b.Fatal(err)
		}
	}
}
