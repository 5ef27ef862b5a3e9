package test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/daprd/daprd/pkg/cluster"
	_ "github.com/daprd/daprd/pkg/injector" // so that Go's cache of tests sees what the binaries are made of
	_ "github.com/daprd/daprd/pkg/operator"
	"github.com/daprd/daprd/test/kube"
)

// The parts of the control plane, built once for all tests.
var (
	sentryBinary   = sync.OnceValues(func() (string, error) { return build("sentry", "-race") })
	operatorBinary = sync.OnceValues(func() (string, error) { return build("operator", "-race") })
	injectorBinary = sync.OnceValues(func() (string, error) { return build("injector", "-race") })
)

// installation is the chart in a real API server. The test stands in for the controllers, which make pods of workloads, for
// the kubelet, which starts their containers, and for the network: each port of a service is a link, and so is the way from
// pods to the API server.
type installation struct {
	*kube.Server
	client *api.Client
	// controller makes pods, with the rights of the one of ReplicaSets.
	controller *api.Client
	way        *link
	// services are the ports of the control plane's services, addresses what the names of addresses mean here.
	services  []servicePort
	addresses []string
	// parts are those of the control plane that run, by their workload.
	parts map[string]*container
}

// servicePort is one port of a service.
type servicePort struct {
	selector map[string]string
	target   string
	link     *link
}

// container is one that runs.
type container struct {
	*kube.Container
	*process
	// ports are the ports of this machine by those that the container was told.
	ports map[int]int
}

// install installs the chart as it renders without values, but for the lifetime of certificates, and starts all its parts.
func install(t *testing.T, lifetime string) *installation {
	t.Helper()
	i := &installation{Server: kube.Start(t), parts: map[string]*container{}}
	i.client = i.Client(t)
	i.way = newLink(t, i.Address)
	i.Way = i.way.address
	crds, err := filepath.Glob("../charts/daprd/crds/*.yaml")
	if err != nil || len(crds) == 0 {
		t.Fatalf("there are no CRDs: %v", err)
	}
	i.kubectl(t, manifest(t, crds...), "apply", "--server-side", "--filename", "-")
	i.kubectl(t, "", "wait", "--for=condition=established", "customresourcedefinition", "--all")
	i.kubectl(t, "", "create", "namespace", controlPlane.namespace)
	i.kubectl(t, manifest(t, "chart/testdata/default.yaml"), "apply", "--filename", "-") // test/chart holds it against Helm
	i.lifetime(t, lifetime)
	i.Namespace(t, "default")
	i.Apply(t, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: replicaset-controller, namespace: kube-system}}")
	if i.controller, err = api.New(i.KubeconfigOf(t, "kube-system", "replicaset-controller"), "test"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.controller.Close() })
	i.network(t)
	// Sentry fills the trust bundle that the others mount.
	i.start(t, "deployments", "dapr-sentry", sentryBinary)
	i.start(t, "statefulsets", "dapr-placement-server", placementBinary)
	i.start(t, "deployments", "dapr-operator", operatorBinary)
	i.start(t, "deployments", "dapr-sidecar-injector", injectorBinary)
	return i
}

// manifest is the text of files.
func manifest(t *testing.T, files ...string) (text string) {
	t.Helper()
	for _, file := range files {
		one, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text += "---\n" + string(one)
	}
	return text
}

// kubectl runs as the administrator.
func (i *installation) kubectl(t *testing.T, text string, arguments ...string) string {
	t.Helper()
	out, err := i.Kubectl(t, text, arguments...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(arguments, " "), err, out)
	}
	return out
}

// lifetime has sentry, once it is started again, give certificates that live so long.
func (i *installation) lifetime(t *testing.T, ttl string) {
	t.Helper()
	i.kubectl(t, "", "patch", "configurations.dapr.io", "daprsystem", "--namespace", controlPlane.namespace, "--type", "merge",
		"--patch", `{"spec":{"mtls":{"workloadCertTTL":"`+ttl+`"}}}`)
}

// network makes the ways of the services; they lead nowhere before a pod is ready.
func (i *installation) network(t *testing.T) {
	t.Helper()
	var list corev1.ServiceList
	if err := i.client.Get(t.Context(), &list, "api", "v1", "namespaces", controlPlane.namespace, "services"); err != nil {
		t.Fatal(err)
	}
	for _, s := range list.Items {
		for _, p := range s.Spec.Ports {
			l := newLink(t, "")
			i.services = append(i.services, servicePort{s.Spec.Selector, p.TargetPort.String(), l})
			i.addresses = append(i.addresses, fmt.Sprintf("%s.%s.svc.cluster.local:%d", s.Name, s.Namespace, p.Port), l.address)
			if s.Spec.ClusterIP != corev1.ClusterIPNone {
				i.Forward(t, s.Namespace, s.Name, l.address) // webhooks have one port
			}
		}
	}
	pod := "dapr-placement-server-0.dapr-placement-server." + controlPlane.namespace + ".svc.cluster.local:8201"
	i.addresses = append([]string{pod, loopback(holdPort(t))}, i.addresses...)
}

// start makes a pod of a workload of the control plane, runs it, and has the services lead to it once it is ready.
func (i *installation) start(t *testing.T, kind, name string, program func() (string, error)) {
	t.Helper()
	number := 0
	if before := i.parts[name]; before != nil {
		_, last, _ := cutLast(before.Pod.Name, "-")
		number, _ = strconv.Atoi(last)
		number++
	}
	pod := i.pod(t, kind, controlPlane.namespace, name, fmt.Sprintf("%s-%d", name, number))
	c := i.run(t, pod, pod.Spec.Containers[0].Name, program)
	c.passes(t, c.ReadinessProbe)
	i.parts[name] = c
	for _, s := range i.services {
		if matches(s.selector, pod.Labels) {
			s.link.lead(loopback(c.ports[c.named(t, s.target)]))
		}
	}
}

// replace is a rolling update: the new pod of a Deployment is ready before the old one ends.
func (i *installation) replace(t *testing.T, name string, program func() (string, error)) {
	t.Helper()
	before := i.parts[name]
	i.start(t, "deployments", name, program)
	before.stops(t)
}

func cutLast(text, separator string) (before, after string, found bool) {
	if at := strings.LastIndex(text, separator); at >= 0 {
		return text[:at], text[at+len(separator):], true
	}
	return text, "", false
}

func matches(selector, labels map[string]string) bool {
	for name, value := range selector {
		if labels[name] != value {
			return false
		}
	}
	return true
}

// pod makes one of the template of a workload, as its controller does, and gives what the API server has made of it.
func (i *installation) pod(t *testing.T, kind, namespace, workload, name string) *corev1.Pod {
	t.Helper()
	var found struct {
		Spec struct{ Template corev1.PodTemplateSpec }
	}
	if err := i.client.Get(t.Context(), &found, "apis", "apps", "v1", "namespaces", namespace, kind, workload); err != nil {
		t.Fatal(err)
	}
	template := found.Spec.Template
	pod := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: template.Labels, Annotations: template.Annotations}, Spec: template.Spec}
	made := new(corev1.Pod)
	if err := i.controller.Do(t.Context(), http.MethodPost, pod, made, "api", "v1", "namespaces", namespace, "pods"); err != nil {
		t.Fatal(err)
	}
	return made
}

// run starts a container of a pod with its arguments and its environment. In both, addresses, ports and folders become those
// of this machine; what the environment has besides is where a pod's files and its API server are.
func (i *installation) run(t *testing.T, pod *corev1.Pod, name string, program func() (string, error), ports ...int) *container {
	t.Helper()
	c := &container{Container: i.Container(t, pod.Namespace, pod.Name, name), ports: map[int]int{}}
	for n := 0; n < len(ports); n += 2 {
		c.ports[ports[n]] = ports[n+1]
	}
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	here := slices.Concat(i.addresses, []string{"[::1]", nowhere})
	for there, folder := range c.Folders {
		here = append(here, there, folder)
	}
	mapped := strings.NewReplacer(here...)
	if want := "/" + strings.TrimSuffix(filepath.Base(path), "-race"); c.Line[0] != want {
		t.Fatalf("the container %s runs %s, not %s", name, c.Line[0], want)
	}
	command := exec.Command(path)
	for n, argument := range c.Line[1:] {
		if flag := c.Line[n]; strings.HasPrefix(flag, "--") && strings.HasSuffix(flag, "port") {
			argument = strconv.Itoa(c.port(t, argument))
		}
		command.Args = append(command.Args, mapped.Replace(argument))
	}
	for _, variable := range c.Variables {
		command.Env = append(command.Env, mapped.Replace(variable))
	}
	command.Env = append(command.Env, "HOME="+c.Home, "DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK=true",
		"DAPR_SENTRY_TOKEN_FILE="+mapped.Replace("/var/run/secrets/dapr.io/sentrytoken/token"))
	if c.Name == "dapr-operator" { // the address is in the Configuration
		command.Env = append(command.Env, "DAPR_SENTRY_ADDRESS="+mapped.Replace("dapr-sentry.dapr-system.svc.cluster.local:443"))
	}
	c.process = startProcess(t, pod.Name+"/"+name, command)
	return c
}

// port is the one of this machine in place of one that the container was told.
func (c *container) port(t *testing.T, told string) int {
	t.Helper()
	number, err := strconv.Atoi(told)
	if err != nil {
		t.Fatal(err)
	}
	if c.ports[number] == 0 {
		c.ports[number] = holdPort(t)
	}
	return c.ports[number]
}

// named is the port of the container that has that name or number.
func (c *container) named(t *testing.T, name string) int {
	t.Helper()
	for _, p := range c.Ports {
		if p.Name == name || strconv.Itoa(int(p.ContainerPort)) == name {
			return int(p.ContainerPort)
		}
	}
	t.Fatalf("the container %s has no port %s", c.Name, name)
	return 0
}

// at is where the container listens that was told to listen on that port.
func (c *container) at(port int) string { return loopback(c.ports[port]) }

// passes waits until a probe of the container does.
func (c *container) passes(t *testing.T, probe *corev1.Probe) {
	t.Helper()
	port := probe.HTTPGet.Port.IntValue()
	if port == 0 {
		port = c.named(t, probe.HTTPGet.Port.String())
	}
	http := client(t)
	eventually(t, c.id+" is ready", func() bool {
		select {
		case <-c.ended:
			t.Fatalf("%s ended before it was ready", c.id)
		default:
		}
		a, err := try(t.Context(), http, "GET", "http://"+c.at(port)+probe.HTTPGet.Path, nil)
		return err == nil && a.status >= 200 && a.status < 400
	})
}

// certificate is the one that a server shows, with what it says of its issuers.
func certificate(t *testing.T, address string) (leaf *x509.Certificate, issuers *x509.CertPool) {
	t.Helper()
	dialer := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}}
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	chain := conn.(*tls.Conn).ConnectionState().PeerCertificates
	issuers = x509.NewCertPool()
	for _, c := range chain[1:] {
		issuers.AddCert(c)
	}
	return chain[0], issuers
}

// under says whether a root vouches for what a server shows.
func under(t *testing.T, address string, root *x509.CertPool) bool {
	t.Helper()
	leaf, issuers := certificate(t, address)
	_, err := leaf.Verify(x509.VerifyOptions{Roots: root, Intermediates: issuers, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

// webhookRoots are those that the API server trusts when it calls the injector.
func (i *installation) webhookRoots(t *testing.T) string {
	t.Helper()
	var found struct {
		Webhooks []struct {
			ClientConfig struct{ CABundle []byte }
		}
	}
	err := i.client.Get(t.Context(), &found, "apis", "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "dapr-sidecar-injector")
	if err != nil || len(found.Webhooks) != 1 {
		t.Fatalf("the webhook's configuration: %+v %v", found, err)
	}
	return string(found.Webhooks[0].ClientConfig.CABundle)
}

// patch changes an object by a JSON patch; it is quicker than kubectl.
func (i *installation) patch(t *testing.T, path, value string, to ...string) {
	t.Helper()
	var answer json.RawMessage
	change := []map[string]string{{"op": "replace", "path": path, "value": value}}
	if err := i.client.Do(context.Background(), http.MethodPatch, change, &answer, to...); err != nil {
		t.Fatal(err)
	}
}
