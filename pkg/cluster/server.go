package cluster

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"
	"k8s.io/client-go/transport"
)

// Where a pod finds what it needs to ask its API server.
const (
	tokenFile     = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	authorityFile = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
)

// server is an API server and the way to it.
type server struct {
	address string
	way     transport.Config
}

// find gives the API server of the pod's cluster, else that of the file (~/.kube/config for "").
func find(kubeconfig string) (*server, error) {
	if host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"); host != "" && port != "" {
		// The files are read again as they change.
		return &server{"https://" + net.JoinHostPort(host, port), transport.Config{
			BearerTokenFile: tokenFile,
			TLS:             transport.TLSConfig{CAFile: authorityFile, ReloadCAFiles: true},
		}}, nil
	}
	if kubeconfig == "" {
		home, _ := os.UserHomeDir()
		kubeconfig = filepath.Join(home, ".kube", "config")
	}
	found, err := read(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("this is no pod of a cluster (KUBERNETES_SERVICE_HOST is not set), and: %w; --kubeconfig names a file that tells of the API server", err)
	}
	return found, nil
}

// kubeconfig is such a file, as far as it is read here: client-go's reader of it would add 3 MB to every sidecar.
type kubeconfig struct {
	Context  string `yaml:"current-context"`
	Contexts []struct {
		Name    string
		Context struct{ Cluster, User string }
	}
	Clusters []struct {
		Name    string
		Cluster struct {
			Server        string
			AuthorityFile string  `yaml:"certificate-authority"`
			Authority     encoded `yaml:"certificate-authority-data"`
			Insecure      bool    `yaml:"insecure-skip-tls-verify"`
			ServerName    string  `yaml:"tls-server-name"`
			Proxy         string  `yaml:"proxy-url"`
		}
	}
	Users []struct {
		Name string
		User struct {
			Token           string
			TokenFile       string  `yaml:"tokenFile"`
			CertificateFile string  `yaml:"client-certificate"`
			Certificate     encoded `yaml:"client-certificate-data"`
			KeyFile         string  `yaml:"client-key"`
			Key             encoded `yaml:"client-key-data"`
			Username        string
			Password        string
			Exec            *struct{ Command string }
			Provider        *struct{ Name string } `yaml:"auth-provider"`
		}
	}
}

// encoded are bytes that the file holds encoded.
type encoded []byte

func (b *encoded) UnmarshalYAML(node *yaml.Node) error {
	binary := *node
	binary.Tag = "!!binary"
	var text string
	if err := binary.Decode(&text); err != nil {
		return fmt.Errorf("line %d: this is no base64", node.Line)
	}
	*b = encoded(text)
	return nil
}

// read gives the server of the current context.
func read(file string) (*server, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var k kubeconfig
	if err := yaml.Unmarshal(text, &k); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	s, err := k.server(filepath.Dir(file))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

// server follows the current context. Files are named from dir on.
func (k *kubeconfig) server(dir string) (*server, error) {
	context, err := named("context", k.Context, k.Contexts, func(i int) string { return k.Contexts[i].Name })
	if err != nil {
		return nil, err
	}
	clusterName, userName := k.Contexts[context].Context.Cluster, k.Contexts[context].Context.User
	at, err := named("cluster", clusterName, k.Clusters, func(i int) string { return k.Clusters[i].Name })
	if err != nil {
		return nil, err
	}
	c := k.Clusters[at].Cluster
	if address, err := url.Parse(c.Server); err != nil || address.Host == "" {
		return nil, fmt.Errorf("cluster %q has no URL as its server", clusterName)
	}
	path := func(name string) string {
		if name == "" || filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(dir, name)
	}
	s := &server{address: c.Server}
	s.way.TLS = transport.TLSConfig{CAFile: path(c.AuthorityFile), CAData: c.Authority, Insecure: c.Insecure, ServerName: c.ServerName}
	if c.Proxy != "" {
		proxy, err := url.Parse(c.Proxy)
		if err != nil {
			return nil, fmt.Errorf("cluster %q has no URL as its proxy", clusterName)
		}
		s.way.Proxy = http.ProxyURL(proxy)
	}
	if userName == "" {
		return s, nil
	}
	at, err = named("user", userName, k.Users, func(i int) string { return k.Users[i].Name })
	if err != nil {
		return nil, err
	}
	u := k.Users[at].User
	if u.Exec != nil || u.Provider != nil {
		return nil, fmt.Errorf("user %q is known to the API server by a program that is run for it, which is not done here: use a token or a client certificate", userName)
	}
	s.way.BearerToken, s.way.BearerTokenFile, s.way.Username, s.way.Password = u.Token, path(u.TokenFile), u.Username, u.Password
	s.way.TLS.CertFile, s.way.TLS.CertData, s.way.TLS.KeyFile, s.way.TLS.KeyData = path(u.CertificateFile), u.Certificate, path(u.KeyFile), u.Key
	return s, nil
}

// named finds an entry by its name.
func named[T any](kind, name string, list []T, nameOf func(int) string) (int, error) {
	for i := range list {
		if nameOf(i) == name {
			return i, nil
		}
	}
	if name == "" {
		return 0, fmt.Errorf("no %s is chosen", kind)
	}
	return 0, fmt.Errorf("there is no %s %q", kind, name)
}
