// Package runtimetest runs whole sidecars in the process of a test, on ports that the system chooses.
package runtimetest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/daprd/daprd/pkg/components/catalogue"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/runtime"
)

// Sidecar is a running sidecar.
type Sidecar struct {
	*runtime.Runtime
	// Log is everything it has logged so far.
	Log *Log

	stop context.CancelFunc
	done chan struct{}
	err  error
}

// Option changes the Config of a sidecar.
type Option func(*runtime.Config)

// App gives the sidecar an application on the port of address.
func App(address net.Addr, protocol config.Protocol) Option {
	return func(c *runtime.Config) {
		c.AppPort, c.AppProtocol = address.(*net.TCPAddr).Port, protocol
	}
}

// Manifests gives the sidecar resources: the text of one YAML file.
func Manifests(t testing.TB, text string) Option {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "resources.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(c *runtime.Config) { c.ResourcesPaths = append(c.ResourcesPaths, dir) }
}

// Configuration gives the sidecar a Configuration: the text of its file.
func Configuration(t testing.TB, text string) Option {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(c *runtime.Config) { c.ConfigFiles = append(c.ConfigFiles, path) }
}

// Isolate keeps the sidecars of a test apart from others on this machine. Sidecars of one test find each
// other.
func Isolate(t testing.TB) {
	t.Helper()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
}

// Config is what a sidecar of a test starts from: loopback addresses, ports that the system chooses, the
// log at its most talkative.
func Config(appID string) runtime.Config {
	return runtime.Config{
		Mode: runtime.Standalone, AppID: appID, HostAddress: "127.0.0.1", AppProtocol: config.HTTP, AppChannelAddress: "127.0.0.1",
		ListenAddresses: []string{"127.0.0.1"}, InternalListenAddress: "127.0.0.1", MaxBodySize: runtime.DefaultMaxBodySize,
		ReadBufferSize: runtime.DefaultReadBufferSize, Grace: 10 * time.Second, LogLevel: "debug",
		EnableMetrics: true, MetricsListenAddress: "127.0.0.1",
	}
}

// Start runs a sidecar and waits until it is ready. It is stopped when the test ends, and must have drained.
func Start(t testing.TB, appID string, options ...Option) *Sidecar {
	t.Helper()
	s := Launch(t, appID, options...)
	s.Await(t, "/v1.0/healthz")
	return s
}

// Launch runs a sidecar and does not wait for it.
func Launch(t testing.TB, appID string, options ...Option) *Sidecar {
	t.Helper()
	cfg := Config(appID)
	for _, option := range options {
		option(&cfg)
	}
	s := &Sidecar{Log: &Log{}, done: make(chan struct{})}
	logs, err := logging.New(logging.Options{Level: cfg.LogLevel, AppID: appID, Output: s.Log})
	if err != nil {
		t.Fatal(err)
	}
	if s.Runtime, err = runtime.New(cfg, runtime.Deps{Components: catalogue.All(), Logs: logs}); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	go func() {
		defer close(s.done)
		s.err = s.Run(ctx)
	}()
	t.Cleanup(func() {
		if err := s.Stop(); err != nil && !t.Failed() {
			t.Errorf("the sidecar %s ended with %v\n%s", appID, err, s.Log)
		}
		if t.Failed() {
			t.Logf("log of %s:\n%s", appID, s.Log)
		}
	})
	return s
}

// Stop ends the sidecar, as a signal does, and gives what Run returned. It may be called again.
func (s *Sidecar) Stop() error {
	s.stop()
	return s.Wait()
}

// Wait waits until the sidecar ended by itself and gives what Run returned.
func (s *Sidecar) Wait() error {
	<-s.done
	return s.err
}

// Done is closed when the sidecar ended.
func (s *Sidecar) Done() <-chan struct{} { return s.done }

// URL is an address of the HTTP API.
func (s *Sidecar) URL(path string) string { return "http://" + s.HTTPAddress().String() + path }

// Await polls until path of the HTTP API answers 204. There is no other signal from outside.
func (s *Sidecar) Await(t testing.TB, path string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		select {
		case <-s.done:
			t.Fatalf("the sidecar ended while it started: %v\n%s", s.err, s.Log)
		default:
		}
		if s.HTTPAddress() == nil {
			continue
		}
		if response, err := client.Get(s.URL(path)); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusNoContent {
				return
			}
		}
	}
	t.Fatalf("%s did not answer 204\n%s", path, s.Log)
}

// Log collects what a sidecar logs. Its methods may be called by many goroutines at once.
type Log struct {
	mu   sync.Mutex
	text strings.Builder
}

var _ io.Writer = (*Log)(nil)

// Write adds to the log.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String is the log so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Contains says whether an entry with the message is there.
func (l *Log) Contains(message string) bool {
	return strings.Contains(l.String(), fmt.Sprintf("msg=%q", message))
}
