package security

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus/hooks/test"

	"github.com/daprd/daprd/pkg/security/securitytest"
)

// at has an identity live at a time of its own.
func (i *Identity) at(now time.Time) *Identity {
	i.now = func() time.Time { return now }
	return i
}

// refusal is what one side must say, "" for nothing.
func refusal(t *testing.T, side string, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("the %s says %v, want %q", side, err, want)
	}
}

// TestClocks: certificates live an hour, and are good from a quarter of an hour before they were made. Clocks that differ by
// less are no matter; where they differ by more, the side that refuses says by how much, whichever side that is.
func TestClocks(t *testing.T) {
	noon := time.Now().Truncate(time.Second) // as certificates tell times
	cart := Peer{Namespace: "default", AppID: "cart"}
	for name, c := range map[string]struct {
		server, client       time.Duration // the clocks, as they differ from the authority's
		wantServer, wantPeer string
	}{
		"the same":                         {0, 0, "", ""},
		"both early within the skew":       {-14 * time.Minute, -14 * time.Minute, "", ""},
		"both late within the life":        {59 * time.Minute, 59 * time.Minute, "", ""},
		"as far apart as may be":           {-14 * time.Minute, 59 * time.Minute, "", ""},
		"the server is too early":          {-16 * time.Minute, 0, "valid only in 1m", "bad certificate"},
		"the server is too late":           {61 * time.Minute, 0, "expired 1m", "bad certificate"},
		"the client is too early":          {0, -16 * time.Minute, "bad certificate", "valid only in 1m"},
		"the client is too late":           {0, 61 * time.Minute, "bad certificate", "expired 1m"},
		"the server is a day behind":       {-24 * time.Hour, 0, "valid only in 23h45m", "bad certificate"},
		"the client is years ahead":        {0, 10 * 365 * 24 * time.Hour, "bad certificate", "expired 87599h"},
		"neither is in time, client first": {2 * time.Hour, 2 * time.Hour, "bad certificate", "expired 1h"},
	} {
		t.Run(name, func(t *testing.T) {
			authority := securitytest.New(cartID)
			authority.Now = func() time.Time { return noon }
			server, _ := identityOf(t, authority)
			client, _ := identityOf(t, authority)
			// Both have their certificates from a time at which all clocks agreed.
			obtained(t, server.at(noon))
			obtained(t, client.at(noon))
			server.at(noon.Add(c.server))
			client.at(noon.Add(c.client))
			serverErr, clientErr := shake(t, server.ServerConfig(), client.ClientConfig(cart))
			refusal(t, "server", serverErr, c.wantServer)
			refusal(t, "client", clientErr, c.wantPeer)
		})
	}
}

// TestServersOfOthers: the side that calls refuses as the one that is called does, and says why, before it has sent anything.
func TestServersOfOthers(t *testing.T) {
	mesh := securitytest.New(cartID)
	client, _ := identityOf(t, mesh)
	obtained(t, client)
	foreign := securitytest.New(cartID)
	for name, c := range map[string]struct {
		by     *securitytest.Authority
		change func(*x509.Certificate)
		want   string
	}{
		"a foreign root": {foreign, nil, "none of the trust anchors vouches for its issuer"},
		"expired":        {mesh, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }, "expired 1h"},
		"not yet valid": {mesh, func(c *x509.Certificate) {
			c.NotBefore = time.Now().Add(time.Hour)
			c.NotAfter = c.NotBefore.Add(time.Hour)
		}, "valid only in "},
		"for calls only":   {mesh, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }, "incompatible key usage"},
		"without an id":    {mesh, func(c *x509.Certificate) { c.URIs = nil }, "want a certificate with one SPIFFE id, got 0 URIs"},
		"two ids":          {mesh, func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0]) }, "got 2 URIs"},
		"a name and no id": {mesh, func(c *x509.Certificate) { c.URIs, c.DNSNames = nil, []string{"cart.default.svc.cluster.local"} }, "got 0 URIs"},
		"an authority's": {mesh, func(c *x509.Certificate) {
			c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
		}, "is a certificate authority's"},
	} {
		t.Run(name, func(t *testing.T) {
			shown, err := c.by.Certificate(c.change)
			if err != nil {
				t.Fatal(err)
			}
			server := &tls.Config{Certificates: []tls.Certificate{*shown}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
			serverErr, clientErr := shake(t, server, client.ClientConfig(Peer{Namespace: "default", AppID: "cart"}))
			refusal(t, "client", clientErr, c.want)
			refusal(t, "server", serverErr, "bad certificate")
		})
	}
}

// TestRevokedRoot: when a root leaves the file of trust anchors, those whom it alone vouched for are refused from the next
// connection on, and the refusal says so; those of the root that stays are not.
func TestRevokedRoot(t *testing.T) {
	revoked, kept := securitytest.New(cartID), securitytest.New(cartID)
	file := filepath.Join(t.TempDir(), "ca.crt")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(revoked.Root() + kept.Root())
	log, _ := test.NewNullLogger()
	anchors, err := NewAnchors("", file, log)
	if err != nil {
		t.Fatal(err)
	}
	server := NewIdentity("cart", log, nil)
	server.Establish(anchors, kept)
	obtained(t, server)
	old, _ := identityOf(t, revoked, kept)
	obtained(t, old)
	other, _ := identityOf(t, kept)
	obtained(t, other)
	connect := func(caller *Identity) error {
		serverErr, _ := shake(t, server.ServerConfig(), caller.ClientConfig(Peer{Namespace: "default", AppID: "cart"}))
		return serverErr
	}
	refusal(t, "server before", connect(old), "")
	write(kept.Root())
	if changed, err := anchors.read(); err != nil || !changed {
		t.Fatal(changed, err)
	}
	refusal(t, "server after", connect(old), "none of the trust anchors vouches for its issuer")
	refusal(t, "server to those of the other root", connect(other), "")

	// What sentry names is in force as long as it does, no longer.
	kept.Named = revoked.Root()
	if err := server.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	refusal(t, "server while sentry names it", connect(old), "")
	kept.Named = kept.Root()
	if err := server.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	refusal(t, "server when sentry names it no more", connect(old), "none of the trust anchors vouches for its issuer")
}
