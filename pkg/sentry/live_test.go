package sentry_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/daprd/daprd/pkg/logging"
	sentryv1 "github.com/daprd/daprd/pkg/proto/sentry/v1"
	"github.com/daprd/daprd/pkg/sentry"
	"github.com/daprd/daprd/pkg/sentry/sentrytest"
)

// eventually waits until the condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("it never happened: %s", what)
		}
	}
}

// logged is a log that can be read while it is written.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

// request is one that is in order, of app1 in ns1.
func request(t testing.TB) *sentryv1.SignCertificateRequest {
	return recordings(t, "1.18.3")[0].request(t)
}

func issuerOf(t testing.TB, response *sentryv1.SignCertificateResponse) *x509.Certificate {
	t.Helper()
	return chainOf(t, response.GetWorkloadCertificate())[1]
}

// copyBundle puts the bundle of one authority in the place of another's, a file after the other.
func copyBundle(t testing.TB, from, to string) {
	t.Helper()
	for _, name := range []string{"ca.crt", "issuer.crt", "issuer.key"} {
		text, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTakeover: files that are replaced are taken over; no call fails meanwhile, and no connection breaks.
func TestTakeover(t *testing.T) {
	other := sentrytest.Start(t)
	log := new(logged)
	s := sentrytest.Start(t, sentrytest.Log(t, log))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.Anchors(t))
	var dials atomic.Int32
	conn, err := grpc.NewClient("passthrough:///"+s.Address().String(),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "cluster.local"})),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			dials.Add(1)
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := sentryv1.NewCAClient(conn)
	sign := func() *sentryv1.SignCertificateResponse {
		response, err := call(t, c, request(t))
		if err != nil {
			t.Fatal(err)
		}
		return response
	}
	before := issuerOf(t, sign())
	copyBundle(t, other.Folder, s.Folder)
	eventually(t, "certificates come from the new issuer", func() bool { return !issuerOf(t, sign()).Equal(before) })
	after := sign()
	acceptedBySPIFFE(t, chainOf(t, after.GetWorkloadCertificate()), other.Anchors(t), time.Now())
	if !bytes.Equal(after.GetTrustChainCertificates()[0], other.Anchors(t)) {
		t.Error("the trust chain is not that of the new bundle")
	}
	if dials.Load() != 1 {
		t.Errorf("%d connections were made", dials.Load())
	}
	if _, err := call(t, dial(t, s), request(t)); err != nil {
		t.Errorf("the server's own certificate is not one of the new bundle: %v", err)
	}
	if !log.has("Issuer credentials changed; reloading") {
		t.Error("the log does not tell of it")
	}
	if got := scrape(t, s); !strings.Contains(got, "dapr_sentry_issuercert_changed_total 1\n") {
		t.Errorf("the metrics do not tell of it:\n%s", got)
	}
}

// TestUnusableFiles: files that are of no use change nothing, until they are put right.
func TestUnusableFiles(t *testing.T) {
	other := sentrytest.Start(t)
	log := new(logged)
	s := sentrytest.Start(t, sentrytest.Log(t, log))
	c := dial(t, s)
	if err := os.WriteFile(filepath.Join(s.Folder, "issuer.crt"), []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an error in the log", func() bool {
		return log.has("The trust bundle is not renewed, the one before stays in use: issuer certificate: there is no certificate in PEM")
	})
	if _, err := call(t, c, request(t)); err != nil {
		t.Fatal(err)
	}
	copyBundle(t, other.Folder, s.Folder)
	eventually(t, "the good files are taken over", func() bool { return log.has("Issuer credentials changed; reloading") })
}

// failing runs an authority that is not able to start, and gives the error that tells why.
func failing(t testing.TB, cfg sentry.Config) error {
	t.Helper()
	s, err := sentry.New(cfg, sentry.Deps{Logs: logging.Discard()})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		select {
		case <-s.Ready(): // it is able to
			stop()
		case <-ctx.Done():
		}
	}()
	return s.Run(ctx)
}

// TestBadStarts: what cannot be used at the start is told.
func TestBadStarts(t *testing.T) {
	tests := map[string]struct {
		change func(t *testing.T, c *sentry.Config)
		want   string
	}{
		"half a bundle": {func(t *testing.T, c *sentry.Config) {
			c.Credentials = bundleOf(t, "1.7.1")
			if err := os.Remove(filepath.Join(c.Credentials, "issuer.key")); err != nil {
				t.Fatal(err)
			}
		}, "the trust bundle is not complete: the issuer key is missing"},
		"no Configuration": {func(_ *testing.T, c *sentry.Config) { c.Configuration = "/no/such" },
			`loading default config. couldn't find config name "/no/such": `},
		"no duration": {func(t *testing.T, c *sentry.Config) {
			sentrytest.Configuration(t, "spec: {mtls: {workloadCertTTL: a day, allowedClockSkew: -1s}}")(c, nil)
		}, `configuration's spec.mtls.workloadCertTTL: "a day": time: invalid duration "a day"`},
		"built-in validator": {func(t *testing.T, c *sentry.Config) {
			sentrytest.Configuration(t, "spec: {mtls: {tokenValidators: [{name: insecure}]}}")(c, nil)
		}, "invalid token validator: the built-in 'kubernetes' and 'insecure' validators cannot be configured manually"},
		"unknown validator": {func(t *testing.T, c *sentry.Config) {
			sentrytest.Configuration(t, "spec: {mtls: {tokenValidators: [{name: ldap}]}}")(c, nil)
		}, `invalid token validator: "ldap" (it takes jwks)`},
		"jwks without keys": {func(t *testing.T, c *sentry.Config) {
			sentrytest.Configuration(t, "spec: {mtls: {tokenValidators: [{name: jwks}]}}")(c, nil)
		}, "token validator jwks: option source: it is required"},
		"port in use": {func(t *testing.T, c *sentry.Config) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			c.Port = l.Addr().(*net.TCPAddr).Port
		}, "could not listen on any endpoint"},
		"mode":         {func(_ *testing.T, c *sentry.Config) { c.Mode = "vm" }, "invalid mode: vm (it takes standalone, kubernetes)"},
		"trust domain": {func(_ *testing.T, c *sentry.Config) { c.TrustDomain = "A b" }, `invalid value for --trust-domain: "A b"`},
		"namespace":    {func(_ *testing.T, c *sentry.Config) { c.Namespace = "" }, "environment variable NAMESPACE: "},
		"file name":    {func(_ *testing.T, c *sentry.Config) { c.KeyFile = "" }, "invalid value for --issuer-key-filename: it must not be empty"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := sentrytest.Config(t)
			test.change(t, &cfg)
			if err := failing(t, cfg); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// TestConfiguration: the Configuration's times hold.
func TestConfiguration(t *testing.T) {
	s := sentrytest.Start(t, sentrytest.Configuration(t, "kind: Configuration\nspec: {mtls: {workloadCertTTL: 1h, allowedClockSkew: 5m}}"))
	response, err := call(t, dial(t, s), request(t))
	if err != nil {
		t.Fatal(err)
	}
	leaf := chainOf(t, response.GetWorkloadCertificate())[0]
	if got := leaf.NotAfter.Sub(leaf.NotBefore); got != 65*time.Minute {
		t.Errorf("the certificate is valid for %s, skew included", got)
	}
}

// TestOwnCertificate: the server renews its own certificate at half of its time, without a restart.
func TestOwnCertificate(t *testing.T) {
	clock := new(clock)
	clock.set(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	s := sentrytest.Start(t, sentrytest.Clock(clock.now))
	shown := func() *x509.Certificate {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(s.Anchors(t))
		conn, err := tls.Dial("tcp", s.Address().String(), &tls.Config{RootCAs: roots, ServerName: "cluster.local", NextProtos: []string{"h2"}, Time: clock.now})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0]
	}
	first := shown()
	if got := first.URIs[0].String(); got != "spiffe://localhost/ns/default/dapr-sentry" || len(first.URIs) != 1 {
		t.Errorf("the server shows itself as %s", got)
	}
	clock.set(clock.now().Add(12*time.Hour - time.Second))
	if !shown().Equal(first) {
		t.Error("the certificate was renewed before its time")
	}
	clock.set(clock.now().Add(time.Second))
	if shown().Equal(first) {
		t.Error("the certificate was not renewed")
	}
}

// TestRefused: requests that are refused beyond those that were recorded.
func TestRefused(t *testing.T) {
	c := dial(t, sentrytest.Start(t))
	tests := map[string]struct {
		change func(*sentryv1.SignCertificateRequest)
		code   codes.Code
		text   string
	}{
		"dots":              {func(r *sentryv1.SignCertificateRequest) { r.Id = "a.b" }, codes.PermissionDenied, "invalid request: parameter app-id cannot contain dots: a.b"},
		"another path":      {func(r *sentryv1.SignCertificateRequest) { r.Id = "a/b" }, codes.PermissionDenied, "invalid request: namespace"},
		"another namespace": {func(r *sentryv1.SignCertificateRequest) { r.Namespace = "ns/admin" }, codes.PermissionDenied, "invalid request: namespace"},
		"namespace of dots": {func(r *sentryv1.SignCertificateRequest) { r.Namespace = ".." }, codes.PermissionDenied, "invalid request: namespace"},
		"trust domain":      {func(r *sentryv1.SignCertificateRequest) { r.TrustDomain = "a/b" }, codes.PermissionDenied, `trust domain "a/b": `},
		"no domain name":    {func(r *sentryv1.SignCertificateRequest) { r.TrustDomain = ".." }, codes.PermissionDenied, `trust domain "..": `},
		"unknown validator": {func(r *sentryv1.SignCertificateRequest) { r.TokenValidator = 9 }, codes.InvalidArgument, "the requested validator is not enabled"},
		"signature": {func(r *sentryv1.SignCertificateRequest) {
			// The last byte of the signature is in the last line.
			text := []byte(strings.Replace(string(r.CertificateSigningRequest), "4A==", "5A==", 1))
			r.CertificateSigningRequest = text
		}, codes.InvalidArgument, "invalid signature"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := request(t)
			test.change(r)
			_, err := call(t, c, r)
			if got := status.Convert(err); got.Code() != test.code || !strings.HasPrefix(got.Message(), test.text) {
				t.Errorf("%s %q, want %s %q", got.Code(), got.Message(), test.code, test.text)
			}
		})
	}
}

// TestRecordedRequests17: what a sidecar of Dapr 1.7 sends is signed. Its requests name no validator.
func TestRecordedRequests17(t *testing.T) {
	c := dial(t, sentrytest.Start(t))
	for _, step := range recordings(t, "1.7.1") {
		r := step.request(t)
		response, err := call(t, c, r)
		want := codes.OK
		switch {
		case r.GetId() == "", r.GetNamespace() == "", len(r.GetId()) > 64, len(r.GetCertificateSigningRequest()) == 0:
			want = codes.PermissionDenied // 1.7 itself takes most of them
		case !bytes.Contains(r.GetCertificateSigningRequest(), []byte("-----BEGIN")):
			want = codes.InvalidArgument // Unknown in 1.7
		}
		if got := status.Code(err); got != want {
			t.Errorf("%s: %s, want %s", step.Name, got, want)
		}
		if err == nil && len(chainOf(t, response.GetWorkloadCertificate())[0].URIs) != 1 {
			t.Errorf("%s: the certificate has not one ID", step.Name)
		}
	}
}

// TestTypeOf17: the CSR of Dapr 1.7 calls itself a certificate.
func TestTypeOf17(t *testing.T) {
	r := request(t)
	r.CertificateSigningRequest = bytes.ReplaceAll(r.CertificateSigningRequest, []byte("CERTIFICATE REQUEST"), []byte("CERTIFICATE"))
	if _, err := call(t, dial(t, sentrytest.Start(t)), r); err != nil {
		t.Error(err)
	}
}

// TestBundles: those that Dapr made go on being used, whatever the kind of their keys.
func TestBundles(t *testing.T) {
	for _, version := range []string{"1.7.1", "1.18.3"} {
		clock := new(clock)
		clock.set(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
		folder := bundleOf(t, version)
		s := sentrytest.Start(t, sentrytest.Folder(folder), sentrytest.Clock(clock.now))
		if !bytes.Equal(s.Anchors(t), testdata(t, version, "ca.crt")) {
			t.Errorf("%s: the files were changed", version)
		}
		response, err := call(t, dialAt(t, s, clock.now), request(t))
		if err != nil {
			t.Fatal(err)
		}
		acceptedByName(t, chainOf(t, response.GetWorkloadCertificate()), s.Anchors(t), clock.now())
	}
}

func get(t testing.TB, url string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
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

func scrape(t testing.TB, s *sentrytest.Sentry) string {
	t.Helper()
	_, text := get(t, "http://"+s.MetricsAddress().String()+"/")
	return text
}

func TestHealthAndMetrics(t *testing.T) {
	s := sentrytest.Start(t)
	c := dial(t, s)
	if code, _ := get(t, "http://"+s.HealthAddress().String()+"/healthz"); code != http.StatusOK {
		t.Errorf("/healthz answers %d", code)
	}
	for n := range 3 {
		r := request(t)
		if n == 0 {
			r.CertificateSigningRequest = []byte("x")
		}
		_, _ = call(t, c, r)
	}
	got := scrape(t, s)
	for _, line := range []string{
		"dapr_sentry_cert_sign_request_received_total 3", "dapr_sentry_cert_sign_success_total 2",
		`dapr_sentry_cert_sign_failure_total{reason="csr"} 1`, "dapr_sentry_issuercert_changed_total 0",
		"dapr_sentry_issuercert_expiry_timestamp ", "dapr_sentry_rootcert_expiry_timestamp ",
		`dapr_sentry_cert_expiring{certificate="root"} 0`,
	} {
		if !strings.Contains(got, "\n"+line) {
			t.Errorf("the metrics lack %q:\n%s", line, got)
		}
	}
}
