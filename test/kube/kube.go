// Package kube runs the real API server of Kubernetes for tests, with etcd behind it, each a process of its own on ports
// that the system chooses. There are no controllers and no kubelet: objects stay what they were made, nothing runs in a
// pod, and a test does what a controller would have done.
//
//	server := kube.Start(t)                       // skipped without etcd; a failure under CI=true
//	server.Apply(t, manifests)                    // as kubectl apply does, with strict validation
//	server.Namespace(t, "shop")                   // with its ServiceAccount default
//	server.Client(t)                              // a cluster.Client of the administrator
//	server.Kubeconfig                             // the file of the administrator, for processes
//	server.KubeconfigOf(t, "shop", "default")     // the file of a service account, for what RBAC grants it
//	server.Granted(t, "shop", "app", "get", "pods") // waits until a right that was granted is in force
//	server.Token(t, "shop", "default", pod, aud)  // a token as a pod has it, bound to that pod
//	server.Forward(t, "shop", "hook", address)    // what the API server asks of a service goes to address: webhooks
//	server.Container(t, "shop", "pod", "app")     // what a kubelet would start that container with
//	server.Pause(); server.Continue()             // it falls silent, and wakes up
//	server.Stop(); server.Restart(t)              // it is away; etcd keeps what it had
//	server.Kubectl(t, "", "get", "pods")          // where kubectl is installed
//
// A server takes seconds to start and about 300 MB: a package starts one, and its tests use namespaces of their own.
//
// The first start on a machine builds the API server from its source, the module in the folder apiserver, which takes
// minutes; `make services` does so ahead. Another version: change its go.mod, k8s.io/kubernetes and all that replaces
// together, and run go mod tidy in it.
package kube

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/daprd/daprd/pkg/cluster"
)

// Server is a running API server.
type Server struct {
	// Kubeconfig is the file by which the administrator reaches it.
	Kubeconfig string
	// Address is host:port.
	Address string
	// Way is where containers reach it, "" for Address.
	Way string

	folder string
	token  string
	etcd   *process
	api    *process
	exit   *exit
	// admin is how the server is asked by this package.
	admin *rest.Config
	mu    sync.Mutex
}

// startTime bounds the start of one process on a loaded machine.
const startTime = 3 * time.Minute

// Start runs a server until the test ends. Where etcd is not installed, or the server cannot be built, the test is skipped,
// or fails under CI=true.
func Start(t testing.TB) *Server {
	t.Helper()
	if _, err := exec.LookPath("etcd"); err != nil {
		without(t, "etcd is not installed; `make services` installs it")
	}
	path, err := Build()
	if err != nil {
		without(t, err.Error())
	}
	s := &Server{folder: t.TempDir()}
	if err := s.prepare(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	if s.exit, err = newExit(filepath.Join(s.folder, "exit.socket")); err != nil {
		t.Fatal(err)
	}
	// Somebody else may take a port between the look for a free one and its use.
	err = tries(func() error { return s.startEtcd(t) })
	if err == nil {
		err = tries(func() error { return s.startAPI(t, path) })
	}
	if err == nil {
		err = s.readConfig()
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func without(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func tries(start func() error) (err error) {
	for range 3 {
		if err = start(); err == nil {
			return nil
		}
	}
	return err
}

// prepare writes the files that the server reads.
func (s *Server) prepare() error {
	secret := make([]byte, 16)
	_, _ = rand.Read(secret)
	s.token = hex.EncodeToString(secret)
	key, err := accountKey()
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(s.file("tokens.csv"), []byte(s.token+`,admin,admin,"system:masters"`+"\n"), 0o600),
		os.WriteFile(s.file("accounts.key"), key, 0o600),
		os.WriteFile(s.file("egress.yaml"), []byte(egressConfiguration(s.file("exit.socket"))), 0o600),
	)
}

func (s *Server) file(name string) string { return filepath.Join(s.folder, name) }

func (s *Server) startEtcd(t testing.TB) error {
	address := freeAddress(t)
	url := "http://" + address
	var err error
	s.etcd, err = run("etcd", "--data-dir", s.file("etcd"), "--unsafe-no-fsync", "--log-level", "error",
		"--listen-client-urls", url, "--advertise-client-urls", url, "--listen-peer-urls", "http://127.0.0.1:0")
	if err != nil {
		return err
	}
	s.etcd.address = address
	return s.etcd.await(http.DefaultClient, url+"/health", "")
}

func (s *Server) startAPI(t testing.TB, path string) error {
	s.Address = freeAddress(t)
	if err := os.WriteFile(s.file("kubeconfig"), []byte(s.kubeconfig(s.Address, s.token)), 0o600); err != nil {
		return err
	}
	s.Kubeconfig = s.file("kubeconfig")
	return s.runAPI(path)
}

func (s *Server) runAPI(path string) error {
	var err error
	s.api, err = run(path,
		"--etcd-servers", "http://"+s.etcd.address, "--etcd-prefix", "/registry",
		"--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", port(s.Address), "--cert-dir", s.file("certificates"),
		"--endpoint-reconciler-type", "none", "--service-cluster-ip-range", "10.96.0.0/16",
		"--authorization-mode", "RBAC", "--token-auth-file", s.file("tokens.csv"),
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", s.file("accounts.key"),
		"--service-account-signing-key-file", s.file("accounts.key"),
		"--egress-selector-config-file", s.file("egress.yaml"), "--allow-privileged", "--profiling=false", "--v=0")
	if err != nil {
		return err
	}
	return s.api.awaitReady(s)
}

// kubeconfig tells of the server. Its certificate is its own authority: it makes it on its first start.
func (s *Server) kubeconfig(address, token string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"+
		"clusters: [{name: c, cluster: {server: %q, certificate-authority: %q}}]\nusers: [{name: u, user: {token: %q}}]\n",
		"https://"+address, s.file("certificates/apiserver.crt"), token)
}

func (s *Server) readConfig() error {
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1
	s.admin = config
	return nil
}

// Stop ends the API server at once, as a crash does; etcd stays. Connections to it are cut.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.api.kill()
}

// Pause has the API server do nothing until Continue or Stop, as a machine that stands still: connections stay open.
func (s *Server) Pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.api.signal(syscall.SIGSTOP)
}

// Continue has a paused server go on.
func (s *Server) Continue() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.api.signal(syscall.SIGCONT)
}

// Restart starts it anew on its address, and waits until it is ready.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	path, err := Build()
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := tries(func() error { return s.runAPI(path) }); err != nil {
		t.Fatal(err)
	}
}

func (s *Server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.api.kill()
	s.etcd.kill()
	s.exit.close()
}

// Client asks the server as the administrator, until the test ends.
func (s *Server) Client(t testing.TB) *cluster.Client {
	t.Helper()
	client, err := cluster.New(s.Kubeconfig, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// Kubectl runs it with text as its standard input, and gives what it prints. The test is skipped, or fails under CI=true,
// where it is not installed.
func (s *Server) Kubectl(t testing.TB, text string, arguments ...string) (output string, err error) {
	t.Helper()
	if _, err := exec.LookPath("kubectl"); err != nil {
		without(t, "kubectl is not installed; `make services` installs it")
	}
	command := exec.CommandContext(t.Context(), "kubectl", append([]string{"--kubeconfig", s.Kubeconfig, "--cache-dir", s.file("kubectl")}, arguments...)...)
	command.Stdin = strings.NewReader(text)
	out, err := command.CombinedOutput()
	return string(out), err
}
