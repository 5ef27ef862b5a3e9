// Package redistest starts real Redis servers for tests, each a process of its own on a port of its own.
package redistest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is a running redis-server.
type Server struct {
	// Address is host:port.
	Address string
	// Dir is its working folder.
	Dir string

	arguments func(port string) []string
	command   *exec.Cmd
	done      chan struct{}
	output    strings.Builder
}

// Start runs redis-server with further arguments ("--requirepass", "x") and stops it when the test ends.
// Where redis-server is not installed the test is skipped, or fails under CI=true.
func Start(t testing.TB, arguments ...string) *Server {
	t.Helper()
	return start(t, func(port string) []string { return append(plain(port), arguments...) })
}

// StartAt runs a server on a port of its own with the files of another, which must not run.
func StartAt(t testing.TB, files *Server, arguments ...string) *Server {
	t.Helper()
	return Start(t, append(arguments, "--dir", files.Dir)...)
}

// StartTLS runs a server that speaks TLS only.
func StartTLS(t testing.TB, c Certificates, arguments ...string) *Server {
	t.Helper()
	return start(t, func(port string) []string {
		secure := []string{"--port", "0", "--tls-port", port, "--tls-cert-file", c.ServerCert, "--tls-key-file", c.ServerKey, "--tls-ca-cert-file", c.Authority}
		return append(append(plain(port), secure...), arguments...)
	})
}

// StartSentinel runs a Sentinel that watches master under the name mymaster, and takes it for dead after
// half a second.
func StartSentinel(t testing.TB, master *Server, further ...string) *Server {
	t.Helper()
	host, port, _ := net.SplitHostPort(master.Address)
	lines := append([]string{
		"bind 127.0.0.1",
		"sentinel monitor mymaster " + host + " " + port + " 1",
		"sentinel down-after-milliseconds mymaster 500",
		"sentinel failover-timeout mymaster 3000",
	}, further...)
	file := t.TempDir() + "/sentinel.conf"
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, func(port string) []string { return []string{file, "--sentinel", "--port", port} })
}

func plain(port string) []string {
	return []string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"}
}

func start(t testing.TB, arguments func(port string) []string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is not installed; `make services` installs it")
		}
		t.Skip("redis-server is not installed; `make services` installs it")
	}
	s := &Server{Dir: t.TempDir(), arguments: arguments}
	t.Cleanup(s.Kill)
	// Somebody else may take the port between the look for a free one and its use.
	for attempt := 0; ; attempt++ {
		s.Address = FreeAddress(t)
		err := s.run()
		if err == nil {
			return s
		}
		if attempt == 4 {
			t.Fatal(err)
		}
	}
}

// FreeAddress is a loopback address that nobody listened on a moment ago.
func FreeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// Restart starts the server anew on its address, after Kill, and waits until it takes connections.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
}

func (s *Server) run() error {
	// Within a context of the server's own: the test may end before its cleanup has stopped it.
	s.command = exec.CommandContext(context.Background(), "redis-server", s.arguments(s.Port())...)
	s.command.Dir = s.Dir
	out, err := s.command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.command.Start(); err != nil {
		return err
	}
	s.output.Reset()
	s.done = make(chan struct{})
	ready := make(chan struct{})
	go s.watch(bufio.NewScanner(out), ready)
	select {
	case <-ready:
		return nil
	case <-s.done:
		return fmt.Errorf("redis-server ended while it started:\n%s", s.output.String())
	case <-time.After(20 * time.Second):
		s.Kill()
		return fmt.Errorf("redis-server was not ready after 20s:\n%s", s.output.String())
	}
}

// watch reads the log until the process ends and tells when it is ready.
func (s *Server) watch(lines *bufio.Scanner, ready chan<- struct{}) {
	defer close(s.done)
	for told := false; lines.Scan(); {
		text := strings.ToLower(lines.Text())
		if told {
			continue
		}
		s.output.WriteString(lines.Text() + "\n")
		if strings.Contains(text, "ready to accept connections") || strings.Contains(text, "+monitor master") {
			told = true
			close(ready)
		}
	}
	_ = s.command.Wait()
}

// Kill ends the server at once, as a crash does.
func (s *Server) Kill() {
	if s.command != nil && s.command.Process != nil {
		_ = s.command.Process.Kill()
		<-s.done
		s.command = nil
	}
}

// Pause stops the process in its tracks: connections stay open and nothing is answered. Kill ends it.
func (s *Server) Pause() { _ = s.command.Process.Signal(syscall.SIGSTOP) }

// Port is the server's port.
func (s *Server) Port() string {
	_, port, _ := net.SplitHostPort(s.Address)
	return port
}
