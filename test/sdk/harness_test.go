// Package sdk runs Dapr's own SDKs against the daprd binary. It is a module of its own and imports nothing
// of the project: the SDK brings generated code of the same protobuf names.
package sdk

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// daprd is the binary under test, built once.
var daprd string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "daprd-sdk-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	daprd = filepath.Join(dir, "bin", "daprd")
	build := exec.Command("go", "build", "-race", "-o", daprd, "./cmd/daprd")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build daprd: %v\n%s", err, out)
		return 1
	}
	// Entries of the registry of this machine must not meet those of a user's own sidecars.
	os.Setenv("XDG_RUNTIME_DIR", dir)
	return m.Run()
}

// sidecar is a running daprd.
type sidecar struct {
	http, grpc int
	log        string
}

// start runs daprd until the test ends and waits until it is ready.
func start(t *testing.T, appID string, appPort int, protocol string, flags ...string) *sidecar {
	t.Helper()
	s := launch(t, appID, appPort, protocol, flags...)
	s.await(t, "/v1.0/healthz")
	return s
}

// launch runs daprd until the test ends.
func launch(t *testing.T, appID string, appPort int, protocol string, flags ...string) *sidecar {
	t.Helper()
	ports := freePorts(t, 4)
	dir := t.TempDir()
	s := &sidecar{http: ports[0], grpc: ports[1], log: filepath.Join(dir, "daprd.log")}
	flag := func(name string, port int) string { return "--" + name + "=" + strconv.Itoa(port) }
	arguments := append([]string{"--app-id", appID, "--app-protocol", protocol, flag("app-port", appPort),
		"--resources-path", resources(t, dir), "--dapr-listen-addresses", "127.0.0.1",
		flag("dapr-http-port", ports[0]), flag("dapr-grpc-port", ports[1]), flag("dapr-internal-grpc-port", ports[2]),
		flag("metrics-port", ports[3])}, flags...)
	command := exec.Command(daprd, arguments...)
	out, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	command.Stdout, command.Stderr = out, out
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.end(t, command) })
	return s
}

// end stops daprd; it must drain and exit with 0.
func (s *sidecar) end(t *testing.T, command *exec.Cmd) {
	_ = command.Process.Signal(syscall.SIGTERM)
	err := command.Wait()
	if err != nil || t.Failed() {
		log, _ := os.ReadFile(s.log)
		t.Logf("daprd: %v\n%s", err, log)
	}
	if err != nil {
		t.Errorf("daprd ended with %v", err)
	}
}

// await polls until path answers 204.
func (s *sidecar) await(t *testing.T, path string) {
	t.Helper()
	eventually(t, "daprd is ready", func() bool {
		response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", s.http, path))
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusNoContent
	})
}

// redis is a running redis-server.
type redis struct{ port string }

// startRedis runs redis-server until the test ends.
func startRedis(t *testing.T) redis {
	t.Helper()
	installed(t, "redis-server", "redis-cli")
	server := redis{strconv.Itoa(freePorts(t, 1)[0])}
	command := exec.Command("redis-server", "--port", server.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	command.Dir = t.TempDir()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	eventually(t, "redis-server is ready", func() bool {
		out, _ := server.cli("PING").Output()
		return string(out) == "PONG\n"
	})
	return server
}

func (r redis) cli(arguments ...string) *exec.Cmd {
	return exec.Command("redis-cli", append([]string{"-p", r.port}, arguments...)...)
}

// do runs a command of Redis, which must succeed.
func (r redis) do(t *testing.T, arguments ...string) {
	t.Helper()
	if out, err := r.cli(append([]string{"-e"}, arguments...)...).CombinedOutput(); err != nil {
		t.Fatalf("redis-cli %q: %v\n%s", arguments, err, out)
	}
}

// installed skips the test where a tool is missing; under CI=true it fails.
func installed(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is not installed; `make services` installs it", tool)
			}
			t.Skipf("%s is not installed; `make services` installs it", tool)
		}
	}
}

// resources writes the manifests that all tests use.
func resources(t *testing.T, dir string) string {
	t.Helper()
	secrets := filepath.Join(dir, "secrets.json")
	write(t, secrets, `{"db": {"user": "ada", "password": "p"}, "plain": "s3cret"}`)
	path := filepath.Join(dir, "resources")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(path, "all.yaml"), strings.ReplaceAll(`
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: store}
spec: {type: state.in-memory, version: v1}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: durable}
spec:
  type: state.sqlite
  version: v1
  metadata:
    - {name: connectionString, value: "DIR/state.db"}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: vault}
spec:
  type: secretstores.local.file
  version: v1
  metadata:
    - {name: secretsFile, value: "DIR/secrets.json"}
`, "DIR", dir))
	return path
}

// components is the flag of a folder with the manifests in yaml.
func components(t *testing.T, yaml string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "components.yaml"), yaml)
	return "--resources-path=" + dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func freePorts(t *testing.T, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		listener := listen(t)
		defer listener.Close()
		ports[i] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports
}

// listen takes a free port. It is none of those that outgoing connections get: one that is given back for
// another process to listen on must not be taken before.
func listen(t *testing.T) net.Listener {
	t.Helper()
	for range 100 {
		listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(10_000+rand.IntN(20_000)))
		if err == nil {
			return listener
		}
	}
	t.Fatal("no free port was found")
	return nil
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("not so after 20s: %s", what)
}

// next is what comes next from the channel.
func next[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-deadline(t).Done():
		t.Fatal("nothing came")
		panic("not reached")
	}
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}
