package security

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	"go.uber.org/goleak"

	"github.com/daprd/daprd/pkg/security/securitytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const cartID = "spiffe://public/ns/default/cart"

// identityOf gives an identity of the authority's id that trusts roots, and its log.
func identityOf(t *testing.T, authority *securitytest.Authority, roots ...*securitytest.Authority) (*Identity, *test.Hook) {
	t.Helper()
	log, hook := test.NewNullLogger()
	log.Level = logrus.DebugLevel
	text := ""
	for _, root := range append(roots, authority) {
		text += root.Root()
	}
	anchors, err := NewAnchors(text, "", log)
	if err != nil {
		t.Fatal(err)
	}
	i := NewIdentity("cart", log, nil)
	i.Establish(anchors, authority)
	return i, hook
}

func obtained(t *testing.T, i *Identity) *Identity {
	t.Helper()
	if err := i.Obtain(t.Context()); err != nil {
		t.Fatal(err)
	}
	return i
}

// shake makes a TLS connection and gives what each side says of it. The server's word is that of its first read.
func shake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	answered := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			answered <- err
			return
		}
		defer conn.Close()
		secured := tls.Server(conn, server)
		if err = secured.HandshakeContext(t.Context()); err == nil {
			_, err = secured.Write([]byte("!"))
		}
		answered <- err
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	secured := tls.Client(conn, client)
	if clientErr = secured.HandshakeContext(t.Context()); clientErr == nil {
		_, clientErr = secured.Read(make([]byte, 1)) // a server that refuses says so after the client's handshake
	}
	conn.Close()
	return <-answered, clientErr
}

// TestPeers: who may connect to whom, and what the refusals say.
func TestPeers(t *testing.T) {
	mesh := securitytest.New(cartID)
	server, serverLog := identityOf(t, mesh)
	obtained(t, server)
	for name, c := range map[string]struct {
		caller *securitytest.Authority
		// of makes the caller's certificate one of mesh, changed.
		change func(*x509.Certificate)
		asks   Peer
		// wants are parts of the errors of both sides, "" for none.
		server, client string
	}{
		"the same mesh":              {asks: Peer{Namespace: "default", AppID: "cart"}},
		"its trust domain, too":      {asks: Peer{TrustDomain: "public", Namespace: "default", AppID: "cart"}},
		"another app":                {asks: Peer{Namespace: "default", AppID: "other"}, server: "bad certificate", client: "the certificate shown is not that of spiffe://*/ns/default/other: it is that of spiffe://public/ns/default/cart"},
		"another namespace":          {asks: Peer{Namespace: "prod", AppID: "cart"}, server: "bad certificate", client: "not that of spiffe://*/ns/prod/cart"},
		"another trust domain":       {asks: Peer{TrustDomain: "else", Namespace: "default", AppID: "cart"}, server: "bad certificate", client: "not that of spiffe://else/ns/default/cart"},
		"a caller of a foreign root": {caller: securitytest.New(cartID), asks: Peer{Namespace: "default", AppID: "cart"}, server: `none of the trust anchors vouches for its issuer "O=test"`, client: "bad certificate"},
		"an expired caller":          {change: func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, asks: Peer{Namespace: "default", AppID: "cart"}, server: "expired 1m", client: "bad certificate"},
		"a caller that is ahead": {change: func(c *x509.Certificate) {
			c.NotBefore = time.Now().Add(time.Hour)
			c.NotAfter = time.Now().Add(2 * time.Hour)
		}, asks: Peer{Namespace: "default", AppID: "cart"}, server: "valid only in ", client: "bad certificate"},
		"a caller without an id":     {change: func(c *x509.Certificate) { c.URIs, c.DNSNames = nil, []string{"cart"} }, asks: Peer{Namespace: "default", AppID: "cart"}, server: "want a certificate with one SPIFFE id, got 0 URIs", client: "bad certificate"},
		"a caller with two ids":      {change: func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0]) }, asks: Peer{Namespace: "default", AppID: "cart"}, server: "got 2 URIs", client: "bad certificate"},
		"a caller of another scheme": {change: func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "https", Host: "a"}} }, asks: Peer{Namespace: "default", AppID: "cart"}, server: "https://a is no SPIFFE id", client: "bad certificate"},
		"a caller for servers only":  {change: func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }, asks: Peer{Namespace: "default", AppID: "cart"}, server: "incompatible key usage", client: "bad certificate"},
		"a caller that may sign": {change: func(c *x509.Certificate) {
			c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
		}, asks: Peer{Namespace: "default", AppID: "cart"}, server: "is a certificate authority's", client: "bad certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			authority, roots := c.caller, []*securitytest.Authority{mesh}
			if authority == nil {
				authority, roots = mesh, nil
			}
			caller, _ := identityOf(t, authority, roots...)
			obtained(t, caller)
			config := caller.ClientConfig(c.asks)
			if c.change != nil {
				odd, err := mesh.Certificate(c.change)
				if err != nil {
					t.Fatal(err)
				}
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return odd, nil }
			}
			serverErr, clientErr := shake(t, server.ServerConfig(), config)
			for side, got := range map[string]error{c.server + "\x00server": serverErr, c.client + "\x00client": clientErr} {
				want, who, _ := strings.Cut(side, "\x00")
				if want == "" != (got == nil) || want != "" && !strings.Contains(got.Error(), want) {
					t.Errorf("the %s says %v", who, got)
				}
			}
		})
	}
	for _, entry := range serverLog.AllEntries() {
		if entry.Level != logrus.WarnLevel || !strings.HasPrefix(entry.Message, "a call from another sidecar is refused: its certificate is not trusted: ") {
			t.Errorf("%s: %s", entry.Level, entry.Message)
		}
	}
	if n := len(serverLog.AllEntries()); n == 0 || n > 4 {
		t.Errorf("%d lines about refused callers", n)
	}
}

// TestOldTLS: neither side speaks less than TLS 1.2.
func TestOldTLS(t *testing.T) {
	i, _ := identityOf(t, securitytest.New(cartID))
	obtained(t, i)
	cart := Peer{Namespace: "default", AppID: "cart"}
	old := func(c *tls.Config) *tls.Config {
		c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		return c
	}
	if serverErr, _ := shake(t, i.ServerConfig(), old(i.ClientConfig(cart))); serverErr == nil {
		t.Error("the server takes TLS 1.1")
	}
	if _, clientErr := shake(t, old(i.ServerConfig()), i.ClientConfig(cart)); clientErr == nil {
		t.Error("the client takes TLS 1.1")
	}
}

// TestRenewal: a certificate is renewed at about half of its lifetime, and the one in use stays until there is another.
func TestRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		authority := securitytest.New(cartID)
		authority.TTL = 24 * time.Hour
		var away atomic.Bool
		authority.Fail = func() error {
			if away.Load() {
				return errors.New("away")
			}
			return nil
		}
		i, log := identityOf(t, authority)
		obtained(t, i)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); i.Run(ctx) }()
		time.Sleep(9 * time.Hour)
		if n := authority.Signed(); n != 1 {
			t.Errorf("%d certificates after 9 h", n)
		}
		time.Sleep(4 * time.Hour)
		if n := authority.Signed(); n != 2 {
			t.Errorf("%d certificates after 13 h", n)
		}
		away.Store(true)
		before := i.Expires()
		time.Sleep(30 * time.Hour)
		if i.Expires() != before {
			t.Error("the certificate changed")
		}
		if _, err := i.certificate(); err != nil {
			t.Error(err)
		}
		away.Store(false)
		time.Sleep(longestBackoff)
		if n := authority.Signed(); n != 3 {
			t.Errorf("%d certificates when sentry is back", n)
		}
		cancel()
		<-done
		var lines []string
		for _, entry := range log.AllEntries() {
			if entry.Level < logrus.DebugLevel {
				lines = append(lines, entry.Level.String()+" "+entry.Message)
			}
		}
		for n, want := range []string{"info the workload certificate is renewed. current cert expires on: ",
			"error the workload certificate could not be renewed; it is tried again until it works, and the one in use is good until ",
			"info the workload certificate is renewed after failures for "} {
			if n >= len(lines) || !strings.HasPrefix(lines[n], want) {
				t.Fatalf("log: %q", lines)
			}
		}
		if len(lines) != 3 {
			t.Errorf("log: %q", lines)
		}
	})
}

// TestObtain: the first certificate is asked for five times within fifteen seconds; what cannot be used is no certificate.
func TestObtain(t *testing.T) {
	for name, c := range map[string]struct {
		alter func(a *securitytest.Authority)
		want  string
		tries int
	}{
		"at once": {func(*securitytest.Authority) {}, "", 1},
		"the third": {func(a *securitytest.Authority) {
			n := 0
			a.Fail = func() error {
				if n++; n < 3 {
					return errors.New("away")
				}
				return nil
			}
		}, "", 3},
		"never": {func(a *securitytest.Authority) { a.Fail = func() error { return errors.New("away") } }, "error from authenticator CreateSignedWorkloadCert: away", 5},
		"expired": {func(a *securitytest.Authority) {
			a.Change = func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }
		}, "expired 1h", 5},
		"for another root": {func(a *securitytest.Authority) { *a = *securitytest.New(cartID) }, "none of the trust anchors vouches for", 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				authority := securitytest.New(cartID)
				i, _ := identityOf(t, authority)
				c.alter(authority)
				began := time.Now()
				err := i.Obtain(t.Context())
				if c.want == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Error(err)
				}
				if took := time.Since(began); took > time.Duration(c.tries)*tryTime || took < time.Duration(c.tries-1)*tryTime { // the time of a bubble
					t.Errorf("it took %s", took)
				}
				if err := i.Obtain(t.Context()); c.want == "" && (err != nil || authority.Signed() != 1) {
					t.Errorf("asked again: %v, %d", err, authority.Signed())
				}
			})
		})
	}
}

// TestRenewalOfConnections: what is connected stays connected when the certificate is renewed, and new connections show
// the new one.
func TestRenewalOfConnections(t *testing.T) {
	authority := securitytest.New(cartID)
	i, _ := identityOf(t, authority)
	obtained(t, i)
	server := i.ServerConfig()
	first, err := server.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, err := server.GetCertificate(nil)
	if err != nil || first == second {
		t.Errorf("the certificate is the same, %v", err)
	}
	if serverErr, clientErr := shake(t, server, i.ClientConfig(Peer{Namespace: "default", AppID: "cart"})); serverErr != nil || clientErr != nil {
		t.Error(serverErr, clientErr)
	}
}

// TestNamedAnchors: a root that sentry names is trusted from the next certificate on, beside those that were given; what is no
// root is not.
func TestNamedAnchors(t *testing.T) {
	authority, next := securitytest.New(cartID), securitytest.New(cartID)
	i, log := identityOf(t, authority)
	obtained(t, i)
	other, _ := identityOf(t, next, authority)
	obtained(t, other)
	connect := func() error {
		serverErr, _ := shake(t, i.ServerConfig(), other.ClientConfig(Peer{Namespace: "default", AppID: "cart"}))
		return serverErr
	}
	if err := connect(); err == nil || !strings.Contains(err.Error(), "none of the trust anchors vouches for") {
		t.Error(err)
	}
	leaf, err := authority.Certificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	before, changed := i.anchors.PEM()
	if string(before) != authority.Root() {
		t.Errorf("the roots are %s", before)
	}
	authority.Named = next.Root() + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}))
	for range 2 {
		if err := i.renew(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := connect(); err != nil {
		t.Error(err)
	}
	<-changed
	after, unchanged := i.anchors.PEM()
	if string(after) != authority.Root()+next.Root() {
		t.Errorf("the roots are %s", after)
	}
	if err := i.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-unchanged:
		t.Error("the same roots are told of as others")
	default:
	}
	if entries := log.AllEntries(); len(entries) != 2 || !strings.HasPrefix(entries[1].Message, "sentry names a further trust anchor, good until ") {
		t.Errorf("log: %v", entries)
	}
	if len(i.anchors.named) != 1 {
		t.Errorf("%d roots are named", len(i.anchors.named))
	}
}

// TestAnchors: a file of roots is followed; what cannot be read leaves those before in force.
func TestAnchors(t *testing.T) {
	one, two := securitytest.New(cartID), securitytest.New(cartID)
	file := filepath.Join(t.TempDir(), "ca.crt")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write(one.Root())
	log, hook := test.NewNullLogger()
	anchors, err := NewAnchors("", file, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); anchors.Watch(ctx) }()
	trusts := func(a *securitytest.Authority) bool {
		c, err := a.Certificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		_, err = verified(tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}, anchors.Roots(), time.Now(), x509.ExtKeyUsageServerAuth)
		return err == nil
	}
	eventually := func(what string, happened func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !happened(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
		}
	}
	if !trusts(one) || trusts(two) {
		t.Error("at first")
	}
	// The file is written again while nobody has seen it: the watching begins at some moment.
	eventually("both", func() bool { write(one.Root() + two.Root()); return trusts(one) && trusts(two) })
	write("nothing")
	eventually("the log", func() bool {
		for _, entry := range hook.AllEntries() {
			if strings.Contains(entry.Message, "the trust anchors stay what they were: there is no certificate in PEM form in "+file) {
				return true
			}
		}
		return false
	})
	if !trusts(one) || !trusts(two) {
		t.Error("after a file without roots")
	}
	cancel()
	<-done
	for _, c := range [][3]string{{"", "", "couldn't find trust anchors in environment variable DAPR_TRUST_ANCHORS"}, {"x", "", "there is no certificate in PEM form in DAPR_TRUST_ANCHORS"},
		{"", "/none", "read the trust anchors: open /none"}, {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "", "trust anchor 1 in DAPR_TRUST_ANCHORS"}} {
		if _, err := NewAnchors(c[0], c[1], log); err == nil || !strings.HasPrefix(err.Error(), c[2]) {
			t.Errorf("%v: %v", c, err)
		}
	}
}
