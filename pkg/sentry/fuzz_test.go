package sentry

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	sentryv1 "github.com/daprd/daprd/pkg/proto/sentry/v1"
)

// FuzzCSR: whatever has a public key can be signed for.
func FuzzCSR(f *testing.F) {
	for _, seed := range []string{"", "garbage", "-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n",
		"-----BEGIN CERTIFICATE-----\nMIGLMD8CAQAwDDEKMAgGA1UEAwwBeDAqMAUGAytlcAMhAAyIvYcSzkclSYNeGxGA\nCnJAscYE2n0V3u+tv12e8fu8oAAwBQYDK2VwA0EAUaHpFk+m6a7mcb3OuwqJKrH4\n" +
			"T3j5R0qmdqNfHOh/GQM/E6PZpTA0WYUbqub9hfn52hGx6f0gWIzZ5UtsqUKQCg==\n-----END CERTIFICATE-----\n"} {
		f.Add([]byte(seed))
	}
	a, _ := start(f, new(memory), newClock(began))
	a.mustRefresh(f)
	who := named(f, "app")
	f.Fuzz(func(t *testing.T, csr []byte) {
		key, err := publicKey(csr)
		if err != nil {
			return
		}
		if block, _ := pem.Decode(csr); block == nil {
			t.Error("a key was found outside of PEM")
		}
		if _, err := a.sign(who, key); err != nil {
			t.Errorf("a key of type %T is not signed for: %v", key, err)
		}
	})
}

// FuzzIdentity: a request that is in order gets a certificate that peers of Dapr 1.18 accept, for the namespace and the
// app that it names and no other.
func FuzzIdentity(f *testing.F) {
	for _, seed := range [][3]string{{"public", "ns1", "app1"}, {"", "default", "a_b-c"}, {"a/b", "..", "."}, {"td", "ns", "a/../b"},
		{"spiffe://td/x", "ns", "a%2fb"}, {"td", "n\x00", "Ä"}, {".", "0", "0"}, {"a..b", "n", "a"}, {"td", "a.b", "-x-"}, {"td", "n", "0123456789012345678901234567890123456789012345678901234567890123"}} {
		f.Add(seed[0], seed[1], seed[2])
	}
	a, _ := start(f, new(memory), newClock(began))
	a.mustRefresh(f)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(f, err)
	f.Fuzz(func(t *testing.T, domain, namespace, id string) {
		request := &sentryv1.SignCertificateRequest{TrustDomain: domain, Namespace: namespace, Id: id, CertificateSigningRequest: []byte("x")}
		asked, err := requestedDomain(request)
		if check(request) != nil || err != nil {
			return
		}
		who, err := newIdentity(asked, namespace, id)
		if err != nil {
			return
		}
		if want := "/ns/" + namespace + "/" + id; who.id.Path() != want {
			t.Fatalf("the ID is %s, want the path %s", who.id, want)
		}
		made, err := a.sign(who, key.Public())
		must(t, err)
		anchors, err := x509bundle.Parse(who.id.TrustDomain(), made.trust)
		must(t, err)
		got, _, err := x509svid.Verify(made.chain, anchors, x509svid.WithTime(began))
		if err != nil || got != who.id {
			t.Errorf("peers take it for %s: %v", got, err)
		}
	})
}

// FuzzBundle: a bundle that can be read can be written, and signs.
func FuzzBundle(f *testing.F) {
	m := new(memory)
	a, _ := start(f, m, newClock(began))
	a.mustRefresh(f)
	f.Add(m.held.anchors, m.held.chain, m.held.key)
	f.Add(m.held.anchors+m.held.anchors, m.held.chain+m.held.anchors, "x"+m.held.key)
	f.Add("a", "b", "c")
	f.Fuzz(func(t *testing.T, anchors, chain, key string) {
		b, err := parse(texts{anchors: anchors, chain: chain, key: key})
		if err != nil {
			return
		}
		again, err := b.encode()
		must(t, err)
		if _, err := parse(again); err != nil {
			t.Error(err)
		}
	})
}

// FuzzToken: a token is believed only where its claims are those that the owner of the key has signed.
func FuzzToken(f *testing.F) {
	a, _ := start(f, new(memory), newClock(began))
	a.withTokens(time.Hour)
	a.mustRefresh(f)
	app := named(f, "app")
	made, err := a.signTokens(app, []string{a.own.id.String()})
	must(f, err)
	good := made.each[a.own.id.String()]
	header, rest, _ := strings.Cut(good, ".")
	claims, signature, _ := strings.Cut(rest, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	symmetric := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`))
	for _, seed := range []string{good, "", ".", "..", "...", good + ".", good + "x", header + "." + claims + ".", none + "." + claims + ".", none + "." + claims + "." + signature,
		symmetric + "." + claims + "." + signature, header + "..", `{"payload":"` + claims + `","signatures":[{"protected":"` + header + `","signature":"` + signature + `"}]}`,
		`{"payload":"` + claims + `","signatures":[]}`, strings.Repeat("a.", 1000), strings.Repeat("{", 1000)} {
		f.Add(seed)
	}
	v := &jwks{keys: &keySet{now: a.now, refresh: time.Hour, read: func(context.Context) (jwk.Set, error) { return a.held.Load().tokens.set, nil }}, audience: a.own.id, now: a.now}
	request := func(token string) *sentryv1.SignCertificateRequest {
		return &sentryv1.SignCertificateRequest{TrustDomain: app.id.TrustDomain().Name(), Namespace: app.namespace, Id: app.appID, Token: token}
	}
	if _, err := v.validate(f.Context(), request(good)); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, token string) {
		_, err := v.validate(t.Context(), request(token))
		if err == nil && !strings.Contains(token, claims) {
			t.Errorf("%q is believed", token)
		}
	})
}
