// Package otel runs the daprd binary against the OTLP receiver of OpenTelemetry's collector. It is a module of its own,
// since the collector brings much with it.
package otel

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
)

// daprd is the binary under test, built once.
var daprd string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "daprd-otel-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	daprd = filepath.Join(dir, "daprd")
	build := exec.Command("go", "build", "-race", "-o", daprd, "./cmd/daprd")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build daprd: %v\n%s", err, out)
		return 1
	}
	os.Setenv("XDG_RUNTIME_DIR", dir)
	return m.Run()
}

// export is what the collector got at once.
type export struct {
	traces ptrace.Traces
	key    []string
}

// collect starts the collector's receiver, and gives its addresses over gRPC and HTTP, and what it gets.
func collect(t *testing.T, secure map[string]any) (grpc, http string, got <-chan export) {
	t.Helper()
	grpc, http = freeAddress(t), freeAddress(t)
	server := func(address string) map[string]any {
		settings := map[string]any{"endpoint": address, "include_metadata": true}
		if secure != nil {
			settings["tls"] = secure
		}
		return settings
	}
	factory := otlpreceiver.NewFactory()
	settings := factory.CreateDefaultConfig()
	if err := confmap.NewFromStringMap(map[string]any{"protocols": map[string]any{"grpc": server(grpc), "http": server(http)}}).Unmarshal(settings); err != nil {
		t.Fatal(err)
	}
	exports := make(chan export, 16)
	sink, err := consumer.NewTraces(func(ctx context.Context, traces ptrace.Traces) error {
		exports <- export{traces, client.FromContext(ctx).Metadata.Get("key")}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := factory.CreateTraces(t.Context(), receivertest.NewNopSettings(factory.Type()), settings, sink)
	if err != nil {
		t.Fatal(err)
	}
	if err := receiver.Start(t.Context(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := receiver.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return grpc, http, exports
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// certificate is one for 127.0.0.1 that signs itself, and its key, as files.
func certificate(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", secret)
}

// sidecar is a running daprd.
type sidecar struct {
	command *exec.Cmd
	url     string
	read    sync.WaitGroup
}

// listening is how daprd says where its HTTP API is.
var listening = regexp.MustCompile(`http server is running on port (\d+)`)

// start runs daprd with a Configuration until end or the end of the test.
func start(t *testing.T, configuration string, environment ...string) *sidecar {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &sidecar{command: exec.Command(daprd, "--app-id", "shop", "--config", config, "--dapr-listen-addresses", "127.0.0.1", "--dapr-http-port", "0",
		"--dapr-grpc-port", "0", "--dapr-internal-grpc-port", "0", "--enable-metrics=false")}
	s.command.Env = append(os.Environ(), environment...)
	out, err := s.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.command.Stderr = os.Stderr
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.command.Process.Kill() })
	up := make(chan string, 1)
	s.read.Go(func() {
		defer close(up)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			_, _ = fmt.Fprintln(t.Output(), lines.Text())
			if found := listening.FindStringSubmatch(lines.Text()); found != nil {
				up <- found[1]
			}
		}
	})
	s.url = "http://127.0.0.1:" + <-up
	return s
}

// end asks daprd to end; it must drain.
func (s *sidecar) end(t *testing.T) {
	t.Helper()
	if err := s.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.read.Wait()
	if err := s.command.Wait(); err != nil {
		t.Errorf("daprd ended with %v", err)
	}
}

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// call makes one call of the API and gives the trace parent of its answer.
func (s *sidecar) call(t *testing.T) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v1.0/state/none/k", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("traceparent", parent)
	r.Header.Set("tracestate", "a=b")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.Header.Get("Traceparent")
}

// TestCollector: what is exported by the batch's time, and what an end sends, over both protocols, in clear text and over
// TLS, by Configuration and by environment.
func TestCollector(t *testing.T) {
	cert, key := certificate(t)
	for _, secure := range []bool{false, true} {
		var server map[string]any
		var trusted []string
		if secure {
			server, trusted = map[string]any{"cert_file": cert, "key_file": key}, []string{"OTEL_EXPORTER_OTLP_CERTIFICATE=" + cert}
		}
		grpc, http, got := collect(t, server)
		for protocol, address := range map[string]string{"grpc": grpc, "http": http} {
			configuration := fmt.Sprintf(`spec: {tracing: {samplingRate: "1", otel: {protocol: %s, endpointAddress: %q, isSecure: %t, headers: ["key=value"]}}}`,
				protocol, address, secure)
			t.Run(fmt.Sprintf("%s TLS %t", protocol, secure), func(t *testing.T) {
				s := start(t, configuration, trusted...)
				first := s.call(t)
				isSpan(t, <-got, first)
				last := s.call(t)
				s.end(t)
				isSpan(t, <-got, last)
			})
			t.Run(fmt.Sprintf("%s TLS %t by environment", protocol, secure), func(t *testing.T) {
				s := start(t, "spec: {}", append(trusted, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+address, "OTEL_EXPORTER_OTLP_PROTOCOL="+protocol,
					fmt.Sprintf("OTEL_EXPORTER_OTLP_INSECURE=%t", !secure), "OTEL_EXPORTER_OTLP_HEADERS=key=value")...)
				only := s.call(t)
				s.end(t)
				isSpan(t, <-got, only)
			})
		}
	}
}

// isSpan looks at an export of the span that call made.
func isSpan(t *testing.T, e export, named string) {
	t.Helper()
	if e.traces.SpanCount() != 1 {
		t.Fatalf("%d spans", e.traces.SpanCount())
	}
	of := e.traces.ResourceSpans().At(0)
	span := of.ScopeSpans().At(0).Spans().At(0)
	text := func(key string) string {
		value, _ := span.Attributes().Get(key)
		return value.AsString()
	}
	service, _ := of.Resource().Attributes().Get("service.name")
	got := []string{fmt.Sprint(e.key), service.AsString(), "00-" + span.TraceID().String() + "-" + span.SpanID().String() + "-01", span.ParentSpanID().String(),
		span.TraceState().AsRaw(), span.Name(), span.Kind().String(), span.Status().Code().String(), span.Status().Message(),
		text("dapr.api"), text("db.system"), text("db.name"), text("http.response.status_code"), text("http.route")}
	want := []string{"[value]", "shop", named, parent[36:52], "a=b", "/v1.0/state/none/k", "Client", "Error", "Code(500): Internal Server Error",
		"GET /v1.0/state/none/k", "state", "none", "500", "/v1.0/state/{name}/{key}"}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%q, want %q", got[i], want[i])
		}
	}
}
