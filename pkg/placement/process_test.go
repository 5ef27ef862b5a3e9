package placement

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	logtest "github.com/sirupsen/logrus/hooks/test"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"

	"github.com/daprd/daprd/pkg/logging"
	"github.com/daprd/daprd/pkg/process"
	placementv1 "github.com/daprd/daprd/pkg/proto/placement/v1"
	"github.com/daprd/daprd/pkg/security"
	"github.com/daprd/daprd/pkg/sentry/sentrytest"
)

// startProcess runs one until the test ends.
func startProcess(t *testing.T, change func(*Config)) *Process {
	t.Helper()
	cfg := Config{ID: DefaultID, ListenAddress: "127.0.0.1", TrustDomain: DefaultTrustDomain, Namespace: DefaultNamespace, Metadata: true,
		Observed: process.Observed{HealthListenAddress: "127.0.0.1", EnableMetrics: true, MetricsListenAddress: "127.0.0.1"},
		Settings: trusted().withDefaults()}
	change(&cfg)
	p, err := NewProcess(cfg, ProcessDeps{Logs: logging.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- p.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-p.Ready():
	case err := <-over:
		over <- nil
		t.Fatal(err)
	}
	return p
}

func get(t *testing.T, url string) string {
	t.Helper()
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v", url, response.StatusCode, err)
	}
	return string(text)
}

// TestProcess: health, metrics and the state, which is byte for byte that of Dapr 1.18.3.
func TestProcess(t *testing.T) {
	p := startProcess(t, func(*Config) {})
	first := newMember(&placementv1.Host{Name: "127.0.0.1:50002", Id: "app1", Namespace: "default", Entities: []string{"U", "T"}, ApiLevel: 20})
	second := newMember(&placementv1.Host{Name: "127.0.0.1:50012", Id: "app2", Namespace: "default", Entities: []string{"T", "V"}, ApiLevel: 20})
	var version uint64
	var all []*sidecar
	until(t, func() bool { // until then it does not lead
		s := dial(t, p.Address().String())
		s.send(first.record)
		order, err := s.stream.Recv()
		s.id, s.ns = "app1", "default"
		all = append(all[:0], s)
		version = order.GetVersion()
		return err == nil
	})
	all[0].acknowledge(placementv1.HostOperation_LOCK, 1)
	all[0].step("update", 1)
	all[0].step("unlock", 1)
	s := dial(t, p.Address().String())
	s.send(second.record)
	s.id, s.ns = "app2", "default"
	walk(version+1, append(all, s)...)
	var recorded struct {
		Steps []struct {
			HTTP struct {
				Response struct{ Body struct{ Text string } }
			}
		}
	}
	text, err := os.ReadFile("testdata/rounds-1.18.3.json")
	if err == nil {
		err = json.Unmarshal(text, &recorded)
	}
	if err != nil {
		t.Fatal(err)
	}
	health := "http://" + p.HealthAddress().String()
	get(t, health+"/healthz")
	for _, step := range recorded.Steps {
		if want := step.HTTP.Response.Body.Text; want != "" {
			if got := get(t, health+"/placement/state"); got != want {
				t.Errorf("state %s, want %s", got, want)
			}
		}
	}
	metrics := get(t, "http://"+p.MetricsAddress().String())
	for _, line := range []string{`dapr_placement_runtimes_total{host_namespace="default"} 2`, `dapr_placement_actor_runtimes_total{host_namespace="default"} 2`,
		"dapr_placement_leader_status 1", "dapr_placement_raft_leader_status 1"} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
}

// TestMTLS: a sidecar reports under its own identity, and under no other; it knows the service by its own.
func TestMTLS(t *testing.T) {
	authority := sentrytest.Start(t)
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, authority.Anchors(t), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, func(c *Config) {
		c.TLS, c.AnchorsFile, c.SentryAddress = true, file, authority.Address().String()
	})
	log, _ := logtest.NewNullLogger()
	anchors, err := security.NewAnchors(string(authority.Anchors(t)), "", log)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := security.NewSentry(security.SentrySettings{Address: authority.Address().String(), AppID: "a", Namespace: "ns",
		ControlPlaneNamespace: "default", ControlPlaneTrustDomain: "localhost"}, anchors)
	if err != nil {
		t.Fatal(err)
	}
	identity := security.NewIdentity("a", log, nil)
	identity.Establish(anchors, signer)
	if err := identity.Obtain(t.Context()); err != nil {
		t.Fatal(err)
	}
	open := func(service string) *sidecar {
		creds := credentials.NewTLS(identity.ClientConfig(security.Peer{TrustDomain: "localhost", Namespace: "default", AppID: service}))
		conn, err := grpc.NewClient("passthrough:///"+p.Address().String(), grpc.WithTransportCredentials(creds))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		stream, err := placementv1.NewPlacementClient(conn).ReportDaprStatus(t.Context())
		if err != nil {
			return nil
		}
		return &sidecar{t: t, stream: stream, conn: conn}
	}
	if open("dapr-scheduler") != nil {
		t.Error("another service is taken for placement")
	}
	until(t, func() bool { // until it leads
		s := open(AppID)
		s.send(&placementv1.Host{Id: "a", Namespace: "ns", Operation: placementv1.HostOperation_REPORT})
		order, err := s.stream.Recv()
		return err == nil && order.GetOperation() == "lock"
	})
	for _, claimed := range [][2]string{{"b", "ns"}, {"a", "default"}, {AppID, "default"}} {
		s := open(AppID)
		s.send(&placementv1.Host{Id: claimed[0], Namespace: claimed[1], Operation: placementv1.HostOperation_REPORT})
		if code := s.ended(); code != codes.PermissionDenied {
			t.Errorf("a report as %s in %s ends with %s", claimed[0], claimed[1], code)
		}
	}
}
