package sentry_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sentryv1 "github.com/daprd/daprd/pkg/proto/sentry/v1"
	"github.com/daprd/daprd/pkg/sentry"
	"github.com/daprd/daprd/pkg/sentry/sentrytest"
)

// withJWT has an authority make tokens.
func withJWT(change func(*sentry.Config)) sentrytest.Option {
	return func(c *sentry.Config, _ *sentry.Deps) {
		c.JWT.Enabled = true
		if change != nil {
			change(c)
		}
	}
}

// claims are the header and the claims of a token, but for its id, which must be 32 hexadecimal digits.
func claims(t testing.TB, token string) map[string]any {
	t.Helper()
	message, err := jws.ParseString(token)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{}
	if err := json.Unmarshal(message.Payload(), &all); err != nil {
		t.Fatal(err)
	}
	if id, _ := all["jti"].(string); len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" {
		t.Errorf("jti %q", all["jti"])
	}
	delete(all, "jti")
	header := message.Signatures()[0].ProtectedHeaders()
	algorithm, _ := header.Algorithm()
	id, _ := header.KeyID()
	kind, _ := header.Type()
	all["header"] = []string{algorithm.String(), id, kind}
	return all
}

// TestRecordedTokens: under the bundle that Dapr's sentry had, the same requests get the same tokens, but for their ids;
// those that were recorded are good under our key set, and the set stays what it was.
func TestRecordedTokens(t *testing.T) {
	folder := bundleOf(t, "1.18.3")
	for _, name := range []string{"jwt.key", "jwks.json"} {
		if err := os.WriteFile(filepath.Join(folder, name), testdata(t, "1.18.3", name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	clock := new(clock)
	clock.set(time.Date(2026, 11, 22, 14, 16, 50, 0, time.UTC))
	s := sentrytest.Start(t, sentrytest.Folder(folder), sentrytest.Clock(clock.now), withJWT(func(c *sentry.Config) {
		c.TrustDomain, c.Namespace = "cluster.local", "dapr-system"
	}))
	c := dialAt(t, s, clock.now)
	compared := 0
	for _, step := range recordings(t, "1.18.3") {
		if len(step.Exchange.Response) == 0 {
			continue
		}
		want := step.response(t)
		clock.set(want.GetValidUntil().AsTime().Add(-24 * time.Hour))
		got, err := call(t, c, step.request(t))
		if err != nil {
			t.Fatalf("%s: %v", step.Name, err)
		}
		if diff := cmp.Diff(claims(t, want.GetJwt().GetValue()), claims(t, got.GetJwt().GetValue())); diff != "" {
			t.Errorf("%s: -want +got:\n%s", step.Name, diff)
		}
		if len(got.GetPerAudienceJwts()) != len(want.GetPerAudienceJwts()) {
			t.Errorf("%s: %d tokens of one audience, want %d", step.Name, len(got.GetPerAudienceJwts()), len(want.GetPerAudienceJwts()))
		}
		for audience, token := range want.GetPerAudienceJwts() {
			compared++
			if diff := cmp.Diff(claims(t, token.GetValue()), claims(t, got.GetPerAudienceJwts()[audience].GetValue())); diff != "" {
				t.Errorf("%s, %s: -want +got:\n%s", step.Name, audience, diff)
			}
			checkToken(t, keysOf(t, folder), token.GetValue(), audience, clock.now())
		}
	}
	if compared < 5 {
		t.Errorf("%d tokens were compared", compared)
	}
	text, err := os.ReadFile(filepath.Join(folder, "jwks.json"))
	if err != nil || string(text) != string(testdata(t, "1.18.3", "jwks.json")) {
		t.Errorf("the key set was changed: %s %v", text, err)
	}
}

func keysOf(t testing.TB, folder string) jwk.Set {
	t.Helper()
	set, err := jwk.ReadFile(filepath.Join(folder, "jwks.json"))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// checkToken checks as somebody does who has the key set alone.
func checkToken(t testing.TB, set jwk.Set, token, audience string, now time.Time) {
	t.Helper()
	_, err := jwt.ParseString(token, jwt.WithKeySet(set), jwt.WithAudience(audience), jwt.WithClock(jwt.ClockFunc(func() time.Time { return now })))
	if err != nil {
		t.Errorf("the token for %s: %v", audience, err)
	}
}

// TestTokenKeys: an empty folder gets a key of the algorithm that was asked for, its public half alone is in the set, and
// a second start uses both.
func TestTokenKeys(t *testing.T) {
	for _, algorithm := range []string{"RS256", "PS384", "ES256", "ES512", "EdDSA"} {
		t.Run(algorithm, func(t *testing.T) {
			folder := t.TempDir()
			var held []byte
			for range 2 {
				s := sentrytest.Start(t, sentrytest.Folder(folder), withJWT(func(c *sentry.Config) { c.JWT.Algorithm, c.JWT.Issuer = algorithm, "https://sentry" }))
				response, err := call(t, dial(t, s), request(t))
				if err != nil {
					t.Fatal(err)
				}
				set, token := keysOf(t, folder), response.GetJwt().GetValue()
				checkToken(t, set, token, "public", time.Now())
				if got := claims(t, token)["iss"]; got != "https://sentry" {
					t.Errorf("issuer %v", got)
				}
				text, err := os.ReadFile(filepath.Join(folder, "jwks.json"))
				if err != nil {
					t.Fatal(err)
				}
				if key, _ := set.Key(0); set.Len() != 1 || private(key) || strings.Contains(string(text), `"d"`) {
					t.Errorf("the set is %s", text)
				}
				if held != nil && string(held) != string(text) {
					t.Errorf("the second start has another set: %s, then %s", held, text)
				}
				held = text
				info, err := os.Stat(filepath.Join(folder, "jwt.key"))
				if err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("jwt.key: %v %v", info, err)
				}
				s.Stop(t)
			}
		})
	}
}

func private(key jwk.Key) bool {
	is, err := jwk.IsPrivateKey(key)
	return err != nil || is
}

// TestAudiences: what is asked for is bounded, each audience counts once, and a request without any is for the trust domain.
func TestAudiences(t *testing.T) {
	s := sentrytest.Start(t, withJWT(func(c *sentry.Config) { c.JWT.Algorithm = "ES256" }))
	c := dial(t, s)
	ask := func(audiences ...string) (*sentryv1.SignCertificateResponse, error) {
		r := request(t)
		r.JwtAudiences = audiences
		return call(t, c, r)
	}
	response, err := ask("a", "b", "a", "public")
	if err != nil {
		t.Fatal(err)
	}
	var each []string
	for audience := range response.GetPerAudienceJwts() {
		each = append(each, audience)
	}
	slices.Sort(each)
	if !slices.Equal(each, []string{"a", "b", "public"}) {
		t.Errorf("tokens for %q", each)
	}
	if got := claims(t, response.GetJwt().GetValue())["aud"]; !cmp.Equal(got, []any{"public", "a", "b"}) {
		t.Errorf("aud %v", got)
	}
	for name, audiences := range map[string][]string{"too many": make([]string, 65), "empty": {""}, "too long": {strings.Repeat("a", 2049)}} {
		if _, err := ask(audiences...); status.Code(err) != codes.PermissionDenied || !strings.Contains(status.Convert(err).Message(), "audience") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNoTokens: without the flag there are none, and files of other days stay.
func TestNoTokens(t *testing.T) {
	folder := t.TempDir()
	kept := filepath.Join(folder, "jwks.json")
	s := sentrytest.Start(t, sentrytest.Folder(folder))
	s.Stop(t)
	if err := os.WriteFile(kept, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = sentrytest.Start(t, sentrytest.Folder(folder))
	response, err := call(t, dial(t, s), request(t))
	if err != nil || response.GetJwt() != nil || response.GetPerAudienceJwts() != nil || s.OIDCAddress() != nil {
		t.Errorf("%v %v", response, err)
	}
	if text, err := os.ReadFile(kept); err != nil || string(text) != "{}" {
		t.Errorf("%q %v", text, err)
	}
}

// TestBadTokenStarts: what cannot be used ends the start with an error that says so, and no key is in it.
func TestBadTokenStarts(t *testing.T) {
	tests := map[string]struct {
		files  map[string]string
		change func(*sentry.Config)
		want   string
	}{
		"a symmetric algorithm": {nil, func(c *sentry.Config) { c.JWT.Algorithm = "HS256" }, "--jwt-signing-algorithm"},
		"no algorithm":          {nil, func(c *sentry.Config) { c.JWT.Algorithm = "none" }, "--jwt-signing-algorithm"},
		"no time":               {nil, func(c *sentry.Config) { c.JWT.TTL = 0 }, "--jwt-ttl"},
		"no file":               {nil, func(c *sentry.Config) { c.JWT.KeyFile = "" }, "--jwt-key-filename"},
		"discovery alone":       {nil, func(c *sentry.Config) { c.JWT.Enabled, c.OIDC.Enabled = false, true }, "--jwt-enabled"},
		"half a pair":           {nil, func(c *sentry.Config) { c.OIDC.Enabled, c.OIDC.KeyFile = true, "k" }, "go together"},
		"no such pair":          {nil, func(c *sentry.Config) { c.OIDC.Enabled, c.OIDC.KeyFile, c.OIDC.CertificateFile = true, "/k", "/c" }, "--oidc-server-tls-cert-file"},
		"a key of another kind": {map[string]string{"jwt.key": string(testdata(t, "1.18.3", "jwt.key"))}, func(c *sentry.Config) { c.JWT.Algorithm = "ES256" },
			"it is none for --jwt-signing-algorithm ES256"},
		"no key":            {map[string]string{"jwt.key": "s3cr3t"}, nil, "the key of tokens: it is no PEM"},
		"a set alone":       {map[string]string{"jwks.json": string(testdata(t, "1.18.3", "jwks.json"))}, nil, "the key of the JSON Web Key Set is missing"},
		"a set that is not": {map[string]string{"jwt.key": string(testdata(t, "1.18.3", "jwt.key")), "jwks.json": "s3cr3t"}, nil, "no JSON Web Key Set"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := sentrytest.Config(t)
			s := sentrytest.Start(t, sentrytest.Folder(cfg.Credentials))
			s.Stop(t)
			for file, text := range test.files {
				if err := os.WriteFile(filepath.Join(cfg.Credentials, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cfg.JWT.Enabled = true
			if test.change != nil {
				test.change(&cfg)
			}
			err := failing(t, cfg)
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// ask gets a page of the OIDC server as somebody does who trusts the anchors, under a host name of the test's.
func ask(t testing.TB, s *sentrytest.Sentry, scheme, host, path string) (int, string) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.Anchors(t))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "cluster.local"}}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, scheme+"://"+s.OIDCAddress().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		r.Host = host
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// TestDiscovery: somebody who knows the issuer alone learns of the keys over HTTPS, and can check a token with them.
func TestDiscovery(t *testing.T) {
	s := sentrytest.Start(t, withJWT(func(c *sentry.Config) {
		c.JWT.Issuer, c.OIDC.Enabled, c.OIDC.PathPrefix, c.OIDC.AllowedHosts = "https://sentry.example/mesh", true, "mesh/", []string{"sentry.example"}
	}))
	code, text := ask(t, s, "https", "sentry.example:8443", "/mesh/.well-known/openid-configuration")
	want := `{"issuer":"https://sentry.example/mesh","jwks_uri":"https://sentry.example:8443/mesh/jwks.json","response_types_supported":["id_token"],` +
		`"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["RS256"]}`
	if code != http.StatusOK || text != want {
		t.Errorf("%d %s, want %s", code, text, want)
	}
	code, text = ask(t, s, "https", "sentry.example", "/mesh/jwks.json")
	set, err := jwk.ParseString(text)
	if code != http.StatusOK || err != nil {
		t.Fatalf("%d %s %v", code, text, err)
	}
	response, err := call(t, dial(t, s), request(t))
	if err != nil {
		t.Fatal(err)
	}
	checkToken(t, set, response.GetJwt().GetValue(), "public", time.Now())
	for _, refused := range []struct {
		host, path string
		code       int
	}{{"evil.example", "/mesh/jwks.json", http.StatusForbidden}, {"evil.example", "/mesh/.well-known/openid-configuration", http.StatusForbidden},
		{"sentry.example", "/jwks.json", http.StatusNotFound}, {"sentry.example", "/mesh/jwt.key", http.StatusNotFound}} {
		if code, text := ask(t, s, "https", refused.host, refused.path); code != refused.code {
			t.Errorf("%s%s: %d %s", refused.host, refused.path, code, text)
		}
	}
}

// TestDiscoveryUnderFiles: a certificate that others trust is shown, and one that is put in its place, without a restart.
func TestDiscoveryUnderFiles(t *testing.T) {
	folder := t.TempDir()
	file, key := filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")
	put := func() *x509.Certificate {
		t.Helper()
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"sentry.example"}, NotAfter: time.Now().Add(time.Hour)}
		raw, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		for path, block := range map[string]*pem.Block{file: {Type: "CERTIFICATE", Bytes: raw}, key: {Type: "PRIVATE KEY", Bytes: der}} {
			if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		made, err := x509.ParseCertificate(raw)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	first := put()
	s := sentrytest.Start(t, withJWT(func(c *sentry.Config) {
		c.JWT.Algorithm, c.OIDC.Enabled, c.OIDC.CertificateFile, c.OIDC.KeyFile = "ES256", true, file, key
	}))
	shows := func(want *x509.Certificate) {
		t.Helper()
		roots := x509.NewCertPool()
		roots.AddCert(want)
		conn, err := tls.Dial("tcp", s.OIDCAddress().String(), &tls.Config{RootCAs: roots, ServerName: "sentry.example"})
		if err == nil {
			err = conn.Close()
		}
		if err != nil {
			t.Error(err)
		}
	}
	shows(first)
	shows(put())
}

// TestDiscoveryInClear: without TLS, with a key set that stands elsewhere.
func TestDiscoveryInClear(t *testing.T) {
	s := sentrytest.Start(t, withJWT(func(c *sentry.Config) {
		c.JWT.Algorithm, c.OIDC.Enabled, c.OIDC.TLS, c.OIDC.SetURL = "ES256", true, false, "https://elsewhere/keys"
	}))
	code, text := ask(t, s, "http", "", "/.well-known/openid-configuration")
	if code != http.StatusOK || !strings.Contains(text, `"jwks_uri":"https://elsewhere/keys"`) || !strings.Contains(text, `["ES256"]`) {
		t.Errorf("%d %s", code, text)
	}
	if code, text = ask(t, s, "http", "", "/jwks.json"); code != http.StatusOK || !strings.Contains(text, `"use":"sig"`) {
		t.Errorf("%d %s", code, text)
	}
}

// TestKubernetesTokens: the Secret holds the key, the ConfigMap the set, and no set where there are no tokens.
func TestKubernetesTokens(t *testing.T) {
	api := newAPIServer(t)
	s := sentrytest.Start(t, api.inCluster(), withJWT(nil))
	held, public := api.data(secretPath), api.data(configMapPath)
	if held["jwt.key"] == "" || held["jwks.json"] == "" || public["jwks.json"] != held["jwks.json"] || public["jwt.key"] != "" {
		t.Errorf("the Secret has %d parts, the ConfigMap holds %q", len(held), public)
	}
	s.Stop(t)
	sentrytest.Start(t, api.inCluster())
	if held, public := api.data(secretPath), api.data(configMapPath); held["jwt.key"] == "" || public["jwks.json"] != "" || public["ca.crt"] == "" {
		t.Errorf("without tokens the Secret has %d parts, the ConfigMap holds %q", len(held), public)
	}
}
