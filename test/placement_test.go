package test

import (
	"context"
	"fmt"
	"net"
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
	site             *site
	address, metrics string
	flags            []string
	process          *process
}

// startPlacement starts a server at each of the sites.
func startPlacement(t *testing.T, sites ...*site) *placement {
	t.Helper()
	p := &placement{client: client(t)}
	var cluster []string
	for i, at := range sites {
		cluster = append(cluster, fmt.Sprintf("%d=%s", i, net.JoinHostPort(at.address, strconv.Itoa(holdPort(t)))))
	}
	for i, at := range sites {
		port, health, metrics := strconv.Itoa(holdPort(t)), strconv.Itoa(holdPort(t)), strconv.Itoa(holdPort(t))
		s := &placementServer{site: at, address: net.JoinHostPort(at.address, port), metrics: net.JoinHostPort(at.address, metrics), flags: []string{
			"--listen-address", at.address, "--port", port, "--healthz-listen-address", at.address, "--healthz-port", health,
			"--metrics-listen-address", at.address, "--metrics-port", metrics,
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
	s.process = s.site.start(t, "placement "+s.address, exec.Command(path, s.flags...))
}

func (s *placementServer) kill(t *testing.T) {
	t.Helper()
	s.process.signal(t, syscall.SIGKILL)
	s.process.exits(t, -1)
}
