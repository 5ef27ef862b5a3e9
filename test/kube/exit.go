package kube

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// exit is the way by which the API server reaches services: a proxy in place of the cluster's network. It knows where the
// cluster address of a service leads.
type exit struct {
	listener net.Listener
	serving  sync.WaitGroup

	mu    sync.Mutex
	ways  map[string]string
	conns map[net.Conn]bool
}

// egressConfiguration has the API server take that way.
func egressConfiguration(socket string) string {
	return fmt.Sprintf("apiVersion: apiserver.k8s.io/v1beta1\nkind: EgressSelectorConfiguration\negressSelections:\n"+
		"- name: cluster\n  connection:\n    proxyProtocol: HTTPConnect\n    transport: {uds: {udsName: %q}}\n", socket)
}

func newExit(socket string) (*exit, error) {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	e := &exit{listener: listener, ways: map[string]string{}, conns: map[net.Conn]bool{}}
	e.serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			e.serving.Go(func() { e.serve(conn) })
		}
	})
	return e, nil
}

// Forward has what the API server asks of a service, on any of its ports, go to address (host:port) instead. The service
// has to be there, with a cluster address.
func (s *Server) Forward(t testing.TB, namespace, service, address string) {
	t.Helper()
	var found struct {
		Spec struct {
			ClusterIP string `json:"clusterIP"`
			Ports     []struct {
				Port int `json:"port"`
			} `json:"ports"`
		} `json:"spec"`
	}
	if err := s.Client(t).Get(t.Context(), &found, "api", "v1", "namespaces", namespace, "services", service); err != nil {
		t.Fatal(err)
	}
	s.exit.mu.Lock()
	defer s.exit.mu.Unlock()
	for _, p := range found.Spec.Ports {
		s.exit.ways[net.JoinHostPort(found.Spec.ClusterIP, fmt.Sprint(p.Port))] = address
	}
}

func (e *exit) serve(conn net.Conn) {
	if !e.keep(conn) {
		return
	}
	defer e.drop(conn)
	reader := bufio.NewReader(conn)
	request, err := http.ReadRequest(reader)
	if err != nil {
		return
	}
	e.mu.Lock()
	to, known := e.ways[request.Host]
	e.mu.Unlock()
	if !known {
		fmt.Fprint(conn, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
		return
	}
	there, err := net.Dial("tcp", to)
	if err != nil || !e.keep(there) {
		fmt.Fprint(conn, "HTTP/1.1 503 Service Unavailable\r\n\r\n")
		return
	}
	defer e.drop(there)
	fmt.Fprint(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(conn, there)
		conn.Close()
	})
	_, _ = io.Copy(there, reader)
	there.Close()
	back.Wait()
}

// keep is false when the exit is closed.
func (e *exit) keep(conn net.Conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conns == nil {
		conn.Close()
		return false
	}
	e.conns[conn] = true
	return true
}

func (e *exit) drop(conn net.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.conns, conn)
	conn.Close()
}

func (e *exit) close() {
	if e == nil {
		return
	}
	e.listener.Close()
	e.mu.Lock()
	for conn := range e.conns {
		conn.Close()
	}
	e.conns = nil
	e.mu.Unlock()
	e.serving.Wait()
}
