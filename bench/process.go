package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a child whose cost the operating system accounts for.
type process struct {
	command *exec.Cmd
	done    chan struct{}
}

func start(command *exec.Cmd) (*process, error) {
	if err := command.Start(); err != nil {
		return nil, err
	}
	p := &process{command: command, done: make(chan struct{})}
	go func() {
		_ = command.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) stop() {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	<-p.done
}

// processor is the time that the process has used so far, user and system, in the resolution of the
// kernel's clock tick (10 ms).
func (p *process) processor() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.command.Process.Pid))
	if err != nil {
		return 0
	}
	// Fields 14 and 15; the name in field 2 is in parentheses and may hold anything.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// memory is the resident set in bytes: what it is now, and its high-water mark.
func (p *process) memory() (resident, peak int64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	for line := range strings.Lines(string(text)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			resident = kib << 10
		}
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			peak = kib << 10
		}
	}
	return resident, peak
}

// forgetPeak makes the high-water mark start anew.
func (p *process) forgetPeak() {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.command.Process.Pid), []byte("5"), 0)
}

// self starts this program in another role.
func self(role string, arguments ...string) (*exec.Cmd, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.Command(path, append([]string{"-role", role}, arguments...)...), nil
}

// app is an application beside a sidecar: a process that prints its port first.
type app struct {
	*process
	port int
	in   io.Writer
	out  *bufio.Reader
}

// startApp starts the application in the role given.
func startApp(role string, arguments ...string) (*app, error) {
	command, err := self(role, arguments...)
	if err != nil {
		return nil, err
	}
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p, err := start(command)
	if err != nil {
		return nil, err
	}
	a := &app{process: p, in: in, out: bufio.NewReader(out)}
	if _, err := fmt.Fscanln(a.out, &a.port); err != nil {
		p.stop()
		return nil, fmt.Errorf("%s: %w", role, err)
	}
	return a, nil
}

// publish makes a publisher put the sidecar whose API is on the port under load, and gives the result.
func (a *app) publish(port int) (r result, err error) {
	if _, err := fmt.Fprintln(a.in, port); err != nil {
		return r, err
	}
	if err := json.NewDecoder(a.out).Decode(&r); err != nil {
		return r, fmt.Errorf("publisher: %w", err)
	}
	return r, failed(&r)
}

// runClient runs a client to its end and gives its result and the processor time it used.
func runClient(duration time.Duration, connections int, verb, url string, size int) (result, time.Duration, error) {
	var r result
	command, err := self("client", "-duration", duration.String(), "-connections", strconv.Itoa(connections), verb, url, strconv.Itoa(size))
	if err != nil {
		return r, 0, err
	}
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		return r, 0, fmt.Errorf("client: %w", err)
	}
	state := command.ProcessState
	return r, state.UserTime() + state.SystemTime(), errors.Join(json.Unmarshal(out, &r), failed(&r))
}

func failed(r *result) error {
	if r.Requests == 0 {
		return fmt.Errorf("no request succeeded: %s", r.FirstFail)
	}
	return nil
}

// sidecar is a daprd process with its ports.
type sidecar struct {
	*process
	http, grpc int
	profile    int
	log        string
	ready      time.Duration // from start to healthz = 204
}

// startSidecar starts daprd and waits for healthz.
func startSidecar(ctx context.Context, daprd, dir, appID string, appPort int, flags ...string) (*sidecar, error) {
	ports, err := freePorts(5)
	if err != nil {
		return nil, err
	}
	s := &sidecar{http: ports[0], grpc: ports[1], profile: ports[4], log: filepath.Join(dir, appID+".log")}
	out, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	port := func(name string, n int) string { return "--" + name + "=" + strconv.Itoa(n) }
	arguments := []string{"--app-id", appID, "--dapr-listen-addresses", "127.0.0.1", "--resources-path", filepath.Join(dir, "components"),
		port("dapr-http-port", ports[0]), port("dapr-grpc-port", ports[1]), port("dapr-internal-grpc-port", ports[2]), port("metrics-port", ports[3])}
	if appPort != 0 {
		arguments = append(arguments, port("app-port", appPort))
	}
	command := exec.Command(daprd, append(append(arguments, flags...), "--enable-profiling", port("profile-port", s.profile))...)
	command.Stdout, command.Stderr = out, out
	began := time.Now()
	if s.process, err = start(command); err != nil {
		return nil, err
	}
	for {
		if status(s.url("/v1.0/healthz")) == http.StatusNoContent {
			s.ready = time.Since(began)
			return s, nil
		}
		select {
		case <-s.done:
			return nil, fmt.Errorf("daprd ended while it started; its log is %s", s.log)
		case <-ctx.Done():
			s.stop()
			return nil, ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

func (s *sidecar) url(path string) string { return fmt.Sprintf("http://127.0.0.1:%d%s", s.http, path) }

func status(url string) int {
	response, err := http.Get(url)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		ports[i] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}
