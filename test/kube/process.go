package kube

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is one that runs until it is killed.
type process struct {
	address string

	name    string
	command *exec.Cmd
	done    chan struct{}
	output  tail
}

func run(path string, arguments ...string) (*process, error) {
	p := &process{name: filepath.Base(path), command: exec.Command(path, arguments...), done: make(chan struct{})}
	p.command.Stdout, p.command.Stderr = &p.output, &p.output
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		_ = p.command.Wait()
	}()
	return p, nil
}

func (p *process) kill() {
	if p != nil {
		_ = p.command.Process.Kill()
		<-p.done
	}
}

func (p *process) signal(s syscall.Signal) { _ = p.command.Process.Signal(s) }

// await returns when the URL answers 200. A process that does not get there is killed.
func (p *process) await(client *http.Client, url, token string) error {
	const pause = 50 * time.Millisecond
	for deadline := time.Now().Add(startTime); ; {
		if answers(client, url, token) {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended while it started:\n%s", p.name, &p.output)
		case <-time.After(pause):
		}
		if time.Now().After(deadline) {
			p.kill()
			return fmt.Errorf("%s was not ready after %s:\n%s", p.name, startTime, &p.output)
		}
	}
}

// awaitReady waits for an API server; what it serves with is its own certificate, which is there only once it has started.
func (p *process) awaitReady(s *Server) error {
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	return p.await(&http.Client{Transport: transport}, "https://"+s.Address+"/readyz", s.token)
}

func answers(client *http.Client, url, token string) bool {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// tail keeps the end of what is written.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const mostOutput = 16 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - mostOutput; over > 0 {
		t.text = bytes.Clone(t.text[over:])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// freeAddress is a loopback address that nobody listened on a moment ago.
func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// accountKey signs the tokens of service accounts.
func accountKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), err
}
