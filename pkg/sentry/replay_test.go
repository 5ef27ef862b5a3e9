package sentry_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	sentryv1 "github.com/daprd/daprd/pkg/proto/sentry/v1"
	"github.com/daprd/daprd/pkg/sentry"
	"github.com/daprd/daprd/pkg/sentry/sentrytest"
)

// recorded is a call of Dapr's sentry.
type recorded struct {
	Name     string `json:"name"`
	Exchange struct {
		Request  []message `json:"request"`
		Response []message `json:"response"`
		End      struct {
			Code    string `json:"code"`
			Number  int    `json:"code_number"`
			Message string `json:"message"`
		} `json:"end"`
	} `json:"exchange"`
}

type message struct {
	B64 []byte `json:"b64"`
}

func recordings(t testing.TB, version string) (steps []recorded) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", version, "sign.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Steps []recorded `json:"steps"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Steps) == 0 {
		t.Fatal("no calls are recorded")
	}
	return file.Steps
}

func (r *recorded) request(t testing.TB) *sentryv1.SignCertificateRequest {
	t.Helper()
	request := new(sentryv1.SignCertificateRequest)
	if err := proto.Unmarshal(r.Exchange.Request[0].B64, request); err != nil {
		t.Fatal(err)
	}
	return request
}

func (r *recorded) response(t testing.TB) *sentryv1.SignCertificateResponse {
	t.Helper()
	response := new(sentryv1.SignCertificateResponse)
	if err := proto.Unmarshal(r.Exchange.Response[0].B64, response); err != nil {
		t.Fatal(err)
	}
	return response
}

// dial connects as a sidecar of Dapr 1.18 does: it shows no certificate, and wants the server's SPIFFE ID.
func dial(t testing.TB, s *sentrytest.Sentry) sentryv1.CAClient {
	t.Helper()
	anchors, err := x509bundle.Parse(s.ID().TrustDomain(), s.Anchors(t))
	if err != nil {
		t.Fatal(err)
	}
	return client(t, s, tlsconfig.TLSClientConfig(anchors, tlsconfig.AuthorizeID(s.ID())))
}

func client(t testing.TB, s *sentrytest.Sentry, config *tls.Config) sentryv1.CAClient {
	t.Helper()
	conn, err := grpc.NewClient(s.Address().String(), grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return sentryv1.NewCAClient(conn)
}

func call(t testing.TB, c sentryv1.CAClient, request *sentryv1.SignCertificateRequest) (*sentryv1.SignCertificateResponse, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return c.SignCertificate(ctx, request)
}

// clock is one that the test sets.
type clock struct{ at atomic.Pointer[time.Time] }

func (c *clock) set(at time.Time) { c.at.Store(&at) }
func (c *clock) now() time.Time   { return *c.at.Load() }

func chainOf(t testing.TB, text []byte) (chain []*x509.Certificate) {
	t.Helper()
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, c)
	}
	return chain
}

// fields are what a certificate of Dapr's and one of ours have in common.
type fields struct {
	Subject, PublicKey, KeyAlgorithm string
	URIs                             []string
	Usage                            x509.KeyUsage
	Extended                         []x509.ExtKeyUsage
	CA, Constraints                  bool
	Skew, TTL                        time.Duration
	Critical                         []string
}

func fieldsOf(c *x509.Certificate, now time.Time) fields {
	f := fields{Subject: c.Subject.String(), KeyAlgorithm: c.PublicKeyAlgorithm.String(), PublicKey: string(c.RawSubjectPublicKeyInfo),
		Usage: c.KeyUsage, Extended: c.ExtKeyUsage, CA: c.IsCA, Constraints: c.BasicConstraintsValid,
		Skew: now.Sub(c.NotBefore), TTL: c.NotAfter.Sub(now)}
	for _, uri := range c.URIs {
		f.URIs = append(f.URIs, uri.String())
	}
	for _, e := range c.Extensions {
		if e.Critical {
			f.Critical = append(f.Critical, e.Id.String())
		}
	}
	return f
}

// TestRecordedRequests replays what Dapr's sentry was asked. The clock stands at the time of the recording, and the
// bundle is the one that it had. What differs on purpose: the leaf has a DNS name besides its ID, there are no JWTs.
func TestRecordedRequests(t *testing.T) {
	steps := recordings(t, "1.18.3")
	clock := new(clock)
	clock.set(time.Date(2026, 11, 22, 14, 16, 50, 0, time.UTC))
	s := sentrytest.Start(t, sentrytest.Folder(bundleOf(t, "1.18.3")), sentrytest.Clock(clock.now),
		func(c *sentry.Config, _ *sentry.Deps) { c.TrustDomain, c.Namespace = "cluster.local", "dapr-system" })
	c := dialAt(t, s, clock.now)
	for _, step := range steps {
		t.Run(step.Name, func(t *testing.T) {
			request := step.request(t)
			if len(step.Exchange.Response) > 0 {
				clock.set(step.response(t).GetValidUntil().AsTime().Add(-24 * time.Hour))
			}
			response, err := call(t, c, request)
			if got := status.Convert(err); got.Code() != codes.Code(step.Exchange.End.Number) || got.Message() != step.Exchange.End.Message {
				t.Fatalf("%s %q, want %s %q", got.Code(), got.Message(), step.Exchange.End.Code, step.Exchange.End.Message)
			}
			if err != nil {
				return
			}
			want := step.response(t)
			got, theirs := chainOf(t, response.GetWorkloadCertificate()), chainOf(t, want.GetWorkloadCertificate())
			if len(got) != len(theirs) || !got[1].Equal(theirs[1]) {
				t.Errorf("the chain has %d certificates, want %d, the issuer second", len(got), len(theirs))
			}
			if diff := cmp.Diff(fieldsOf(theirs[0], clock.now()), fieldsOf(got[0], clock.now())); diff != "" {
				t.Error("-want +got:\n" + diff)
			}
			if names := []string{request.GetId() + "." + request.GetNamespace() + ".svc.cluster.local"}; !cmp.Equal(got[0].DNSNames, names) {
				t.Errorf("DNS names %q, want %q", got[0].DNSNames, names)
			}
			if !response.GetValidUntil().AsTime().Equal(want.GetValidUntil().AsTime()) {
				t.Errorf("valid until %s, want %s", response.GetValidUntil().AsTime(), want.GetValidUntil().AsTime())
			}
			if !cmp.Equal(response.GetTrustChainCertificates(), want.GetTrustChainCertificates()) {
				t.Errorf("trust chain %q, want %q", response.GetTrustChainCertificates(), want.GetTrustChainCertificates())
			}
			acceptedBySPIFFE(t, got, response.GetTrustChainCertificates()[0], clock.now())
			acceptedByName(t, got, response.GetTrustChainCertificates()[0], clock.now())
		})
	}
}

// acceptedBySPIFFE checks a chain as a peer of Dapr 1.18 does.
func acceptedBySPIFFE(t *testing.T, chain []*x509.Certificate, anchors []byte, now time.Time) {
	t.Helper()
	domain := spiffeid.RequireFromURI(chain[0].URIs[0]).TrustDomain()
	bundle, err := x509bundle.Parse(domain, anchors)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := x509svid.Verify(chain, bundle, x509svid.WithTime(now)); err != nil {
		t.Errorf("a peer of Dapr 1.18 refuses it: %v", err)
	}
}

// acceptedByName checks a chain as a peer of Dapr 1.7 does: by the DNS name.
func acceptedByName(t *testing.T, chain []*x509.Certificate, anchors []byte, now time.Time) {
	t.Helper()
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(anchors)
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{DNSName: "app1.ns1.svc.cluster.local", Roots: roots, Intermediates: intermediates, CurrentTime: now}); err != nil {
		t.Errorf("a peer of Dapr 1.7 refuses it: %v", err)
	}
}

// bundleOf is a copy of a bundle that Dapr's sentry made.
func bundleOf(t *testing.T, version string) string {
	t.Helper()
	folder := t.TempDir()
	for _, name := range []string{"ca.crt", "issuer.crt", "issuer.key"} {
		text := testdata(t, version, name)
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// testdata reads a file; keys are kept in base64.
func testdata(t testing.TB, version, name string) []byte {
	t.Helper()
	path := filepath.Join("testdata", version, name)
	if filepath.Ext(name) != ".key" {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	encoded, err := os.ReadFile(path + ".b64")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(encoded)))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// dialAt is dial for a clock of the test's.
func dialAt(t *testing.T, s *sentrytest.Sentry, now func() time.Time) sentryv1.CAClient {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bytes.TrimSpace(s.Anchors(t)))
	return client(t, s, &tls.Config{RootCAs: roots, ServerName: "cluster.local", Time: now})
}

// TestFirstStart: an empty folder gets a bundle, and a sidecar gets a certificate under it.
func TestFirstStart(t *testing.T) {
	s := sentrytest.Start(t)
	for _, name := range []string{"ca.crt", "issuer.crt", "issuer.key"} {
		info, err := os.Stat(filepath.Join(s.Folder, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %o", name, info.Mode().Perm())
		}
	}
	step := recordings(t, "1.18.3")[0]
	response, err := call(t, dial(t, s), step.request(t))
	if err != nil {
		t.Fatal(err)
	}
	chain := chainOf(t, response.GetWorkloadCertificate())
	acceptedBySPIFFE(t, chain, s.Anchors(t), time.Now())
	acceptedByName(t, chain, s.Anchors(t), time.Now())
}
