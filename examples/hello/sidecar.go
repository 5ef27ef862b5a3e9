package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// sidecar is a daprd process.
type sidecar struct {
	command  *exec.Cmd
	httpPort int
	log      string
	done     chan struct{} // closed when the process ended
	err      error         // how it ended; to be read after done
}

func newSidecar(s *scene, p *party) (*sidecar, error) {
	ports, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	log := filepath.Join(s.dir, p.id+".log")
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	flag := func(name string, port int) string { return "--" + name + "=" + strconv.Itoa(port) }
	command := exec.Command(s.daprd, "--app-id", p.id, "--resources-path", filepath.Join(s.dir, "components"),
		flag("app-port", p.appPort), flag("dapr-http-port", ports[0]), flag("dapr-grpc-port", ports[1]),
		flag("dapr-internal-grpc-port", ports[2]), flag("metrics-port", ports[3]),
		"--dapr-listen-addresses", "127.0.0.1")
	command.Stdout, command.Stderr = out, out
	// Ctrl-C reaches the whole group of processes; the sidecars are to be stopped in order instead.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return &sidecar{command: command, httpPort: ports[0], log: log, done: make(chan struct{})}, nil
}

// start runs the process and waits for GET /v1.0/healthz to answer 204.
func (s *sidecar) start(ctx context.Context) error {
	if err := s.command.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.command.Path, err)
	}
	go func() {
		s.err = s.command.Wait()
		close(s.done)
	}()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		if response, err := http.Get(s.url("/v1.0/healthz")); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusNoContent {
				return nil
			}
		}
		select {
		case <-s.done:
			return fmt.Errorf("the sidecar ended while it started: %v; its log is %s", s.err, s.log)
		case <-ctx.Done():
			return fmt.Errorf("the sidecar was not ready: %w; its log is %s", ctx.Err(), s.log)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *sidecar) stop() error {
	if s.command.Process == nil {
		return nil
	}
	if err := s.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-s.done
	return nil
}

func (s *sidecar) url(path string) string {
	return fmt.Sprintf("http://127.0.0.1:%d%s", s.httpPort, path)
}

// freePorts gives ports that nobody listened on a moment ago.
func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer listener.Close()
		ports[i] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}
