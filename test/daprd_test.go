package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
)

// patience is how long a test waits for something that has to happen. It only ever passes when a test fails.
const patience = 40 * time.Second

// scratch is the folder of what all tests of a run share.
var scratch string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if socket := os.Getenv(componentSocket); socket != "" {
		return serveComponent(socket)
	}
	var err error
	if scratch, err = os.MkdirTemp("", "daprd-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(scratch)
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	if code == 0 {
		if err := goleak.Find(goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// binary builds daprd, and placementBinary placement, with the race detector, once for all tests. plainBinary is daprd
// without it, for tests whose load would be too much for it.
var (
	binary          = sync.OnceValues(func() (string, error) { return build("daprd", "-race") })
	plainBinary     = sync.OnceValues(func() (string, error) { return build("daprd", "-race=false") })
	placementBinary = sync.OnceValues(func() (string, error) { return build("placement", "-race") })
)

// builtIn names the folder in which a test that starts its own binary again has built them before.
const builtIn = "DAPRD_TEST_BUILT"

func build(name, detector string) (string, error) {
	if folder := os.Getenv(builtIn); folder != "" {
		return filepath.Join(folder, name+detector), nil
	}
	path := filepath.Join(scratch, name+detector)
	build := exec.Command("go", "build", detector, "-o", path, "./cmd/"+name)
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return path, nil
}

// mesh is a set of sidecars that find each other and nobody else on this machine.
type mesh struct {
	registry string
	suffix   string
	// binary is the sidecars' program.
	binary func() (string, error)
	// site is where they run.
	site *site
}

// site is a network for processes.
type site struct {
	// address is the IP by which those of other sites reach it.
	address string
	// inside does something in this network: listen, dial, start a process.
	inside func(do func())
}

// here is the network of the test itself.
var here = &site{address: "127.0.0.1", inside: func(do func()) { do() }}

func newMesh(t *testing.T) *mesh {
	t.Helper()
	return &mesh{registry: t.TempDir(), suffix: strconv.FormatInt(time.Now().UnixNano()%(36*36*36*36*36), 36), binary: binary, site: here}
}

// at is the mesh for sidecars of another site.
func (m *mesh) at(s *site) *mesh {
	other := *m
	other.site = s
	return &other
}

// id makes an app id that no other test has: multicast does not know of meshes.
func (m *mesh) id(name string) string { return name + "-" + m.suffix }

// process is a running daprd, or placement.
type process struct {
	id      string
	command *exec.Cmd
	// log is standard output, complaints is standard error.
	log, complaints *transcript

	ended chan struct{}
	code  int
}

// launch starts daprd and does not wait for it. Ports are free ones unless flags say otherwise. When the
// test ends it is asked to end, and has to do so with exit code 0, unless it has ended before.
func (m *mesh) launch(t *testing.T, id string, flags ...string) *process {
	t.Helper()
	return m.exec(t, id, append([]string{"--app-id", id, "--log-level", "debug", "--dapr-listen-addresses", "127.0.0.1",
		"--dapr-http-port", "0", "--dapr-grpc-port", "0", "--dapr-internal-grpc-listen-address", m.site.address,
		"--metrics-port", "0", "--metrics-listen-address", "127.0.0.1"}, flags...)...)
}

// exec starts daprd with these arguments and no others.
func (m *mesh) exec(t *testing.T, id string, arguments ...string) *process {
	t.Helper()
	path, err := m.binary()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(path, arguments...)
	command.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+m.registry, "DAPR_HOST_IP="+m.site.address)
	return m.site.start(t, id, command)
}

// start is startProcess in this network.
func (s *site) start(t *testing.T, id string, command *exec.Cmd) (p *process) {
	t.Helper()
	s.inside(func() { p = startProcess(t, id, command) })
	return p
}

// startProcess starts one of the tree's binaries. It has to end with exit code 0 when it is asked to.
func startProcess(t *testing.T, id string, command *exec.Cmd) *process {
	t.Helper()
	p := &process{id: id, command: command, log: newTranscript(), complaints: newTranscript(), ended: make(chan struct{})}
	command.Stdout, command.Stderr = p.log, p.complaints
	command.Env = append(command.Environ(), "GORACE=atexit_sleep_ms=0")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	go p.watch()
	t.Cleanup(func() { p.finish(t) })
	return p
}

// start launches daprd and waits until it is ready.
func (m *mesh) start(t *testing.T, id string, flags ...string) *process {
	t.Helper()
	p := m.launch(t, id, flags...)
	p.ready(t)
	return p
}

func (p *process) ready(t *testing.T) {
	t.Helper()
	p.awaits(t, "dapr initialized. Status: Running.")
}

func (p *process) watch() {
	defer close(p.ended)
	_ = p.command.Wait()
	p.code = p.command.ProcessState.ExitCode()
	p.log.close()
	p.complaints.close()
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.command.Process.Signal(s); err != nil {
		t.Fatalf("signal %s: %v", p.id, err)
	}
}

// exit waits for the end of the process and gives its exit code.
func (p *process) exit(t *testing.T) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatalf("%s did not end", p.id)
	}
	return p.code
}

// exits says that the process has to end with the code.
func (p *process) exits(t *testing.T, code int) {
	t.Helper()
	if got := p.exit(t); got != code {
		t.Errorf("%s ended with exit code %d, want %d", p.id, got, code)
	}
}

// stops asks the process to end, which it has to do with exit code 0.
func (p *process) stops(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGTERM)
	p.exits(t, 0)
}

func (p *process) finish(t *testing.T) {
	t.Helper()
	select {
	case <-p.ended:
	default:
		p.stopsInCleanup(t)
	}
	if races := p.complaints.String(); strings.Contains(races, "DATA RACE") || strings.Contains(races, "goroutine ") {
		t.Errorf("%s complains:\n%s", p.id, races)
	}
	if t.Failed() {
		t.Logf("log of %s (exit code %d):\n%s%s", p.id, p.code, p.log, p.complaints)
	}
}

func (p *process) stopsInCleanup(t *testing.T) {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		if p.code != 0 {
			t.Errorf("%s ended with exit code %d", p.id, p.code)
		}
	case <-time.After(patience):
		t.Errorf("%s does not end; it is killed", p.id)
		_ = p.command.Process.Kill()
		<-p.ended
	}
}

// awaits waits for a line of the log whose message contains text.
func (p *process) awaits(t *testing.T, text string) entry {
	t.Helper()
	return p.awaitsMore(t, text, 1)
}

// awaitsMore waits for the nth line whose message contains text.
func (p *process) awaitsMore(t *testing.T, text string, nth int) entry {
	t.Helper()
	deadline := time.After(patience)
	for {
		lines, changed, closed := p.log.snapshot()
		seen := 0
		for _, line := range lines {
			e, err := parseEntry(line)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(e.msg, text) {
				if seen++; seen == nth {
					return e
				}
			}
		}
		if closed {
			t.Fatalf("%s ended without saying %q (%d times)", p.id, text, nth)
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%s does not say %q (%d times)", p.id, text, nth)
		}
	}
}

// port reads a port that the system chose from the log.
func (p *process) port(t *testing.T, announcement string) int {
	t.Helper()
	_, number, _ := strings.Cut(p.awaits(t, announcement).msg, announcement)
	port, err := strconv.Atoi(strings.Trim(number, "/ "))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func (p *process) httpAddress(t *testing.T) string {
	t.Helper()
	return loopback(p.port(t, "http server is running on port "))
}

func (p *process) grpcAddress(t *testing.T) string {
	t.Helper()
	return loopback(p.port(t, "API gRPC server is running on port "))
}

func (p *process) internalAddress(t *testing.T) string {
	t.Helper()
	return loopback(p.port(t, "internal gRPC server is running on port "))
}

func (p *process) url(t *testing.T, path string) string {
	t.Helper()
	return "http://" + p.httpAddress(t) + path
}

// invoke is the address that calls method of the application id through this sidecar.
func (p *process) invoke(t *testing.T, id, method string) string {
	t.Helper()
	return p.url(t, "/v1.0/invoke/"+id+"/method/"+method)
}

// dapr is a client of the gRPC API.
func (p *process) dapr(t *testing.T) runtimev1.DaprClient {
	t.Helper()
	return runtimev1.NewDaprClient(dial(t, p.grpcAddress(t)))
}

func dial(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// transcript collects lines and tells when there are more.
type transcript struct {
	mu      sync.Mutex
	lines   []string
	rest    []byte
	changed chan struct{}
	closed  bool
}

func newTranscript() *transcript { return &transcript{changed: make(chan struct{})} }

func (l *transcript) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			break
		}
		l.lines, l.rest = append(l.lines, string(line)), rest
	}
	close(l.changed)
	l.changed = make(chan struct{})
	return len(p), nil
}

func (l *transcript) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rest) > 0 {
		l.lines = append(l.lines, string(l.rest))
	}
	l.closed = true
	close(l.changed)
}

// snapshot gives the lines so far, and a channel that is closed when there are more or the end is reached.
func (l *transcript) snapshot() ([]string, <-chan struct{}, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines[:len(l.lines):len(l.lines)], l.changed, l.closed
}

// String is the last lines, which are enough to see what went wrong.
func (l *transcript) String() string {
	lines, _, _ := l.snapshot()
	text := ""
	if len(lines) > 200 {
		lines, text = lines[len(lines)-200:], "…\n"
	}
	for _, line := range lines {
		text += line[:min(len(line), 1000)] + "\n"
	}
	return text
}

// entry is a line of the log.
type entry struct {
	level, scope, msg string
	// names are the names of all fields in the order in which they stand.
	names  []string
	fields map[string]string
}

func (e entry) String() string { return e.level + " [" + e.scope + "] " + e.msg }

// parseEntry reads a line in either form.
func parseEntry(line string) (entry, error) {
	e := entry{fields: map[string]string{}}
	read := e.text
	if strings.HasPrefix(line, "{") {
		read = e.json
	}
	if err := read(line); err != nil {
		return e, fmt.Errorf("the line %q of the log cannot be read: %w", line, err)
	}
	e.level, e.scope, e.msg = e.fields["level"], e.fields["scope"], e.fields["msg"]
	return e, nil
}

func (e *entry) add(name, value string) {
	e.names = append(e.names, name)
	e.fields[name] = value
}

func (e *entry) text(line string) error {
	for line != "" {
		name, rest, ok := strings.Cut(line, "=")
		if !ok {
			return fmt.Errorf("no value at %q", line)
		}
		if !strings.HasPrefix(rest, `"`) {
			value, after, _ := strings.Cut(rest, " ")
			e.add(name, value)
			line = after
			continue
		}
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return err
		}
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return err
		}
		e.add(name, value)
		line = strings.TrimPrefix(rest[len(quoted):], " ")
	}
	return nil
}

func (e *entry) json(line string) error {
	decoder := json.NewDecoder(strings.NewReader(line))
	if _, err := decoder.Token(); err != nil {
		return err
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return err
		}
		value, err := decoder.Token()
		if err != nil {
			return err
		}
		e.add(fmt.Sprint(name), fmt.Sprint(value))
	}
	return nil
}

// holdPort gives a port that nobody else is given until the test ends, while a listener that names it can
// have it: a socket that is bound to it and does not listen.
func holdPort(t *testing.T) int {
	t.Helper()
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	address, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return address.(*syscall.SockaddrInet4).Port
}

// application is an HTTP application that can die and come back.
type application struct {
	site    *site
	port    int
	handler http.Handler
	server  *http.Server
	ended   chan struct{}
}

// newApplication does not listen yet.
func newApplication(t *testing.T, handler http.HandlerFunc) *application {
	t.Helper()
	a := &application{site: here, port: holdPort(t), handler: handler}
	t.Cleanup(a.die)
	return a
}

// startApplication listens.
func startApplication(t *testing.T, handler http.HandlerFunc) *application {
	t.Helper()
	a := newApplication(t, handler)
	a.live(t)
	return a
}

func (a *application) live(t *testing.T) {
	t.Helper()
	var listener net.Listener
	var err error
	a.site.inside(func() { listener, err = net.Listen("tcp", loopback(a.port)) })
	if err != nil {
		t.Fatal(err)
	}
	a.server, a.ended = &http.Server{Handler: a.handler}, make(chan struct{})
	go func(server *http.Server, ended chan struct{}) {
		defer close(ended)
		_ = server.Serve(listener)
	}(a.server, a.ended)
}

// die cuts every connection, as a crash does.
func (a *application) die() {
	if a.server == nil {
		return
	}
	a.server.Close()
	<-a.ended
	a.server = nil
}

func (a *application) flag() string { return "--app-port=" + strconv.Itoa(a.port) }

// manifests writes resources into a folder of their own and gives the flag that names it.
func manifests(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return "--resources-path=" + dir
}

// memoryStore is a state store for tests that are not about stores.
const memoryStore = `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: store}
spec: {type: state.in-memory, version: v1}
`
