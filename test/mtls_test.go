package test

import (
	"crypto/tls"
	"fmt"
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

	"github.com/daprd/daprd/pkg/runtime"
	"github.com/daprd/daprd/pkg/runtime/runtimetest"
	"github.com/daprd/daprd/pkg/sentry"
	"github.com/daprd/daprd/pkg/sentry/sentrytest"
)

// trusting gives a sidecar an identity of the authority.
func trusting(t *testing.T, authority *sentrytest.Sentry) runtimetest.Option {
	t.Helper()
	anchors := string(authority.Anchors(t))
	address := authority.Address().String()
	return func(c *runtime.Config) {
		c.MTLS = runtime.MTLS{Enabled: true, SentryAddress: address, TrustAnchors: anchors,
			ControlPlaneNamespace: sentry.DefaultNamespace, ControlPlaneTrustDomain: sentry.DefaultTrustDomain}
	}
}

// shortLived are certificates that are renewed all the time.
func shortLived(t *testing.T, ttl time.Duration) sentrytest.Option {
	t.Helper()
	return sentrytest.Configuration(t, fmt.Sprintf("apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: daprsystem}\n"+
		"spec:\n  mtls: {enabled: true, workloadCertTTL: %s, allowedClockSkew: 1m}\n", ttl))
}

func named(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s", r.URL.Path) }

// TestMTLS: sidecars of one authority call each other over both transports and pass gRPC calls on; the log says what the
// start-up trace says; the identity is measured.
func TestMTLS(t *testing.T) {
	authority := sentrytest.Start(t)
	n := together(t, handledBy(t, named), trusting(t, authority))
	for _, api := range transports(t, n.caller) {
		if got := api.invoke(t.Context(), invocation{ID: "callee", Verb: "GET", Method: "hello"}); got.Status != 200 || got.Value != "/hello" {
			t.Errorf("%s: %+v", api.name(), got)
		}
	}
	for _, line := range []string{"mTLS enabled. creating sidecar authenticator", "trust anchors and cert chain extracted successfully", "authenticator created",
		"sending workload csr request to sentry", "certificate signed successfully"} {
		if !n.caller.Log.Contains(line) {
			t.Errorf("the log does not say %q", line)
		}
	}
	if !strings.Contains(n.caller.Log.String(), "starting workload cert expiry watcher. current cert expires on: 2") {
		t.Error("the log does not say when the certificate expires")
	}
	if !strings.Contains(scrape(t, n.caller), `dapr_runtime_mtls_init_total{app_id="caller"} 1`) {
		t.Error("the identity is not counted")
	}
}

// TestMTLSRefusals: a sidecar of another authority, one without an identity, and a stranger who knows a port are refused on
// both sides, and the errors say why.
func TestMTLSRefusals(t *testing.T) {
	runtimetest.Isolate(t)
	ours, theirs := sentrytest.Start(t), sentrytest.Start(t)
	app := handledBy(t, named)
	secure := runtimetest.Start(t, "secure", trusting(t, ours), app)
	plain := runtimetest.Start(t, "plain", app)
	foreign := runtimetest.Start(t, "foreign", trusting(t, theirs), app)
	var wait sync.WaitGroup
	for _, c := range []struct {
		caller *runtimetest.Sidecar
		id     string
		want   string
	}{
		{secure, "foreign", "the certificate of the sidecar of spiffe://*/ns/default/foreign: spiffe://public/ns/default/foreign, foreign.default.svc.cluster.local: none of the trust anchors vouches for its issuer"},
		{foreign, "secure", "none of the trust anchors vouches for its issuer"},
		{secure, "plain", "first record does not look like a TLS handshake"},
		{plain, "secure", "failed to invoke"},
	} {
		// A sidecar that cannot be reached is tried again for three seconds.
		wait.Go(func() {
			got := transports(t, c.caller)[1].invoke(t.Context(), invocation{ID: c.id, Verb: "GET", Method: "hello"})
			if got.Fault == nil || !strings.Contains(got.Fault.Text, c.want) {
				t.Errorf("to %s: %+v %+v", c.id, got, got.Fault)
			}
		})
	}
	wait.Wait()
	conn, err := net.Dial("tcp", secure.InternalAddress().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(conn); strings.Contains(string(answer), "HTTP") {
		t.Errorf("plaintext is answered: %q", answer)
	}
}

// TestMTLSStart: what keeps the binary with mTLS from starting, and what is said then.
func TestMTLSStart(t *testing.T) {
	authority := sentrytest.Start(t)
	m := newMesh(t)
	address := authority.Address().String()
	begin := func(anchors, file string, flags ...string) *process {
		t.Setenv("DAPR_TRUST_ANCHORS", anchors)
		t.Setenv("DAPR_TRUST_ANCHORS_FILE", file)
		return m.launch(t, "a", append(flags, "--enable-mtls")...)
	}
	anchors := string(authority.Anchors(t))
	// The last two ask five times, three seconds each.
	for want, p := range map[string]*process{
		"couldn't find trust anchors in environment variable DAPR_TRUST_ANCHORS": begin("", "", "--sentry-address", address),
		"sentryAddress cannot be empty":                                          begin(anchors, ""),
		"read the trust anchors: open /none":                                     begin("", "/none", "--sentry-address", address),
		"not of spiffe://localhost/ns/dapr-system/dapr-sentry":                   begin(anchors, "", "--sentry-address", address, "--control-plane-namespace", "dapr-system"),
		"failed to start internal gRPC server: error from authenticator CreateSignedWorkloadCert: error from sentry SignCertificate": begin(anchors, "",
			"--sentry-address", loopback(holdPort(t))),
	} {
		p.exits(t, 1)
		if log := p.log.String(); !strings.Contains(log, want) {
			t.Errorf("%s\n%s", want, log)
		}
	}
}

// TestMTLSRotation: the root is replaced in three steps under load, while certificates of a few seconds are renewed all the
// time. No call fails.
func TestMTLSRotation(t *testing.T) {
	runtimetest.Isolate(t)
	const ttl = 3 * time.Second
	authority := sentrytest.Start(t, shortLived(t, ttl))
	next := sentrytest.Start(t)
	read := func(s *sentrytest.Sentry, name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(s.Folder, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	put := func(texts map[string]string) {
		t.Helper()
		for name, text := range texts {
			path := filepath.Join(authority.Folder, name)
			if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		}
	}
	var sidecars []*runtimetest.Sidecar
	app := handledBy(t, named)
	for _, id := range []string{"one", "two", "three"} {
		sidecars = append(sidecars, runtimetest.Start(t, id, trusting(t, authority), app))
	}
	var (
		wait          sync.WaitGroup
		calls, failed atomic.Int64
		stop          = make(chan struct{})
	)
	for i, s := range sidecars {
		for _, id := range []string{"one", "two", "three"}[i:] {
			wait.Go(func() {
				client := &http.Client{}
				for {
					select {
					case <-stop:
						return
					default:
					}
					response, err := client.Get(s.URL("/v1.0/invoke/" + id + "/method/x"))
					if err != nil {
						t.Error(err)
						return
					}
					body, _ := io.ReadAll(response.Body)
					response.Body.Close()
					if calls.Add(1); response.StatusCode != 200 {
						failed.Add(1)
						t.Errorf("%d %s", response.StatusCode, body)
						return
					}
				}
			})
		}
	}
	// renewed waits until each sidecar has got certificates that were signed after now.
	renewed := func(what string) {
		t.Helper()
		for _, s := range sidecars {
			before := strings.Count(s.Log.String(), "the workload certificate is renewed")
			eventually(t, what, func() bool { return strings.Count(s.Log.String(), "the workload certificate is renewed") >= before+2 })
		}
	}
	oldRoot, newRoot := read(authority, "ca.crt"), read(next, "ca.crt")
	put(map[string]string{"ca.crt": oldRoot + newRoot})
	for _, s := range sidecars {
		eventually(t, "the new root is known", func() bool { return strings.Contains(s.Log.String(), "sentry names a further trust anchor") })
	}
	put(map[string]string{"issuer.crt": read(next, "issuer.crt"), "issuer.key": read(next, "issuer.key")})
	renewed("certificates under the new root")
	put(map[string]string{"ca.crt": newRoot})
	renewed("certificates without the old root")
	close(stop)
	wait.Wait()
	t.Logf("%d calls, %d failed", calls.Load(), failed.Load())
	if calls.Load() < 100 {
		t.Errorf("%d calls only", calls.Load())
	}
}

// TestMTLSWithoutSentry: while sentry is away for longer than a certificate lives, what is connected goes on; new
// connections are refused with an error that says why; when sentry is back all is well by itself.
func TestMTLSWithoutSentry(t *testing.T) {
	runtimetest.Isolate(t)
	const ttl = 2 * time.Second
	port := holdPort(t)
	authority := sentrytest.Start(t, shortLived(t, ttl), func(c *sentry.Config, _ *sentry.Deps) { c.Port = port })
	app := handledBy(t, named)
	one := runtimetest.Start(t, "one", trusting(t, authority), app)
	two := runtimetest.Start(t, "two", trusting(t, authority), app)
	three := runtimetest.Start(t, "three", trusting(t, authority), app)
	call := func(s *runtimetest.Sidecar, id string) meaning {
		return transports(t, s)[0].invoke(t.Context(), invocation{ID: id, Verb: "GET", Method: "hello"})
	}
	if got := call(one, "two"); got.Status != 200 {
		t.Fatalf("%+v", got)
	}
	authority.Stop(t)
	eventually(t, "certificates expire", func() bool {
		conn, err := tls.Dial("tcp", two.InternalAddress().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return time.Now().After(conn.ConnectionState().PeerCertificates[0].NotAfter)
	})
	if got := call(three, "two"); got.Fault == nil || !strings.Contains(got.Fault.Text, "it was not renewed, or the clocks differ") {
		t.Errorf("a new connection: %+v %+v", got, got.Fault)
	}
	if got := call(one, "two"); got.Status != 200 {
		t.Errorf("what is connected: %+v %+v", got, got.Fault)
	}
	says(t, two, 1, "the workload certificate could not be renewed; it is tried again until it works")
	sentrytest.Start(t, shortLived(t, ttl), sentrytest.Folder(authority.Folder), func(c *sentry.Config, _ *sentry.Deps) { c.Port = port })
	eventually(t, "all is well again", func() bool { return call(three, "two").Status == 200 && call(two, "three").Status == 200 })
	says(t, two, 1, "the workload certificate is renewed after failures for ")
}
