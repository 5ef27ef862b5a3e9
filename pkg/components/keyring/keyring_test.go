package keyring

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/daprd/daprd/pkg/components"
	"github.com/daprd/daprd/pkg/components/componentstest"
	"github.com/daprd/daprd/pkg/crypto"
)

// keys is a folder with the keys of the captures.
func keys(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"TEST-ONLY-rsa2048-public.pem", "TEST-ONLY-sym256.json", "TEST-ONLY-sym256.key"} {
		content, err := os.ReadFile(filepath.Join("testdata", "keys", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(content))
	}
	text, err := os.ReadFile("testdata/keys/TEST-ONLY-rsa2048.pem.b64")
	if err != nil {
		t.Fatal(err)
	}
	pem, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "TEST-ONLY-rsa2048.pem"), string(pem))
	return dir
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func local(t testing.TB, dir string) crypto.Provider {
	t.Helper()
	p, err := NewLocalStorage(t.Context(), componentstest.FromReadme(t, "crypto.dapr.localstorage", "/etc/keys", dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.(io.Closer).Close() })
	return p
}

func service(t testing.TB, p crypto.Provider) *crypto.Service {
	t.Helper()
	s := crypto.NewService(crypto.Deps{})
	if err := s.Add("p", p); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestCaptures: what Dapr has encrypted is decrypted (captures: encryption/crypto).
func TestCaptures(t *testing.T) {
	s := service(t, local(t, keys(t)))
	files, err := filepath.Glob("testdata/captures/*.enc")
	if err != nil || len(files) < 13 {
		t.Fatalf("%d captures, %v", len(files), err)
	}
	sizes := map[string]int{"empty": 0, "10": 10, "64KiB": 65536, "200KiB": 204800}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".enc")
		t.Run(name, func(t *testing.T) {
			document, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			key := ""
			if strings.Contains(name, "omit") {
				key = "TEST-ONLY-rsa2048.pem"
			}
			stream, err := s.Decrypt(t.Context(), "p", key, bytes.NewReader(document))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(stream)
			want := make([]byte, sizes[name[strings.LastIndex(name, "-")+1:]])
			for i := range want {
				want[i] = byte(i*7 + i/256)
			}
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, want %d; error %v", len(got), len(want), err)
			}
		})
	}
}

// TestManifests: a document that is written has the lines of Dapr's, random parts aside.
func TestManifests(t *testing.T) {
	s := service(t, local(t, keys(t)))
	stream, err := s.Encrypt(t.Context(), "p", crypto.EncryptOptions{KeyName: "TEST-ONLY-rsa2048.pem", Algorithm: "RSA"}, strings.NewReader("0123456789"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(stream)
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := os.ReadFile("testdata/captures/rsa-10.enc")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(recorded) {
		t.Errorf("%d bytes, Dapr's are %d", len(got), len(recorded))
	}
	if want := `dapr.io/enc/v1` + "\n" + `{"k":"TEST-ONLY-rsa2048.pem","kw":5,"wfk":"`; !bytes.HasPrefix(got, []byte(want)) || !bytes.HasPrefix(recorded, []byte(want)) {
		t.Errorf("it begins with %q", got[:100])
	}
}

func TestLoadFaults(t *testing.T) {
	dir := keys(t)
	outside := filepath.Join(t.TempDir(), "secret.key")
	write(t, outside, strings.Repeat("x", 32))
	if err := os.Symlink(outside, filepath.Join(dir, "link.key")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "empty.key"), "")
	write(t, filepath.Join(dir, "large.key"), strings.Repeat("x", maxKeyFile+1))
	write(t, filepath.Join(dir, "broken.pem"), "-----BEGIN NOTHING-----")
	write(t, filepath.Join(dir, "broken.json"), `{"kty":"oct","k":"hunter2-!"}`)
	p := local(t, dir)
	for name, want := range map[string]string{
		"absent": "failed to load key 'absent': ", "../secret.key": "cannot contain '..'", "a/../../x": "cannot contain '..'",
		"link.key": "failed to load key", outside: "failed to load key", "empty.key": "the file is empty",
		"large.key": "more than", "broken.pem": "no PEM text", "broken.json": "JWK", ".": "failed to load key",
	} {
		_, _, err := p.WrapKey(t.Context(), crypto.Key{Name: name, Algorithm: "A256KW"}, make([]byte, 32))
		if err == nil || !strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), "JSON Web Key") {
			t.Errorf("%s: error %v, want %q", name, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error holds the key: %v", name, err)
		}
	}
	if _, err := NewLocalStorage(t.Context(), componentstest.Spec("crypto.dapr.localstorage", map[string]string{"path": outside})); err == nil ||
		!strings.Contains(err.Error(), "is not a directory") {
		t.Errorf("a file for a folder: %v", err)
	}
	if _, err := NewLocalStorage(t.Context(), componentstest.Spec("crypto.dapr.localstorage", nil)); err == nil || !strings.Contains(err.Error(), "path is missing") {
		t.Errorf("no path: %v", err)
	}
}

// TestSymmetricForms: one key in every form that a file may have it in.
func TestSymmetricForms(t *testing.T) {
	raw := []byte("\xfb\xff" + strings.Repeat("k", 30))
	want := hex.EncodeToString(raw)
	for name, content := range map[string]string{
		"raw": string(raw), "base64": base64.StdEncoding.EncodeToString(raw), "base64 without padding": base64.RawStdEncoding.EncodeToString(raw),
		"base64url": base64.URLEncoding.EncodeToString(raw), "jwk": `{"kty":"oct","k":"` + base64.RawURLEncoding.EncodeToString(raw) + `"}`,
	} {
		k, err := parse("k", []byte(content))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := hex.EncodeToString(k.raw.([]byte)); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestKeyWrapVectors are those of RFC 3394, 4.1, 4.6.
func TestKeyWrapVectors(t *testing.T) {
	for _, v := range [][3]string{
		{"000102030405060708090A0B0C0D0E0F", "00112233445566778899AABBCCDDEEFF", "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5"},
		{"000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F",
			"28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21"},
	} {
		var b [3][]byte
		for i, text := range v {
			b[i], _ = hex.DecodeString(text)
		}
		wrapped, err := wrap(b[0], b[1])
		if err != nil || !bytes.Equal(wrapped, b[2]) {
			t.Errorf("wrapped %x, %v", wrapped, err)
		}
		plain, err := unwrap(b[0], wrapped)
		if err != nil || !bytes.Equal(plain, b[1]) {
			t.Errorf("unwrapped %x, %v", plain, err)
		}
		wrapped[3] ^= 1
		if _, err := unwrap(b[0], wrapped); err == nil {
			t.Error("a changed key is unwrapped")
		}
	}
}

func TestJWKRules(t *testing.T) {
	set := `{"keys":[
		{"kty":"oct","kid":"kw","alg":"A256KW","k":"MEijopFTCJ_nokDlTPGxnsvSn3jP-R5Glv4Dwl25CrQ"},
		{"kty":"oct","kid":"unwrap-only","key_ops":["unwrapKey"],"k":"MEijopFTCJ_nokDlTPGxnsvSn3jP-R5Glv4Dwl25CrQ"},
		{"kty":"oct","kid":"sig","use":"sig","k":"MEijopFTCJ_nokDlTPGxnsvSn3jP-R5Glv4Dwl25CrQ"}]}`
	p := jwks(t, set)
	for _, test := range []struct{ name, algorithm, want string }{
		{"kw", "A256KW", ""},
		{"kw", "A256GCM", "key cannot be used with algorithm 'A256GCM'"},
		{"unwrap-only", "A256KW", "key cannot perform the 'wrapKey' operation"},
		{"sig", "A256KW", "key cannot perform the 'wrapKey' operation"},
		{"other", "A256KW", "key not found"},
		{"kw", "FOO", "algorithm FOO is not supported"},
	} {
		_, _, err := p.WrapKey(t.Context(), crypto.Key{Name: test.name, Algorithm: test.algorithm}, make([]byte, 32))
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s with %s: error %v, want %q", test.name, test.algorithm, err, test.want)
		}
	}
	if _, err := p.PublicKey(t.Context(), "kw"); err == nil {
		t.Error("a symmetric key leaves")
	}
}

func jwks(t testing.TB, text string) crypto.Provider {
	t.Helper()
	p, err := NewJWKS(t.Context(), componentstest.FromReadme(t, "crypto.dapr.jwks", "https://example.com/.well-known/jwks.json", fmt.Sprintf("%q", text)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestJWKSSources(t *testing.T) {
	const set = `{"keys":[{"kty":"oct","kid":"a","k":"MEijopFTCJ_nokDlTPGxnsvSn3jP-R5Glv4Dwl25CrQ"}]}`
	file := filepath.Join(t.TempDir(), "set.json")
	write(t, file, set)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, set) }))
	t.Cleanup(server.Close)
	for name, text := range map[string]string{"text": set, "base64": base64.StdEncoding.EncodeToString([]byte(set)), "file": file, "URL": server.URL} {
		p := jwks(t, text)
		if _, _, err := p.WrapKey(t.Context(), crypto.Key{Name: "a", Algorithm: "A256KW"}, make([]byte, 32)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	p := jwks(t, file)
	write(t, file, strings.Replace(set, `"a"`, `"longer"`, 1))
	if err := os.Chtimes(file, longAgo, longAgo); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.WrapKey(t.Context(), crypto.Key{Name: "longer", Algorithm: "A256KW"}, make([]byte, 32)); err != nil {
		t.Errorf("the file has changed: %v", err)
	}
	for name, text := range map[string]string{"empty set": `{"keys":[]}`, "no file": "/nowhere/at/all", "server that refuses": server.URL + "\x7f"} {
		if _, err := NewJWKS(t.Context(), componentstest.Spec("crypto.dapr.jwks", map[string]string{"jwks": text})); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestJWKSRefresh: a set from a URL is read anew when it is old, and the old one stays while the server is away.
func TestJWKSRefresh(t *testing.T) {
	const set = `{"keys":[{"kty":"oct","kid":"%s","k":"MEijopFTCJ_nokDlTPGxnsvSn3jP-R5Glv4Dwl25CrQ"}]}`
	var asked atomic.Int32
	var away atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := asked.Add(1)
		if away.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		fmt.Fprintf(w, set, fmt.Sprint("k", n))
	}))
	t.Cleanup(server.Close)
	p, err := NewJWKS(t.Context(), componentstest.Spec("crypto.dapr.jwks", map[string]string{"jwks": server.URL, "minRefreshInterval": "1ns"}))
	if err != nil {
		t.Fatal(err)
	}
	use := func(name string) error {
		_, _, err := p.WrapKey(t.Context(), crypto.Key{Name: name, Algorithm: "A256KW"}, make([]byte, 32))
		return err
	}
	if err := use("k2"); err != nil {
		t.Errorf("the set is old: %v", err)
	}
	away.Store(true)
	for range 3 {
		if err := use("k2"); err != nil {
			t.Errorf("the server is away: %v", err)
		}
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("the server was asked %d times", n)
	}
}

var _ components.Factory[crypto.Provider] = NewJWKS

func FuzzParse(f *testing.F) {
	f.Add("k.json", []byte(`{"kty":"oct","k":"AAAA"}`))
	f.Add("k.pem", []byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"))
	f.Add("k", []byte("AAAA"))
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		k, err := parse(name, content)
		if err != nil {
			return
		}
		_, _ = k.public()
		for _, algorithm := range []string{"A256KW", "RSA-OAEP-256", "A128CBC", "C20P"} {
			a, err := find(algorithm)
			if err != nil {
				t.Fatal(err)
			}
			_, _, _ = a.encrypt(k, nil, nil, make([]byte, 32))
		}
	})
}
