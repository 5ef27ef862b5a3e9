package test

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/daprd/daprd/pkg/components/redis/redistest"
)

// carriesOn stands for the exit code of a sidecar that starts all the same.
const carriesOn = -1

// situation is something that is wrong, or only unusual, at the start.
type situation struct {
	flags []string
	// files are the resources by file name; nil gives no folder. DIR in them stands for a folder of the test.
	files map[string]string
	code  int
	// says are lines that the log must have: level, then texts that the message must contain.
	says [][]string
	// never are texts that no line may contain.
	never []string
}

func store(name, kind string, properties ...string) string {
	text := "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: " + name + "\nspec:\n  type: " + kind + "\n  version: v1\n  metadata:\n"
	for i := 0; i < len(properties); i += 2 {
		text += "  - name: " + properties[i] + "\n    value: \"" + properties[i+1] + "\"\n"
	}
	return text
}

func ignored(manifest string) string {
	return strings.Replace(manifest, "spec:\n", "spec:\n  ignoreErrors: true\n", 1)
}

// situations are those of the captured logs and some more: what the log must say of each.
func situations(taken string) map[string]situation {
	secretUser := strings.Replace(store("st", "state.redis", "redisHost", "127.0.0.1:1"), "metadata:\n  - name: redisHost",
		"metadata:\n  - name: redisPassword\n    secretKeyRef: {name: x, key: x}\n  - name: redisHost", 1) + "auth:\n  secretStore: sec\n"
	loaded := []string{"info", "component loaded. name: good, type: state.in-memory/v1"}
	good := store("good", "state.in-memory")
	return map[string]situation{
		"no app port": {code: carriesOn, files: map[string]string{"a.yaml": good}, says: [][]string{loaded,
			{"warning", "app channel is not initialized. did you make sure to configure an app-port?"}}},
		"no resources": {code: carriesOn, says: [][]string{{"info", "all outstanding components processed"}}},
		"resources folder missing": {flags: []string{"--resources-path", "/nonexistent/dir"}, code: 1, says: [][]string{
			{"fatal", "failed to load components", "/nonexistent/dir: no such file or directory", "--resources-path"}}},
		"unknown type": {files: map[string]string{"a.yaml": good, "st.yaml": "kind: Nothing\n---\n" + store("st", "state.rediss")}, code: 1, says: [][]string{
			{"warning", "error creating state store st (state.rediss/v1): couldn't find state store state.rediss/v1"},
			{"warning", "process component error daprd process will exited, gracefully to stop"},
			{"fatal", "process component st error: couldn't find state store state.rediss/v1", "did you mean state.redis?", "st.yaml (document 2, line 2)"}}},
		"unknown type ignored": {files: map[string]string{"a.yaml": good, "st.yaml": ignored(store("st", "state.nosuch"))}, code: carriesOn, says: [][]string{loaded,
			{"error", "process component st error: couldn't find state store state.nosuch/v1", "st.yaml"}}},
		"unknown version": {files: map[string]string{"st.yaml": strings.Replace(store("st", "state.redis"), "version: v1", "version: v9", 1)}, code: 1, says: [][]string{
			{"fatal", "process component st error: couldn't find state store state.redis/v9", "exists in version v1", "st.yaml"}}},
		"unknown category": {files: map[string]string{"st.yaml": store("st", "nosuch.redis")}, code: 1, says: [][]string{
			{"fatal", "process component st error: incorrect type nosuch.redis", "state, workflow", "st.yaml (document 1, line 1)"}}},
		"category of later": {files: map[string]string{"a.yaml": good, "wf.yaml": store("wf", "workflow.dapr", "a", "b")}, code: carriesOn, says: [][]string{loaded,
			{"warning", "component wf (workflow.dapr/v1) is passed over", "workflow", "501"}}},
		"known field with a wrong value": {files: map[string]string{"st.yaml": store("st", "state.redis", "redisHost", "127.0.0.1:1", "redisDB", "two")}, code: 1, says: [][]string{
			{"fatal", "process component st error", "redisDB", `"two"`, "want", "st.yaml (document 1, line 1)"}}},
		"wrong value ignored": {files: map[string]string{"a.yaml": good, "st.yaml": ignored(store("st", "state.redis", "redisDB", "two"))}, code: carriesOn, says: [][]string{loaded,
			{"error", "process component st error", "redisDB"}}},
		"required field missing": {files: map[string]string{"st.yaml": store("st", "state.sqlite")}, code: 1, says: [][]string{
			{"fatal", "process component st error", "connectionString", "st.yaml"}}},
		"unknown field": {files: map[string]string{"a.yaml": store("good", "state.in-memory", "cleanupIntervall", "1")}, code: carriesOn, says: [][]string{loaded,
			{"warning", "component good (state.in-memory/v1)", `"cleanupIntervall"`, "no effect"}}},
		"server away": {files: map[string]string{"st.yaml": store("st", "state.redis", "redisHost", "127.0.0.1:1", "redisPassword", "hunter2", "redisMaxRetries", "-1")}, code: 1, says: [][]string{
			{"fatal", "process component st error", "127.0.0.1:1", "connection refused", "st.yaml"}}, never: []string{"hunter2"}},
		"duplicate name": {files: map[string]string{"a.yaml": store("st", "state.in-memory"), "b.yaml": store("x", "state.in-memory") + "---\n" + store("st", "state.redis")}, code: 1, says: [][]string{
			{"fatal", "failed to load components: duplicate definition of Component name st", "a.yaml (document 1, line 1)", "b.yaml (document 2, line 9)"}}},
		"secret store missing": {files: map[string]string{"a.yaml": good, "st.yaml": secretUser}, code: carriesOn, says: [][]string{loaded,
			{"warning", "component st references a secret store that isn't loaded: sec"}}, never: []string{"component loaded. name: st"}},
		"secret store broken": {files: map[string]string{"s.yaml": store("sec", "secretstores.local.file", "secretsFile", "/nonexistent/s.json"), "st.yaml": secretUser}, code: 1, says: [][]string{
			{"warning", "failed to init secret store secretstores.local.file/v1 named sec", "/nonexistent/s.json"},
			{"fatal", "process component sec error", "/nonexistent/s.json", "no such file or directory", "s.yaml"}}},
		"scoped out": {files: map[string]string{"a.yaml": good, "st.yaml": store("st", "state.nosuch") + "scopes:\n- other\n"}, code: carriesOn, says: [][]string{loaded},
			never: []string{"name: st,", "state.nosuch"}},
		"other kind": {files: map[string]string{"a.yaml": good, "x.yaml": "apiVersion: dapr.io/v1alpha1\nkind: Nothing\nmetadata: {name: x}\n", "y.yaml": "apiVersion: apps/v1\nkind: Component\nmetadata: {name: y}\n"},
			code: carriesOn, says: [][]string{loaded}, never: []string{"x.yaml", "y.yaml"}},
		"not YAML": {files: map[string]string{"a.yaml": good, "st.yaml": "kind: Nothing\n---\napiVersion: dapr.io/v1alpha1\nkind: Component\n metadata: [\n"}, code: carriesOn, says: [][]string{loaded,
			{"warning", "daprd load components error when parsing components yaml resource in ", "st.yaml (document 2, line 2)", "mapping values are not allowed"}}},
		"not a YAML file": {files: map[string]string{"a.yaml": good, "notes.txt": "x"}, code: carriesOn, says: [][]string{loaded, {"warning", "notes.txt"}}},
		"configuration missing": {flags: []string{"--config", "/nonexistent/c.yaml"}, code: 1, says: [][]string{
			{"fatal", "error loading configuration: stat /nonexistent/c.yaml: no such file or directory", "--config"}}},
		"configuration broken": {flags: []string{"--config", "DIR/broken.yaml"}, files: map[string]string{"a.yaml": good}, code: 1, says: [][]string{
			{"fatal", "error loading configuration", "broken.yaml"}}},
		"HTTP port in use": {flags: []string{"--dapr-http-port", taken}, code: 1, says: [][]string{
			{"warning", "Failed to listen on 127.0.0.1:" + taken + " with error: listen tcp 127.0.0.1:" + taken + ": bind: address already in use"},
			{"fatal", "failed to start HTTP server: could not listen on any endpoint", ":" + taken + ": bind: address already in use", "--dapr-http-port"}}},
		"gRPC port in use": {flags: []string{"--dapr-grpc-port", taken}, code: 1, says: [][]string{
			{"warning", "Failed to listen on 127.0.0.1:" + taken},
			{"fatal", "failed to start API gRPC server: could not listen on any endpoint", ":" + taken, "--dapr-grpc-port"}}},
		"internal port in use": {flags: []string{"--dapr-internal-grpc-port", taken}, code: 1, says: [][]string{
			{"fatal", "failed to start internal gRPC server: could not listen on any endpoint", ":" + taken, "--dapr-internal-grpc-port"}}},
		"metrics port in use": {flags: []string{"--metrics-port", taken}, code: 1, says: [][]string{
			{"fatal", "failed to start metrics server", ":" + taken, "--metrics-port"}}},
		"public port in use": {flags: []string{"--dapr-public-port", taken, "--dapr-public-listen-address", "127.0.0.1"}, code: 1, says: [][]string{
			{"fatal", ":" + taken, "--dapr-public-port"}}},
		"profile port in use": {flags: []string{"--enable-profiling", "--profile-port", taken}, code: 1, says: [][]string{
			{"fatal", "failed to start profiling server", ":" + taken, "--profile-port"}}},
		"one of two addresses": {flags: []string{"--dapr-listen-addresses", "192.0.2.254,127.0.0.1"}, code: carriesOn, says: [][]string{
			{"warning", "Failed to listen on 192.0.2.254:0 with error"}}},
		"port that is none": {flags: []string{"--dapr-http-port", "zz"}, code: 1, says: [][]string{
			{"fatal", `error parsing dapr-http-port flag: strconv.Atoi: parsing "zz": invalid syntax`}}},
		"log level that is none": {flags: []string{"--log-level", "loud"}, code: 1, says: [][]string{
			{"fatal", "invalid value for --log-level: loud", "debug, info, warn, error, fatal"}}},
		"the quietest log": {flags: []string{"--log-level", "fatal", "--resources-path", "/nonexistent/dir"}, code: 1, says: [][]string{
			{"fatal", "/nonexistent/dir"}}, never: []string{"standalone mode configured"}},
		"empty app id":  {flags: []string{"--app-id", ""}, code: 1, says: [][]string{{"fatal", "parameter app-id cannot be empty", "--app-id"}}},
		"dotted app id": {flags: []string{"--app-id", "a.b"}, code: 1, says: [][]string{{"fatal", "parameter app-id cannot contain dots", "a.b"}}},
		"app port is API port": {flags: []string{"--dapr-http-port", "7999", "--app-port", "7999"}, code: 1, says: [][]string{
			{"fatal", "the 'dapr-http-port' argument value 7999 conflicts with 'app-port'"}}},
		"mode that is none":     {flags: []string{"--mode", "swarm"}, code: 1, says: [][]string{{"fatal", "invalid mode: swarm"}}},
		"protocol that is none": {flags: []string{"--app-protocol", "smtp"}, code: 1, says: [][]string{{"fatal", "app-protocol", "smtp"}}},
		"flag of later": {flags: []string{"--scheduler-host-address", "127.0.0.1:50006"}, code: carriesOn, says: [][]string{
			{"warning", "scheduler-host-address", "no effect"}}},
		"name resolver that is none": {flags: []string{"--config", "DIR/resolver.yaml"}, files: map[string]string{"a.yaml": good}, code: carriesOn, says: [][]string{
			{"warning", "failed to init name resolution", "couldn't find name resolver carrier-pigeon/"}}},
	}
}

// TestStartLogs: what the log says of each situation, and with which exit code the process ends.
func TestStartLogs(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	folder := t.TempDir()
	write(t, filepath.Join(folder, "broken.yaml"), "kind: Configuration\n spec: [\n")
	write(t, filepath.Join(folder, "resolver.yaml"), "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\nspec:\n  nameResolution:\n    component: carrier-pigeon\n")
	for name, s := range situations(strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)) {
		t.Run(name, func(t *testing.T) {
			var flags []string
			if s.files != nil {
				flags = append(flags, manifests(t, s.files))
			}
			for _, flag := range s.flags {
				flags = append(flags, strings.ReplaceAll(flag, "DIR", folder))
			}
			m := newMesh(t)
			p := m.launch(t, "myapp", flags...)
			if s.code == carriesOn {
				p.ready(t)
				p.stops(t)
			} else {
				p.exits(t, s.code)
			}
			s.check(t, p)
			if left, _ := filepath.Glob(filepath.Join(m.registry, "*", "*")); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func (s situation) check(t *testing.T, p *process) {
	t.Helper()
	for _, want := range s.says {
		if !said(t, p, want[0], want[1:]) {
			t.Errorf("no line at level %s with %q", want[0], want[1:])
		}
	}
	for _, text := range s.never {
		if strings.Contains(p.log.String(), text) {
			t.Errorf("the log contains %q", text)
		}
	}
}

func said(t *testing.T, p *process, level string, texts []string) bool {
	t.Helper()
	lines, _, _ := p.log.snapshot()
next:
	for _, line := range lines {
		e, err := parseEntry(line)
		if err != nil {
			t.Fatal(err)
		}
		if e.level != level {
			continue
		}
		for _, text := range texts {
			if !strings.Contains(e.msg, text) {
				continue next
			}
		}
		return true
	}
	return false
}

// TestUsage: a command line that cannot be read ends with exit code 2 and says why on standard error.
func TestUsage(t *testing.T) {
	m := newMesh(t)
	for name, tc := range map[string]struct {
		arguments  []string
		code       int
		complaint  string
		out, empty bool
	}{
		"unknown flag":  {arguments: []string{"--app-id", "a", "--no-such-flag", "x"}, code: 2, complaint: "unknown flag: --no-such-flag"},
		"one dash":      {arguments: []string{"-no-such-flag"}, code: 2, complaint: "unknown flag: --no-such-flag"},
		"missing value": {arguments: []string{"--app-id"}, code: 2, complaint: "flag needs an argument: --app-id"},
		"help":          {arguments: []string{"--help"}, out: true},
		"version":       {arguments: []string{"--version"}, out: true},
		"build info":    {arguments: []string{"-build-info"}, out: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := m.exec(t, "usage", tc.arguments...)
			p.exits(t, tc.code)
			complaints, _, _ := p.complaints.snapshot()
			if tc.complaint != "" && (len(complaints) == 0 || complaints[len(complaints)-1] != tc.complaint) {
				t.Errorf("the last complaint is not %q", tc.complaint)
			}
			if lines, _, _ := p.log.snapshot(); (len(lines) > 0) != tc.out {
				t.Errorf("standard output has %d lines", len(lines))
			}
		})
	}
}

// TestLogFile: the log goes to the file, nothing to standard output.
func TestLogFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "daprd.log")
	m := newMesh(t)
	p := m.launch(t, "myapp", "--log-file", path)
	awaitFile(t, path, "dapr initialized")
	p.stops(t)
	if lines, _, _ := p.log.snapshot(); len(lines) != 0 {
		t.Errorf("standard output has %q", lines)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if _, err := parseEntry(strings.TrimSuffix(line, "\n")); err != nil {
			t.Error(err)
		}
	}
}

// awaitFile polls: a file gives no signal.
func awaitFile(t *testing.T, path, text string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), text) {
			return
		}
	}
	t.Fatalf("%s does not say %q", path, text)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestParkedComponentLoads: a component whose secret store comes in a later file waits for it.
func TestParkedComponentLoads(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "hunter2")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "s.json"), `{"x": "hunter2"}`)
	m := newMesh(t)
	p := m.start(t, "myapp", manifests(t, map[string]string{
		"a.yaml": strings.Replace(store("st", "state.redis", "redisHost", server.Address), "metadata:\n  - name: redisHost",
			"metadata:\n  - name: redisPassword\n    secretKeyRef: {name: x}\n  - name: redisHost", 1) + "auth:\n  secretStore: sec\n",
		"z.yaml": store("sec", "secretstores.local.file", "secretsFile", filepath.Join(dir, "s.json")),
	}))
	p.awaits(t, "component loaded. name: st, type: state.redis/v1")
	if strings.Contains(p.log.String(), "hunter2") {
		t.Error("the log tells the secret")
	}
}
