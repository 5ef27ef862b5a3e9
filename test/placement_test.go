package test

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// placement is the placement service: one server, or several of which one leads.
type placement struct {
	servers []*placementServer
	client  *http.Client
}

// placementServer can be killed and started again under its address.
type placementServer struct {
	address, metrics string
	flags            []string
	process          *process
}

func startPlacement(t *testing.T, servers int) *placement {
	t.Helper()
	p := &placement{client: client(t)}
	var cluster []string
	for i := range servers {
		cluster = append(cluster, fmt.Sprintf("%d=%s", i, loopback(holdPort(t))))
	}
	for i := range servers {
		port, health, metrics := holdPort(t), holdPort(t), holdPort(t)
		s := &placementServer{address: loopback(port), metrics: loopback(metrics), flags: []string{
			"--listen-address", "127.0.0.1", "--port", strconv.Itoa(port),
			"--healthz-listen-address", "127.0.0.1", "--healthz-port", strconv.Itoa(health),
			"--metrics-listen-address", "127.0.0.1", "--metrics-port", strconv.Itoa(metrics),
			"--id", strconv.Itoa(i), "--initial-cluster", strings.Join(cluster, ",")}}
		p.servers = append(p.servers, s)
		s.start(t)
	}
	return p
}

// addresses are those of all servers, as sidecars take them.
func (p *placement) addresses() string {
	var all []string
	for _, s := range p.servers {
		all = append(all, s.address)
	}
	return strings.Join(all, ",")
}

// leader is the server that leads. All of them have to run.
func (p *placement) leader(t *testing.T) (leader *placementServer) {
	t.Helper()
	eventually(t, "one placement server leads", func() bool {
		leading := 0
		for _, s := range p.servers {
			if s.leads(t.Context(), p.client) {
				leader = s
				leading++
			}
		}
		return leading == 1
	})
	return leader
}

func (s *placementServer) leads(ctx context.Context, c *http.Client) bool {
	a, err := try(ctx, c, http.MethodGet, "http://"+s.metrics+"/metrics", nil)
	return err == nil && strings.Contains(a.body, "\ndapr_placement_leader_status 1\n")
}

// start does not wait: sidecars try until the server is there.
func (s *placementServer) start(t *testing.T) {
	t.Helper()
	path, err := placementBinary()
	if err != nil {
		t.Fatal(err)
	}
	s.process = startProcess(t, "placement "+s.address, exec.Command(path, s.flags...))
}

func (s *placementServer) kill(t *testing.T) {
	t.Helper()
	s.process.signal(t, syscall.SIGKILL)
	s.process.exits(t, -1)
}
