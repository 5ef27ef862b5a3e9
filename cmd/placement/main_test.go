package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/actors/placement/placementtest"
	"github.com/daprd/daprd/pkg/placement"
	"github.com/daprd/daprd/pkg/placement/election"
	"github.com/daprd/daprd/pkg/process"
)

// asPlacement makes the test binary the command itself, with the arguments that it holds.
const asPlacement = "PLACEMENT_TEST_ARGUMENTS"

func TestMain(m *testing.M) {
	if arguments := os.Getenv(asPlacement); arguments != "" {
		os.Exit(run(strings.Fields(arguments), os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func environment(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func defaults() placement.Config {
	return placement.Config{ID: "dapr-placement-0", Port: 50005, TrustDomain: "localhost", Namespace: "default",
		Observed: process.Observed{HealthPort: 8080, EnableMetrics: true, MetricsPort: 9090, MetricsListenAddress: "0.0.0.0"},
		Settings: placement.Settings{ReplicationFactor: 100, DisseminateTimeout: 8 * time.Second, KeepaliveTime: 2 * time.Second, KeepaliveTimeout: 3 * time.Second}}
}

func TestFlags(t *testing.T) {
	tests := map[string]struct {
		arguments   string
		environment map[string]string
		change      func(*flags)
	}{
		"none":     {"", nil, func(*flags) {}},
		"one dash": {"-port 1 -healthz-port=2 -metrics-port 3", nil, func(f *flags) { f.cfg.Port, f.cfg.HealthPort, f.cfg.MetricsPort = 1, 2, 3 }},
		"the chart's": {"--id b --initial-cluster a=x:8201,b=y:8201 --inmem-store-enabled=true --metadata-enabled --tls-enabled --mode kubernetes " +
			"--trust-domain td --trust-anchors-file f --keepalive-time 3s --keepalive-timeout 4s --disseminate-timeout 9s --disseminate-coalesce-window 1s --replicationFactor 7",
			map[string]string{"NAMESPACE": "dapr-system"}, func(f *flags) {
				c := &f.cfg
				c.ID, c.Namespace, c.Metadata, c.TLS, c.Kubernetes, c.TrustDomain, c.AnchorsFile = "b", "dapr-system", true, true, true, "td", "f"
				c.SentryAddress = "dapr-sentry.dapr-system.svc:443"
				c.KeepaliveTime, c.KeepaliveTimeout, c.DisseminateTimeout, c.CoalesceWindow = 3*time.Second, 4*time.Second, 9*time.Second, time.Second
				c.ReplicationFactor = 7
				f.peers = []election.Peer{{ID: "a", Address: "x:8201"}, {ID: "b", Address: "y:8201"}}
			}},
		"the environment's": {"", map[string]string{"DAPR_PLACEMENT_METADATA_ENABLED": "true", "DAPR_SENTRY_TOKEN_FILE": "t"}, func(f *flags) {
			f.cfg.Metadata, f.cfg.TokenFile = true, "t"
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f, misuse := parse(strings.Fields(test.arguments), environment(test.environment))
			if misuse != nil {
				t.Fatal(misuse)
			}
			want := &flags{cfg: defaults(), peers: []election.Peer{{ID: "dapr-placement-0", Address: "127.0.0.1:8201"}}}
			test.change(want)
			if diff := cmp.Diff(want.cfg, f.cfg); diff != "" {
				t.Error("-want +got:\n" + diff)
			}
			if diff := cmp.Diff(want.peers, f.peers); diff != "" {
				t.Error("-want +got:\n" + diff)
			}
		})
	}
}

// TestExits runs the command as main does.
func TestExits(t *testing.T) {
	tests := map[string]struct {
		arguments      string
		code           int
		stdout, stderr string // what must be in it
	}{
		"version":      {"--version", process.OK, "edge", ""},
		"help":         {"--help", process.OK, "--initial-cluster", ""},
		"unknown flag": {"--colour red", process.Usage, "", "unknown flag: --colour"},
		"no port":      {"--port 70000", process.Usage, "", "invalid value for --port: 70000 is no port"},
		"mode":         {"--mode pod", process.Usage, "", "invalid mode: pod"},
		"cluster":      {"--initial-cluster a", process.Usage, "", "invalid value for --initial-cluster"},
		"twice":        {"--initial-cluster a=h:1,a=h:2", process.Usage, "", "a is named twice"},
		"id":           {"--id other", process.Usage, "", "invalid value for --id: other"},
		"store":        {"--inmem-store-enabled=false", process.Usage, "", "--raft-logstore-path"},
		"timeout":      {"--disseminate-timeout 1ms", process.Failure, "invalid value for --disseminate-timeout", ""},
		"keepalive":    {"--keepalive-time 1m", process.Failure, "invalid value for --keepalive-time", ""},
		"levels":       {"--min-api-level 10 --tls-enabled", process.Failure, "--min-api-level has no effect", ""},
		"tls":          {"--tls-enabled", process.Failure, "--trust-anchors-file", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(strings.Fields(test.arguments), &stdout, &stderr); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if !strings.Contains(stdout.String(), test.stdout) || !strings.Contains(stderr.String(), test.stderr) {
				t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
			}
		})
	}
}

// server is one of a cluster, in a process of its own.
type server struct {
	t       *testing.T
	command *exec.Cmd
	// address is for sidecars, health for people.
	address, health string
	log             *bytes.Buffer
	mu              sync.Mutex
}

func (s *server) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

// free are addresses that nobody listens at.
func free(t *testing.T, n int) (all []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		all = append(all, l.Addr().String())
	}
	return all
}

func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// launch starts a server of a cluster; more are further arguments.
func launch(t *testing.T, id, cluster, address, health string, more ...string) *server {
	t.Helper()
	s := &server{t: t, address: address, health: health, log: new(bytes.Buffer)}
	s.command = exec.Command(os.Args[0])
	s.command.Env = append(os.Environ(), asPlacement+"="+strings.Join(append([]string{"--id", id, "--initial-cluster", cluster, "--listen-address", "127.0.0.1", "--port", port(address),
		"--healthz-listen-address", "127.0.0.1", "--healthz-port", port(health), "--metrics-listen-address", "127.0.0.1", "--metrics-port", "0",
		"--metadata-enabled"}, more...), " "))
	s.command.Stdout, s.command.Stderr = s, os.Stderr
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.command.Process.Signal(syscall.SIGCONT)
		s.kill()
		if t.Failed() {
			t.Logf("%s:\n%s", id, s.log)
		}
	})
	return s
}

func (s *server) kill() {
	_ = s.command.Process.Kill()
	_ = s.command.Wait()
}

// leads says whether the server says that it leads.
func (s *server) leads() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.log.String()
	return strings.Count(text, "Leader is ready") > strings.Count(text, "does not lead any more")
}

// cluster starts three.
func cluster(t *testing.T, more ...string) (all []*server, addresses string) {
	t.Helper()
	raft, public, health := free(t, 3), free(t, 3), free(t, 3)
	named := fmt.Sprintf("a=%s,b=%s,c=%s", raft[0], raft[1], raft[2])
	for i, id := range []string{"a", "b", "c"} {
		all = append(all, launch(t, id, named, public[i], health[i], more...))
	}
	return all, strings.Join(public, ",")
}

func leader(t *testing.T, among []*server) *server {
	t.Helper()
	for {
		for _, s := range among {
			if s.leads() {
				return s
			}
		}
		if t.Context().Err() != nil {
			t.Fatal("nobody leads")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestLeaderChange: sidecars find the leader among three, and another when it is killed, and another when that one only
// stands still; at no time do two of them believe to own an actor, also not when it goes on.
func TestLeaderChange(t *testing.T) {
	all, addresses := cluster(t)
	ledger := placementtest.NewLedger()
	var mesh []*placementtest.Sidecar
	for i := range 4 {
		s := placementtest.Start(t, ledger, fmt.Sprintf("10.0.0.%d:50002", i+1), addresses)
		mesh = append(mesh, s)
	}
	for _, s := range mesh {
		s.Host(t, "T")
	}
	ctx, stop := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for _, s := range mesh {
		callers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				_, _ = s.Call(ctx, "T", fmt.Sprint(i%100))
				time.Sleep(100 * time.Microsecond) // a pace: four busy loops would take the machine
			}
		})
	}
	agree := func() {
		t.Helper()
		for i := range 20 {
			owners := map[string]bool{}
			for _, s := range mesh {
				owner, err := s.Owner(t.Context(), "T", fmt.Sprint(i), func() {})
				if err != nil {
					t.Fatal(err)
				}
				owners[owner.Address] = true
			}
			if len(owners) != 1 {
				t.Errorf("actor %d belongs to %v", i, owners)
			}
		}
	}
	full := func() {
		t.Helper()
		for _, s := range mesh {
			for {
				if ring, _ := s.Ring("T"); len(ring.Hosts()) == len(mesh) {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
	}
	full()
	agree()
	first := leader(t, all)
	first.kill()
	rest := without(all, first)
	full()
	agree()
	// The one that was killed comes back, so that there are two beside the one that stands still.
	again := launch(t, argument(first, "--id"), argument(first, "--initial-cluster"), first.address, first.health)
	second := leader(t, rest)
	if err := second.command.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	third := leader(t, append(without(rest, second), again))
	for len(hosts(t, third)) != len(mesh) {
		time.Sleep(10 * time.Millisecond)
	}
	if err := second.command.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for second.leads() {
		time.Sleep(10 * time.Millisecond)
	}
	full()
	agree()
	stop()
	callers.Wait()
	if broken := ledger.Broken(); len(broken) > 0 {
		t.Errorf("%d times, the first: %s", len(broken), broken[0])
	}
	if err := second.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := second.command.Wait(); err != nil {
		t.Errorf("the one that stood still does not end well: %v", err)
	}
}

func without(all []*server, one *server) (rest []*server) {
	for _, s := range all {
		if s != one {
			rest = append(rest, s)
		}
	}
	return rest
}

// argument is what a server was started with.
func argument(s *server, name string) string {
	for _, variable := range s.command.Env {
		if arguments, found := strings.CutPrefix(variable, asPlacement+"="); found {
			fields := strings.Fields(arguments)
			for i, field := range fields {
				if field == name {
					return fields[i+1]
				}
			}
		}
	}
	return ""
}

// hosts are those that a server shows in its state.
func hosts(t *testing.T, s *server) []any {
	t.Helper()
	var state struct {
		Tables map[string]struct{ Hosts []any }
	}
	response, err := http.Get("http://" + s.health + "/placement/state")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil {
		err = json.Unmarshal(text, &state)
	}
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return state.Tables["default"].Hosts
}
