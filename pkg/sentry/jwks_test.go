package sentry_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jwt"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sentryv1 "github.com/daprd/daprd/pkg/proto/sentry/v1"
	"github.com/daprd/daprd/pkg/sentry/sentrytest"
)

// signer is somebody who signs tokens.
type signer struct{ key jwk.Key }

func newSigner(t testing.TB, id string) *signer {
	t.Helper()
	raw, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := jwk.Import(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := key.Set(jwk.KeyIDKey, id); err != nil {
		t.Fatal(err)
	}
	return &signer{key}
}

// keySet is the public half of the keys.
func keySet(t testing.TB, signers ...*signer) string {
	t.Helper()
	set := jwk.NewSet()
	for _, s := range signers {
		public, err := s.key.PublicKey()
		if err == nil {
			err = set.AddKey(public)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const (
	app1    = "spiffe://public/ns/ns1/app1"
	sentry1 = "spiffe://localhost/ns/default/dapr-sentry"
)

// token is one for app1, but for what change says.
func (s *signer) token(t testing.TB, change func(jwt.Token) error) string {
	t.Helper()
	token, err := jwt.NewBuilder().Subject(app1).Audience([]string{sentry1}).IssuedAt(time.Now()).Expiration(time.Now().Add(time.Hour)).Build()
	if err == nil && change != nil {
		err = change(token)
	}
	if err != nil {
		t.Fatal(err)
	}
	signed, err := jwt.Sign(token, jwt.WithKey(jwa.ES256(), s.key))
	if err != nil {
		t.Fatal(err)
	}
	return string(signed)
}

func with(claim string, value any) func(jwt.Token) error {
	return func(token jwt.Token) error { return token.Set(claim, value) }
}

func withValidator(t testing.TB, options map[string]string) sentrytest.Option {
	t.Helper()
	text, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	return sentrytest.Configuration(t, fmt.Sprintf("spec: {mtls: {tokenValidators: [{name: jwks, options: %s}]}}", text))
}

func withToken(t testing.TB, token string) *sentryv1.SignCertificateRequest {
	r := request(t)
	r.Token, r.TokenValidator = token, sentryv1.SignCertificateRequest_JWKS
	return r
}

func TestTokens(t *testing.T) {
	known, stranger := newSigner(t, "1"), newSigner(t, "1")
	c := dial(t, sentrytest.Start(t, withValidator(t, map[string]string{"source": keySet(t, known)})))
	tests := map[string]struct {
		token  string
		change func(*sentryv1.SignCertificateRequest)
		code   codes.Code
		text   string
	}{
		"in order":            {token: known.token(t, nil)},
		"no token":            {"", nil, codes.PermissionDenied, "the request does not contain a token"},
		"no JWT":              {"abc", nil, codes.PermissionDenied, "token validation failed: "},
		"a stranger's":        {stranger.token(t, nil), nil, codes.PermissionDenied, "token validation failed: "},
		"for somebody else":   {known.token(t, with(jwt.AudienceKey, "x")), nil, codes.PermissionDenied, "token validation failed: "},
		"of somebody else":    {known.token(t, with(jwt.SubjectKey, "spiffe://public/ns/ns1/app2")), nil, codes.PermissionDenied, "token validation failed: "},
		"expired":             {known.token(t, with(jwt.ExpirationKey, time.Now().Add(-6*time.Minute))), nil, codes.PermissionDenied, "token validation failed: "},
		"expired within skew": {token: known.token(t, with(jwt.ExpirationKey, time.Now().Add(-4*time.Minute)))},
		"not yet":             {known.token(t, with(jwt.NotBeforeKey, time.Now().Add(6*time.Minute))), nil, codes.PermissionDenied, "token validation failed: "},
		"without an end":      {known.token(t, func(token jwt.Token) error { return token.Remove(jwt.ExpirationKey) }), nil, codes.PermissionDenied, "token validation failed: "},
		"another trust domain": {known.token(t, nil), func(r *sentryv1.SignCertificateRequest) { r.TrustDomain = "example.org" },
			codes.PermissionDenied, "token validation failed: "},
		"another namespace": {known.token(t, nil), func(r *sentryv1.SignCertificateRequest) { r.Namespace = "ns2" }, codes.PermissionDenied, "token validation failed: "},
		"no validator named": {known.token(t, nil), func(r *sentryv1.SignCertificateRequest) { r.TokenValidator = 0 },
			codes.InvalidArgument, "a validator name must be specified in this environment"},
		"insecure": {known.token(t, nil), func(r *sentryv1.SignCertificateRequest) { r.TokenValidator = 1 }, codes.InvalidArgument, "the requested validator is not enabled"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := withToken(t, test.token)
			if test.change != nil {
				test.change(r)
			}
			_, err := call(t, c, r)
			if got := status.Convert(err); got.Code() != test.code || !strings.HasPrefix(got.Message(), test.text) {
				t.Errorf("%s %q, want %s %q", got.Code(), got.Message(), test.code, test.text)
			}
		})
	}
}

// TestKeysOfFile: a file is read again for each token, and half of one changes nothing.
func TestKeysOfFile(t *testing.T) {
	first, second := newSigner(t, "1"), newSigner(t, "2")
	path := filepath.Join(t.TempDir(), "jwks.json")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(keySet(t, first))
	c := dial(t, sentrytest.Start(t, withValidator(t, map[string]string{"source": path})))
	if _, err := call(t, c, withToken(t, first.token(t, nil))); err != nil {
		t.Error(err)
	}
	write(`{"keys": [`)
	if _, err := call(t, c, withToken(t, first.token(t, nil))); err != nil {
		t.Error(err)
	}
	write(keySet(t, second))
	if _, err := call(t, c, withToken(t, second.token(t, nil))); err != nil {
		t.Error(err)
	}
	if _, err := call(t, c, withToken(t, first.token(t, nil))); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a key that was taken away: %v", err)
	}
}

// TestKeysOverHTTPS: the set is downloaded when it is needed, at most once in the interval, and kept while its server
// is ill.
func TestKeysOverHTTPS(t *testing.T) {
	first, second := newSigner(t, "1"), newSigner(t, "2")
	var (
		shown atomic.Value
		asked atomic.Int32
	)
	shown.Store("")
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if text := shown.Load().(string); text != "" {
			_, _ = w.Write([]byte(text))
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	clock := new(clock)
	clock.set(time.Now())
	s := sentrytest.Start(t, sentrytest.Clock(clock.now), withValidator(t, map[string]string{"source": server.URL, "caCertificate": ca, "minRefreshInterval": "1m"}))
	c := dialAt(t, s, clock.now)
	want := func(signer *signer, code codes.Code, times int32) {
		t.Helper()
		if _, err := call(t, c, withToken(t, signer.token(t, nil))); status.Code(err) != code {
			t.Errorf("%v, want %s", err, code)
		}
		if asked.Load() != times {
			t.Errorf("the server was asked %d times, want %d", asked.Load(), times)
		}
	}
	want(first, codes.Unavailable, 1)
	shown.Store(keySet(t, first))
	want(first, codes.OK, 2)
	shown.Store(keySet(t, second))
	want(first, codes.OK, 2)
	clock.set(clock.now().Add(time.Minute))
	want(second, codes.OK, 3)
	shown.Store("")
	clock.set(clock.now().Add(time.Minute))
	want(second, codes.OK, 4)
}
