package test

import (
	"os/exec"
	"strconv"
	"syscall"
	"testing"
)

// placement is a placement server, which can be killed and started again under its address.
type placement struct {
	address string
	flags   []string
	process *process
}

func startPlacement(t *testing.T) *placement {
	t.Helper()
	port, health, raft := holdPort(t), holdPort(t), holdPort(t)
	p := &placement{address: loopback(port), flags: []string{"--listen-address", "127.0.0.1", "--port", strconv.Itoa(port),
		"--healthz-listen-address", "127.0.0.1", "--healthz-port", strconv.Itoa(health), "--enable-metrics=false",
		"--id", "one", "--initial-cluster", "one=" + loopback(raft)}}
	p.start(t)
	return p
}

// start does not wait: sidecars try until the server is there.
func (p *placement) start(t *testing.T) {
	t.Helper()
	path, err := placementBinary()
	if err != nil {
		t.Fatal(err)
	}
	p.process = startProcess(t, "placement", exec.Command(path, p.flags...))
}

func (p *placement) kill(t *testing.T) {
	t.Helper()
	p.process.signal(t, syscall.SIGKILL)
	p.process.exits(t, -1)
}
