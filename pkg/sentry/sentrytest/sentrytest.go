// Package sentrytest runs a certificate authority in the process of a test, on ports that the system chooses and with
// a trust bundle of its own.
package sentrytest

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/process"
	"github.com/daprd/daprd/pkg/sentry"
)

// Sentry is a running authority.
type Sentry struct {
	*sentry.Sentry
	// Folder is where its trust bundle is.
	Folder string

	stop context.CancelFunc
	done chan struct{}
	err  error
}

// Option changes what an authority starts from.
type Option func(*sentry.Config, *sentry.Deps)

// Folder has it keep its trust bundle in a folder that the test knows.
func Folder(path string) Option {
	return func(c *sentry.Config, _ *sentry.Deps) { c.Credentials = path }
}

// Clock gives it a clock of the test.
func Clock(now func() time.Time) Option {
	return func(_ *sentry.Config, d *sentry.Deps) { d.Now = now }
}

// Log has it write its log, at the most talkative.
func Log(t testing.TB, w io.Writer) Option {
	t.Helper()
	logs, err := logging.New(logging.Options{Level: "debug", Output: w})
	if err != nil {
		t.Fatal(err)
	}
	return func(_ *sentry.Config, d *sentry.Deps) { d.Logs = logs }
}

// Configuration gives it a Configuration: the text of its file.
func Configuration(t testing.TB, text string) Option {
	t.Helper()
	path := filepath.Join(t.TempDir(), "daprsystem.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(c *sentry.Config, _ *sentry.Deps) { c.Configuration = path }
}

// Config is what an authority of a test starts from: loopback addresses, ports that the system chooses, the trust
// domain localhost and the namespace default, as those of a sidecar's flags.
func Config(t testing.TB) sentry.Config {
	t.Helper()
	return sentry.Config{
		Mode: sentry.Standalone, TrustDomain: sentry.DefaultTrustDomain, Namespace: sentry.DefaultNamespace,
		ListenAddress: "127.0.0.1", Observed: process.Observed{HealthListenAddress: "127.0.0.1", MetricsListenAddress: "127.0.0.1", EnableMetrics: true},
		Credentials: t.TempDir(), AnchorsFile: sentry.DefaultAnchorsFile, CertificateFile: sentry.DefaultCertificateFile,
		KeyFile: sentry.DefaultKeyFile,
		JWT: sentry.JWT{KeyFile: sentry.DefaultTokenKeyFile, SetFile: sentry.DefaultTokenSetFile, Algorithm: sentry.DefaultTokenAlgorithm,
			TTL: sentry.DefaultTokenTTL},
		OIDC: sentry.OIDC{ListenAddress: "127.0.0.1", TLS: true},
	}
}

// Start runs an authority until the test ends, and returns when certificates can be asked for.
func Start(t testing.TB, options ...Option) *Sentry {
	t.Helper()
	cfg, deps := Config(t), sentry.Deps{Logs: logging.Discard()}
	for _, o := range options {
		o(&cfg, &deps)
	}
	made, err := sentry.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Sentry{Sentry: made, Folder: cfg.Credentials, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.err = made.Run(ctx)
	}()
	t.Cleanup(func() { s.Stop(t) })
	select {
	case <-made.Ready():
	case <-s.done:
		t.Fatalf("sentry did not start: %v", s.err)
	}
	return s
}

// Stop ends it and waits for the end. It may be called before the test ends.
func (s *Sentry) Stop(t testing.TB) {
	t.Helper()
	s.stop()
	<-s.done
	if s.err != nil {
		t.Errorf("sentry ended with: %v", s.err)
	}
}

// Anchors are the trust anchors in PEM: what sidecars get as DAPR_TRUST_ANCHORS.
func (s *Sentry) Anchors(t testing.TB) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Folder, sentry.DefaultAnchorsFile))
	if err != nil {
		t.Fatal(err)
	}
	return text
}
